//! Plugins that were built against a released interface still work. `tests/fixtures/README.md` says how these were made;
//! `cargo xtask wit --check` checks whether the interface has changed.

use std::path::PathBuf;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::plugin::replaced;
use crate::support::shape;

/// Every version of which plugins may be in use.
const RELEASES: [&str; 1] = ["0.1.0"];

fn fixture(release: &str, name: &str) -> PathBuf {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    fixtures.join(format!("plugins-{release}/{name}.wasm"))
}

#[test]
fn it_writes_and_verifies() {
    for release in RELEASES {
        let sandbox = Sandbox::new();
        shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
        let plugin = fixture(release, "plain").display().to_string();
        let receipt = sandbox.path("receipt").display().to_string();
        let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("hostile", "out"));
        let more = ["--plugin", &plugin, "--receipt", &receipt];
        sandbox.process(&from, &to, &more).verified();
        sandbox.run(&["verify", &receipt, "--plugin", &plugin]).verified();
        let layer = sandbox.path("out/layer-1");
        let mut bytes = std::fs::read(&layer).unwrap();
        bytes[1_000] ^= 1;
        std::fs::write(&layer, bytes).unwrap();
        sandbox.run(&["verify", &receipt, "--plugin", &plugin]).exits(1);
    }
}

/// It imports every function of every interface, and exports what a plugin exports; none of it does
/// anything. That it describes itself shows that all of it could be linked.
#[test]
fn every_function_that_was_there_is_there() {
    for release in RELEASES {
        let plugin = fixture(release, "everything").display().to_string();
        let said = Sandbox::new().run(&["plugin", "show", &plugin]);
        let crashed = "was stopped: it crashed (a panic, or out of memory)";
        said.exits(1).says(crashed);
    }
}

/// A plugin that was built against a later version of the same track, and uses nothing that is new
/// in it, loads as well; one of another track is reported as such.
#[test]
fn later_versions_of_the_track_fit() {
    let sandbox = Sandbox::new();
    let plain = std::fs::read(fixture("0.1.0", "plain")).unwrap();
    let later = sandbox.component("later.wasm", &replaced(&plain, b"@0.1.0", b"@0.1.9"));
    sandbox.run(&["plugin", "show", &later]).exits(0);
    let other = sandbox.component("other.wasm", &replaced(&plain, b"@0.1.0", b"@0.2.0"));
    sandbox.run(&["plugin", "show", &other]).exits(1).says("does not fit this version");
}
