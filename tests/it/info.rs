//! `info`: describes an image completely, and fetches no layer.

use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::multi::Multi;
use crate::support::push::{push, push_docker};
use crate::support::raw_tar::{self, Raw};
use crate::support::real_engine;
use crate::support::registry::Registry;
use crate::support::shape;
use crate::support::user::run;

/// An image with everything in it that an image can say.
pub fn rich(name: &str) -> TestImage {
    let layers = vec![
        tar(&[("usr/lib/large", &noise(1, 300_000)), ("usr/lib/zeros", &[0; 200_000])]),
        tar(&[("etc/app.conf", &[b'a'; 40_000])]),
        tar(&[("usr/bin/app", &noise(2, 90_000)), ("usr/bin/zeros", &[0; 9_000])]),
    ];
    let mut image = TestImage::with_layers(name, layers);
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["author"] = "Somebody <somebody@example.com>".into();
    config["variant"] = "v3".into();
    config["config"] = json!({
        "User": "app:app",
        "WorkingDir": "/srv",
        "Entrypoint": ["/usr/bin/app", "--config", "/etc/app.conf"],
        "Cmd": ["serve", "a word with \"quotes\""],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
        "ExposedPorts": { "80/tcp": {}, "443/tcp": {} },
        "Volumes": { "/var/lib/app": {} },
        "Labels": { "org.opencontainers.image.source": "https://example.com/app", "who": "äöü" },
        "StopSignal": "SIGQUIT",
        "Healthcheck": { "Test": ["CMD", "/usr/bin/app", "ping"], "Interval": 30_000_000_000_u64 },
    });
    config["history"] = json!([
        { "created": "2026-01-02T03:04:05Z", "created_by": "/bin/sh -c #(nop) ADD file:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef in / " },
        { "created_by": "/bin/sh -c #(nop)  ENV LANG=C.UTF-8", "empty_layer": true },
        { "created_by": "COPY app.conf /etc/app.conf # buildkit", "comment": "buildkit.dockerfile.v0" },
        { "created_by": "RUN |1 VERSION=1 /bin/sh -c make install # buildkit" },
        { "created_by": "CMD [\"serve\"]", "empty_layer": true },
    ]);
    image.config = config.to_string().into_bytes();
    image
}

/// Runs with this many columns of terminal.
fn info(sandbox: &Sandbox, columns: &str, arguments: &[&str]) -> Ran {
    let mut command = sandbox.command(&[&["info"], arguments].concat());
    if !columns.is_empty() {
        command.env("COLUMNS", columns);
    }
    Ran::of(command)
}

/// Returns the parts that do not depend on the source of an image.
fn common(said: &Ran) -> Value {
    let document = said.exits(0).json();
    let image = &document["images"][0];
    let keys = ["platform", "image_id", "created", "author", "history", "config"];
    let diff_ids = image["layers"].as_array().unwrap().iter().map(|layer| &layer["diff_id"]);
    let made = image["layers"].as_array().unwrap().iter().map(|layer| &layer["created_by"]);
    json!([keys.map(|key| &image[key]), diff_ids.collect::<Vec<_>>(), made.collect::<Vec<_>>()])
}

#[test]
fn people_see_what_there_is() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = rich("team/app:1");
    let source = push(&registry, &image, Pack::Gzip);
    let said = info(&sandbox, "100", &[&source]);
    assert_eq!(said.exits(0).stderr, "");
    insta::assert_snapshot!("registry", sandbox.redact(&said.stdout));

    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    let said = info(&sandbox, "72", &[&sandbox.uri("tar", "in.tar")]);
    insta::assert_snapshot!("archive", sandbox.redact(&said.exits(0).stdout));
    sandbox.assert_clean();
}

#[test]
fn programs_see_all_of_it() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let source = push_docker(&registry, &rich("team/app:1"));
    let said = info(&sandbox, "", &["-O", "json", &source]);
    insta::assert_snapshot!("json", sandbox.redact(&said.exits(0).stdout));
}

#[test]
fn an_image_is_the_same_wherever_it_is() {
    let (sandbox, registry, engine) = (Sandbox::new(), Registry::start(), Engine::start());
    let image = rich("team/app:1");
    let source = push(&registry, &image, Pack::Zstd);
    engine.put(&image, shape::legacy(&[&image], Pack::Plain).bytes());
    engine.edit("team/app:1", |said| {
        said["Author"] = "Somebody <somebody@example.com>".into();
        said["Variant"] = "v3".into();
    });
    let [dir, layout] = ["dir", "oci-layout"].map(|scheme| sandbox.uri(scheme, scheme));
    for to in [&dir, &layout] {
        sandbox.process(&source, to, &[]).verified();
    }
    shape::docker25(&[&image], Pack::Gzip).write(&sandbox.path("docker25.tar"));
    shape::oci(&[&image], Pack::Zstd).write(&sandbox.path("oci.tar"));
    let expected = common(&info(&sandbox, "", &["-O", "json", &source]));
    for other in [dir, layout, sandbox.uri("tar", "docker25.tar"), sandbox.uri("tar", "oci.tar")] {
        assert_eq!(common(&info(&sandbox, "", &["-O", "json", &other])), expected, "{other}");
    }
    // An engine rounds the times of steps, does not know what its builder said, and counts the bytes of each step.
    let mut engine_says = common(&info(&sandbox, "", &["-O", "json", &engine.uri("team/app:1")]));
    let mut expected = expected;
    for said in [&mut engine_says, &mut expected] {
        for step in said[0][4].as_array_mut().unwrap() {
            (step["created"], step["comment"]) = (Value::Null, Value::Null);
            step["size"] = Value::Null;
        }
    }
    assert_eq!(engine_says, expected);
}

#[test]
fn no_layer_is_fetched() {
    let (sandbox, registry, engine) = (Sandbox::new(), Registry::start(), Engine::start());
    let image = rich("team/app:1");
    let source = push(&registry, &image, Pack::Gzip);
    let document = info(&sandbox, "", &["-O", "json", &source]).exits(0).json();
    for request in registry.requests_of("GET", "/blobs/") {
        let whole = request.path.ends_with(&image.id().to_string());
        assert!(whole || request.header("range").starts_with("bytes="), "{request:?}");
        let start: usize = request
            .header("range")
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap_or(0);
        assert!(whole || start > 100, "{request:?}");
    }
    for (layer, plain) in
        document["images"][0]["layers"].as_array().unwrap().iter().zip(&image.layers)
    {
        assert_eq!(layer["unpacked"], plain.len(), "gzip says how large it is");
        assert_eq!(layer["unpacked_exact"], false);
    }
    engine.put(&image, Vec::new());
    let said = info(&sandbox, "90", &[&engine.uri("team/app:1")]);
    insta::assert_snapshot!(
        "engine",
        sandbox
            .redact(&said.exits(0).stdout)
            .replace(&engine.socket().display().to_string(), "[socket]")
    );
    assert_eq!(engine.requests("GET", "/get"), 0);
}

#[test]
fn unknown_values_are_not_guessed() {
    let (sandbox, registry, engine) = (Sandbox::new(), Registry::start(), Engine::start());
    let mut image = rich("team/app:1");
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    // Two layers could be of any of three steps; the first must be of the first step.
    config["history"][2]["empty_layer"] = true.into();
    let nothing = json!({ "created_by": "RUN /bin/sh -c true # buildkit", "empty_layer": true });
    config["history"].as_array_mut().unwrap().insert(4, nothing);
    image.config = config.to_string().into_bytes();
    let source = push(&registry, &image, Pack::Zstd);
    let layers = |said: &Ran| said.exits(0).json()["images"][0]["layers"].clone();
    for layer in layers(&info(&sandbox, "", &["-O", "json", &source])).as_array().unwrap() {
        assert_eq!(layer["created_by"], Value::Null);
        assert_eq!((&layer["unpacked"], &layer["ratio"]), (&Value::Null, &Value::Null));
    }
    engine.put(&image, Vec::new());
    let said = info(&sandbox, "", &["-O", "json", &engine.uri("team/app:1")]);
    let known: Vec<bool> = (layers(&said).as_array().unwrap().iter())
        .map(|layer| {
            assert_eq!(layer["created_by"].is_null(), layer["unpacked"].is_null());
            layer["created_by"].is_string()
        })
        .collect();
    assert_eq!(known, [true, false, false]);
    let image = &said.json()["images"][0];
    let empty: Vec<&Value> =
        (image["history"].as_array().unwrap().iter()).map(|step| &step["empty_layer"]).collect();
    assert_eq!(json!(empty), json!([false, true, null, false, null, true]));
    // All steps together are the image, whichever made which layer.
    assert!(image["unpacked"].as_u64().unwrap() > 500_000, "{image}");
}

/// An engine marks no step that made no layer. What is told of its steps is true, or null.
#[test]
fn the_steps_of_a_real_engine_are_described_truly() {
    let layers = vec![
        tar(&[("bin/sh", &noise(1, 4_000))]),
        raw_tar::tar(&[Raw::dir("srv")]),
        tar(&[("srv/app", &noise(2, 9_000))]),
        raw_tar::tar(&[Raw::file("bin/.wh.sh", b"")]),
    ];
    let mut image = TestImage::with_layers("real/steps:1", layers);
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    let step = |command: &str, empty: bool| json!({ "created": "2026-01-02T03:04:05Z", "created_by": command, "empty_layer": empty });
    config["history"] = json!([
        step("ADD rootfs.tar / # buildkit", false),
        step("CMD [\"sh\"]", true),
        step("/bin/sh -c mkdir /srv", false),
        step("COPY app /srv/app # buildkit", false),
        step("/bin/sh -c true", true),
        step("/bin/sh -c rm /bin/sh", false),
        step("/bin/sh -c #(nop)  ENV A=b", true),
    ]);
    image.config = config.to_string().into_bytes();
    for engine in real_engine::all("the_steps_of_a_real_engine_are_described_truly") {
        let sandbox = Sandbox::new();
        shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
        run(engine.load(&sandbox.path("a.tar"))).unwrap();
        let told = |source: &str| {
            info(&sandbox, "", &["-O", "json", source]).exits(0).json()["images"][0].clone()
        };
        let (found, expected) = (told(&engine.uri("real/steps:1")), told("tar://a.tar"));
        let steps = found["history"].as_array().unwrap();
        assert_eq!(steps.len(), 7, "{}", engine.name);
        let mut certain = 0;
        for (found, expected) in steps.iter().zip(expected["history"].as_array().unwrap()) {
            assert_eq!(found["created_by"], expected["created_by"], "{}", engine.name);
            assert_eq!(found["created"], expected["created"], "{}", engine.name);
            for key in ["layer", "empty_layer"] {
                let is_true = found[key] == expected[key] || found[key].is_null();
                assert!(is_true, "{}: {key} of {found}", engine.name);
            }
            certain += usize::from(!found["empty_layer"].is_null());
            assert!(found["size"].is_u64(), "{}: {found}", engine.name);
        }
        // Those with files, and those that are about the config.
        assert!(certain >= 4, "{}: {steps:?}", engine.name);
        assert_eq!(steps[0]["layer"], 0);
        assert_eq!(
            (&steps[1]["empty_layer"], &steps[6]["empty_layer"]),
            (&true.into(), &true.into())
        );
        let bytes: u64 = steps.iter().map(|step| step["size"].as_u64().unwrap()).sum();
        assert!(bytes >= 13_000, "{}: {bytes}", engine.name);
        assert_eq!((&found["unpacked"], &found["unpacked_exact"]), (&bytes.into(), &false.into()));
        let said = info(&sandbox, "100", &[&engine.uri("real/steps:1")]);
        assert!(said.exits(0).stdout.contains("ADD rootfs.tar /"), "{}", said.stdout);
    }
}

#[test]
fn a_reference_for_several_platforms_shows_them() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let source = Multi::build().push(&registry);
    let said = info(&sandbox, "100", &[&source]);
    insta::assert_snapshot!("platforms", sandbox.redact(&said.exits(0).stdout));

    let said = info(&sandbox, "", &[&source, "-O", "json", "--architecture", "arm64"]);
    let image = said.exits(0).json()["images"][0].clone();
    assert_eq!(image["platform"], "linux/arm64");
    let chosen = |entry: &&Value| entry["chosen"] == true;
    let listed = image["platforms"].as_array().unwrap();
    let chosen: Vec<&Value> = listed.iter().filter(chosen).collect();
    assert_eq!((chosen.len(), &chosen[0]["platform"]), (1, &json!("linux/arm64/v8")));
    assert_eq!(chosen[0]["digest"], image["manifest_digest"]);

    let said = info(&sandbox, "", &[&source, "--architecture", "mips"]);
    assert!(said.exits(1).stdout.contains("linux/arm64/v8"), "{said:?}");
    said.says("holds no image for linux/mips");
    // There is one document, with both the list and the error.
    let said = info(&sandbox, "", &[&source, "-O", "json", "--architecture", "mips"]);
    let value = said.exits(1).json();
    assert!(value["error"]["message"].as_str().unwrap().contains("linux/mips"), "{value}");
    assert!(!value["images"][0]["platforms"].as_array().unwrap().is_empty(), "{value}");
}

#[test]
fn the_default_platform_need_not_be_there() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let mut multi = Multi::build();
    multi.edit_index(|index| {
        let entries = index["manifests"].as_array_mut().unwrap();
        entries.retain(|entry| entry["platform"]["architecture"] != "amd64");
    });
    let source = multi.push(&registry);
    let said = info(&sandbox, "100", &[&source]);
    assert_eq!(said.exits(0).stderr, "");
    insta::assert_snapshot!("other_platforms", sandbox.redact(&said.stdout));
}

#[test]
fn nothing_in_a_config_drives_the_terminal() {
    let sandbox = Sandbox::new();
    let hostile = "\u{1b}]0;owned\u{7}\u{9b}31m\u{7f}\u{202e}\r\nx";
    let mut image = TestImage::new("app:1");
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["author"] = hostile.into();
    config["created"] = hostile.into();
    config["architecture"] = hostile.into();
    config["config"] = json!({
        "Env": [hostile], "Cmd": [hostile], "Entrypoint": [hostile], "User": hostile,
        "WorkingDir": hostile, "Labels": { hostile: hostile }, "Volumes": { hostile: {} },
        "ExposedPorts": { hostile: {} }, "StopSignal": hostile, "Shell": [hostile],
        "Healthcheck": { hostile: hostile },
    });
    config["history"][0]["created_by"] = hostile.into();
    image.config = config.to_string().into_bytes();
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    for format in ["text", "json"] {
        let said = info(&sandbox, "80", &["-O", format, &sandbox.uri("tar", "in.tar")]);
        let bad = |c: char| c != '\n' && occystrap_base::error::is_unprintable(c);
        assert!(!said.exits(0).stdout.contains(bad), "{format}: {:?}", said.stdout);
    }
    let said = info(&sandbox, "", &["-O", "json", &sandbox.uri("tar", "in.tar")]);
    assert_eq!(said.json()["images"][0]["config"]["user"], hostile);
}

#[test]
fn lines_fit_the_terminal() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let source = push(&registry, &rich("team/app:1"), Pack::Gzip);
    for columns in [40, 60, 80, 200] {
        let said = info(&sandbox, &columns.to_string(), &[&source]);
        for line in said.exits(0).stdout.lines() {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
    }
    // The JSON document has all of it.
    let said = info(&sandbox, "", &[&source]);
    assert!(said.stdout.contains("0123456789abcdef in /"), "{}", said.stdout);
}

#[test]
fn an_image_that_cannot_be_described_is_an_error() {
    let sandbox = Sandbox::new();
    let image = TestImage::new("app:1");
    let mut archive = shape::oci(&[&image], Pack::Gzip);
    archive.remove(&format!("blobs/sha256/{}", image.id().hex()));
    archive.write(&sandbox.path("in.tar"));
    let mut transcript = String::new();
    for (what, code) in [("in.tar", 1), ("not-there.tar", 1)] {
        let said = info(&sandbox, "", &[&sandbox.uri("tar", what)]);
        assert_eq!(said.exits(code).stdout, "");
        transcript += &sandbox.redact(&said.stderr);
    }
    insta::assert_snapshot!(transcript);
}
