//! Cases about a plugin's own `verify`: what it must report, and what it must not change.

use super::damage::{Damage, things};
use super::specimen::small;
use super::stand::{self, Stand};
use super::{Stop, Verdict, fail};
use occystrap_images::level::Level;
use occystrap_output::plugin::bindings::verifier::Finding;
use occystrap_output::receipt::Receipt;
use occystrap_output::write::target::Target;

/// Largest number of reported failures for one kind of damage; the others are alike.
const NAMED: usize = 3;

fn written(stand: &Stand<'_>) -> std::result::Result<(Receipt, Target), Stop> {
    let target = stand.place()?;
    let receipt = stand.lands(&stand.image("app:1", &small())?, &target)?;
    Ok((receipt, target))
}

pub fn sound(stand: &Stand<'_>) -> Verdict {
    let (receipt, target) = written(stand)?;
    for level in [Level::Fast, Level::Full] {
        let findings = stand.asks(&receipt, &target, level)?;
        if let Some(finding) = findings.first() {
            return fail(format!("{}: {}", stand::name(level), describe(finding)));
        }
    }
    Ok(())
}

fn describe(finding: &Finding) -> String {
    format!("it says of '{}': {}", finding.subject, finding.message)
}

pub fn changes_nothing(stand: &Stand<'_>) -> Verdict {
    let (receipt, target) = written(stand)?;
    let before = stand.tree(&target)?;
    for level in [Level::Fast, Level::Full] {
        stand.asks(&receipt, &target, level)?;
    }
    // Nor may it repair damage: a verification that repairs hides what happened.
    let things = things(&receipt, &target, &stand.folder(&target))?;
    if let Some(thing) = things.first() {
        let undo = thing.damage(Damage::Missing)?;
        let damaged = stand.tree(&target)?;
        let said = stand.asks(&receipt, &target, Level::Full);
        let after = stand.tree(&target)?;
        drop(undo);
        said?;
        if let Some(paths) = stand::difference(&damaged, &after) {
            return fail(format!("where '{}' was missing, it changed {paths}", thing.subject()));
        }
    }
    match stand::difference(&before, &stand.tree(&target)?) {
        Some(paths) => fail(format!("it changed {paths}")),
        None => Ok(()),
    }
}

/// Damages everything that the receipt names, one object after another. The plugin must report each damage, and nothing
/// after the repair.
fn finds(stand: &Stand<'_>, damage: Damage, levels: &[Level]) -> Verdict {
    let (receipt, target) = written(stand)?;
    let mut overlooked = Vec::new();
    let mut tried = 0;
    for thing in things(&receipt, &target, &stand.folder(&target))?
        .iter()
        .filter(|thing| thing.can_have(damage))
    {
        for level in levels {
            let undo = thing.damage(damage)?;
            let said = stand.asks(&receipt, &target, *level);
            drop(undo);
            tried += 1;
            let what = format!("{}, {}: '{}'", stand::name(*level), damage.name(), thing.subject());
            match said {
                Ok(findings) if findings.is_empty() => {
                    overlooked.push(format!("{what}: no finding"))
                }
                Ok(findings)
                    if !findings.iter().any(|finding| thing.is_meant(&finding.subject)) =>
                {
                    let first = findings.first().map(describe).unwrap_or_default();
                    overlooked.push(format!("{what}: no finding names it; {first}"));
                }
                Ok(_) => {}
                Err(error) => overlooked.push(format!("{what}: it gave up: {error}")),
            }
        }
    }
    if let Some(finding) = stand.asks(&receipt, &target, Level::Full)?.first() {
        overlooked.push(format!("mended again, {}", describe(finding)));
    }
    match overlooked.len() {
        0 if tried == 0 => Err(Stop::Skipped("its receipt names no such thing".to_owned())),
        0 => Ok(()),
        more if more > NAMED => {
            let shown = overlooked.get(..NAMED).unwrap_or_default().join("; ");
            fail(format!("{shown}; and {} more", more - NAMED))
        }
        _ => fail(overlooked.join("; ")),
    }
}

const BOTH: [Level; 2] = [Level::Fast, Level::Full];

pub fn missing(stand: &Stand<'_>) -> Verdict {
    finds(stand, Damage::Missing, &BOTH)
}

pub fn cut(stand: &Stand<'_>) -> Verdict {
    finds(stand, Damage::Cut, &BOTH)
}

pub fn grown(stand: &Stand<'_>) -> Verdict {
    finds(stand, Damage::Grown, &BOTH)
}

pub fn folder(stand: &Stand<'_>) -> Verdict {
    finds(stand, Damage::Folder, &BOTH)
}

pub fn changed(stand: &Stand<'_>) -> Verdict {
    finds(stand, Damage::Changed, &[Level::Full])
}

pub fn entry(stand: &Stand<'_>) -> Verdict {
    finds(stand, Damage::Emptied, &BOTH)
}

pub fn nothing_left(stand: &Stand<'_>) -> Verdict {
    let (receipt, target) = written(stand)?;
    let all = things(&receipt, &target, &stand.folder(&target))?;
    let undo =
        all.iter().map(|thing| thing.damage(Damage::Missing)).collect::<Result<Vec<_>, _>>()?;
    let said = stand.asks(&receipt, &target, Level::Fast);
    // Repaired in the order of the damage; otherwise a file would be restored to its damaged state.
    undo.into_iter().rev().for_each(drop);
    match said {
        Ok(findings) if findings.is_empty() => fail("everything is gone, and it finds nothing"),
        Ok(_) => Ok(()),
        Err(error) => fail(format!("everything is gone, and it gave up: {error}")),
    }
}
