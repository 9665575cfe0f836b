//! Images of a seed: two or three layers of random members with a few names, so that they meet each other.

use super::EngineCase;
use crate::support::layer::{Member, device, dir, file, hardlink, symlink};
use tar::EntryType;

/// How many seeds are tried.
const SEEDS: u64 = 30;

const FOLDERS: [&str; 5] = ["", "a/", "b/", "a/c/", "k/"];
const NAMES: [&str; 4] = ["x", "y", "c", "k"];
const TARGETS: [&str; 8] = ["x", "a", "/a", "/b", "../b", "/a/c", "k", "/no"];

pub fn cases() -> Vec<EngineCase> {
    (0..SEEDS).map(|seed| EngineCase::of(format!("seed {seed}"), &layers(seed))).collect()
}

fn layers(seed: u64) -> Vec<Vec<Member>> {
    // A 64-bit LCG (Knuth's constants). Its first values depend on the seed only in their lower bits.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let count = 2 + next(2);
    (0..count)
        .map(|layer| {
            let members = if layer == 0 { 6 } else { 1 + next(4) };
            let mut all: Vec<Member> = Vec::new();
            for _ in 0..members {
                all.push(member(&mut next));
            }
            all
        })
        .collect()
}

fn member(next: &mut impl FnMut(usize) -> usize) -> Member {
    let folder = FOLDERS[next(FOLDERS.len())];
    let name = NAMES[next(NAMES.len())];
    let path = format!("{folder}{name}");
    let target = TARGETS[next(TARGETS.len())];
    match next(16) {
        0..=4 => file(path, b"x"),
        5..=7 => dir(path),
        8..=9 => symlink(path, target),
        10..=11 => {
            let from = FOLDERS[next(FOLDERS.len())];
            hardlink(path, &format!("{from}{}", NAMES[next(NAMES.len())]))
        }
        12..=13 => file(format!("{folder}.wh.{name}"), b""),
        14 => file(format!("{folder}.wh..wh..opq"), b""),
        _ => device(&path, EntryType::Fifo, 0, 0),
    }
}
