//! `normalize-timestamps[:ts=N][,clamp=true][,config=true][,keep=true]`: sets all times, or all later ones, to one value,
//! so that the same content gives the same image, whenever it was built.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::arrange::TIME_RECORDS;
use super::config::Edits;
use super::spared::{self, Spared};
use super::{Applied, Filter, FilterInputs, Form, MemberVerdict, Pass, Spec};
use occystrap_base::error::Result;
use occystrap_layer::image::Image;
use occystrap_layer::tar::{Member, Time};
use occystrap_net::context::Context;

/// The variable with which reproducible builds pass their time
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The filter `normalize-timestamps`.
pub struct NormalizeTimestamps {
    mtime: Time,
    /// The same time in the form of a config.
    text: String,
    /// Whether only later times are set.
    clamp: bool,
    /// Whether the config is made the same as well.
    config: bool,
    /// Whether a layer in which no time changes keeps its bytes.
    keep: bool,
    spared: Spared,
    /// The value of [`VARIABLE`], if it gave the time.
    from_environment: Option<String>,
}

impl NormalizeTimestamps {
    /// Creates the filter from its options and the environment. An option takes precedence over the environment.
    pub fn new(spec: &Spec, inputs: &FilterInputs<'_>) -> Result<Self> {
        let [from_layer, base] = spared::OPTIONS;
        spec.only(&["ts", "timestamp", "clamp", "config", "keep", from_layer, base])?;
        let typed = match (spec.one("ts")?, spec.one("timestamp")?) {
            (Some(_), Some(_)) => return Err(spec.error("'ts' and 'timestamp' are the same")),
            (one, other) => one.or(other).map(|text| ("ts", text.to_owned())),
        };
        let variable = || (inputs.environment)(VARIABLE).filter(|text| !text.is_empty());
        let from_environment = if typed.is_none() { variable() } else { None };
        let time = match typed.or_else(|| from_environment.clone().map(|text| (VARIABLE, text))) {
            None => OffsetDateTime::UNIX_EPOCH,
            Some((name, text)) => {
                let seconds = text.parse().ok();
                let time = seconds.and_then(|text| OffsetDateTime::from_unix_timestamp(text).ok());
                time.ok_or_else(|| {
                    spec.error(format!("{name}={text}: expected whole seconds since 1970"))
                })?
            }
        };
        let text = time.format(&Rfc3339);
        Ok(Self {
            mtime: Time::seconds(time.unix_timestamp()),
            text: text.map_err(|_| spec.error("the year must be 0 to 9999"))?,
            clamp: spec.switch("clamp")?,
            config: spec.switch("config")?,
            keep: spec.switch("keep")?,
            spared: Spared::parse(spec, inputs)?,
            from_environment,
        })
    }
}

impl Filter for NormalizeTimestamps {
    fn key(&self) -> Option<String> {
        // Which layers are left alone depends on the image.
        let only = |on: bool, name| if on { name } else { "" };
        let (clamp, keep) = (only(self.clamp, " clamp"), only(self.keep, " keep"));
        let key = format!("normalize-timestamps {}{clamp}{keep}", self.mtime.seconds);
        self.spared.is_none().then_some(key)
    }

    fn writes_all(&self) -> bool {
        !self.keep
    }

    fn spared(&self, image: &Image, context: &Context) -> Result<usize> {
        self.spared.of(image, context)
    }

    fn in_full(&self, typed: &str) -> String {
        let joint = if typed.contains(':') { ',' } else { ':' };
        let option = self.from_environment.as_ref().map(|value| format!("{joint}ts={value}"));
        format!("{typed}{}", option.unwrap_or_default())
    }

    fn begin<'a>(&'a self, _image: &'a Image) -> Box<dyn Applied + 'a> {
        Box::new(self)
    }
}

impl Applied for &NormalizeTimestamps {
    fn pass(&self, _index: usize) -> Box<dyn Pass + Send + '_> {
        Box::new(*self)
    }

    fn form(&self) -> Form {
        if self.keep { Form::AsChanged } else { Form::Written }
    }

    fn listed(&self, folder: &mut Member) {
        self.set(folder);
    }

    fn edit(&self, edits: &mut Edits) {
        if self.config {
            let latest = OffsetDateTime::from_unix_timestamp(self.mtime.seconds).ok();
            edits.created(&self.text, latest.filter(|_| self.clamp));
            edits.forget_the_build();
        }
    }
}

impl NormalizeTimestamps {
    /// Sets the times of a member. Returns whether it had others.
    fn set(&self, member: &mut Member) -> bool {
        let mut changed = false;
        if member.mtime != self.mtime && (!self.clamp || member.mtime > self.mtime) {
            member.mtime = self.mtime;
            changed = true;
        }
        for record in TIME_RECORDS {
            changed |= member.records.remove(record).is_some();
        }
        changed
    }
}

impl Pass for &NormalizeTimestamps {
    fn member(&mut self, member: &mut Member) -> Result<MemberVerdict> {
        Ok(if self.set(member) { MemberVerdict::Changed } else { MemberVerdict::Same })
    }
}
