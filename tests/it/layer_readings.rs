//! Layers whose members depend on the reader: a filter must see what the engine will see.

use crate::support::bystander::Bystander;
use crate::support::image::{Pack, TestImage};
use crate::support::python::layer_files;
use crate::support::raw_tar::{self, Raw};
use crate::support::shape;

/// An archive of an image with that layer.
fn archive(layer: Vec<u8>) -> Vec<u8> {
    shape::legacy(&[&TestImage::with_layers("app:1", vec![layer])], Pack::Plain).bytes()
}

#[test]
fn members_on_which_readers_differ_do_not_pass_a_filter() {
    let mut old = Bystander::new();
    let long = Raw::gnu_long("etc/secret", b"x").pax("path", "harmless");
    let global = {
        // Given for one member, and then for all.
        let mut member = Raw::file("harmless", b"x").pax("path", "etc/secret").bytes();
        member[156] = b'g';
        member[148..156].fill(b' ');
        let sum: u32 = member[..512].iter().map(|byte| u32::from(*byte)).sum();
        member[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        [member, vec![0; 1024]].concat()
    };
    let sparse = Raw::file("harmless", b"x").pax("GNU.sparse.name", "etc/secret");
    for (what, layer) in [
        ("two long names", raw_tar::tar(&[long])),
        ("a name for all members", global),
        ("a sparse file that is none", raw_tar::tar(&[sparse])),
    ] {
        std::fs::write(old.sandbox.path("in.tar"), archive(layer)).unwrap();
        let source = old.sandbox.uri("tar", "in.tar");
        old.refuses_source(what, &source, &["-f", "exclude:pattern=etc/secret"], || ());
        old.sandbox.run(&["check", &source]).exits(1);
    }
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn a_folder_in_a_gnu_header_is_excluded() {
    let old = Bystander::new();
    let hidden = Raw::file("secret", b"x").gnu().field(345, b"etc");
    let layer = raw_tar::tar(&[Raw::file("motd", b"hello"), hidden]);
    std::fs::write(old.sandbox.path("in.tar"), archive(layer)).unwrap();
    let filter = ["-f", "exclude:pattern=etc/secret", "--verify=full"];
    old.sandbox.process("tar://in.tar", "dir://filtered", &filter).verified();
    let [layer] = &layer_files(&old.sandbox.path("filtered"))[..] else { panic!("one layer") };
    let mut layer = tar::Archive::new(std::fs::File::open(layer).unwrap());
    let names = layer.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
    assert_eq!(names.collect::<Vec<_>>(), [std::path::Path::new("motd")]);
}
