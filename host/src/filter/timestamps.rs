//! `normalize-timestamps[:ts=N][,config=true]`: one time for everything, so that the same content
//! gives the same image whenever it was made.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::config::Edits;
use super::{Applied, Filter, Pass, Spec, Verdict};
use crate::error::Result;
use crate::image::Image;
use crate::layer_tar::{Member, Time};

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
}

impl NormalizeTimestamps {
    /// From what the user typed.
    pub fn new(spec: &Spec, environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        spec.only(&["ts", "timestamp", "config"])?;
        let typed = match (spec.one("ts")?, spec.one("timestamp")?) {
            (Some(_), Some(_)) => return Err(spec.error("'ts' and 'timestamp' are the same")),
            (one, other) => one.or(other).map(|text| ("ts", text.to_owned())),
        };
        let variable = || environment(VARIABLE).filter(|text| !text.is_empty());
        let said = typed.or_else(|| variable().map(|text| (VARIABLE, text)));
        let time = match said {
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
        })
    }
}

/// What to type for the same where the environment says nothing.
pub fn in_full(
    text: &str,
    spec: &Spec,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<String> {
    let typed = spec.one("ts")?.or(spec.one("timestamp")?).is_some();
    let said = environment(VARIABLE).filter(|said| !typed && !said.is_empty());
    Ok(said.map_or_else(
        || text.to_owned(),
        |said| {
            let joint = if text.contains(':') { ',' } else { ':' };
            format!("{text}{joint}ts={said}")
        },
    ))
}

impl Filter for NormalizeTimestamps {
    fn key(&self) -> Option<String> {
        Some(format!("normalize-timestamps {}", self.mtime.seconds))
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
