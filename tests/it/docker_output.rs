//! `docker://` as a destination, against an engine in this process: what the engine receives, which names the image gets, and
//! that it is verified.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::engine_door::Door;
use crate::support::engine_store::read;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::push::push;
use crate::support::registry::Registry;
use crate::support::shape;

const FAST: &[&str] = &[];
const FULL: &[&str] = &["--verify=full"];
const LEVELS: [&[&str]; 2] = [FAST, FULL];

/// Docker, Podman, and Docker with containerd's store.
fn engines() -> [(&'static str, Engine); 3] {
    let engines = [("docker", Engine::start()), ("podman", Engine::start())];
    engines[1].1.podman();
    let containerd = Engine::start();
    containerd.containerd();
    let [docker, podman] = engines;
    [docker, podman, ("containerd", containerd)]
}

/// The source of an image in an archive.
fn archive(sandbox: &Sandbox, image: &TestImage, pack: Pack) -> String {
    shape::legacy(&[image], pack).write(&sandbox.path("source.tar"));
    sandbox.uri("tar", "source.tar")
}

/// The last archive that an engine was given holds this image under this name, and nothing else.
#[track_caller]
fn given(engine: &Engine, image: &TestImage, name: &str) {
    let loaded = engine.loaded();
    let found = read(loaded.last().expect("nothing was loaded")).expect("an archive of an image");
    assert_eq!(found.name, name);
    assert_eq!(found.config, image.config, "the config's bytes");
    assert!(found.layers == image.layers, "the layers' bytes");
}

#[test]
fn from_every_source_into_every_engine() {
    let image = TestImage::new("team/app:1");
    let registry = Registry::start();
    let from = Engine::start();
    from.put(&image, shape::docker25(&[&image], Pack::Gzip).bytes());
    for (kind, engine) in engines() {
        let sandbox = Sandbox::new();
        let plain = archive(&sandbox, &image, Pack::Plain);
        shape::docker25(&[&image], Pack::ZstdFrames).write(&sandbox.path("zstd.tar"));
        sandbox.process(&plain, &sandbox.uri("dir", "dir"), FULL).verified();
        let sources = [
            plain,
            sandbox.uri("tar", "zstd.tar"),
            sandbox.uri("dir", "dir"),
            push(&registry, &image, Pack::Gzip),
            from.uri("team/app:1"),
        ];
        let mut archives = Vec::new();
        for source in &sources {
            for level in LEVELS {
                println!("{kind} {source} {level:?}");
                sandbox.process(source, &engine.uri("other/name:2"), level).verified();
                given(&engine, &image, "other/name:2");
                archives.push(engine.loaded().pop().unwrap());
            }
        }
        assert!(
            archives.iter().all(|bytes| *bytes == archives[0]),
            "the same image, the same bytes"
        );
        sandbox.assert_clean();
    }
}

#[test]
fn a_receipt_and_a_name_are_verified_later() {
    let image = TestImage::new("team/app:1");
    for (kind, engine) in engines() {
        println!("{kind}");
        let sandbox = Sandbox::new();
        let source = archive(&sandbox, &image, Pack::Gzip);
        let receipt = sandbox.path("receipt.json").display().to_string();
        let to = engine.uri("team/app");
        sandbox.process(&source, &to, &["--receipt", &receipt]).verified();
        for target in [receipt.as_str(), &to] {
            for level in [&[][..], &["--fast"]] {
                sandbox.run(&[&["verify", target], level].concat()).verified();
            }
        }
        // Another image takes the name.
        let other = TestImage::new("other:1");
        engine.put(&other, shape::docker25(&[&other], Pack::Plain).bytes());
        engine.tag("other:1", "team/app:latest");
        for level in [&[][..], &["--fast"]] {
            let said = sandbox.run(&[&["verify", &receipt], level].concat());
            said.exits(1).says("'team/app:latest layer 1': digest-mismatch: is another one");
            // Without a receipt nothing is promised but that the engine agrees with itself.
            sandbox.run(&[&["verify", &to], level].concat()).verified();
        }
        let said = sandbox.run(&["verify", &engine.uri("team/none")]);
        said.exits(1).says("has no image 'team/none:latest'");
    }
}

#[test]
fn odd_layers() {
    let same = tar(&[("a", b"the same in two places")]);
    let odd = vec![same.clone(), Vec::new(), vec![0; 1024], tar(&[("{", b"json?")]), same];
    let many = (0..130).map(|n| tar(&[("file", format!("{n}").as_bytes())])).collect();
    for layers in [odd, Vec::new(), vec![Vec::new()], many] {
        let image = TestImage::with_layers("odd:latest", layers);
        for (kind, engine) in engines() {
            println!("{kind}, {} layers", image.layers.len());
            let sandbox = Sandbox::new();
            for pack in [Pack::Plain, Pack::Gzip] {
                let source = archive(&sandbox, &image, pack);
                sandbox.process(&source, &engine.uri("odd"), FULL).verified();
                given(&engine, &image, "odd:latest");
            }
        }
    }
}

#[test]
fn the_name_is_the_one_that_was_asked_for() {
    let image = TestImage::tiny("x:1");
    let sandbox = Sandbox::new();
    let source = archive(&sandbox, &image, Pack::Plain);
    for (asked, docker, podman) in [
        ("app", "app:latest", "docker.io/library/app:latest"),
        ("team/app:1", "team/app:1", "docker.io/team/app:1"),
        ("docker.io/library/app:2", "app:2", "docker.io/library/app:2"),
        ("quay.io/x/y:1", "quay.io/x/y:1", "quay.io/x/y:1"),
        ("localhost/x:1", "localhost/x:1", "localhost/x:1"),
        ("localhost:5000/x/y:1", "localhost:5000/x/y:1", "localhost:5000/x/y:1"),
    ] {
        for (kind, engine) in engines() {
            sandbox.process(&source, &engine.uri(asked), FULL).verified();
            let expected = if kind == "podman" { podman } else { docker };
            assert_eq!(engine.names(), [expected], "{kind}");
            if kind != "podman" {
                assert_eq!(engine.requests("POST", "/tag"), 0);
            }
        }
    }
    let engine = Engine::start();
    for bad in ["app@sha256:00", "app:1:2", "a b", "", "sha256:00/../x", "App:b c"] {
        sandbox.process(&source, &engine.uri(bad), FULL).exits(2);
    }
    assert_eq!(engine.requests("POST", ""), 0);
}

#[test]
fn a_name_that_podman_has_already() {
    let (image, old) = (TestImage::tiny("x:1"), TestImage::new("old:1"));
    let (hub, local) = ("docker.io/team/app:1", "localhost/team/app:1");
    let held = |names: &[&str]| {
        let engine = Engine::start();
        engine.podman();
        engine.put(&old, shape::podman(&[&old], Pack::Plain).bytes());
        for name in names {
            engine.tag(&old.id().to_string(), name);
        }
        let sandbox = Sandbox::new();
        let source = archive(&sandbox, &image, Pack::Plain);
        sandbox.process(&source, &engine.uri("team/app:1"), FULL).verified();
        engine
    };
    let (new, old_id) = (Some(image.id().to_string()), Some(old.id().to_string()));
    let engine = held(&[hub]);
    assert_eq!(engine.names(), [hub, "old:1"], "the name that the load made is gone");
    assert_eq!((engine.id(hub), engine.id("old:1")), (new.clone(), old_id));
    // The image that was there keeps its name.
    let engine = held(&[local]);
    assert_eq!(engine.names(), [hub, local, "old:1"]);
    assert_eq!(engine.id(hub), new);
}

#[test]
fn the_environment_names_the_engine() {
    let image = TestImage::new("team/app:1");
    let (engine, sandbox) = (Engine::start(), Sandbox::new());
    let source = archive(&sandbox, &image, Pack::Gzip);
    let run = |set: &[(&str, &str)]| {
        let mut command =
            sandbox.command(&["process", &source, "docker://team/app:1", "--verify=full"]);
        command.envs(set.iter().copied());
        Ran::of(command)
    };
    run(&[("DOCKER_HOST", &engine.address().to_string())]).verified();
    let tcp = Door::open(engine.socket(), false);
    run(&[("DOCKER_HOST", &tcp.host())]).verified();
    let tls = Door::open(engine.socket(), true);
    let folder = sandbox.path("home").join(".docker");
    std::fs::create_dir(&folder).unwrap();
    let own = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), own.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("ca.pem"), &tls.certificate).unwrap();
    let host = tls.host();
    let secured = [("DOCKER_HOST", host.as_str()), ("DOCKER_TLS_VERIFY", "1")];
    run(&secured).verified();
    assert_eq!(engine.loaded().len(), 3);
    run(&secured[..1]).exits(1);
    std::fs::write(folder.join("ca.pem"), own.cert.pem()).unwrap();
    run(&secured).exits(1).says("no TLS connection");
    assert_eq!(engine.loaded().len(), 3);
}

#[test]
fn an_engine_that_does_not_let_us_in() {
    let image = TestImage::tiny("team/app:1");
    let sandbox = Sandbox::new();
    let source = archive(&sandbox, &image, Pack::Plain);
    let at = |name: &str| format!("docker://a?socket={}", sandbox.path(name).display());
    let said = sandbox.process(&source, &at("none.sock"), FAST);
    said.exits(1)
        .says("none.sock: no such file or directory")
        .says("name its socket with ?socket=");
    drop(std::os::unix::net::UnixListener::bind(sandbox.path("stale.sock")).unwrap());
    sandbox.process(&source, &at("stale.sock"), FAST).exits(1).says("connection refused");
    // No server listens on a regular file.
    std::fs::write(sandbox.path("file"), "").unwrap();
    sandbox.process(&source, &at("file"), FAST).exits(1).says("cannot connect");
    sandbox.process(&source, "docker://a?tocket=x", FAST).exits(2).says("tocket");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // A socket of another user, for which we have no permission.
    let engine = Engine::start();
    let folder = engine.socket().parent().unwrap().to_owned();
    let open = |path: &std::path::Path, mode| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&folder, 0o755);
    open(&engine.socket(), 0o660);
    let copy = folder.join("occystrap");
    std::fs::copy(env!("CARGO_BIN_EXE_occystrap"), &copy).unwrap();
    std::fs::copy(sandbox.path("source.tar"), folder.join("source.tar")).unwrap();
    let mut command = std::process::Command::new(&copy);
    let source = format!("tar://{}", folder.join("source.tar").display());
    command.args(["process", &source, &engine.uri("a")]).env("XDG_CACHE_HOME", "/nonexistent");
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    std::os::unix::process::CommandExt::gid(&mut command, 65_534);
    let said = Ran::of(command);
    said.exits(1)
        .says("engine.sock: permission denied")
        .says("be in the group that owns the socket");
}

/// Runs `process`, and looks at it again and again while it does: the sum of the sizes of its
/// temporary files, in bytes. Returns the largest.
fn most_in_files(sandbox: &Sandbox, source: &str, destination: &str) -> u64 {
    let mut command = sandbox.command(&["process", source, destination, "--verify=full"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = sandbox.path("tmp").display().to_string();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(in_files(&child, &folder));
        std::thread::sleep(Duration::from_millis(1));
    }
    Ran::ended(child.wait_with_output().unwrap()).verified();
    most
}

/// Returns the bytes of the files that are open at one moment: a file that is closed between two listings is not in the
/// second one.
fn in_files(child: &Child, folder: &str) -> u64 {
    let (before, after) = (files(child, folder), files(child, folder));
    let both = before.iter().filter(|(inode, _)| after.contains_key(inode));
    both.map(|(_, size)| size).sum()
}

/// Sizes by inode.
fn files(child: &Child, folder: &str) -> HashMap<u64, u64> {
    let handles = std::fs::read_dir(format!("/proc/{}/fd", child.id()));
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let target = std::fs::read_link(&path).ok()?;
        let metadata = target.starts_with(folder).then(|| std::fs::metadata(&path).ok());
        metadata.flatten().map(|metadata| (metadata.ino(), metadata.len()))
    };
    handles.into_iter().flatten().filter_map(file).collect()
}

#[test]
fn a_layer_at_a_time_is_unpacked() {
    const SIZE: u64 = 2_000_000;
    let layers = (1..=4).map(|seed| tar(&[("noise", &noise(seed, SIZE as usize))])).collect();
    let image = TestImage::with_layers("big:1", layers);
    let engine = Engine::start();
    engine.slow(Duration::from_millis(1));
    let sandbox = Sandbox::new();
    let packed = archive(&sandbox, &image, Pack::Gzip);
    let most = most_in_files(&sandbox, &packed, &engine.uri("big:1"));
    assert!((SIZE / 2..SIZE + SIZE / 4).contains(&most), "{most} bytes in temporary files");
    let plain = archive(&sandbox, &image, Pack::Plain);
    let most = most_in_files(&sandbox, &plain, &engine.uri("big:1"));
    assert_eq!(most, 0, "what is plain goes as it lies");
}

#[test]
fn a_signal_in_the_middle_of_a_load() {
    let image = TestImage::new("team/app:1");
    for (source, signal, code) in [
        (Pack::Plain, rustix::process::Signal::INT, 130),
        (Pack::Gzip, rustix::process::Signal::INT, 130),
        (Pack::Gzip, rustix::process::Signal::KILL, 137),
    ] {
        let (engine, sandbox) = (Engine::start(), Sandbox::new());
        engine.slow(Duration::from_millis(50));
        let source = archive(&sandbox, &image, source);
        let mut command = sandbox.command(&["process", &source, &engine.uri("team/app:1")]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while engine.received() < 200_000 {
            assert!(Instant::now() < until, "nothing arrives");
            std::thread::sleep(Duration::from_millis(2));
        }
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, signal).unwrap();
        let started = Instant::now();
        Ran::ended(child.wait_with_output().unwrap()).exits(code);
        assert!(started.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(100));
        assert!(engine.loaded().is_empty() && engine.names().is_empty());
        sandbox.assert_clean();
    }
}
