//! The command that a finding suggests, run unchanged from another folder: it must restore the image, and nothing else.

use std::process::Command;

use crate::platform;
use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage};
use crate::support::plugin::plain;
use crate::support::push::push;
use crate::support::registry::Registry;
use crate::support::shape;

/// Runs with an environment and a folder of its own.
fn run(sandbox: &Sandbox, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = sandbox.command(arguments);
    command.envs(environment.iter().copied());
    Ran::of(command)
}

/// A receipt that fails, whose hint is followed, and that is verified then.
#[track_caller]
fn mend(sandbox: &Sandbox, more: &[&str]) -> String {
    let verify = [&["verify", "receipt"], more].concat();
    let said = sandbox.run(&verify);
    let hint = said.exits(1).stderr.lines().find_map(|line| {
        line.split_once("repair it with: occystrap ").map(|(_, command)| command.to_owned())
    });
    let hint = hint.unwrap_or_else(|| panic!("{}", said.stderr));
    let elsewhere = sandbox.path("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let plain = sandbox.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" {hint}")]).arg(plain.get_program());
    shell.current_dir(&elsewhere).env_clear();
    shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(shell).verified();
    assert!(sandbox.tree("elsewhere").is_empty(), "{hint}");
    sandbox.run(&verify).verified();
    hint
}

#[test]
fn the_platform_and_plain_http_stay() {
    let (registry, sandbox) = (platform::registry(), Sandbox::new());
    let source = format!("registry://{}/multi:all", registry.url_host());
    let options = ["--insecure", "--architecture", "arm64", "--receipt", "receipt"];
    sandbox.process(&source, "dir://md", &options).verified();
    let before = sandbox.tree("md");
    let layer = platform::image("linux/arm64/v8").layer_path(0);
    std::fs::remove_file(sandbox.path("md").join(layer)).unwrap();
    let hint = mend(&sandbox, &["--fast"]);
    assert_eq!(sandbox.tree("md"), before, "{hint}");
}

#[test]
fn every_platform_of_the_same_index() {
    let (registry, sandbox) = (platform::registry(), Sandbox::new());
    let source = format!("registry://{}/multi:all", registry.url_host());
    let options = ["--insecure", "--all-platforms", "--receipt", "receipt"];
    sandbox.process(&source, "oci-layout://whole:1", &options).verified();
    let config = occystrap_base::oci::Digest::of(&platform::image("linux/arm/v6").config);
    std::fs::remove_file(sandbox.path("whole/blobs/sha256").join(config.hex())).unwrap();
    let hint = mend(&sandbox, &["--fast"]);
    assert!(hint.contains("--all-platforms") && hint.contains("@sha256:"), "{hint}");
    assert!(!hint.contains("arch="), "{hint}");
}

#[test]
fn a_tag_that_has_moved_is_not_followed() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let source = push(&registry, &TestImage::new("app:1"), Pack::Gzip);
    sandbox.process(&source, "tar://app.tar", &["--receipt", "receipt"]).verified();
    let other = TestImage { name: "app:1".into(), ..TestImage::tiny("other:1") };
    push(&registry, &other, Pack::Gzip);
    std::fs::remove_file(sandbox.path("app.tar")).unwrap();
    mend(&sandbox, &[]);
}

#[test]
fn compression_from_the_command_line_and_the_environment() {
    for (options, environment) in
        [(&["--compression", "zstd"][..], &[][..]), (&[], &[("OCCYSTRAP_COMPRESSION", "zstd")])]
    {
        let (registry, sandbox) = (Registry::start(), Sandbox::new());
        let image = TestImage::new("app:1");
        shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
        let to = format!("registry://{}/a/b:1", registry.url_host());
        let given = ["--insecure", "process", "tar://in.tar", &to, "--receipt", "receipt"];
        run(&sandbox, &[&given[..], options].concat(), environment).verified();
        let (_, manifest) = registry.manifest("a/b", "1").unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert!(manifest.to_string().contains("tar+zstd"), "{manifest}");
        let layer = manifest["layers"][0]["digest"].as_str().unwrap();
        registry.remove_blob("a/b", layer.parse().unwrap());
        mend(&sandbox, &["--insecure"]);
    }
}

#[test]
fn relative_sources_names_with_marks_and_filters() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip)
        .write(&sandbox.path("what? 100%25 & so.tar"));
    let options = [
        "process",
        "tar://what%3F 100%2525 & so.tar?image=app:1",
        "tar://o%3F.tar",
        "--receipt",
        "receipt",
        "-f",
        "normalize-timestamps",
    ];
    run(&sandbox, &options, &[("SOURCE_DATE_EPOCH", "1700000000")]).verified();
    std::fs::remove_file(sandbox.path("o?.tar")).unwrap();
    mend(&sandbox, &[]);
}

#[test]
fn a_relative_socket() {
    let (sandbox, engine) = (Sandbox::new(), Engine::start());
    let image = TestImage::new("team/app:1");
    engine.put(&image, shape::legacy(&[&image], Pack::Plain).bytes());
    std::os::unix::fs::symlink(engine.socket(), sandbox.path("d.sock")).unwrap();
    let source = "docker://team/app:1?socket=d.sock";
    sandbox.process(source, "dir://out", &["--receipt", "receipt"]).verified();
    std::fs::remove_file(sandbox.path("out").join(image.layer_path(1))).unwrap();
    mend(&sandbox, &[]);
    let to = "docker://other/app:2?socket=unix://d.sock";
    sandbox.process("dir://out", to, &["--receipt", "receipt"]).verified();
    std::fs::create_dir(sandbox.path("apart")).unwrap();
    let mut verify = sandbox.command(&["verify", "../receipt"]);
    Ran::of({
        verify.current_dir(sandbox.path("apart"));
        verify
    })
    .verified();
}

#[test]
fn a_plugin_of_a_file() {
    let sandbox = Sandbox::new();
    let image = TestImage::new("app:1");
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox.component("hostile.wasm", &plain());
    let options = ["--plugin", "hostile.wasm", "--receipt", "receipt"];
    sandbox.process("tar://in.tar", "hostile://out", &options).verified();
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    std::fs::create_dir(sandbox.path("out")).unwrap();
    mend(&sandbox, &["--plugin", "hostile.wasm"]);
}
