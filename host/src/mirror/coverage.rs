//! The last lines of a verification, and its exit code.

use std::time::Duration;

use super::verify::{EndedVerification, RecordedDamage};
use occystrap_base::error::Error;
use occystrap_base::terminal::size::size;
use occystrap_images::level::Level;
use occystrap_mirror::ledger::holding::{BlobSum, Coverage};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// The age up to which a blob counts as read, where the user asks for none: 30 days.
pub const USUAL_AGE: u64 = 30 * DAY;

/// Returns the line about what was verified.
#[must_use]
pub fn verified_line(
    ended: &EndedVerification,
    level: Level,
    damage: RecordedDamage,
    coverage: &Coverage,
) -> String {
    let counts = ended.counts;
    let mut what =
        vec![format!("{} of {} images", number(counts.images), number(damage.all_images))];
    what.push(format!("{} links", number(counts.links)));
    if level == Level::Full || counts.blobs.blobs > 0 {
        let BlobSum { blobs, bytes } = counts.blobs;
        let (all, all_bytes) = (coverage.all.blobs, coverage.all.bytes);
        what.push(format!(
            "{} of {} blobs ({} of {})",
            number(blobs),
            number(all),
            size(bytes),
            size(all_bytes)
        ));
    }
    let last = what.pop().unwrap_or_default();
    let mut line = format!("Verified {} and {last} in {}", what.join(", "), took(ended.took));
    let mut separator = ';';
    for (count, word) in [(damage.blobs + damage.images, "FAILED"), (counts.unchecked, "unchecked")]
    {
        if count > 0 {
            line.push_str(&format!("{separator} {} {word}", number(count)));
            separator = ',';
        }
    }
    if ended.is_cut {
        line.push_str("; the budget ended first");
    }
    line
}

/// Returns the line about the whole mirror; `None` where no registry has a blob of it. The first limit of the coverage is
/// `age`, in seconds.
#[must_use]
pub fn coverage_line(coverage: &Coverage, age: u64) -> Option<String> {
    let all = coverage.all.bytes;
    if coverage.all.blobs == 0 {
        return None;
    }
    let young = coverage.by_age.first().copied().unwrap_or_default().bytes;
    let mut line =
        format!("Whole mirror: {} % of bytes read within {}", share(young, all), long(age));
    if let Some(oldest) = coverage.oldest {
        line.push_str(&format!(", the oldest {} ago", long(oldest)));
    }
    if coverage.never.blobs > 0 {
        line.push_str(&format!(", {} % never", share(coverage.never.bytes, all)));
    }
    // What was read within the age, or since the first reading where that was later.
    let period = coverage.oldest.map(|oldest| oldest.clamp(DAY, age.max(DAY)));
    if let Some(period) = period.filter(|_| young > 0 && young < all) {
        let pace = (all as f64 / young as f64 * period as f64).round() as u64;
        line.push_str(&format!("; at this pace all of it every {}", long(pace)));
    }
    Some(line)
}

/// Returns why the mirror does not meet `--require`, or `None` where it does. The first limit of the coverage is the age.
#[must_use]
pub fn unmet(coverage: &Coverage, damage: RecordedDamage, age: u64) -> Option<String> {
    let young = coverage.by_age.first().copied().unwrap_or_default().blobs;
    let blobs = coverage.all.blobs.saturating_sub(young);
    if blobs == 0 && damage.old_images == 0 && damage.absent == 0 {
        return None;
    }
    let mut line = format!(
        "Not met: {} blobs were not read in full within {}, and {} images not verified",
        number(blobs),
        long(age),
        number(damage.old_images)
    );
    if damage.absent > 0 {
        line.push_str(&format!("; {} images of the file are not there", number(damage.absent)));
    }
    Some(line)
}

/// Returns the exit code: 130 for an interruption, 1 for recorded damage, 3 for what could not be checked or is older than
/// the user requires.
#[must_use]
pub fn exit_code(ended: &EndedVerification, damage: RecordedDamage, is_met: bool) -> u8 {
    match () {
        () if ended.is_interrupted => Error::interrupted().exit_code(),
        () if damage.blobs + damage.images > 0 => 1,
        () if ended.counts.unchecked > 0 || !is_met => 3,
        () => 0,
    }
}

fn share(part: u64, all: u64) -> String {
    match all {
        0 => "100.0".to_owned(),
        // Only all of it is 100 %.
        _ if part < all => format!("{:.1}", (part as f64 / all as f64 * 100.0).min(99.9)),
        _ => "100.0".to_owned(),
    }
}

/// Returns a number with its thousands separated.
fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn took(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", took.as_secs_f64()),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Returns a long time in one unit.
fn long(seconds: u64) -> String {
    let of = |count: u64, unit: &str| match count {
        1 => format!("1 {unit}"),
        _ => format!("{} {unit}s", number(count)),
    };
    match seconds {
        0..120 => of(seconds, "second"),
        120..7_200 => of(seconds / 60, "minute"),
        7_200..172_800 => of(seconds / 3_600, "hour"),
        _ => of(seconds / DAY, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(blobs: u64, bytes: u64) -> BlobSum {
        BlobSum { blobs, bytes }
    }

    #[test]
    fn the_last_lines_say_what_was_verified_and_how_much_of_the_mirror_that_is() {
        let counts = super::super::verify::VerifyCounts {
            images: 1_200,
            links: 18_900,
            blobs: sum(18_204, 1_900_000_000_000),
            unchecked: 3,
        };
        let mut ended = EndedVerification {
            run: occystrap_mirror::ledger::record::RunId(1),
            counts,
            is_cut: true,
            is_interrupted: false,
            took: Duration::from_secs(7_200),
        };
        let coverage = Coverage {
            all: sum(412_700, 41_000_000_000_000),
            never: sum(10, 1_000_000_000_000),
            bad: sum(2, 1_000),
            by_age: vec![sum(400_000, 20_500_000_000_000), sum(12_688, 1)],
            oldest: Some(44 * DAY),
        };
        let damage =
            RecordedDamage { blobs: 2, images: 0, absent: 0, all_images: 100_000, old_images: 4 };
        let lines = [
            verified_line(&ended, Level::Full, damage, &coverage),
            coverage_line(&coverage, USUAL_AGE).unwrap(),
            unmet(&coverage, damage, USUAL_AGE).unwrap(),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        Verified 1,200 of 100,000 images, 18,900 links and 18,204 of 412,700 blobs (1.9 TB of 41.0 TB) in 2h 0m; 2 FAILED, 3 unchecked; the budget ended first
        Whole mirror: 50.0 % of bytes read within 30 days, the oldest 44 days ago, 2.4 % never; at this pace all of it every 60 days
        Not met: 12,700 blobs were not read in full within 30 days, and 4 images not verified
        ");
        assert_eq!(exit_code(&ended, damage, true), 1);
        assert_eq!(exit_code(&ended, RecordedDamage::default(), true), 3);
        ended.counts.unchecked = 0;
        assert_eq!(exit_code(&ended, RecordedDamage::default(), true), 0);
        assert_eq!(exit_code(&ended, RecordedDamage::default(), false), 3);
        ended.is_interrupted = true;
        assert_eq!(exit_code(&ended, damage, true), 130);
        let all = Coverage { all: sum(1, 5), by_age: vec![sum(1, 5)], ..Coverage::default() };
        assert_eq!(unmet(&all, RecordedDamage::default(), DAY), None);
    }
}
