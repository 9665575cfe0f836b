//! An intact image can be copied and checked, even if another image beside it is damaged.

use std::path::Path;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::shape::{self, Archive};

fn unpack(archive: &Archive, folder: &Path) {
    for (name, content) in &archive.0 {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// Members that belong to the damaged image alone: its config, its layers, and its manifest where it has one.
fn own(damaged: &Archive, sound: &Archive) -> Vec<String> {
    let lists = ["manifest.json", "index.json", "repositories"];
    let is_own = |name: &&String| {
        !lists.contains(&name.as_str())
            && !name.ends_with("VERSION")
            && sound.0.iter().all(|(known, _)| known != *name)
    };
    damaged.0.iter().map(|(name, _)| name).filter(is_own).cloned().collect()
}

#[test]
fn one_damaged_image_is_in_no_other_ones_way() {
    let sandbox = Sandbox::new();
    let (sound, damaged) = (TestImage::tiny("sound:1"), TestImage::new("damaged:1"));
    type Shape = fn(&[&TestImage], Pack) -> Archive;
    let shapes: [(&str, Shape, &[&str]); 5] = [
        ("legacy", shape::legacy, &["tar", "dir"]),
        ("podman", shape::podman, &["tar", "dir"]),
        ("crane", shape::crane, &["tar", "dir"]),
        ("docker25", shape::docker25, &["tar", "dir", "oci-layout"]),
        ("oci", shape::oci, &["tar", "oci-layout"]),
    ];
    let mut tried = 0;
    for (name, shape, schemes) in shapes {
        let whole = shape(&[&damaged, &sound], Pack::Gzip);
        for member in own(&shape(&[&damaged], Pack::Gzip), &shape(&[&sound], Pack::Gzip)) {
            for is_missing in [true, false] {
                let mut archive = whole.clone();
                match is_missing {
                    true => archive.remove(&member),
                    // No digest fits, and it is neither JSON nor a layer.
                    false => archive.set(&member, "damaged"),
                }
                let place = format!("{name}{tried}");
                tried += 1;
                archive.write(&sandbox.path(&format!("{place}.tar")));
                unpack(&archive, &sandbox.path(&place));
                for scheme in schemes {
                    let file =
                        if *scheme == "tar" { format!("{place}.tar") } else { place.clone() };
                    let source = format!("{scheme}://{file}?image=sound:1");
                    let what = format!("{source}, {member}, missing: {is_missing}");
                    let said = sandbox.process(&source, "dir://out", &[]);
                    assert_eq!(said.code, 0, "{what}: {}", said.stderr);
                    let said = sandbox.run(&["info", &source]);
                    assert_eq!(said.code, 0, "{what}: {}", said.stderr);
                    let said = sandbox.run(&["check", &source]);
                    assert_eq!(said.code, 0, "{what}: {}", said.stdout);
                    if name == "oci" {
                        let to = ["--all-platforms"];
                        let said = sandbox.process(&source, "oci-layout://all:1", &to);
                        assert_eq!(said.code, 0, "{what}: {}", said.stderr);
                    }
                    // The damaged one is not moved as if nothing had happened. Docker's own list needs no
                    // manifest.
                    if name != "docker25" {
                        let source = format!("{scheme}://{file}?image=damaged:1");
                        let said = sandbox.process(&source, "dir://never", &[]);
                        assert_eq!(said.code, 1, "{what}: {}", said.stderr);
                    }
                }
            }
        }
    }
    assert!(tried > 30, "{tried}");
}
