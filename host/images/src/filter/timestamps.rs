//! `normalize-timestamps[:ts=N][,config=true]`: one time for everything, so that the same content
//! gives the same image whenever it was made.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::config::Edits;
use super::{Applied, Filter, Making, Pass, Spec, Verdict};
use occystrap_base::error::Result;
use occystrap_layer::image::Image;
use occystrap_layer::tar::{Member, Time};

/// The times that PAX knows besides the modification: POSIX has two, libarchive one more.
const RECORDS: [&[u8]; 3] = [b"atime", b"ctime", b"LIBARCHIVE.creationtime"];

/// What reproducible builds name their time with
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The filter.
pub struct NormalizeTimestamps {
    mtime: Time,
    /// The same, as a config has it.
    text: String,
    config: bool,
    /// The seconds, where the environment said them.
    said: Option<String>,
}

impl NormalizeTimestamps {
    /// From what the user typed.
    pub fn new(spec: &Spec, making: &Making<'_>) -> Result<Self> {
        spec.only(&["ts", "timestamp", "config"])?;
        let typed = match (spec.one("ts")?, spec.one("timestamp")?) {
            (Some(_), Some(_)) => return Err(spec.error("'ts' and 'timestamp' are the same")),
            (one, other) => one.or(other).map(|text| ("ts", text.to_owned())),
        };
        let variable = || (making.environment)(VARIABLE).filter(|text| !text.is_empty());
        let said = if typed.is_none() { variable() } else { None };
        let time = match typed.or_else(|| said.clone().map(|text| (VARIABLE, text))) {
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
            said,
        })
    }
}

impl Filter for NormalizeTimestamps {
    fn key(&self) -> Option<String> {
        Some(format!("normalize-timestamps {}", self.mtime.seconds))
    }

    fn in_full(&self, typed: &str) -> String {
        let joint = if typed.contains(':') { ',' } else { ':' };
        let said = self.said.as_ref().map(|said| format!("{joint}ts={said}"));
        format!("{typed}{}", said.unwrap_or_default())
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
