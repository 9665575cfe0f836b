//! Another process changes a destination while it is verified: an intact image is not called FAILED, and a damaged one is.
//!
//! strace makes the run slow, so that the change always comes in between.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::real::installed;
use crate::support::shape;
use crate::support::traced::under_strace;

/// Every look into the file system takes so long.
const SLOW: &str = "inject=openat,openat2,newfstatat,statx:delay_enter=5000";

/// Time between two changes.
const PACE: Duration = Duration::from_millis(20);

/// A destination, how an image gets there, and the files that another process replaces.
struct Place {
    to: &'static str,
    verified: &'static str,
    lists: &'static [&'static str],
}

const PLACES: [Place; 4] = [
    Place {
        to: "dir://out",
        verified: "dir://out",
        lists: &["out/catalog.json", "out/manifest.json"],
    },
    Place {
        to: "dir://out?unique_names=true",
        verified: "dir://out",
        lists: &["out/catalog.json", "out/manifest-app@1.json"],
    },
    Place { to: "oci-layout://out:1", verified: "oci-layout://out", lists: &["out/index.json"] },
    Place { to: "tar://out.tar", verified: "tar://out.tar", lists: &["out.tar"] },
];

/// A sandbox with two images of one name, which were both written to the place, and what its lists were
/// after each of them.
fn busy(place: &Place) -> (Sandbox, [Vec<Vec<u8>>; 2]) {
    let sandbox = Sandbox::new();
    let images = [TestImage::tiny("app:1"), TestImage::new("app:1")];
    let lists = ["one.tar", "two.tar"].map(|file| {
        let image = if file == "one.tar" { &images[0] } else { &images[1] };
        shape::legacy(&[image], Pack::Gzip).write(&sandbox.path(file));
        sandbox.process(&format!("tar://{file}"), place.to, &[]).verified();
        place.lists.iter().map(|list| std::fs::read(sandbox.path(list)).unwrap()).collect()
    });
    (sandbox, lists)
}

/// Replaces files one after the other, as a commit does; an archive is written in place, as `docker save`
/// does.
fn replace(sandbox: &Sandbox, place: &Place, contents: &[Vec<u8>]) {
    for (list, content) in place.lists.iter().zip(contents) {
        let path = sandbox.path(list);
        if place.to.starts_with("tar") {
            std::fs::write(path, content).unwrap();
        } else {
            std::fs::write(sandbox.path("next"), content).unwrap();
            std::fs::rename(sandbox.path("next"), path).unwrap();
        }
    }
}

/// Runs a command, slowly, while another process replaces one image by the other all the time.
fn amid_changes(
    sandbox: &Sandbox,
    place: &Place,
    lists: &[Vec<Vec<u8>>; 2],
    words: &[&str],
) -> Ran {
    let mut command = under_strace(sandbox, words, &[SLOW]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for turn in 0.. {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        replace(sandbox, place, &lists[turn % 2]);
        std::thread::sleep(PACE);
    }
    Ran::ended(child.wait_with_output().unwrap())
}

#[test]
fn an_image_that_another_process_replaces_all_the_time_is_not_called_failed() {
    let test = "an_image_that_another_process_replaces_all_the_time_is_not_called_failed";
    if !installed(test, &["strace"]) {
        return;
    }
    for place in &PLACES {
        let (sandbox, lists) = busy(place);
        for words in [&["verify", place.verified][..], &["check", place.verified]] {
            let said = amid_changes(&sandbox, place, &lists, words);
            let what = format!("{words:?}: {} {}\n{}", said.code, said.stdout, said.stderr);
            assert!(said.code == 0 || said.code == 3, "{what}");
            assert!(said.code == 0 || what.contains("changed while it was read"), "{what}");
        }
        // At rest it is what it is.
        replace(&sandbox, place, &lists[1]);
        sandbox.run(&["verify", place.verified]).verified();
        sandbox.run(&["check", place.verified]).exits(0);
    }
}

#[test]
fn a_damaged_image_is_failed_also_where_another_process_writes_all_the_time() {
    let test = "a_damaged_image_is_failed_also_where_another_process_writes_all_the_time";
    if !installed(test, &["strace"]) {
        return;
    }
    for place in &PLACES[..3] {
        let (sandbox, mut lists) = busy(place);
        // The first layer of the image, which both lists lead to from now on.
        let image = TestImage::new("app:1");
        let digest = occystrap_base::oci::Digest::of(&image.layers[0]);
        let plain = format!("out/{}/layer.tar", digest.hex());
        let gzip = Pack::Gzip.pack(&image.layers[0]);
        let blob = format!("out/blobs/sha256/{}", occystrap_base::oci::Digest::of(&gzip).hex());
        let layer = if place.to.starts_with("dir") { plain } else { blob };
        lists[0] = lists[1].clone();
        for damage in [damaged as fn(&Path), |path: &Path| std::fs::remove_file(path).unwrap()] {
            damage(&sandbox.path(&layer));
            for words in [&["verify", place.verified][..], &["check", place.verified]] {
                let said = amid_changes(&sandbox, place, &lists, words);
                said.exits(1);
            }
        }
    }
}

fn damaged(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Starts a slow run that writes the first image, and waits until it has committed it. `lists` is what the lists are
/// then.
fn committed(sandbox: &Sandbox, place: &Place, lists: &[Vec<u8>]) -> Child {
    let mut command = under_strace(sandbox, &["process", "tar://one.tar", place.to], &[SLOW]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_there = || {
        let mut lists = place.lists.iter().zip(lists);
        lists.all(|(list, content)| {
            std::fs::read(sandbox.path(list)).is_ok_and(|now| now == *content)
        })
    };
    while !is_there() || sandbox.path("out/.occystrap-commit.json").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn a_run_whose_image_another_run_replaces_before_it_is_verified_does_not_fail() {
    let test = "a_run_whose_image_another_run_replaces_before_it_is_verified_does_not_fail";
    if !installed(test, &["strace"]) {
        return;
    }
    for place in &PLACES {
        let (sandbox, lists) = busy(place);
        // The first image is there when the slow run has committed it: then another run replaces it.
        let child = committed(&sandbox, place, &lists[0]);
        sandbox.process("tar://two.tar", place.to, &[]).verified();
        let said = Ran::ended(child.wait_with_output().unwrap());
        let what = format!("{}: {} {}", place.to, said.code, said.stderr);
        assert!(!said.stderr.contains("FAILED"), "{what}");
        assert!(said.stderr.contains("another process has replaced it since"), "{what}");
        // No problem was seen: `process` succeeded.
        said.exits(0);
    }
}

#[test]
fn damage_in_place_after_the_write_is_failed() {
    let test = "damage_in_place_after_the_write_is_failed";
    if !installed(test, &["strace"]) {
        return;
    }
    // An archive is open once, and read within a moment.
    for place in &PLACES[..3] {
        let (sandbox, lists) = busy(place);
        let child = committed(&sandbox, place, &lists[0]);
        damaged(&sandbox.path(place.lists.last().unwrap()));
        Ran::ended(child.wait_with_output().unwrap()).exits(1).says("FAILED");
    }
}
