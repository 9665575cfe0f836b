//! `verify --untrusted`: receipts and plugins from unknown authors, together with good ones.

use std::time::{Duration, Instant};

use occystrap_base::limits::Allowance;
use occystrap_output::plugin::{Catalog, PluginEngine};
use occystrap_verify::untrusted::{BatchLimits, Grants, verify_batch};
use serde_json::Value;

use crate::support::context::context;
use crate::support::hostile::{component, describing};
use crate::support::plugin::called;
use crate::support::receipts::{Change, edit, keep, lines, sandbox, verdict, verify, write};
use crate::support::registry::Registry;

#[test]
fn one_plugin_s_crash_loop_or_lie_touches_no_other() {
    let sandbox = sandbox();
    let mut receipts = Vec::new();
    for (index, scheme) in ["dir", "tar", "oci-layout", "hostile"].into_iter().enumerate() {
        receipts.push((write(&sandbox, scheme, &format!("good-{index}"), ""), "verified", ""));
    }
    for (behaviour, why) in [
        ("verify-loop", "computed for more than 2s"),
        ("verify-panic", "crashed"),
        ("verify-grow", "64 MiB of memory"),
        ("verify-accuse", "reports: I do not like it"),
        ("verify-give-up", "no idea"),
        ("verify-write", "plugin 'hostile'"),
        ("verify-outside", "plugin 'hostile'"),
        // Says that all is well, and it is: the host has looked.
        ("verify-blind", ""),
        ("verify-flood", ""),
    ] {
        let receipt = write(&sandbox, "hostile", behaviour, &format!("?behaviour={behaviour}"));
        let status = if why.is_empty() { "verified" } else { "unconfirmed" };
        receipts.push((receipt, status, why));
    }
    let lied = write(&sandbox, "hostile", "lie", "?behaviour=verify-blind");
    let layer = sandbox.path("srv/lie/layer-1");
    let mut bytes = std::fs::read(&layer).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    receipts.push((lied, "failed", "digest-mismatch"));

    let before = sandbox.tree("srv");
    let paths: Vec<&str> = receipts.iter().map(|(path, _, _)| path.as_str()).collect();
    let said = verify(&sandbox, &paths, &["-J", "4"]);
    said.exits(1).says("receipts,").says("6/14 verified, 1 FAILED, 7 UNCONFIRMED");
    assert!(!said.stderr.contains("line 1"), "its log is not shown: {}", said.stderr);
    for (line, (path, status, why)) in lines(&said, &paths).iter().zip(&receipts) {
        assert_eq!(line["status"], *status, "{path}: {line}");
        assert!(line.to_string().contains(why), "{path}: {line}");
    }
    assert!(!said.stdout.contains('\u{1b}'));
    assert_eq!(sandbox.tree("srv"), before);
}

#[test]
fn nothing_is_looked_at_that_was_not_granted() {
    let sandbox = sandbox();
    let receipt = write(&sandbox, "dir", "good", "");
    let without = sandbox.run(&["verify", "--untrusted", &receipt]);
    without.exits(3);
    assert!(without.stdout.contains("--root DIR"), "{without:?}");

    // The answer is the same for existing and missing files.
    std::fs::create_dir(sandbox.path("other")).unwrap();
    std::os::unix::fs::symlink("../other", sandbox.path("srv/link")).unwrap();
    let mut said = Vec::new();
    for to in ["other", "nothing", "srv/../other", "srv/link", "srv/link/deeper", "srvx"] {
        edit(&receipt, |document| document["destination"] = sandbox.uri("dir", to).into());
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, "unconfirmed", "{line}");
        assert!(line.contains("is not below a folder that was granted"), "{line}");
        said.push(line);
    }
    edit(&receipt, |document| document["destination"] = "dir://srv/good".into());
    assert_eq!(verdict(&sandbox, &receipt, &[]).0, "unconfirmed", "relative to what?");
    edit(&receipt, |document| document["destination"] = sandbox.uri("dir", "srv/gone").into());
    assert_eq!(verdict(&sandbox, &receipt, &[]).0, "failed", "what was granted may be missing");
    for (to, why) in [
        ("docker://app:1?socket=/run/docker.sock", "cannot name a container engine"),
        ("registry://127.0.0.1:1/x:1", "was not granted"),
        ("nobody://x", "no plugin"),
    ] {
        edit(&receipt, |document| document["destination"] = to.into());
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, "unconfirmed", "{line}");
        assert!(line.contains(why) || line.contains("not installed"), "{line}");
    }
}

#[test]
fn a_receipt_does_not_lead_out_of_its_destination() {
    let sandbox = sandbox();
    std::fs::write(sandbox.path("srv/secret"), "not of this image").unwrap();
    for path in ["../secret", "/etc/passwd", "a/../../secret", ""] {
        let receipt = write(&sandbox, "dir", "good", "");
        edit(&receipt, |document| {
            document["expectations"][0]["place"] = serde_json::json!({"file": {"path": path}});
        });
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, "error", "{line}");
        assert!(line.contains("which is not in its destination"), "{line}");
    }
    // An archive is one file: its neighbours are others'.
    let receipt = write(&sandbox, "tar", "image.tar", "");
    edit(&receipt, |document| document["journal"][0]["path"] = "secret".into());
    assert_eq!(verdict(&sandbox, &receipt, &[]).0, "error");
}

#[test]
fn a_receipt_that_promises_little_is_worth_little() {
    let sandbox = sandbox();
    let cases: [(&str, Change); 8] = [
        ("nothing", |document| document["expectations"] = Value::Array(Vec::new())),
        ("no digests", |document| {
            for one in document["expectations"].as_array_mut().unwrap() {
                one["digest"] = Value::Null;
            }
        }),
        ("no sizes", |document| {
            for one in document["expectations"].as_array_mut().unwrap() {
                one["size"] = Value::Null;
            }
        }),
        ("another ID", |document| {
            document["image"]["id"] = format!("sha256:{}", "0".repeat(64)).into();
        }),
        ("no config", |document| keep(document, |role| role != "config")),
        ("no first layer", |document| keep(document, |role| role["layer"] != 0)),
        ("no last layer", |document| keep(document, |role| role["layer"] != 1)),
        ("no layers", |document| keep(document, |role| role["layer"].is_null())),
    ];
    for (what, change) in cases {
        let receipt = write(&sandbox, "hostile", "good", "");
        assert_eq!(verdict(&sandbox, &receipt, &[]).0, "verified");
        edit(&receipt, change);
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, "unconfirmed", "{what}: {line}");
        assert!(line.contains("the receipt does not say enough: "), "{what}: {line}");
    }
    // Bytes without any digest, in a file of pieces.
    let receipt = write(&sandbox, "tar", "image.tar", "");
    assert_eq!(verdict(&sandbox, &receipt, &[]).0, "verified");
    edit(&receipt, |document| document["journal"] = Value::Array(Vec::new()));
    assert_eq!(verdict(&sandbox, &receipt, &[]).0, "unconfirmed");
}

#[test]
fn files_that_are_no_receipts() {
    let sandbox = sandbox();
    let good = write(&sandbox, "dir", "good", "");
    let path = |name: &str| sandbox.path(name).display().to_string();
    std::fs::write(path("huge"), " ".repeat(5 << 20)).unwrap();
    std::fs::write(path("text"), "\u{1b}[2J").unwrap();
    std::fs::write(path("deep"), "[".repeat(1 << 20)).unwrap();
    std::os::unix::fs::symlink(&good, path("link")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap();
    assert!(fifo.success());
    let login = path("login");
    std::fs::copy(&good, &login).unwrap();
    edit(&login, |document| document["destination"] = "dir://a:b@/srv".into());
    let many = path("many");
    std::fs::copy(&good, &many).unwrap();
    edit(&many, |document| {
        let one = document["expectations"][0].clone();
        document["expectations"] = vec![one; 4_001].into();
    });
    let names =
        [path("huge"), path("text"), path("deep"), path("link"), path("fifo"), path("none")];
    let all: Vec<&str> =
        names.iter().chain([&login, &many]).map(String::as_str).chain([good.as_str()]).collect();
    let said = verify(&sandbox, &all, &[]);
    said.exits(1).says("1/9 receipts").says("1/9 verified");
    let lines = lines(&said, &all);
    for line in &lines[..8] {
        assert_eq!(line["status"], "error", "{line}");
        assert!(line["error"]["message"].is_string(), "{line}");
    }
    assert_eq!(lines[8]["status"], "verified");
    assert!(!said.stdout.contains('\u{1b}'));
}

#[test]
fn a_registry_is_asked_when_it_was_granted() {
    let sandbox = sandbox();
    let registry = Registry::start();
    let receipt = sandbox.path("receipt").display().to_string();
    let to = format!("registry://{}/team/app:1", registry.url_host());
    let from = sandbox.uri("tar", "in.tar");
    sandbox.process(&from, &to, &["--insecure", "--receipt", &receipt]).exits(0);
    let (status, line) = verdict(&sandbox, &receipt, &["--insecure"]);
    assert_eq!(status, "unconfirmed");
    assert!(line.contains("--allow-registry"), "{line}");
    let host = registry.url_host();
    let granted = ["--insecure", "--allow-registry", host.as_str()];
    let (status, line) = verdict(&sandbox, &receipt, &granted);
    assert_eq!(status, "verified", "{line}");
    // A receipt cannot set how a registry is contacted.
    edit(&receipt, |document| document["destination"] = format!("{to}?insecure=true").into());
    assert_eq!(verdict(&sandbox, &receipt, &granted[1..]).0, "unconfirmed");
}

#[test]
fn a_plugin_that_cannot_be_loaded_leaves_the_others_alone() {
    let sandbox = sandbox();
    let good = write(&sandbox, "hostile", "good", "");
    let bad = sandbox.component("bad.wasm", &describing("panic"));
    let other = sandbox.component("other.wasm", &called("another"));
    let said = verify(&sandbox, &[&good], &["--plugin", &bad, "--plugin", &other]);
    said.exits(0).says("warning: plugin").says("1/1 verified");
}

#[test]
fn mistakes_on_the_command_line() {
    let sandbox = sandbox();
    sandbox.run(&["verify", "a", "--root", "."]).exits(2);
    sandbox.run(&["verify", "--untrusted", "--fast", "a"]).exits(2);
    sandbox.run(&["verify", "--untrusted", "dir://x"]).exits(2).says("is not a receipt");
    sandbox.run(&["verify", "--untrusted", "--root", "/not/there", "a"]).exits(2).says("the root");
}

/// Runs as a program that uses the library. Also checks the time limit of each receipt and of all of them.
#[test]
fn time_is_bounded_for_each_receipt_and_for_all() {
    let sandbox = sandbox();
    let loops = write(&sandbox, "hostile", "loop", "?behaviour=verify-loop");
    let good = write(&sandbox, "dir", "good", "");
    let engine = PluginEngine::with(Allowance {
        cpu_time: Duration::from_secs(3600),
        ..Allowance::untrusted()
    })
    .unwrap();
    let catalog = Catalog::new(engine, &[component()]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = context(&runtime);
    let mut grants = Grants::none();
    grants.root(&sandbox.path("srv")).unwrap();
    let run = |receipts: &[&String], bounds: BatchLimits, why: &str| {
        let started = Instant::now();
        let receipts: Vec<_> = receipts.iter().map(|path| path.as_str().into()).collect();
        let mut told = String::new();
        let summary = verify_batch(&receipts, &catalog, &grants, &bounds, &context, |line| {
            told += &serde_json::to_string(line).unwrap();
            Ok(())
        })
        .unwrap();
        assert!(told.contains(why), "{told}");
        assert!(started.elapsed() < Duration::from_secs(20));
        (summary.verified, summary.unconfirmed)
    };
    let short = Duration::from_millis(700);
    let each = BatchLimits { workers: 1, time: short, ..BatchLimits::default() };
    assert_eq!(run(&[&loops, &good, &loops], each, "the receipt took more than"), (1, 2));
    let all = BatchLimits { workers: 2, batch_time: short, ..BatchLimits::default() };
    let summary = run(&[&loops, &loops, &loops, &good], all, "the batch took more than");
    assert_eq!(summary, (0, 4));
    let bytes = BatchLimits { workers: 1, batch_bytes: 1, ..BatchLimits::default() };
    assert_eq!(run(&[&good], bytes, "read more than 1 bytes"), (0, 1));

    context.cancel.cancel();
    let stopped =
        verify_batch(&[good.into()], &catalog, &grants, &each, &context, |_| Ok(())).unwrap_err();
    assert_eq!(stopped.exit_code(), 130);
}
