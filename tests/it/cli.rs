//! The command line for users and scripts: exit codes, help, and which output goes to which stream.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::push::push;
use crate::support::registry::{Fault, Registry};
use crate::support::shape;

fn with_image() -> Sandbox {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox
}

/// `[T]` stands for the sandbox.
fn run(sandbox: &Sandbox, line: &str) -> Ran {
    let line = line.replace("[T]", &sandbox.path("").display().to_string());
    let line = line.replace("//in.tar", "/in.tar").replace("//out", "/out");
    sandbox.run(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn mistakes_are_told_before_anything_is_touched() {
    let sandbox = with_image();
    let before = sandbox.tree("");
    let mut transcript = String::new();
    for line in [
        "process tar:[T]in.tar",
        "process tar:[T]in.tar nowhere",
        "process nowhere dir:[T]out",
        "process tar:[T]in.tar ftp://host/out",
        "process ftp://host/in dir:[T]out",
        "process tar:[T]in.tar docker://app@sha256:b3e197c910d36f73d0ca87102114ab47b11aa23d219a964595266658c319eb3a",
        "process tar:[T]in.tar docker://sha256:1234",
        "process tar:[T]in.tar docker://b3e197c910d36f73d0ca87102114ab47b11aa23d219a964595266658c319eb3a",
        "process tar:[T]in.tar registry://host/app@sha256:b3e197c910d36f73d0ca87102114ab47b11aa23d219a964595266658c319eb3a",
        "process tar:[T]in.tar registry://host/app:1?compression=best",
        "process tar:[T]in.tar registry://host/app:1?chunk_size=huge",
        "process tar:[T]in.tar registry://host/app:1?unique_names=true",
        "process tar:[T]in.tar docker://app:1?unique_names=true",
        "process tar:[T]in.tar dir:[T]out --compression best",
        "process tar:[T]in.tar oci://[T]out",
        "process tar:[T]in.tar mounts://[T]out",
        "process docker://app:1?image=x dir:[T]out",
        "process docker://a/../b dir:[T]out",
        "process tar:[T]in.tar dir:[T]out?expand=true",
        "process tar:[T]in.tar dir:[T]out?unique_name=true",
        "process tar:[T]in.tar dir:[T]out?unique_names=maybe",
        "process tar:[T]in.tar dir:[T]out?unique_names",
        "process tar:[T]in.tar dir:[T]out?checksums=true&checksums=true",
        "process tar:[T]in.tar tar:[T]out?unique_names=true",
        "process tar:[T]in.tar?insecure=true dir:[T]out",
        "process tar:[T]in.tar?image= dir:[T]out",
        "process tar: dir:[T]out",
        "process tar:[T]in.tar dir:",
        "process registry://host dir:[T]out",
        "process registry://host/UPPER dir:[T]out",
        "process registry://host/app@sha256:123 dir:[T]out",
        "process registry://host/app?insecure=perhaps dir:[T]out",
        "process registry://host/app dir:[T]out --username me",
        "process registry://host/app dir:[T]out --rate-limit 0",
        "process tar:[T]in.tar dir:[T]out --verify=much",
        "process tar:[T]in.tar dir:[T]out --verify --no-verify",
        "process tar:[T]in.tar dir:[T]out -j 0",
        "process tar:[T]in.tar dir:[T]out --temp-dir [T]not-there",
        "process tar:[T]in.tar dir:[T]out --frobnicate",
        "frobnicate",
        "check",
        "check nowhere",
        "check tar:[T]in.tar?unique_names=true",
        "check --verify tar:[T]in.tar",
        "info ftp://host/in",
        "info docker://app:1?image=x",
        "plugin add oci://host/x:1",
        "plugin remove x",
        "plugin show nothing",
        "process tar:[T]in.tar registry://host/app:1?compression=",
        "process tar:[T]in.tar registry://host/app:1?chunk_size=",
        "process tar:[T]in.tar dir:[T]out?unique_names=",
        "process tar:[T]in.tar oci-layout:[T]out:",
        "process tar:[T]in.tar oci-layout:[T]out:a:",
        "process oci-layout:[T]out: dir:[T]out",
        "verify oci-layout://[T]out:-x",
        "verify ftp://host/out",
        "verify oci://[T]out",
        "verify docker://app:1?unique_names=true",
        "verify dir:[T]out?image=x",
        "verify dir:[T]out ftp://host/out",
        "process busybox:1 dir:[T]out",
        "process ghcr.io/team/app dir:[T]out",
        "process [T]in.tar dir:[T]out",
        "process docker-archive:[T]in.tar:app:1 dir:[T]out",
        "process https://host/app dir:[T]out",
        "process tar:- dir:[T]out",
        "process tar:[T]in.tar tar://-",
        "process tar:[T]in.tar docker-archive:[T]out:app:1",
        "process tar:[T]in.tar https://host/app",
        "process --verify full tar:[T]in.tar dir:[T]out",
        "process --platform arm64 tar:[T]in.tar dir:[T]out",
        "process --platform linux/arm64 --os linux tar:[T]in.tar dir:[T]out",
        "--platform linux/arm64 process --os linux tar:[T]in.tar dir:[T]out",
        "--platform linux/arm64 process --all-platforms registry://host/app oci-layout:[T]out",
        "process --platform linux/arm64 registry://host/app?arch=amd64 dir:[T]out",
        "process --strict --no-verify tar:[T]in.tar dir:[T]out",
        "version",
        "process registry://host/app dir:[T]out --authfile [T]not-there",
        "process tar:[T]in.tar dir:[T]out -f exclude:**/.git",
        "verify --full --fast dir:[T]out",
    ] {
        let said = run(&sandbox, line);
        assert_eq!(said.code, 2, "{line}: {}", said.stderr);
        assert_eq!(said.stdout, "", "{line}");
        assert_eq!(sandbox.tree(""), before, "{line}");
        let text = sandbox.redact(&said.stderr);
        writeln!(transcript, "$ occystrap {line}\n{text}").unwrap();
    }
    insta::assert_snapshot!(transcript.replace("[T]/", "[T]"));
}

#[test]
fn help_that_a_newcomer_understands() {
    let sandbox = Sandbox::new();
    for (name, line) in [
        ("help", "--help"),
        ("help_process", "process --help"),
        ("help_verify", "verify --help"),
        ("help_check", "check --help"),
    ] {
        let said = run(&sandbox, line);
        assert_eq!(said.exits(0).stderr, "");
        insta::assert_snapshot!(name, said.stdout);
    }
    let version = run(&sandbox, "--version");
    assert_eq!(version.exits(0).stdout, format!("occystrap {}\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let said = run(&sandbox, &format!("completions {shell}"));
        assert!(said.exits(0).stdout.contains("occystrap"), "{said:?}");
    }
    assert!(run(&sandbox, "man").exits(0).stdout.contains(".TH"));
}

#[test]
fn plugins_say_what_they_are_and_may() {
    let sandbox = Sandbox::new();
    let mut transcript = String::new();
    for line in [
        "plugin list",
        "plugin show dir",
        "plugin show tar",
        "plugin show registry",
        "plugin show docker",
    ] {
        let said = run(&sandbox, line);
        assert_eq!(said.exits(0).stderr, "");
        writeln!(transcript, "$ occystrap {line}\n{}", said.stdout).unwrap();
    }
    // The component's digest changes with every change of a plugin; plugins.lock is its test.
    let digest = transcript.split("component  sha256:").skip(1).map(|rest| &rest[..64]);
    let digests: Vec<String> = digest.map(str::to_owned).collect();
    assert_eq!(digests.len(), 4);
    for digest in digests {
        transcript = transcript.replace(&digest, "…");
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn the_summary_of_every_outcome() {
    let sandbox = with_image();
    let mut lines = String::new();
    let mut last = |what: &str, said: &Ran, code: i32| {
        let text = sandbox.redact(&said.exits(code).stderr);
        writeln!(lines, "{what}: {}", text.lines().last().unwrap()).unwrap();
    };
    last("verified", &run(&sandbox, "process tar:[T]in.tar dir:[T]out"), 0);
    last("verified in full", &run(&sandbox, "process tar:[T]in.tar dir:[T]out --verify=full"), 0);
    last("not verified", &run(&sandbox, "process tar:[T]in.tar dir:[T]out --no-verify"), 0);
    last("not there", &run(&sandbox, "process tar:[T]not-there.tar dir:[T]out"), 1);
    let registry = Registry::start();
    let source = push(&registry, &TestImage::new("app:1"), Pack::Gzip);
    registry.fault("GET", "/manifests/", Fault::status(503), 1);
    registry.fault("GET", "/blobs/", Fault::too_many("0"), 2);
    last("after retries", &sandbox.process(&source, &sandbox.uri("tar", "out.tar"), &[]), 0);
    std::fs::remove_file(sandbox.path("out").join(TestImage::new("app:1").layer_path(0))).unwrap();
    last("damaged", &run(&sandbox, "verify dir:[T]out"), 1);
    last("damaged, and looked at fast", &run(&sandbox, "verify --fast dir:[T]out"), 1);
    last("compressed", &run(&sandbox, "verify tar:[T]in.tar"), 0);
    last("compressed, and looked at fast", &run(&sandbox, "verify --fast tar:[T]in.tar"), 3);
    insta::assert_snapshot!(lines);
}

#[test]
fn several_images_are_counted() {
    let sandbox = Sandbox::new();
    let images = ["one:1", "two:1", "three:1"].map(TestImage::new);
    let mut archive = shape::legacy(&images.each_ref(), Pack::Gzip);
    archive.edit("manifest.json", |list| list[1]["Layers"].as_array_mut().unwrap().swap(0, 2));
    archive.write(&sandbox.path("in.tar"));
    let said = run(&sandbox, "process tar:[T]in.tar dir:[T]out?unique_names=true");
    insta::assert_snapshot!(sandbox.redact(&said.exits(1).stderr));
    run(&sandbox, "verify dir:[T]out").verified().says("2/2 verified");
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let sandbox = with_image();
    let said = run(&sandbox, "-q process tar:[T]in.tar dir:[T]out");
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""));
    let said = run(&sandbox, "verify dir:[T]out -q");
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""));
    let said = run(&sandbox, "process tar:[T]not-there.tar dir:[T]out -q");
    assert_eq!(said.exits(1).stderr.lines().count(), 1, "{}", said.stderr);
    assert!(said.stderr.starts_with("error: "));
}

#[test]
fn json_is_one_document_and_all_of_standard_output() {
    let sandbox = with_image();
    let document = |line: &str, code: i32| -> (Ran, Value) {
        let said = run(&sandbox, line);
        said.exits(code);
        let value = said.json();
        (said, value)
    };
    let (said, _) = document("process -O json tar:[T]in.tar dir:[T]out", 0);
    assert_eq!(said.stderr, "");
    insta::assert_snapshot!("json_verified", sandbox.redact(&said.stdout));

    let (said, _) = document("process -O json tar:[T]not-there.tar dir:[T]out", 1);
    insta::assert_snapshot!("json_error", sandbox.redact(&said.stdout));

    let (_, value) = document("process -O json --no-verify tar:[T]in.tar tar:[T]out.tar", 0);
    assert_eq!(value["images"][0]["status"], "not-verified");
    assert_eq!(value["images"][0]["verification"], Value::Null);

    std::fs::write(sandbox.path("out").join(TestImage::new("app:1").layer_path(0)), "").unwrap();
    let (said, value) = document("verify --output-format json dir:[T]out", 1);
    assert_eq!(value["summary"]["verify_failed"], 1, "{said:?}");
    let objects = value["images"][0]["verification"]["objects"].as_array().unwrap();
    let bad: Vec<&Value> = objects.iter().filter(|object| object["status"] != "ok").collect();
    insta::assert_snapshot!(
        "json_bad_object",
        sandbox.redact(&serde_json::to_string_pretty(&bad).unwrap())
    );
}

#[test]
fn plugins_have_documents() {
    let sandbox = Sandbox::new();
    let listed = run(&sandbox, "plugin list -O json");
    insta::assert_snapshot!("json_plugin_list", listed.exits(0).stdout);
    let mut shown = run(&sandbox, "-O json plugin show registry").exits(0).json();
    // These are of the build.
    let digest = shown["plugin"]["sha256"].take();
    assert_eq!(digest.as_str().unwrap().len(), "sha256:".len() + 64);
    shown["plugin"]["version"].take();
    insta::assert_snapshot!("json_plugin_show", serde_json::to_string_pretty(&shown).unwrap());
}

#[test]
fn a_program_gets_one_document_whatever_is_wrong() {
    let sandbox = with_image();
    std::fs::write(sandbox.path("receipt"), "hello").unwrap();
    for (line, code, said) in [
        ("process -O json tar:[T]in.tar dir:[T]out?x=1", 2, "has no option 'x'"),
        ("process -O json tar:[T]in.tar nowhere", 2, "'nowhere' is not a URI"),
        ("process -O json tar:[T]in.tar registry://me:hunter2@/app", 2, ""),
        ("process -O json me:hunter2@host dir:[T]out", 2, "is not a URI"),
        ("process -O json tar:[T]in.tar", 2, "required arguments were not provided"),
        ("process --output-format=json a b --frobnicate", 2, "unexpected argument '--frobnicate'"),
        ("-O json frobnicate", 2, "unrecognized subcommand 'frobnicate'"),
        ("verify -O json ftp://x", 2, "unknown scheme 'ftp://'"),
    ] {
        let said_all = run(&sandbox, line);
        said_all.exits(code).says("error: ").says(said);
        let value = said_all.json();
        let image = &value["images"][0];
        assert_eq!(image["status"], "error", "{line}: {value}");
        assert!(image["error"]["message"].as_str().unwrap().contains(said), "{line}: {value}");
        let sum = &value["summary"];
        assert_eq!((&sum["images"], &sum["failed"]), (&1.into(), &1.into()), "{line}: {value}");
        assert!(!said_all.stdout.contains("hunter2"), "{line}: {value}");
    }
    // For a receipt it is a verdict, as for each of several.
    for (line, said) in [
        ("verify -O json [T]receipt", "is not a receipt"),
        ("verify -O json [T]none", "no such file"),
    ] {
        let value = run(&sandbox, line).exits(1).json();
        let image = &value["images"][0];
        assert_eq!(image["status"], "failed", "{line}: {value}");
        assert!(image["error"]["message"].as_str().unwrap().contains(said), "{line}: {value}");
        let sum = &value["summary"];
        assert_eq!((&sum["images"], &sum["verify_failed"]), (&1.into(), &1.into()), "{value}");
    }
    let said = run(&sandbox, "process -O json tar:[T]in.tar dir:[T]out?x=1");
    insta::assert_snapshot!("json_refused", sandbox.redact(&said.stdout));
    // Each as the documents of its command.
    for (name, line, code) in [
        ("json_info_refused", "info -O json tar:[T]not-there.tar", 1),
        ("json_search_refused", "search -O json tar:[T]not-there.tar x", 1),
        ("json_check_refused", "check -O json ftp://me:hunter2@x/y", 2),
        ("json_plugin_show_refused", "plugin show -O json nobody", 2),
    ] {
        let said = run(&sandbox, line);
        let value = said.exits(code).says("error: ").json();
        assert!(value["error"]["message"].is_string(), "{line}: {value}");
        insta::assert_snapshot!(name, sandbox.redact(&said.stdout));
    }
    for (line, code, key) in [
        ("info -O json", 2, "images"),
        ("info -O json --tree tar:[T]not-there.tar", 1, "images"),
        ("info -O json --temp-dir [T]none tar:[T]in.tar", 2, "images"),
        ("check -O json --frobnicate x", 2, "images"),
        ("search -O json --script-friendly tar:[T]in.tar x", 2, "images"),
        ("search -O json tar:[T]in.tar [", 2, "images"),
        ("plugin list -O json --plugin [T]none", 1, "plugins"),
        ("plugin list -O json --frobnicate", 2, "plugins"),
    ] {
        let said = run(&sandbox, line);
        let value = said.exits(code).says("error: ").json();
        assert!(value["error"]["message"].is_string(), "{line}: {value}");
        assert_eq!(value[key], Value::Array(Vec::new()), "{line}: {value}");
    }
    let said = run(&sandbox, "plugin show -O json [T]none.wasm");
    assert_eq!(said.exits(1).json()["plugin"], Value::Null);
    // The output is the requested help, and no result.
    assert!(run(&sandbox, "process -O json --help").exits(0).stdout.contains("Usage"));
}

#[test]
fn a_missing_image_is_failed_and_an_unreachable_one_is_unconfirmed() {
    let sandbox = with_image();
    let registry = Registry::start();
    let there = registry.url_host();
    let mut transcript = String::new();
    for (line, code) in [
        ("verify dir:[T]none".to_owned(), 1),
        ("verify tar:[T]none.tar".to_owned(), 1),
        ("verify oci-layout:[T]none".to_owned(), 1),
        (format!("verify --insecure registry://{there}/none:1"), 1),
        ("verify --insecure --retries 0 registry://127.0.0.1:1/none:1".to_owned(), 3),
        ("verify docker://app?socket=[T]none".to_owned(), 3),
    ] {
        let said = run(&sandbox, &line);
        said.exits(code);
        let value = run(&sandbox, &format!("{line} -O json")).json();
        let status = if code == 1 { "failed" } else { "unconfirmed" };
        assert_eq!(value["images"][0]["status"], status, "{line}: {value}");
        let text = format!("$ occystrap {line}\n{}\n", said.stderr);
        transcript += &sandbox.redact(&text);
    }
    insta::assert_snapshot!(transcript.replace("[T]/", "[T]"));
}

#[test]
fn a_receipt_says_what_and_nothing_secret() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    push(&registry, &TestImage::new("app:1"), Pack::Gzip);
    registry.require(crate::support::registry::Auth::basic("me", "hunter2"));
    let source = format!("registry://me:hunter2@{}/app:1?insecure=true", registry.url_host());
    let receipt = sandbox.path("receipt").display().to_string();
    let said =
        sandbox.process(&source, &sandbox.uri("dir", "out"), &["--receipt", &receipt, "--debug"]);
    said.verified();
    let text = std::fs::read_to_string(&receipt).unwrap();
    for seen in [&text, &said.stderr] {
        assert!(!seen.contains("hunter2"), "{seen}");
    }
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["plugin"]["sha256"] = "…".into();
    // The port is part of the image's name, and so of these files.
    value["expectations"][4]["digest"] = "…".into();
    value["expectations"][4]["size"] = "…".into();
    for file in [4, 5] {
        value["journal"][file]["extents"] = "…".into();
        value["journal"][file]["size"] = "…".into();
    }
    insta::assert_snapshot!(sandbox.redact(&serde_json::to_string_pretty(&value).unwrap()));
}

#[test]
fn several_are_verified_with_one_summary() {
    let sandbox = with_image();
    for name in ["a", "b", "c"] {
        let line = format!("process tar:[T]in.tar dir:[T]out-{name} --receipt [T]{name}.json");
        run(&sandbox, &line).verified();
    }
    run(&sandbox, "verify [T]a.json [T]b.json [T]c.json dir:[T]out-a").verified();
    // An error of one does not stop the verification of the others.
    let layer = sandbox.path("out-b").join(TestImage::new("app:1").layer_path(0));
    std::fs::remove_file(layer).unwrap();
    std::fs::write(sandbox.path("none.json"), "{}").unwrap();
    let good = std::fs::read_to_string(sandbox.path("a.json")).unwrap();
    let mut odd = String::new();
    for (index, destination) in ["tar", "dir://a?foo=1", "dir://?"].into_iter().enumerate() {
        let name = format!("odd-{index}.json");
        let changed = format!("\"destination\": \"{destination}");
        let text = good.replacen("\"destination\": \"dir:", &changed, 1);
        assert_ne!(text, good);
        std::fs::write(sandbox.path(&name), text).unwrap();
        odd += &format!(" [T]{name}");
    }
    let said = run(&sandbox, &format!("verify [T]a.json{odd} [T]c.json"));
    said.exits(1).says("2/5 verified, 3 FAILED");
    insta::assert_snapshot!("odd_destinations", sandbox.redact(&said.stderr));
    let all = "[T]a.json [T]b.json [T]none.json [T]not-there.json [T]c.json";
    for option in ["--fast", "--full", "-J=1"] {
        let said = run(&sandbox, &format!("verify {option} {all}"));
        said.exits(1);
        if option == "--fast" {
            insta::assert_snapshot!(sandbox.redact(&said.stderr));
        }
        assert!(said.stderr.ends_with("2/5 verified, 3 FAILED\n"), "{}", said.stderr);
    }
    let document = run(&sandbox, &format!("verify -O json {all}")).json();
    let images = document["images"].as_array().unwrap();
    let states: Vec<_> = images.iter().map(|image| image["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["verified", "failed", "failed", "failed", "verified"]);
    assert!(images[3]["source"].as_str().unwrap().ends_with("not-there.json"));
    // The output for a single receipt is as before.
    run(&sandbox, "verify [T]not-there.json").exits(1).says("not-there.json");
}

#[test]
fn receipts_that_are_none() {
    let sandbox = with_image();
    run(&sandbox, "process tar:[T]in.tar dir:[T]out --receipt [T]receipt").verified();
    let good = std::fs::read_to_string(sandbox.path("receipt")).unwrap();
    let mut transcript = String::new();
    for (what, text) in [
        ("empty", String::new()),
        ("not JSON", "hello".into()),
        ("null", "null".into()),
        (
            "of another version",
            good.replace("\"occystrap_receipt\": 1", "\"occystrap_receipt\": 2"),
        ),
        ("with a field that nobody knows", good.replacen('{', "{\"extra\": 1,", 1)),
        ("of a scheme that nobody writes", good.replace("\"dir://", "\"ftp://")),
        ("of a digest that is none", good.replace("sha256:", "md5:")),
    ] {
        std::fs::write(sandbox.path("receipt"), text).unwrap();
        let said = run(&sandbox, "verify [T]receipt");
        assert!((1..=3).contains(&said.code), "{what}: {said:?}");
        writeln!(transcript, "## {what}: exit {}\n{}", said.code, sandbox.redact(&said.stderr))
            .unwrap();
    }
    let said = run(&sandbox, "verify [T]not-there");
    writeln!(transcript, "## not there: exit {}\n{}", said.code, sandbox.redact(&said.stderr))
        .unwrap();
    // The plugin's digest changes with every change of it.
    let good: Value = serde_json::from_str(&good).unwrap();
    let digest = good["plugin"]["sha256"].as_str().unwrap();
    for shown in [&digest["sha256:".len()..][..12], &digest["sha256:".len()..][..8]] {
        transcript = transcript.replace(shown, "");
    }
    insta::assert_snapshot!(transcript.replace("[T]//", "[T]/"));
}

#[test]
fn a_receipt_that_names_paths_outside_reads_none_of_them() {
    let sandbox = with_image();
    run(&sandbox, "process tar:[T]in.tar dir:[T]out --receipt [T]receipt").verified();
    let text = std::fs::read_to_string(sandbox.path("receipt")).unwrap();
    let config = TestImage::new("app:1").config_path();
    std::fs::copy(sandbox.path("out").join(&config), sandbox.path(&config)).unwrap();
    for outside in [format!("../{config}"), sandbox.path(&config).display().to_string()] {
        let escaping =
            text.replace(&format!("\"path\": \"{config}\""), &format!("\"path\": \"{outside}\""));
        assert_ne!(escaping, text);
        std::fs::write(sandbox.path("receipt"), escaping).unwrap();
        run(&sandbox, "verify [T]receipt").exits(1);
    }
}
