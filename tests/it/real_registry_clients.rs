//! The model of registry clients (`support/registry_clients.rs`), compared with Docker, containerd, Podman
//! and skopeo themselves.

use std::process::Command;

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::DOCKER_MANIFEST;

use crate::registry_matrix::{NAME, RIGHT, World};
use crate::support::real::installed;
use crate::support::real_engine::{self, RealEngine};
use crate::support::registry::{ALWAYS, Fault};
use crate::support::registry_clients::{Answer, Answers, CLIENTS, Length, Which};

/// Requests, what goes wrong with each, and the model's view of that.
type Row = (&'static str, Vec<(&'static str, &'static str, Fault)>, Answers);

const ALL_RIGHT: Answers =
    Answers { head_tag: RIGHT, get_tag: RIGHT, get_digest: RIGHT, blobs: true };

fn rows(old: &[u8]) -> Vec<Row> {
    let (tag, digest) = ("/manifests/1", "/manifests/sha256");
    let old = || Fault::Manifest(DOCKER_MANIFEST, old.to_vec());
    let stale = Answer { body: Which::Old, ..RIGHT };
    let typed = |content_type: Option<&'static str>| {
        let answer = Answer { content_type, ..RIGHT };
        let fault = match content_type {
            Some(said) => Fault::Header("content-type", said.to_owned()),
            None => Fault::NoHeader("content-type"),
        };
        let faults = [("HEAD", "/manifests/"), ("GET", "/manifests/")];
        let faults = faults.map(|(method, part)| (method, part, fault.clone())).to_vec();
        (faults, Answers { head_tag: answer, get_tag: answer, get_digest: answer, ..ALL_RIGHT })
    };
    let mut rows = vec![
        ("nothing", vec![], ALL_RIGHT),
        (
            "HEAD of the tag is stale",
            vec![("HEAD", tag, old())],
            Answers { head_tag: stale, ..ALL_RIGHT },
        ),
        (
            "another manifest by digest",
            vec![("GET", digest, old())],
            Answers { get_digest: stale, ..ALL_RIGHT },
        ),
        (
            "404 by digest",
            vec![("GET", digest, Fault::status(404))],
            Answers { get_digest: Answer { status: 404, ..RIGHT }, ..ALL_RIGHT },
        ),
        (
            "404 by tag",
            vec![("GET", tag, Fault::status(404))],
            Answers { get_tag: Answer { status: 404, ..RIGHT }, ..ALL_RIGHT },
        ),
        (
            "HEAD without Content-Length",
            vec![("HEAD", tag, Fault::NoHeader("content-length"))],
            Answers { head_tag: Answer { length: Length::Absent, ..RIGHT }, ..ALL_RIGHT },
        ),
        (
            "HEAD without a digest, GET in chunks",
            vec![
                ("HEAD", tag, Fault::NoHeader("docker-content-digest")),
                ("GET", tag, Fault::NoHeader("content-length")),
            ],
            Answers {
                head_tag: Answer { digest: false, ..RIGHT },
                get_tag: Answer { length: Length::Absent, ..RIGHT },
                ..ALL_RIGHT
            },
        ),
        (
            "no HEAD",
            vec![("HEAD", tag, Fault::status(405))],
            Answers { head_tag: Answer { status: 405, ..RIGHT }, ..ALL_RIGHT },
        ),
    ];
    for (what, content_type) in [
        ("text/plain", Some("text/plain")),
        ("an index", Some("application/vnd.oci.image.index.v1+json")),
        ("no Content-Type", None),
        ("parameters", Some("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8")),
        ("upper case", Some("APPLICATION/VND.DOCKER.DISTRIBUTION.MANIFEST.V2+JSON")),
    ] {
        let (faults, answers) = typed(content_type);
        rows.push((what, faults, answers));
    }
    rows
}

/// Runs a program; what it printed, where it ended well.
fn ran(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

fn which(id: Option<String>, new: Digest, old: Digest) -> Option<Which> {
    let id = id?;
    let is = |digest: Digest| id.trim().trim_start_matches("sha256:") == digest.hex();
    match (is(new), is(old)) {
        (true, _) => Some(Which::New),
        (_, true) => Some(Which::Old),
        _ => panic!("neither of the two images: {id}"),
    }
}

/// Returns what an engine's own client pulls.
fn pulled_by(engine: &RealEngine, reference: &str) -> Option<String> {
    let socket = format!("unix://{}", engine.socket().display());
    let connect = if engine.name == "podman" { "--url" } else { "-H" };
    let program = if engine.name == "podman" { "podman" } else { "docker" };
    let mut pull = vec![connect, &socket, "pull", "-q"];
    if engine.name == "podman" {
        pull.push("--tls-verify=false");
    }
    ran(program, &[&pull[..], &[reference]].concat())?;
    let inspect = [connect, &socket, "image", "inspect", "-f", "{{.Id}}", reference];
    let id = ran(program, &inspect);
    ran(program, &[connect, &socket, "rmi", "-f", reference]);
    id
}

/// Returns the digest of the manifest that the containerd of a dockerd pulls.
fn pulled_by_containerd(dockerd: &RealEngine, reference: &str) -> Option<String> {
    let socket = dockerd.socket().with_file_name("exec").join("containerd/containerd.sock");
    let connect =
        ["--address", socket.to_str().unwrap(), "--namespace", "registry-clients", "images"];
    let ctr = |arguments: &[&str]| ran("ctr", &[&connect[..], arguments].concat());
    ctr(&["pull", "--plain-http", "--snapshotter", "native", reference])?;
    let listed = ctr(&["ls"]).unwrap();
    ctr(&["rm", reference]);
    listed.split_whitespace().find(|word| word.starts_with("sha256:")).map(str::to_owned)
}

#[test]
fn the_model_of_clients_is_what_they_do() {
    let test = "the_model_of_clients_is_what_they_do";
    if !installed(test, &["docker", "ctr", "podman", "skopeo"]) {
        return;
    }
    let engines = real_engine::all(test);
    let world = World::new();
    let reference = format!("{}/{NAME}", world.registry.url_host());
    let old_id = {
        let document: serde_json::Value = serde_json::from_slice(&world.old).unwrap();
        document["config"]["digest"].as_str().unwrap().parse::<Digest>().unwrap()
    };
    let new = world.registry.manifest("a/b", "1").unwrap().1;
    let manifests = (Digest::of(&new), Digest::of(&world.old));
    let model = |name: &str, answers: &Answers| {
        let client = CLIENTS.iter().find(|client| client.name == name).unwrap();
        client.pulls(answers, DOCKER_MANIFEST)
    };
    for (what, faults, answers) in rows(&world.old) {
        world.registry.mend();
        for (method, part, fault) in faults {
            world.registry.fault(method, part, fault, ALWAYS);
        }
        for engine in &engines {
            let name = if engine.name == "dockerd" { "docker" } else { engine.name };
            let pulled = which(pulled_by(engine, &reference), world.new.id(), old_id);
            assert_eq!(pulled, model(name, &answers), "{what}: {name}");
            if name == "docker" {
                let digest = pulled_by_containerd(engine, &reference);
                let pulled = which(digest, manifests.0, manifests.1);
                assert_eq!(pulled, model("containerd", &answers), "{what}: containerd");
            }
        }
        let source = format!("docker://{reference}");
        let inspect = ["inspect", "--config", "--raw", "--tls-verify=false", &source];
        let config = Command::new("skopeo").args(inspect).output().unwrap();
        let id = config.status.success().then(|| Digest::of(&config.stdout).to_string());
        let pulled = which(id, world.new.id(), old_id);
        assert_eq!(pulled, model("skopeo", &answers), "{what}: skopeo");
    }
}
