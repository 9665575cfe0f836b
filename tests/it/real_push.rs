//! Pushes to Debian's docker-registry: open, behind a password, and behind tokens.

use bytes::Bytes;
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_MANIFEST;
use occystrap_net::registry::{Body, PushOptions, Reference, RegistryClient, Repository};
use serde_json::json;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise};
use crate::support::pusher::{WHOLE, file};
use crate::support::real::{PASSWORD, RealRegistry, USER, hello, skopeo};
use crate::support::shape;
use crate::support::user::{User, descriptor, pull, run};

/// Repositories of one client that has the password.
struct Pusher {
    client: RegistryClient,
    user: User,
    host: String,
}

impl Pusher {
    fn new(registry: &RealRegistry) -> Self {
        let user = User::new().named(USER, PASSWORD);
        let client = RegistryClient::new(&user.settings, user.cancel.clone()).unwrap();
        Self { client, user, host: registry.host().to_owned() }
    }

    fn to(&self, name: &str) -> Repository {
        let reference = Reference::parse(&format!("{}/{name}", self.host)).unwrap();
        self.client.repository_to_push(&reference, self.user.counters.clone()).unwrap()
    }

    fn from(&self, name: &str) -> Repository {
        let reference = Reference::parse(&format!("{}/{name}", self.host)).unwrap();
        self.client.repository(&reference, self.user.counters.clone()).unwrap()
    }
}

/// Everything that pushing consists of, and an independent reader.
fn push(registry: &RealRegistry) {
    let pusher = Pusher::new(registry);
    let to = pusher.to("team/app");
    let parts = PushOptions { chunk_size: Some(1_000_000) };
    let config = serde_json::to_vec(&json!({
        "os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": []},
    }));
    let (config, one, two) = (config.unwrap(), noise(31, 3_000_000), noise(32, 2_500_000));
    let body = Body::Bytes(Bytes::from(config.clone()));
    for (bytes, body, options) in
        [(&one, file(&one), WHOLE), (&two, file(&two), parts), (&config, body, WHOLE)]
    {
        let what = descriptor(bytes);
        assert_eq!(run(to.stat_blob(what.digest)).unwrap(), None);
        run(to.push_blob(&what, &body, &options, |_| ())).unwrap();
        assert_eq!(run(to.stat_blob(what.digest)).unwrap(), Some(what.size));
    }
    let one_of = |bytes: &[u8], media_type: &str| {
        json!({
            "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len(),
        })
    };
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": one_of(&config, "application/vnd.oci.image.config.v1+json"),
        "layers": [one_of(&one, layer), one_of(&two, layer)],
    });
    let manifest = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    run(to.push_manifest("1.0", OCI_MANIFEST, manifest.clone())).unwrap();
    assert_eq!(run(to.manifest("1.0")).unwrap().bytes, manifest);

    let credentials = format!("--creds={USER}:{PASSWORD}");
    let image = format!("docker://{}/team/app:1.0", registry.host());
    let read = skopeo(&["inspect", "--raw", "--tls-verify=false", &credentials, &image]);
    assert!(read == manifest);

    // Mounted, and straight through from one repository to another.
    let from = pusher.from("team/app");
    let other = pusher.to("team/other");
    assert!(run(other.mount_blob(Digest::of(&one), one.len() as u64, "team/app")).unwrap());
    assert!(!run(other.mount_blob(Digest::of(b"nowhere"), 7, "team/app")).unwrap());
    for options in [WHOLE, parts] {
        let third = pusher.to(&format!("third/{}", options.chunk_size.unwrap_or(0)));
        run(third.push_blob(&descriptor(&two), &Body::Download(from.clone()), &options, |_| ()))
            .unwrap();
        assert!(run(pull(&third, &descriptor(&two))).unwrap() == two);
    }
    assert_eq!(run(pull(&other, &descriptor(&one))).unwrap(), one);

    // A manifest without its blobs, in the registry's own words.
    let empty = pusher.to("team/empty");
    let error = run(empty.push_manifest("1.0", OCI_MANIFEST, manifest)).unwrap_err();
    assert!(error.to_string().contains("MANIFEST_BLOB_UNKNOWN"), "{error}");
    assert!(error.hint_text().unwrap().contains("does not have a blob"));
    assert_eq!(pusher.user.counters.retries(), 0);
}

#[test]
fn to_one_that_is_open() {
    let Some(registry) = RealRegistry::start("to_one_that_is_open") else { return };
    push(&registry);
}

#[test]
fn to_one_behind_a_password() {
    let Some(registry) = RealRegistry::with_password("to_one_behind_a_password") else { return };
    push(&registry);
}

#[test]
fn to_one_behind_tokens() {
    let Some(registry) = RealRegistry::with_tokens("to_one_behind_tokens") else { return };
    push(&registry);
    // The registry names scopes and actions in an order that changes from run to run.
    let sorted = |scope: &str| {
        let mut names = Vec::new();
        let mut actions = Vec::new();
        for entry in scope.split(' ') {
            let (name, allowed) = entry.rsplit_once(':').unwrap();
            names.push(name.to_owned());
            actions.extend(allowed.split(',').map(str::to_owned));
        }
        names.sort();
        actions.sort();
        (names, actions)
    };
    let asked = registry.tokens().asked();
    let times = |scope| asked.iter().filter(|one| sorted(one) == sorted(scope)).count();
    let one_for_all = "repository:team/app:pull,push";
    assert_eq!(times(one_for_all), 1, "{asked:?}");
    let both = "repository:team/app:pull repository:team/other:pull,push";
    assert_eq!(times(both), 1, "{asked:?}");
    assert!(times("repository:team/app:pull") >= 1, "{asked:?}");
}

#[test]
fn a_stranger_is_told_why() {
    let Some(registry) = RealRegistry::with_tokens("a_stranger_is_told_why") else { return };
    let mut pusher = Pusher::new(&registry);
    pusher.user = User::new().named(USER, "wr0ng");
    pusher.client = RegistryClient::new(&pusher.user.settings, pusher.user.cancel.clone()).unwrap();
    let to = pusher.to("team/app");
    let error = run(to.push_blob(&descriptor(b"x"), &file(b"x"), &WHOLE, |_| ())).unwrap_err();
    assert_eq!(error.kind(), occystrap_base::error::Kind::Auth);
    assert!(error.to_string().contains("refused the credentials"), "{error}");
}

#[test]
fn a_blob_that_was_collected_is_not_there() {
    let Some(registry) = RealRegistry::start("a_blob_that_was_collected_is_not_there") else {
        return;
    };
    let pusher = Pusher::new(&registry);
    let to = pusher.to("team/app");
    let what = descriptor(b"soon gone");
    run(to.push_blob(&what, &file(b"soon gone"), &WHOLE, |_| ())).unwrap();
    assert_eq!(run(to.stat_blob(what.digest)).unwrap(), Some(what.size));
    std::fs::remove_file(registry.blob_file(what.digest)).unwrap();
    assert_eq!(run(to.stat_blob(what.digest)).unwrap(), None);
}

/// Through the binary: two images, one whose bytes stay as they are and one that is compressed; read
/// back by skopeo, which knows nothing of us.
fn process(registry: &RealRegistry) {
    let sandbox = Sandbox::new();
    let image = TestImage::new("team/app:1");
    shape::oci(&[&image], Pack::Gzip).write(&sandbox.path("oci.tar"));
    let user = ["--insecure", "--username", USER, "--password", PASSWORD];
    let credentials = format!("--creds={USER}:{PASSWORD}");
    for (source, name) in [
        (sandbox.uri("tar", "oci.tar"), "binary/kept:1"),
        (format!("tar://{}", hello().display()), "binary/compressed:1"),
    ] {
        let receipt = sandbox.path("receipt").display().to_string();
        let more = ["--verify=full", "-O", "json", "--receipt", &receipt];
        let said = sandbox.process(&source, &registry.uri(name), &[&user[..], &more].concat());
        said.exits(0);
        let json = said.json();
        assert_eq!(json["images"][0]["status"], "verified");
        let objects = json["images"][0]["verification"]["objects"].as_array().unwrap();
        let of = |kind: &'static str| objects.iter().filter(move |one| one["kind"] == kind);
        let manifest = of("manifest").next().unwrap()["digest"].as_str().unwrap().to_owned();
        assert!(std::fs::read_to_string(&receipt).unwrap().contains(&manifest));

        let remote = format!("docker://{}/{name}", registry.host());
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &credentials, &remote]);
        assert_eq!(Digest::of(&raw).to_string(), manifest, "{name}");
        if name.contains("kept") {
            assert_eq!(String::from_utf8(raw).unwrap(), shape::oci_manifest(&image, Pack::Gzip));
        }
        // skopeo compares every blob with the manifest, and the config with what is in the layers.
        let copy = sandbox.path(&name.replace(['/', ':'], "-"));
        let local = format!("docker-archive:{}:{name}", copy.display());
        let credentials = format!("--src-creds={USER}:{PASSWORD}");
        skopeo(&["copy", "-q", "--src-tls-verify=false", &credentials, &remote, &local]);
        let back = sandbox.uri("dir", "back");
        sandbox.process(&format!("tar://{}", copy.display()), &back, &["--verify=full"]).verified();
        let folder = sandbox.path(&format!("{}-blobs", name.replace(['/', ':'], "-")));
        let blobs = format!("dir:{}", folder.display());
        skopeo(&["copy", "-q", "--src-tls-verify=false", &credentials, &remote, &blobs]);
        for layer in of("layer") {
            let digest: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
            let bytes = std::fs::read(folder.join(digest.hex())).unwrap();
            assert_eq!(Digest::of(&bytes), digest, "{name}");
        }

        // Later, from the receipt and by name; and a second time, when all is there.
        for subject in [&receipt, &registry.uri(name)] {
            sandbox.run(&[&["verify", subject], &user[..]].concat()).verified();
        }
        sandbox.process(&source, &registry.uri(name), &user).verified();

        // A blob that was collected: docker-registry still knows its size.
        let config = of("config").next().unwrap()["digest"].as_str().unwrap().parse().unwrap();
        let file = registry.blob_file(config);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        for level in [&["--fast"][..], &[]] {
            let said = sandbox.run(&[&["verify", &receipt], &user[..], level].concat());
            said.exits(1)
                .says(": missing: ")
                .says("hint: repair it with: occystrap process ")
                .says("?insecure=true");
        }
        std::fs::write(&file, bytes).unwrap();
        assert!(!said.stderr.contains(PASSWORD));
    }
    // From one repository to another: mounted, and the digest stays.
    let (from, to) = (registry.uri("binary/kept:1"), registry.uri("binary/mounted:2"));
    sandbox.process(&from, &to, &[&user[..], &["--verify=full", "-j", "2"]].concat()).verified();
    let remote = format!("docker://{}/binary/mounted:2", registry.host());
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &credentials, &remote]);
    assert_eq!(String::from_utf8(raw).unwrap(), shape::oci_manifest(&image, Pack::Gzip));
    let parts = format!("{}?chunk_size=100k", registry.uri("parts/app:1"));
    let source = sandbox.uri("tar", "oci.tar");
    sandbox.process(&source, &parts, &[&user[..], &["--verify=full"]].concat()).verified();
    sandbox.assert_clean();
}

#[test]
fn a_whole_image_to_one_that_is_open() {
    let Some(registry) = RealRegistry::start("a_whole_image_to_one_that_is_open") else { return };
    process(&registry);
}

#[test]
fn a_whole_image_to_one_behind_a_password() {
    let test = "a_whole_image_to_one_behind_a_password";
    let Some(registry) = RealRegistry::with_password(test) else { return };
    process(&registry);
}

#[test]
fn a_whole_image_to_one_behind_tokens() {
    let test = "a_whole_image_to_one_behind_tokens";
    let Some(registry) = RealRegistry::with_tokens(test) else { return };
    process(&registry);
}

#[test]
fn a_registry_that_ends_after_the_push() {
    let test = "a_registry_that_ends_after_the_push";
    let Some(mut registry) = RealRegistry::start(test) else { return };
    let sandbox = Sandbox::new();
    let receipt = sandbox.path("receipt").display().to_string();
    let source = format!("tar://{}", hello().display());
    let options = ["--insecure", "--no-verify", "--receipt", &receipt];
    sandbox.process(&source, &registry.uri("app:1"), &options).exits(0).says("not verified");
    registry.kill();
    let said = sandbox.run(&["verify", &receipt, "--insecure", "--retries", "1"]);
    said.exits(3)
        .says("5 of 5 objects unchecked (config, layers 1-3, manifest): cannot connect to")
        .says("0/1 verified, 1 UNCONFIRMED");
}
