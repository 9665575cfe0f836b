//! `normalize-timestamps[:ts=N][,config=true]`: sets all times to one value, so that the same content gives the same
//! image, whenever it was built.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::config::Edits;
use super::{Applied, Filter, FilterInputs, Pass, Spec, Verdict};
use occystrap_base::error::Result;
use occystrap_layer::image::Image;
use occystrap_layer::tar::{Member, Time};

/// PAX records of times besides the modification time: two of POSIX, one of libarchive.
const RECORDS: [&[u8]; 3] = [b"atime", b"ctime", b"LIBARCHIVE.creationtime"];

/// The variable with which reproducible builds pass their time
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The filter `normalize-timestamps`.
pub struct NormalizeTimestamps {
    mtime: Time,
    /// The same time in the form of a config.
    text: String,
    /// Whether times in the config are set as well.
    config: bool,
    /// The value of [`VARIABLE`], if it gave the time.
    from_environment: Option<String>,
}

impl NormalizeTimestamps {
    /// Creates the filter from its options and the environment. An option takes precedence over the environment.
    pub fn new(spec: &Spec, inputs: &FilterInputs<'_>) -> Result<Self> {
        spec.only(&["ts", "timestamp", "config"])?;
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
            config: spec.switch("config")?,
            from_environment,
        })
    }
}

impl Filter for NormalizeTimestamps {
    fn key(&self) -> Option<String> {
        Some(format!("normalize-timestamps {}", self.mtime.seconds))
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

    fn edit(&self, edits: &mut Edits) {
        if self.config {
            edits.created(&self.text);
        }
    }
}

impl Pass for &NormalizeTimestamps {
    fn member(&mut self, member: &mut Member) -> Result<Verdict> {
        let mut verdict = Verdict::Same;
        if member.mtime != self.mtime {
            member.mtime = self.mtime;
            verdict = Verdict::Changed;
        }
        for record in RECORDS {
            if member.records.remove(record).is_some() {
                verdict = Verdict::Changed;
            }
        }
        Ok(verdict)
    }
}
