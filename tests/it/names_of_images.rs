//! Names in archives that engines refuse, or that several images have.
//!
//! `docker load` 20.10 and `podman load` 4.3 refuse an archive with a name without a tag. Of two images of
//! one name, Docker loads the last under it, Podman the first.

use serde_json::json;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::shape::{self, Archive};

fn renamed(tags: serde_json::Value) -> Archive {
    let mut archive = shape::legacy(&[&TestImage::tiny("team/app:1")], Pack::Plain);
    archive.edit("manifest.json", |list| list[0]["RepoTags"] = tags);
    archive
}

#[test]
fn a_name_that_docker_and_podman_refuse_is_an_error() {
    let sandbox = Sandbox::new();
    let uri = sandbox.uri("tar", "in.tar");
    let digest = format!("team/app@sha256:{}", "a".repeat(64));
    let long = format!("team/app:{}", "a".repeat(129));
    let address = "[::1]:5000/team/app:1";
    let others = [address, "team/app:", "team/a b:1", "Team/App:1", ""];
    for wrong in ["team/app", &digest, &long].into_iter().chain(others) {
        renamed(json!([wrong])).write(&sandbox.path("in.tar"));
        let said = sandbox.run(&["check", "--fast", &uri]).exits(1).stdout.clone();
        assert!(said.contains("error"), "{wrong}: {said}");
        sandbox.run(&["verify", "--fast", &uri]).exits(1).says("1 FAILED");
    }
    renamed(json!(["team/app"])).write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["check", "--fast", &uri]).stdout.clone();
    let text = "'team/app' in RepoTags has no tag: Docker and Podman refuse the archive";
    assert!(said.contains(text), "{said}");
    let tag = format!("team/app:V1.{}", "a".repeat(125));
    for right in [json!(null), json!([]), json!([tag]), json!(["team/app:1", "team/app:1"])] {
        renamed(right.clone()).write(&sandbox.path("in.tar"));
        sandbox.run(&["check", "--fast", &uri]).exits(0);
        sandbox.run(&["verify", "--fast", &uri]).verified();
    }
}

#[test]
fn one_name_of_two_images_is_refused() {
    let sandbox = Sandbox::new();
    let uri = sandbox.uri("tar", "in.tar");
    let first = TestImage::tiny("team/app:1");
    let second = TestImage { name: first.name.clone(), ..TestImage::tiny("another") };
    let third = TestImage::tiny("team/third:1");
    let spelled = TestImage { name: "docker.io/team/app:1".to_owned(), ..TestImage::tiny("other") };
    for other in [&second, &spelled] {
        shape::legacy(&[&first, other, &third], Pack::Plain).write(&sandbox.path("in.tar"));
        let said = sandbox.run(&["check", "--fast", &uri]).exits(1).stdout.clone();
        assert!(said.contains("Podman loads the first"), "{said}");
        let said = sandbox.run(&["verify", "--fast", &uri]);
        said.exits(1).says("'team/app:1' is the name of several images").says("2 FAILED");
        for (to, query) in [("dir", ""), ("dir", "?image=team/app:1")] {
            let from = format!("{uri}{query}");
            let said = sandbox.process(&from, &sandbox.uri(to, "out"), &[]);
            said.exits(1).says("'team/app:1' is the name of several images");
            assert!(!sandbox.path("out").exists());
        }
        // The third has a name of its own.
        let from = format!("{uri}?image=team/third:1");
        sandbox.process(&from, &sandbox.uri("tar", "third.tar"), &[]).verified();
    }
    // The same image twice is one image.
    shape::legacy(&[&first, &first], Pack::Plain).write(&sandbox.path("in.tar"));
    sandbox.run(&["check", "--fast", &uri]).exits(0);
    sandbox.run(&["verify", "--fast", &uri]).verified();
}
