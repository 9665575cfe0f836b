//! A `dir://` directory of 100,000 images: written to, verified and read within the limits of the plugin. Also catalogs
//! that cannot be used, which are refused before anything is fetched.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::landed::assert_in_directory;
use crate::support::push::push;
use crate::support::python::Python;
use crate::support::registry::Registry;
use crate::support::shape;

const IMAGES: usize = 100_000;

/// A repository's name of 200 bytes.
fn repository(number: usize) -> String {
    format!("registry.example.com/{:0>179}", format!("team/service-{number:06}"))
}

/// A catalog as the output writes it: each image in a repository of its own.
fn repositories() -> String {
    let mut text = String::from("{");
    for number in 0..IMAGES {
        let (name, comma) = (repository(number), if number > 0 { "," } else { "" });
        let file = format!("manifest-{}@2026.11.29.json", name.replace('/', "+"));
        write!(text, "{comma}\n  \"{name}\": {{\n    \"2026.11.29\": \"{file}\"\n  }}").unwrap();
    }
    text + "\n}\n"
}

/// Returns a catalog with all images in one repository.
fn tags() -> String {
    let mut text = String::from("{\n  \"many/tags\": {");
    for number in 0..IMAGES {
        let (tag, comma) = (format!("{number:0>120}"), if number > 0 { "," } else { "" });
        write!(text, "{comma}\n    \"{tag}\": \"manifest-many+tags@{tag}.json\"").unwrap();
    }
    text + "\n  }\n}\n"
}

fn directory(sandbox: &Sandbox, catalog: &str) {
    std::fs::create_dir_all(sandbox.path("out")).unwrap();
    std::fs::write(sandbox.path("out/catalog.json"), catalog).unwrap();
}

#[test]
fn an_image_lands_among_100_000_others_and_is_found() {
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("many/tags:9");
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let entry = "\n    \"9\": \"manifest-many+tags@9.json\"";
    let (old, more) = (repositories(), tags());
    let first = format!("{{\n  \"many/tags\": {{{entry}\n  }},{}", &old[1..]);
    let end = "\n  }\n}\n";
    let last = format!("{},{entry}{end}", more.strip_suffix(end).unwrap());
    for (old, expected, name) in [(old, first, "repositories"), (more, last, "tags")] {
        directory(&sandbox, &old);
        let to = sandbox.uri("dir", "out?unique_names=true&checksums=true");
        let words = ["--verify=full", "--receipt", "receipt.json"];
        std::fs::remove_file(sandbox.path("receipt.json")).unwrap_or_default();
        sandbox.process("tar://in.tar", &to, &words).verified();
        assert_in_directory(&sandbox.path("out"), &image);

        // Nothing else has changed, and the layout of the text is the same.
        let text = std::fs::read_to_string(sandbox.path("out/catalog.json")).unwrap();
        assert!(text == expected, "{name}");

        if name == "repositories" {
            // As a source, without reading the other manifests, which are not there.
            let from = "dir://out?image=many/tags:9";
            sandbox.run(&["check", from]).exits(0);
            sandbox.process(from, "tar://back.tar", &["--verify=full"]).verified();
            // A receipt that is not trusted has less time, and no less of the catalog.
            let root = sandbox.path("out").display().to_string();
            sandbox.run(&["verify", "--untrusted", "--root", &root, "receipt.json"]).exits(0);
        }
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

#[test]
fn without_a_receipt_the_right_image_is_verified_among_those_that_are_gone() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("aa/one:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    directory(&sandbox, &repositories());
    let to = sandbox.uri("dir", "out?unique_names=true");
    sandbox.process("tar://in.tar", &to, &[]).verified();
    let said = sandbox.run(&["verify", "dir://out"]);
    said.exits(1).says(&format!("1/{} verified, {IMAGES} FAILED", IMAGES + 1));
    assert!(!said.stderr.contains("aa/one"));
}

#[test]
fn the_predecessor_reads_an_image_among_100_000_others() {
    let Some(python) = Python::find("the_predecessor_reads_an_image_among_100_000_others") else {
        return;
    };
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("team/app:1");
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    directory(&sandbox, &repositories());
    let to = sandbox.uri("dir", "out?unique_names=true");
    sandbox.process("tar://in.tar", &to, &[]).verified();
    let [out, archive] = ["out", "python.tar"].map(|name| sandbox.path(name).display().to_string());
    python.run(&sandbox, &["recreate-image", &out, "team/app", "1", &archive]).exits(0);
    sandbox.process("tar://python.tar", "dir://back", &["--verify=full"]).verified();
}

/// The catalog is left as it is, and no layer was asked for.
#[track_caller]
fn refused(sandbox: &Sandbox, registry: &Registry, source: &str, catalog: &[u8], why: &str) {
    std::fs::create_dir_all(sandbox.path("out")).unwrap();
    std::fs::write(sandbox.path("out/catalog.json"), catalog).unwrap();
    // This makes it a directory of the output, whatever its catalog is.
    std::fs::create_dir_all(sandbox.path("out").join("0".repeat(64))).unwrap();
    let before = registry.requests_of("GET", "/blobs/").len();
    let said = sandbox.process(source, "dir://out", &["--force"]);
    said.exits(1).says("the 'catalog.json' that is there ").says(why);
    let config = registry.requests_of("GET", "/blobs/").len() - before;
    assert!(config <= 1, "layers were fetched");
    assert!(std::fs::read(sandbox.path("out/catalog.json")).unwrap() == catalog);
}

#[test]
fn a_catalog_that_cannot_be_used_is_refused_before_a_layer_is_fetched() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let source = push(&registry, &TestImage::new("app:1"), Pack::Gzip);
    let app = |text: &str| text.replace("APP", &format!("{}/app", registry.url_host()));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (catalog, why) in [
        ("[1]", "is not a JSON object; move it away first"),
        ("{\"a\":", "cannot be read: a value was expected at byte 5; move it away first"),
        (&app(r#"{"APP":{},"APP":{}}"#), "/app' twice"),
        (&app(r#"{"APP":{"1":"a","1":"b"}}"#), "/app:1' twice"),
        (&app(r#"{"APP":1}"#), "has something other than tags under '"),
        (&long, "a string has more than 65536 bytes"),
        (&deep, "it is nested deeper than 10000"),
    ] {
        refused(&sandbox, &registry, &source, catalog.as_bytes(), why);
    }
    refused(&sandbox, &registry, &source, b"{\"a\":\"\xff\"}", "a string is not UTF-8");
}

#[test]
fn a_catalog_above_the_limit_is_refused_before_a_layer_is_fetched() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let source = push(&registry, &TestImage::new("app:1"), Pack::Gzip);
    sandbox.process(&source, "dir://out", &["--receipt", "receipt.json"]).verified();
    // A hole costs no disk.
    let catalog = std::fs::OpenOptions::new().write(true).open(sandbox.path("out/catalog.json"));
    catalog.unwrap().set_len(128 * 1024 * 1024 - 10).unwrap();
    std::fs::remove_dir_all(
        sandbox.path("out").join(TestImage::new("app:1").layer_path(0)).parent().unwrap(),
    )
    .unwrap();
    let before = registry.requests_of("GET", "/blobs/").len();
    let said = sandbox.process(&source, "dir://out", &[]);
    said.exits(1).says("no reader takes more than 134217728; write to another directory");
    assert!(registry.requests_of("GET", "/blobs/").len() <= before + 1);
    // A catalog that is too large to be read is not called wrong.
    let catalog = std::fs::OpenOptions::new().write(true).open(sandbox.path("out/catalog.json"));
    catalog.unwrap().set_len(128 * 1024 * 1024 + 1).unwrap();
    let said = sandbox.run(&["verify", "-O", "json", "receipt.json"]).json();
    let objects = said["images"][0]["verification"]["objects"].as_array().unwrap().clone();
    let state = |kind: &str| -> Vec<Value> {
        objects.iter().filter(|one| one["kind"] == kind).map(|one| one["status"].clone()).collect()
    };
    assert_eq!(state("catalog"), ["unchecked"]);
}

#[test]
fn entries_that_others_left_in_the_catalog_stay_and_are_in_nobodys_way() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    directory(&sandbox, r#"{"\u0061":{"1":"x\/y"},"zz":{"1":"p"},"zz":{"1":"q"},"n":null}"#);
    let words = ["--verify=full", "--force", "--receipt", "receipt.json"];
    sandbox.process("tar://in.tar", "dir://out", &words).verified();
    let text = std::fs::read_to_string(sandbox.path("out/catalog.json")).unwrap();
    let text: String = text.split_whitespace().collect();
    assert_eq!(
        text,
        r#"{"\u0061":{"1":"x\/y"},"app":{"1":"manifest.json"},"zz":{"1":"p"},"zz":{"1":"q"},"n":null}"#
    );
    sandbox.run(&["verify", "receipt.json"]).verified();
    // If the image is ambiguous, neither of the two is reported.
    sandbox.run(&["verify", "dir://out"]).exits(1).says("is not a catalog of images");
}

#[test]
fn checksums_of_100_000_images_are_kept_line_by_line() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox.process("tar://in.tar", "dir://out?checksums=true", &[]).verified();
    let ours = std::fs::read_to_string(sandbox.path("out/SHA256SUMS")).unwrap();
    let mut sums = String::from("# of the registry\n");
    for number in 0..IMAGES * 5 {
        writeln!(sums, "{:064x}  f/{number:080}/layer.tar", number).unwrap();
    }
    std::fs::write(sandbox.path("out/SHA256SUMS"), &sums).unwrap();
    sandbox.process("tar://in.tar", "dir://out?checksums=true", &[]).verified();
    let text = std::fs::read_to_string(sandbox.path("out/SHA256SUMS")).unwrap();
    assert!(text.starts_with("# of the registry\n"));
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert!(lines(&text) == lines(&(sums + &ours)));
}
