//! `occystrap verify` of real output that was damaged: fast finds wrong existence and size, full finds everything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::shape;

/// Three layers, two of them of one size.
fn image() -> TestImage {
    let layers = vec![
        tar(&[("etc/a", b"first")]),
        tar(&[("usr/lib/noise", &crate::support::image::noise(7, 300_000))]),
        tar(&[("etc/a", b"third")]),
    ];
    TestImage::with_layers("app:1", layers)
}

/// An output with its receipt, each time anew.
fn written(scheme: &str, name: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    shape::legacy(&[&image()], Pack::Gzip).write(&sandbox.path("in.tar"));
    let receipt = sandbox.path("receipt").display().to_string();
    let to = sandbox.uri(scheme, name);
    sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &["--receipt", &receipt]).verified();
    let path = sandbox.path(name);
    (sandbox, path)
}

/// Both subjects at both levels: exit codes, and each object that is not right.
fn judge(sandbox: &Sandbox, uri: &str) -> [(i32, Vec<String>); 4] {
    let receipt = sandbox.path("receipt").display().to_string();
    [(receipt.as_str(), "--fast"), (&receipt, ""), (uri, "--fast"), (uri, "")].map(
        |(target, level)| {
            let arguments = ["verify", target, "-O", "json", level];
            let given = arguments.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
            let said = sandbox.run(&given);
            (said.code, problems(sandbox, &said.json()))
        },
    )
}

fn problems(sandbox: &Sandbox, document: &Value) -> Vec<String> {
    let images = document["images"].as_array().unwrap().iter();
    if let Some(message) = document["images"][0]["error"]["message"].as_str() {
        return vec![sandbox.redact(&format!("error: {message}"))];
    }
    let objects = images.flat_map(|image| image["verification"]["objects"].as_array().unwrap());
    let bad = objects.filter(|object| object["status"] != "ok");
    bad.map(|object| {
        let mut line = object["kind"].as_str().unwrap().to_owned();
        if let Some(index) = object["index"].as_u64() {
            write!(line, " {index}").unwrap();
        }
        write!(line, " {}", object["status"].as_str().unwrap()).unwrap();
        for side in ["expected", "found"] {
            if let Some(text) = object[side].as_str() {
                write!(line, ", {side} {text}").unwrap();
            }
        }
        write!(line, " ({})", object["message"].as_str().unwrap()).unwrap();
        sandbox.redact(&line)
    })
    .collect()
}

/// Damages an output, and writes down what is said of it.
fn case(transcript: &mut String, scheme: &str, name: &str, what: &str, damage: &dyn Fn(&Path)) {
    let (sandbox, path) = written(scheme, name);
    damage(&path);
    let before = sandbox.tree("");
    let [receipt_fast, receipt_full, uri_fast, uri_full] =
        judge(&sandbox, &sandbox.uri(scheme, name));
    assert_eq!(sandbox.tree(""), before, "verifying changes nothing");
    assert_eq!(receipt_full.0, 1, "{what}: {receipt_full:?}");
    assert!(uri_full.0 != 0 || what.contains("between"), "{what}: {uri_full:?}");
    writeln!(transcript, "## {what}").unwrap();
    for (how, (code, problems)) in [
        ("receipt, fast", receipt_fast),
        ("receipt, full", receipt_full),
        (&format!("{scheme}://, fast"), uri_fast),
        (&format!("{scheme}://, full"), uri_full),
    ] {
        writeln!(transcript, "{how}: exit {code}").unwrap();
        for problem in problems {
            writeln!(transcript, "    {problem}").unwrap();
        }
    }
    transcript.push('\n');
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, length: u64) {
    std::fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_directory() {
    let image = image();
    let layer = |out: &Path, index: usize| out.join(image.layer_path(index));
    let config = |out: &Path| out.join(image.config_path());
    let manifest = |out: &Path| out.join("manifest.json");
    let catalog = |out: &Path| out.join("catalog.json");
    let mut all = String::new();
    let mut damage =
        |what: &str, damage: &dyn Fn(&Path)| case(&mut all, "dir", "out", what, damage);
    damage("one bit of a layer is flipped", &|out| flip(&layer(out, 1), 200_000));
    damage("a layer is cut", &|out| cut(&layer(out, 1), 200_000));
    damage("a layer is longer", &|out| cut(&layer(out, 1), 400_000));
    damage("a layer is empty", &|out| cut(&layer(out, 1), 0));
    damage("a layer is deleted", &|out| std::fs::remove_file(layer(out, 1)).unwrap());
    damage("a layer's folder is deleted", &|out| {
        std::fs::remove_dir_all(layer(out, 1).parent().unwrap()).unwrap()
    });
    damage("a layer is a directory", &|out| {
        std::fs::remove_file(layer(out, 1)).unwrap();
        std::fs::create_dir(layer(out, 1)).unwrap();
    });
    damage("a layer is a link to a good copy", &|out| {
        std::fs::rename(layer(out, 1), out.join("copy")).unwrap();
        std::os::unix::fs::symlink("../copy", layer(out, 1)).unwrap();
    });
    damage("two layers of one size are swapped", &|out| {
        std::fs::write(layer(out, 0), &image.layers[2]).unwrap();
        std::fs::write(layer(out, 2), &image.layers[0]).unwrap();
    });
    damage("two layers of different size are swapped", &|out| {
        std::fs::write(layer(out, 0), &image.layers[1]).unwrap();
        std::fs::write(layer(out, 1), &image.layers[0]).unwrap();
    });
    damage("the config is replaced", &|out| {
        std::fs::write(config(out), TestImage::tiny("other:1").config).unwrap()
    });
    damage("the config is replaced by one of the same size", &|out| {
        edit(&config(out), "linux", "minix")
    });
    damage("the config is no JSON", &|out| std::fs::write(config(out), "hello").unwrap());
    damage("the config is deleted", &|out| std::fs::remove_file(config(out)).unwrap());
    damage("the manifest is no JSON", &|out| flip(&manifest(out), 0));
    damage("the manifest is empty", &|out| cut(&manifest(out), 0));
    damage("the manifest is deleted", &|out| std::fs::remove_file(manifest(out)).unwrap());
    damage("the manifest lists two layers in the wrong order", &|out| {
        let (first, third) = (image.layer_path(0), image.layer_path(2));
        edit(&manifest(out), &first, "SWAP");
        edit(&manifest(out), &third, &first);
        edit(&manifest(out), "SWAP", &third);
    });
    damage("the manifest lists a layer too few", &|out| {
        edit(&manifest(out), &format!("\"{}\",", image.layer_path(0)), "")
    });
    damage("the catalog names another manifest", &|out| {
        edit(&catalog(out), "manifest.json", "other.json")
    });
    damage("the catalog does not name the image", &|out| {
        std::fs::write(catalog(out), "{}").unwrap()
    });
    damage("the catalog is no JSON", &|out| cut(&catalog(out), 5));
    damage("the directory is deleted", &|out| std::fs::remove_dir_all(out).unwrap());
    insta::assert_snapshot!(all);
}

#[test]
fn an_oci_layout() {
    let image = image();
    let blob = |out: &Path, digest: Digest| out.join("blobs/sha256").join(digest.hex());
    let layer =
        |out: &Path, index: usize| blob(out, Digest::of(&Pack::Gzip.pack(&image.layers[index])));
    let config = |out: &Path| blob(out, image.id());
    let index = |out: &Path| out.join("index.json");
    let manifest = |out: &Path| {
        let index: Value = serde_json::from_slice(&std::fs::read(index(out)).unwrap()).unwrap();
        blob(out, index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap())
    };
    let mut all = String::new();
    let mut damage =
        |what: &str, damage: &dyn Fn(&Path)| case(&mut all, "oci-layout", "out", what, damage);
    damage("one bit of a layer is flipped", &|out| flip(&layer(out, 1), 200_000));
    damage("a layer is cut", &|out| cut(&layer(out, 1), 200_000));
    damage("a layer is empty", &|out| cut(&layer(out, 1), 0));
    damage("a layer is deleted", &|out| std::fs::remove_file(layer(out, 1)).unwrap());
    damage("all blobs are deleted", &|out| std::fs::remove_dir_all(out.join("blobs")).unwrap());
    damage("a layer is a link to a good copy", &|out| {
        std::fs::rename(layer(out, 1), out.join("copy")).unwrap();
        std::os::unix::fs::symlink("../../copy", layer(out, 1)).unwrap();
    });
    damage("one bit of the config is flipped", &|out| flip(&config(out), 50));
    damage("the config is deleted", &|out| std::fs::remove_file(config(out)).unwrap());
    damage("one bit of the manifest is flipped", &|out| flip(&manifest(out), 100));
    damage("the manifest is cut", &|out| cut(&manifest(out), 100));
    damage("the manifest is deleted", &|out| std::fs::remove_file(manifest(out)).unwrap());
    damage("the index names another digest", &|out| {
        let text = std::fs::read_to_string(index(out)).unwrap();
        let other = text.replace(&manifest(out).display().to_string(), "");
        let named = manifest(out).file_name().unwrap().to_str().unwrap().to_owned();
        std::fs::write(index(out), other.replace(&named, &image.id().hex())).unwrap();
    });
    damage("the index names another size", &|out| {
        let size = manifest(out).metadata().unwrap().len();
        edit(&index(out), &format!("\"size\":{size}"), "\"size\":17");
    });
    damage("the index names another media type", &|out| {
        edit(&index(out), "image.manifest.v1+json", "image.index.v1+json");
    });
    damage("the index has the name twice", &|out| {
        let mut document: Value =
            serde_json::from_slice(&std::fs::read(index(out)).unwrap()).unwrap();
        let entry = document["manifests"][0].clone();
        document["manifests"].as_array_mut().unwrap().push(entry);
        document["manifests"][1]["digest"] = image.id().to_string().into();
        std::fs::write(index(out), document.to_string()).unwrap();
    });
    damage("the index lists two images under the tag", &|out| {
        let mut document: Value =
            serde_json::from_slice(&std::fs::read(index(out)).unwrap()).unwrap();
        let other = document["manifests"][0].clone();
        document["manifests"].as_array_mut().unwrap().push(other);
        std::fs::write(index(out), document.to_string()).unwrap();
    });
    damage("the index has no schema version", &|out| {
        edit(&index(out), "schemaVersion", "schemaversion")
    });
    damage("the index has another schema version", &|out| {
        edit(&index(out), "\"schemaVersion\":2", "\"schemaVersion\":3")
    });
    damage("the index names another platform", &|out| {
        edit(&index(out), "amd64", "s390x");
        edit(&index(out), "linux", "windows");
    });
    damage("the marker is deleted", &|out| std::fs::remove_file(out.join("oci-layout")).unwrap());
    damage("the marker is of another version", &|out| {
        edit(&out.join("oci-layout"), "1.0.0", "9.9.9")
    });
    damage("the marker is no JSON", &|out| cut(&out.join("oci-layout"), 7));
    damage("the index lists nothing", &|out| {
        std::fs::write(index(out), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap()
    });
    damage("the index is no JSON", &|out| cut(&index(out), 20));
    damage("the index is deleted", &|out| std::fs::remove_file(index(out)).unwrap());
    insta::assert_snapshot!(all);
}

/// Returns the offset of the content of a member.
fn member(archive: &Path, name: &str) -> usize {
    let bytes = std::fs::read(archive).unwrap();
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    assert_eq!(at % 512, 0, "a header");
    at + 512
}

#[test]
fn an_archive() {
    let image = image();
    let layer = |out: &Path, index: usize| member(out, &image.layer_path(index));
    let config = |out: &Path| member(out, &image.config_path());
    let mut all = String::new();
    let mut damage =
        |what: &str, damage: &dyn Fn(&Path)| case(&mut all, "tar", "out.tar", what, damage);
    damage("one bit of a layer is flipped", &|out| flip(out, layer(out, 1) + 100_000));
    damage("one bit of the config is flipped", &|out| flip(out, config(out) + 10));
    damage("one bit of the manifest is flipped", &|out| {
        flip(out, member(out, "manifest.json") + 20)
    });
    damage("one bit of a header is flipped", &|out| flip(out, layer(out, 1) - 512 + 110));
    damage("one bit of a member's name is flipped", &|out| flip(out, layer(out, 1) - 512));
    damage("one bit between two members is flipped", &|out| flip(out, layer(out, 0) - 513));
    damage("the archive is cut in a layer", &|out| cut(out, layer(out, 1) as u64 + 100_000));
    damage("the archive is cut between, in the end mark", &|out| {
        let length = out.metadata().unwrap().len();
        cut(out, length - 600);
    });
    damage("the archive is longer, after its end, between nothing", &|out| {
        let length = out.metadata().unwrap().len();
        cut(out, length + 512);
    });
    damage("the archive is empty", &|out| cut(out, 0));
    damage("the archive is deleted", &|out| std::fs::remove_file(out).unwrap());
    damage("the archive is a directory", &|out| {
        std::fs::remove_file(out).unwrap();
        std::fs::create_dir(out).unwrap();
    });
    damage("two layers of one size are swapped", &|out| {
        let mut bytes = std::fs::read(out).unwrap();
        for (index, other) in [(0, 2), (2, 0)] {
            let at = layer(out, index);
            let content = &image.layers[other];
            bytes[at..at + content.len()].copy_from_slice(content);
        }
        std::fs::write(out, bytes).unwrap();
    });
    damage("two layers' names are swapped", &|out| {
        let mut bytes = std::fs::read(out).unwrap();
        let (first, third) = (layer(out, 0) - 512, layer(out, 2) - 512);
        for n in 0..512 {
            bytes.swap(first + n, third + n);
        }
        std::fs::write(out, bytes).unwrap();
    });
    damage("the archive is another image's", &|out| {
        shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(out);
        flip(out, 1024);
    });
    insta::assert_snapshot!(all);
}

#[test]
fn failures_are_reported_readably() {
    let (sandbox, out) = written("dir", "out");
    flip(&out.join(image().layer_path(1)), 200_000);
    std::fs::remove_file(out.join(image().layer_path(0))).unwrap();
    let receipt = sandbox.path("receipt").display().to_string();
    let mut transcript = String::new();
    for target in [receipt, sandbox.uri("dir", "out")] {
        let said = sandbox.run(&["verify", &target]);
        said.exits(1);
        assert_eq!(said.stdout, "");
        transcript += &sandbox.redact(&said.stderr);
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn the_repair_that_is_named_repairs() {
    for (scheme, name) in [("dir", "out"), ("tar", "out.tar")] {
        let (sandbox, path) = written(scheme, name);
        let damaged = if scheme == "dir" { path.join(image().layer_path(1)) } else { path };
        flip(&damaged, 200_000);
        let receipt = sandbox.path("receipt").display().to_string();
        let said = sandbox.run(&["verify", &receipt]);
        let hint = said
            .exits(1)
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("hint: repair it with: occystrap "));
        let words: Vec<&str> = hint.unwrap().split(' ').collect();
        sandbox.run(&words).verified();
        sandbox.run(&["verify", &receipt]).verified();
    }
}
