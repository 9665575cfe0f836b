//! Layers that were cut, looked at without a receipt and without reading them: what can be seen is
//! FAILED, what cannot be known is not called verified.

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::shape;

#[test]
fn a_cut_layer_is_not_verified_however_it_was_cut() {
    let layer = tar(&[("a", b"x"), ("b", &[b'x'; 700])]);
    // Two headers, one block and two: the end of the content.
    let end = 5 * 512;
    let image = TestImage::with_layers("app:1", vec![tar(&[("c", b"y")]), layer]);
    let whole = image.layers[1].clone();
    let sandbox = Sandbox::new();
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox.process("tar://in.tar", "dir://cd", &[]).verified();
    let layer = sandbox.path("cd").join(image.layer_path(1));
    sandbox.run(&["verify", "--fast", "dir://cd"]).verified();
    for (length, code) in [(100, 1), (513, 1), (512, 1), (end, 3), (whole.len(), 0)] {
        std::fs::write(&layer, &whole[..length]).unwrap();
        let said = sandbox.run(&["verify", "--fast", "dir://cd"]);
        assert_eq!(said.code, code, "{length} of {}: {}", whole.len(), said.stderr);
    }
    // The same in an archive that says of itself that it is whole.
    let mut archive = shape::legacy(&[&image], Pack::Plain);
    let cut = archive.0.iter().position(|(_, content)| *content == whole).unwrap();
    archive.0[cut].1.truncate(1536);
    archive.write(&sandbox.path("cut.tar"));
    sandbox.run(&["verify", "--fast", "tar://cut.tar"]).exits(1).says("cut off");
    // How large a compressed one must be nobody says.
    shape::docker25(&[&image], Pack::Gzip).write(&sandbox.path("packed.tar"));
    sandbox.run(&["verify", "--fast", "tar://packed.tar"]).exits(3);
}

#[test]
fn what_is_no_receipt_is_pointed_to_its_uri() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["verify", "in.tar"]);
    said.exits(1).says("'in.tar' is not a receipt").says("'occystrap verify tar://in.tar'");
    std::fs::create_dir(sandbox.path("out")).unwrap();
    sandbox.run(&["verify", "out"]).exits(1).says("'occystrap verify dir://out'");
}
