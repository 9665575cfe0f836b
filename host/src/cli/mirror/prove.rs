//! Options of `occystrap mirror verify`, `repair` and `prune`.

use std::time::Duration;

use clap::Args;

use super::MirrorOptions;
use crate::cli::quantity::{age, bytes};
use crate::mirror::selection::Part;

/// Options of `occystrap mirror verify`.
#[derive(Args)]
#[command(after_help = VERIFYING)]
pub struct MirrorVerifyOptions {
    #[command(flatten)]
    pub mirror: MirrorOptions,
    /// Read every byte of blobs, each blob of a host once
    #[arg(long, conflicts_with = "fast")]
    pub full: bool,
    /// Read manifests, and the last byte of each blob in each repository; this is the default
    #[arg(long)]
    pub fast: bool,
    /// Begin nothing more after this time, such as 2h
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub max_duration: Option<u64>,
    /// Begin nothing more after so many bytes, such as 500G
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_bytes: Option<u64>,
    /// Only what was not verified within this time, such as 30d
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub max_age: Option<u64>,
    /// Only a part: 3/7, 5% (the next 5 % each time), or 200G
    #[arg(long, value_name = "PART", value_parser = part)]
    pub subset: Option<Part>,
    /// Only what is recorded as bad
    #[arg(long)]
    pub failed: bool,
    /// Repair what is bad afterwards
    #[arg(long)]
    pub repair: bool,
    /// Exit with 3 while a blob was not read in full, or an image not verified, within this time
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub require: Option<u64>,
}

impl MirrorVerifyOptions {
    /// Returns how long the verification may take.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.max_duration.map(Duration::from_secs)
    }
}

/// Options of `occystrap mirror repair`.
#[derive(Args)]
#[command(after_help = REPAIRING)]
pub struct MirrorRepairOptions {
    #[command(flatten)]
    pub mirror: MirrorOptions,
}

/// Options of `occystrap mirror prune`.
#[derive(Args)]
#[command(after_help = PRUNING)]
pub struct MirrorPruneOptions {
    #[command(flatten)]
    pub mirror: MirrorOptions,
    /// Delete them, if FILE says 'prune: {extra: delete}'
    #[arg(long)]
    pub yes: bool,
}

const VERIFYING: &str = "\
Order: what is recorded as bad, what was never verified, what was verified longest ago. Recorded
damage fails every verification until it is repaired, also when the budget ends before reaching it.

Exit codes: 0 nothing is bad, 1 something is recorded as bad, 2 wrong command line or FILE,
3 something could not be checked or --require is not met, 130 stopped (run again: it goes on).

-O json prints a document with counts, coverage and what is bad; -O jsonl also a line for each finding.

Examples:
  occystrap mirror verify mirror.yaml
  occystrap mirror verify mirror.yaml --full --max-duration 2h --max-age 30d
  occystrap mirror verify mirror.yaml --full --subset 3/7
  occystrap mirror verify mirror.yaml --failed --repair";

const REPAIRING: &str = "\
Sends again what 'mirror verify' recorded as bad, and reads it back in full. What a registry keeps
damaged is deleted and sent again where it allows that; else the place to remove is reported.

Exit codes: 0 all repaired, 1 something is still bad, 2 wrong command line or FILE, 130 stopped.

Example:
  occystrap mirror repair mirror.yaml";

const PRUNING: &str = "\
Lists images at the destination that an earlier run brought there and no rule names any more.

Exit codes: 0 listed, or all deleted; 1 something was not deleted; 2 wrong command line or FILE.

Example:
  occystrap mirror prune mirror.yaml --yes";

/// Parses a part: `3/7`, `5%` or `2.5%`, or a number of bytes.
fn part(text: &str) -> Result<Part, String> {
    let wrong = || format!("expected a part such as 3/7, 5% or 200G, found '{text}'");
    if let Some((index, of)) = text.split_once('/') {
        let parsed = (index.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        return match parsed {
            (index, of) if (1..=of).contains(&index) => Ok(Part::Of { index, of }),
            _ => Err(wrong()),
        };
    }
    if let Some(share) = text.strip_suffix('%') {
        let (whole, rest) = share.split_once('.').unwrap_or((share, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(rest) || rest.len() > 2 {
            return Err(wrong());
        }
        let share: u32 = format!("{whole}{rest:0<2}").parse().map_err(|_| wrong())?;
        return match share {
            1..=10_000 => Ok(Part::Share(share)),
            _ => Err(wrong()),
        };
    }
    bytes(text).map(Part::Bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_and_wrong_ones_refused() {
        assert_eq!(part("3/7"), Ok(Part::Of { index: 3, of: 7 }));
        assert_eq!((part("5%"), part("2.5%")), (Ok(Part::Share(500)), Ok(Part::Share(250))));
        assert_eq!(part("200G"), Ok(Part::Bytes(200_000_000_000)));
        for wrong in ["0/7", "8/7", "3/", "0%", "101%", "%", "1.234%", "-5%", "seven"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
