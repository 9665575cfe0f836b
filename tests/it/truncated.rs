//! A cut archive is never accepted as complete, wherever it was cut.

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, gzip, zstd};
use crate::support::shape;

/// Cuts `archive` at `cuts` places and the borders of blocks at its end; each is refused, or (where
/// the end-of-archive mark alone is missing) moved whole.
fn never_verified(name: &str, archive: &[u8], image: &TestImage, cuts: usize, harmless: usize) {
    let sandbox = Sandbox::new();
    let mut before = sandbox.tree("out");
    let step = archive.len() / cuts;
    let places = (0..archive.len())
        .step_by(step.max(1))
        .chain(archive.len().saturating_sub(3)..archive.len());
    for at in places {
        std::fs::write(sandbox.path("in.tar"), &archive[..at]).unwrap();
        let said = sandbox.process(
            &sandbox.uri("tar", "in.tar"),
            &sandbox.uri("dir", "out"),
            &["--verify=full"],
        );
        if at >= archive.len() - harmless {
            said.verified();
            crate::support::landed::assert_in_directory(&sandbox.path("out"), image);
            before = sandbox.tree("out");
        } else {
            assert_eq!(said.code, 1, "{name} cut at {at} of {}: {}", archive.len(), said.stderr);
            assert!(said.stderr.starts_with("error: "), "{}", said.stderr);
        }
        assert_eq!(sandbox.tree("out"), before, "{name} cut at {at}");
        sandbox.assert_clean();
    }
}

#[test]
fn archives_cut_anywhere() {
    let image = TestImage::new("app:1");
    let archive = shape::legacy(&[&image], Pack::Gzip).bytes();
    // The last two blocks are zeros, the one before them pads the last member.
    never_verified("legacy", &archive, &image, 50, 1024);
    never_verified("oci", &shape::oci(&[&image], Pack::Zstd).bytes(), &image, 20, 1024);
}

#[test]
fn compressed_archives_cut_anywhere() {
    let image = TestImage::tiny("app:1");
    let archive = shape::legacy(&[&image], Pack::Plain).bytes();
    never_verified("gzip", &gzip(&archive), &image, 20, 0);
    never_verified("zstd", &zstd(&archive), &image, 20, 0);
}
