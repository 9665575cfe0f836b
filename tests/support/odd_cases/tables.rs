//! The oddities, one line each. The image is correct before and after each change.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::super::image::{gzip, zstd};
use super::super::raw_tar::Raw;
use super::super::registry::{ALWAYS, Fault, Registry};
use super::{Change, In, Oddity};

/// Absent, or this value.
fn set(within: In, path: &str, value: Option<Value>) -> Oddity {
    let shown = value.as_ref().map_or("absent".to_owned(), Value::to_string);
    let steps: Vec<String> = path.split('/').map(str::to_owned).collect();
    let called = match within {
        In::Config => "config",
        In::Manifest => "manifest",
        In::Index => "index",
        In::Layout => "index.json",
        In::Saved => "manifest.json",
        In::Members | In::Layers | In::Registry => unreachable!(),
    };
    let change = move |document: &mut Value| {
        let (last, above) = steps.split_last().unwrap();
        let mut at = document;
        for step in above {
            at = match step.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[step],
            };
        }
        match (&value, last.parse::<usize>()) {
            (Some(value), Ok(index)) => at[index] = value.clone(),
            (Some(value), Err(_)) => at[last] = value.clone(),
            (None, _) => drop(at.as_object_mut().map(|at| at.remove(last))),
        }
    };
    let name = format!("{called}: {path} {shown}");
    Oddity { name, within, change: Change::Json(Box::new(change)) }
}

/// Every oddity, in an order that stays.
pub fn oddities() -> Vec<Oddity> {
    let mut all = Vec::new();
    let null = || Some(Value::Null);
    // Tools leave out what they do not know, and Go writes null for what is empty.
    for field in
        ["architecture", "os", "variant", "rootfs/type", "config", "history", "created", "author"]
    {
        all.extend([set(In::Config, field, None), set(In::Config, field, null())]);
    }
    for field in ["architecture", "os", "rootfs/type", "created", "author", "variant"] {
        all.push(set(In::Config, field, Some(json!(""))));
    }
    for field in [
        "Env",
        "Cmd",
        "Entrypoint",
        "Labels",
        "Volumes",
        "ExposedPorts",
        "User",
        "WorkingDir",
        "OnBuild",
        "Shell",
        "StopSignal",
        "Healthcheck",
        "Image",
        "Hostname",
        "ArgsEscaped",
        "Domainname",
    ] {
        let path = format!("config/{field}");
        all.extend([set(In::Config, &path, None), set(In::Config, &path, null())]);
        for odd in [json!(""), json!([]), json!({})] {
            all.push(set(In::Config, &path, Some(odd)));
        }
    }
    for (path, odd) in [
        ("config", json!({})),
        ("history", json!([])),
        ("history", json!([{}])),
        ("history", json!([null])),
        // jib, nix2container: fewer entries than layers; second-state: the wrong ones are empty.
        ("history", json!([{ "created_by": "x" }, { "created_by": "y", "empty_layer": true }])),
        ("history", json!([{ "empty_layer": true }, { "empty_layer": true }])),
        ("history", json!([{ "created": null, "created_by": null, "comment": null }])),
        ("created", json!("0001-01-01T00:00:00Z")),
        ("created", json!("1970-01-01T00:00:00Z")),
        ("created", json!("2024-01-01T00:00:00.123456789+02:00")),
        ("created", json!("yesterday")),
        ("architecture", json!("x86_64")),
        ("architecture", json!("AMD64")),
        ("os", json!("Linux")),
        ("variant", json!("v1")),
        ("os.version", json!("10.0.17763.1")),
        ("os.features", json!(["win32k"])),
        ("os.features", Value::Null),
        ("config/Env", json!(["NOEQUALS"])),
        ("config/Env", json!(["=x", ""])),
        ("config/Env", json!(["A=1", "A=2"])),
        ("config/Entrypoint", json!("sh")),
        ("config/Cmd", json!("sh -c true")),
        ("config/Labels", json!({ "a": null })),
        ("config/Labels", json!({ "": "" })),
        ("config/Labels", json!({ "a": 5 })),
        ("config/Labels", json!({ "a": { "b": "c" } })),
        ("config/Volumes", json!(["/data"])),
        ("config/Volumes", json!({ "/data": null })),
        ("config/ExposedPorts", json!({ "80": {} })),
        ("config/ExposedPorts", json!({ "80/sctp": null })),
        ("config/Healthcheck", json!({ "Test": null })),
        ("config/Memory", json!(0)),
        ("config/User", json!(1000)),
        ("container_config", Value::Null),
        ("container_config", json!({ "Cmd": null })),
        ("docker_version", json!("")),
        ("moby.buildkit.cache.v0", json!(null)),
        ("unknown", json!({ "deep": [[[null]]] })),
        ("rootfs/type", json!("layers+base")),
        ("rootfs/base_layer", json!("")),
        ("parent", json!("")),
        ("id", json!("x")),
    ] {
        all.push(set(In::Config, path, Some(odd)));
    }
    all.push(text(In::Config, "config: after a line break and spaces", |text| {
        format!("\n\t {text}\n\n")
    }));
    all.push(text(In::Config, "config: as Go escapes it", |text| text.replace('t', "\\u0074")));

    for field in
        ["mediaType", "schemaVersion", "annotations", "config/mediaType", "layers/0/mediaType"]
    {
        all.extend([set(In::Manifest, field, None), set(In::Manifest, field, null())]);
        all.push(set(In::Manifest, field, Some(json!(""))));
    }
    for (path, odd) in [
        ("annotations", json!({})),
        ("annotations", json!({ "a": null })),
        ("annotations", json!({ "": "" })),
        ("config/annotations", json!({})),
        ("config/data", json!("e30=")),
        ("config/urls", Value::Null),
        ("config/urls", json!([])),
        ("config/platform", Value::Null),
        ("config/mediaType", json!("application/octet-stream")),
        ("config/mediaType", json!("application/json")),
        ("config/mediaType", json!("text/html")),
        ("config/mediaType", json!("application/vnd.docker.container.image.v1+json")),
        ("layers/0/mediaType", json!("application/vnd.docker.image.rootfs.diff.tar.gzip")),
        ("layers/0/mediaType", json!("application/vnd.oci.image.layer.v1.tar")),
        ("layers/0/mediaType", json!("application/vnd.docker.image.rootfs.diff.tar")),
        ("layers/0/mediaType", json!("application/vnd.docker.container.image.rootfs.diff+x-gtar")),
        (
            "layers/0/mediaType",
            json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        ),
        ("layers/0/mediaType", json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
        ("layers/0/mediaType", json!("application/tar+gzip")),
        ("layers/0/mediaType", json!("application/octet-stream")),
        ("layers/0/annotations", Value::Null),
        (
            "layers/0/annotations",
            json!({ "io.github.containers.zstd-chunked.manifest-position": "1:2:3:4" }),
        ),
        ("layers/0/urls", Value::Null),
        ("layers/0/urls", json!([])),
        ("layers/0/urls", json!(["https://a.example/x"])),
        ("layers/0/platform", json!({})),
        ("layers/0/digests", json!(null)),
        ("subject", Value::Null),
        ("artifactType", json!("")),
        ("artifactType", json!("application/vnd.example")),
        ("unknown", json!([1.5e300])),
        ("schemaVersion", json!(2.0)),
        ("tag", json!("latest")),
        ("name", json!("app")),
    ] {
        all.push(set(In::Manifest, path, Some(odd)));
    }
    all.push(text(In::Manifest, "manifest: members in the opposite order", reversed));
    all.push(text(
        In::Manifest,
        "manifest: pretty-printed, with a line break at its end",
        |text| {
            let value: Value = serde_json::from_str(text).unwrap();
            format!("{}\r\n", serde_json::to_string_pretty(&value).unwrap())
        },
    ));

    for field in [
        "mediaType",
        "schemaVersion",
        "annotations",
        "manifests/0/platform",
        "manifests/0/mediaType",
        "manifests/0/annotations",
        "manifests/0/platform/os",
        "manifests/0/platform/architecture",
    ] {
        all.extend([set(In::Index, field, None), set(In::Index, field, null())]);
    }
    for (path, odd) in [
        ("manifests/0/platform", json!({})),
        ("manifests/0/platform", json!({ "os": "", "architecture": "" })),
        ("manifests/0/platform/variant", json!("")),
        ("manifests/0/platform/variant", Value::Null),
        ("manifests/0/platform/variant", json!("v2")),
        ("manifests/0/platform/os.version", json!("")),
        ("manifests/0/platform/os.version", Value::Null),
        ("manifests/0/platform/os.features", json!([])),
        ("manifests/0/platform/os.features", Value::Null),
        ("manifests/0/platform/features", json!(["sse4"])),
        ("manifests/0/artifactType", json!("")),
        ("manifests/0/urls", Value::Null),
        ("manifests/0/data", Value::Null),
        ("annotations", json!({ "a": "b" })),
        ("subject", Value::Null),
        ("artifactType", json!("")),
        ("unknown", json!(true)),
        ("layers", Value::Null),
        ("config", Value::Null),
        ("schemaVersion", json!(2.0)),
    ] {
        all.push(set(In::Index, path, Some(odd)));
    }
    all.push(edit(In::Index, "index: an attestation beside it", |index| {
        let mut entry = index["manifests"][0].clone();
        entry["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        entry["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
        index["manifests"].as_array_mut().unwrap().push(entry);
    }));
    all.push(edit(In::Index, "index: the same entry twice", |index| {
        let entry = index["manifests"][0].clone();
        index["manifests"].as_array_mut().unwrap().push(entry);
    }));
    all.push(edit(In::Index, "index: without a platform, an attestation beside it", |index| {
        let mut entry = index["manifests"][0].clone();
        index["manifests"][0].as_object_mut().unwrap().remove("platform");
        entry["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        entry["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
        index["manifests"].as_array_mut().unwrap().push(entry);
    }));
    all.push(text(In::Index, "index: members in the opposite order", reversed));

    for (path, odd) in [
        ("mediaType", None),
        ("mediaType", null()),
        ("annotations", null()),
        ("schemaVersion", None),
        ("manifests/0/annotations", None),
        ("manifests/0/annotations", null()),
        (
            "manifests/0/annotations/org.opencontainers.image.ref.name",
            Some(json!("docker.io/team/app:1")),
        ),
        ("manifests/0/annotations/org.opencontainers.image.ref.name", Some(json!(""))),
        ("manifests/0/platform", Some(json!({ "os": "linux", "architecture": "amd64" }))),
        ("manifests/0/platform", null()),
        ("unknown", Some(json!([]))),
    ] {
        all.push(set(In::Layout, path, odd));
    }

    for (path, odd) in [
        ("0/RepoTags", None),
        ("0/RepoTags", null()),
        ("0/RepoTags", Some(json!([]))),
        ("0/RepoTags", Some(json!(["team/app:1", "team/app:2"]))),
        ("0/RepoTags", Some(json!(["docker.io/team/app:1"]))),
        ("0/RepoTags", Some(json!(["team/app"]))),
        ("0/RepoTags", Some(json!(["localhost:5000/team/app:1"]))),
        ("0/Parent", Some(json!("sha256:00"))),
        ("0/Parent", Some(json!(""))),
        ("0/LayerSources", Some(json!({}))),
        ("0/LayerSources", null()),
        ("0/unknown", Some(json!(1))),
    ] {
        all.push(set(In::Saved, path, odd));
    }
    all.push(text(In::Saved, "manifest.json: members in the opposite order", reversed));
    all.push(text(In::Saved, "manifest.json: with a line break at its end", |text| {
        format!("{text}\n")
    }));

    let mut members = |name: &str, change: fn(Vec<Raw>) -> Vec<Raw>| {
        let name = format!("archive: {name}");
        all.push(Oddity { name, within: In::Members, change: Change::Members(change) });
    };
    members("members in the opposite order", |members| members.into_iter().rev().collect());
    members("names that begin with ./", |members| renamed(members, |name| format!("./{name}")));
    members("names with a double slash", |members| {
        renamed(members, |name| name.replace('/', "//"))
    });
    members("directories listed", |mut members| {
        let folder =
            members.iter().find_map(|one| one.name().split_once('/').map(|(a, _)| a.to_owned()));
        members.insert(0, Raw::dir(&folder.unwrap()));
        members.insert(0, Raw::dir("."));
        members
    });
    members("VERSION and json beside a layer", |mut members| {
        let folder =
            members.iter().find_map(|one| one.name().split_once('/').map(|(a, _)| a.to_owned()));
        let folder = folder.unwrap();
        members.push(Raw::file(format!("{folder}/VERSION"), b"1.0"));
        members.push(Raw::file(format!("{folder}/json"), b"{\"id\":\"x\"}"));
        members
    });
    members("a legacy list of repositories", |mut members| {
        members.push(Raw::file("repositories", br#"{"team/app":{"1":"00"}}"#));
        members
    });
    members("a list of repositories that is null", |mut members| {
        members.push(Raw::file("repositories", b"null"));
        members
    });
    members("a list of repositories that is no JSON", |mut members| {
        members.push(Raw::file("repositories", b"{"));
        members
    });
    members("a PAX global header", |mut members| {
        members.insert(
            0,
            Raw::new(
                b'g',
                "pax_global_header",
                b"52 comment=0123456789012345678901234567890123456789\n",
            ),
        );
        members
    });
    members("PAX headers with times and a long name", |members| {
        let pax = |one: Raw| {
            let name = one.name();
            one.pax("mtime", "1700000000.5").pax("path", name)
        };
        members.into_iter().map(pax).collect()
    });
    members("a file that no list names", |mut members| {
        members.push(Raw::file("README", b"hello"));
        members
    });
    members("an empty file that no list names", |mut members| {
        members.push(Raw::file(".keep", b""));
        members
    });
    members("an index.json whose list is null beside it", |members| beside(members, "null"));
    members("an index.json whose list is empty beside it", |members| beside(members, "[]"));
    members("an oci-layout alone beside it", |mut members| {
        members.push(Raw::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
        members
    });
    members("the same member twice, with the same bytes", |mut members| {
        let again = members[1].clone();
        members.push(again);
        members
    });
    members("a layer that is a symbolic link to another folder", |members| linked(members, b'2'));
    members("a layer that is a hard link", |members| linked(members, b'1'));
    members("owners, and times before 1970", |members| {
        members.into_iter().map(|one| one.owner(1000, 1000).mode(0o100_600)).collect()
    });
    let mut archive = |name: &str, change: fn(Vec<u8>) -> Vec<u8>| {
        let name = format!("archive: {name}");
        all.push(Oddity { name, within: In::Members, change: Change::Archive(change) });
    };
    archive("gzip", |bytes| gzip(&bytes));
    archive("zstd", |bytes| zstd(&bytes));
    archive("xz", |bytes| piped("xz", bytes));
    archive("bzip2", |bytes| piped("bzip2", bytes));
    archive("gzip in two members", |bytes| {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        [gzip(first), gzip(second)].concat()
    });
    archive("one block of zeros at its end", |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default() / 512 + 1;
        bytes[..(end + 1) * 512].to_vec()
    });
    archive("no block of zeros at its end", |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default() / 512 + 1;
        bytes[..end * 512].to_vec()
    });
    archive("many blocks of zeros at its end", |bytes| [bytes, vec![0; 64 * 1024]].concat());
    archive("zeros at its end, and no whole block", |bytes| [bytes, vec![0; 100]].concat());

    let mut layers = |name: &str, change: fn(Vec<u8>) -> Vec<u8>| {
        let name = format!("layers: {name}");
        all.push(Oddity { name, within: In::Layers, change: Change::Layers(change) });
    };
    layers("plain", |bytes| bytes);
    layers("zstd", |bytes| zstd(&bytes));
    layers("xz", |bytes| piped("xz", bytes));
    layers("bzip2", |bytes| piped("bzip2", bytes));
    layers("gzip in two members", |bytes| {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        [gzip(first), gzip(second)].concat()
    });
    layers("gzip with a name and a comment", |bytes| {
        let header = flate2::GzBuilder::new().filename("layer.tar").comment("made by hand");
        let mut encoder = header.write(Vec::new(), flate2::Compression::best());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap()
    });

    let mut registry = |name: &str, change: fn(&Registry)| {
        let name = format!("registry: {name}");
        all.push(Oddity { name, within: In::Registry, change: Change::Fault(change) });
    };
    registry("HEAD of blobs is 405", |it| it.fault("HEAD", "/blobs/", Fault::status(405), ALWAYS));
    registry("HEAD of blobs is 404", |it| it.fault("HEAD", "/blobs/", Fault::status(404), ALWAYS));
    registry("HEAD of blobs is 501", |it| it.fault("HEAD", "/blobs/", Fault::status(501), ALWAYS));
    registry("HEAD of blobs says a length of 0", |it| {
        it.fault("HEAD", "/blobs/", Fault::Length(0), ALWAYS)
    });
    registry("HEAD of blobs says no length", |it| {
        it.fault("HEAD", "/blobs/", Fault::NoHeader("content-length"), ALWAYS);
    });
    registry("HEAD of manifests is 405", |it| {
        it.fault("HEAD", "/manifests/", Fault::status(405), ALWAYS)
    });
    registry("HEAD of manifests is 404", |it| {
        it.fault("HEAD", "/manifests/", Fault::status(404), ALWAYS)
    });
    registry("HEAD of manifests says no digest", |it| {
        it.fault("HEAD", "/manifests/", Fault::NoHeader("docker-content-digest"), ALWAYS);
    });
    registry("GET of manifests says no digest", |it| {
        it.fault("GET", "/manifests/", Fault::NoHeader("docker-content-digest"), ALWAYS);
    });
    registry("GET of manifests says a digest that is none", |it| {
        it.fault(
            "GET",
            "/manifests/",
            Fault::Header("docker-content-digest", "latest".to_owned()),
            ALWAYS,
        );
    });
    registry("GET of manifests says no length", |it| {
        it.fault("GET", "/manifests/", Fault::NoHeader("content-length"), ALWAYS);
    });
    registry("GET of blobs says no length", |it| {
        it.fault("GET", "/blobs/", Fault::NoHeader("content-length"), ALWAYS);
    });
    registry("GET of blobs says no media type", |it| {
        it.fault("GET", "/blobs/", Fault::NoHeader("content-type"), ALWAYS);
    });
    registry("GET of blobs says text/html", |it| {
        it.fault(
            "GET",
            "/blobs/",
            Fault::Header("content-type", "text/html; charset=utf-8".to_owned()),
            ALWAYS,
        );
    });
    registry("manifests are application/json", |it| manifest_type(it, "application/json"));
    registry("manifests are text/plain; charset=utf-8", |it| {
        manifest_type(it, "text/plain; charset=utf-8")
    });
    registry("manifests are application/octet-stream", |it| {
        manifest_type(it, "application/octet-stream")
    });
    registry("manifests have a charset", |it| {
        manifest_type(it, "application/vnd.oci.image.manifest.v1+json; charset=utf-8");
    });
    registry("manifests have a type in capitals", |it| {
        manifest_type(it, "Application/vnd.OCI.image.manifest.v1+JSON");
    });
    registry("manifests have a type with a space", |it| {
        manifest_type(it, " application/vnd.oci.image.manifest.v1+json ;q=1");
    });
    registry("manifests have no type", |it| {
        for method in ["GET", "HEAD"] {
            it.fault(method, "/manifests/", Fault::NoHeader("content-type"), ALWAYS);
        }
    });
    registry("the first GET of a manifest is redirected by 301", |it| redirected(it, 301));
    registry("the first GET of a manifest is redirected by 302", |it| redirected(it, 302));
    registry("the first GET of a manifest is redirected by 303", |it| redirected(it, 303));
    registry("the first GET of a manifest is redirected by 307", |it| redirected(it, 307));
    registry("the first GET of a manifest is redirected by 308", |it| redirected(it, 308));
    registry("blobs know no ranges", |it| it.fault("GET", "/blobs/", Fault::IgnoreRange, ALWAYS));
    registry("ranges of blobs are 416", |it| {
        it.fault("GET", "/blobs/", Fault::RefuseRange, ALWAYS)
    });
    registry("ranges of blobs are 500", |it| {
        it.fault("GET", "/blobs/", Fault::RangeStatus(500), ALWAYS)
    });
    registry("ranges of blobs are 403", |it| {
        it.fault("GET", "/blobs/", Fault::RangeStatus(403), ALWAYS)
    });
    registry("suffixes of blobs are not known", |it| {
        it.fault("GET", "/blobs/", Fault::IgnoreSuffix, ALWAYS)
    });
    registry("the first GET of a blob is 502", |it| {
        it.fault("GET", "/blobs/", Fault::status(502), 1)
    });
    registry("the first GET of a manifest is 429", |it| {
        it.fault("GET", "/manifests/", Fault::too_many("0"), 1);
    });
    registry("a blob is cut once", |it| it.fault("GET", "/blobs/", Fault::CutAfter(20), 1));
    all
}

/// The way back is relative, as proxies that add a slash or a host write it.
fn redirected(registry: &Registry, status: u16) {
    let location = "/v2/team/app/manifests/1?from=elsewhere".to_owned();
    registry.fault("GET", "/manifests/1", Fault::Status(status, vec![("location", location)]), 1);
}

fn manifest_type(registry: &Registry, media_type: &'static str) {
    for method in ["GET", "HEAD"] {
        let fault = Fault::Header("content-type", media_type.to_owned());
        registry.fault(method, "/manifests/", fault, ALWAYS);
    }
}

fn text(within: In, name: &str, change: fn(&str) -> String) -> Oddity {
    Oddity { name: name.to_owned(), within, change: Change::Text(change) }
}

fn edit(within: In, name: &str, change: fn(&mut Value)) -> Oddity {
    Oddity { name: name.to_owned(), within, change: Change::Json(Box::new(change)) }
}

/// Returns the output of a program of the system for some bytes.
fn piped(program: &str, bytes: Vec<u8>) -> Vec<u8> {
    let command = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = command.unwrap_or_else(|cause| panic!("{program}: {cause}"));
    let mut input = child.stdin.take().unwrap();
    // From a thread: the program may answer before all has come.
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

/// The members of an object in the opposite order, at every depth.
fn reversed(text: &str) -> String {
    fn render(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let member =
                    |(key, value): (&String, &Value)| format!("{}:{}", json!(key), render(value));
                format!("{{{}}}", map.iter().rev().map(member).collect::<Vec<_>>().join(","))
            }
            Value::Array(list) => {
                format!("[{}]", list.iter().map(render).collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }
    render(&serde_json::from_str(text).unwrap())
}

fn renamed(members: Vec<Raw>, name: fn(&str) -> String) -> Vec<Raw> {
    members
        .into_iter()
        .map(|one| {
            let new = name(&one.name());
            one.named(new)
        })
        .collect()
}

/// Docker 25 wrote such a list where an image had no tag.
fn beside(mut members: Vec<Raw>, list: &str) -> Vec<Raw> {
    let index = format!(r#"{{"schemaVersion":2,"manifests":{list}}}"#);
    members.push(Raw::file("index.json", index.as_bytes()));
    members.push(Raw::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
    members
}

/// The last layer as a link to a copy of it elsewhere in the archive.
fn linked(mut members: Vec<Raw>, kind: u8) -> Vec<Raw> {
    let at = members.iter().rposition(|one| one.name().ends_with("/layer.tar")).unwrap();
    let link_name = members[at].name();
    let moved = members.remove(at);
    members.push(moved.named("0000/layer.tar"));
    let target = if kind == b'2' { "../0000/layer.tar" } else { "0000/layer.tar" };
    members.push(Raw::link(kind, &link_name, target));
    members
}
