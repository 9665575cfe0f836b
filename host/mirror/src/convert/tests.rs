//! Tests of conversions: what they print, and that the parser accepts it.

use super::*;

/// Files of regsync, of the kinds that public repositories have.
const REGSYNC: [&str; 11] = [
    // The example of every tutorial: logins, limits, one image, one repository.
    "version: 1
creds:
  - registry: registry:5000
    tls: disabled
  - registry: docker.io
    user: \"{{env \\\"HUB_USER\\\"}}\"
    pass: \"{{file \\\"/run/secrets/hub\\\"}}\"
    reqPerSec: 0.5
    reqConcurrent: 3
defaults:
  ratelimit: {min: 100, retry: 15m}
  parallel: 2
  interval: 60m
  backup: \"bkup-{{.Ref.Tag}}\"
sync:
  - source: busybox:latest
    target: registry:5000/library/busybox:latest
    type: image
  - source: alpine
    target: registry:5000/library/alpine
    type: repository
    tags:
      allow: [\"latest\", \"3\", \"3.\\\\d+\"]
      deny: [\"3.0\"]
",
    // Anchors, merge keys, and a template with the source.
    "x-hub: &hub
  target: mirror.example.org/hub/{{ .Sync.Source }}
  type: image
  schedule: \"15 3 * * *\"
sync:
  - <<: *hub
    source: debian:12-slim
  - <<: *hub
    source: team/app
  - <<: *hub
    source: alpine
    type: repository
    tags:
      allow: [3, 3.9, latest]
",
    // Ranges of versions and sets of rules.
    "sync:
- source: ghcr.io/example/tool
  target: registry.example.org/example/tool
  type: repository
  tagSets:
  - allow: [latest, edge]
  - semverRange: [\">=3.5.1 <4.0\"]
    allow: ['v\\d+\\.\\d+\\.\\d+']
  - semverRange: [\"^5\", \"~6.1\"]
",
    // Referrers, and only some of them.
    "defaults: {referrers: true}
sync:
- source: quay.io/team/app
  target: registry.example.org/team/app
  type: repository
  tags: {allow: [\"v[0-9.]+\"]}
  digestTags: true
  fastCopy: true
- source: quay.io/team/signed:v1
  target: registry.example.org/team/signed:v1
  type: image
  referrerFilters:
  - artifactType: application/spdx+json
  - artifactType: application/vnd.example.signature
- source: quay.io/team/noted:v1
  target: registry.example.org/team/noted:v1
  type: image
  referrerFilters:
  - annotations: {org.example.kind: sbom}
",
    // A list of single images of one release.
    "version: 1
sync:
- {source: 'registry.k8s.io/kube-apiserver:v1.31.2', target: 'localhost:5000/kube-apiserver:v1.31.2', type: image}
- {source: 'registry.k8s.io/pause:3.10', target: 'localhost:5000/pause:3.10', type: image}
- {source: 'registry.k8s.io/coredns/coredns:v1.11.3', target: 'localhost:5000/coredns:stable', type: image}
",
    // One platform, digests, and another tag at the target.
    "sync:
- source: docker.io/library/nginx:1.27
  target: registry.example.org/nginx:1.27
  type: image
  platform: linux/amd64
- source: docker.io/library/redis:7@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
  target: registry.example.org/redis:7
  type: image
- source: docker.io/library/node
  target: registry.example.org/node
  type: repository
  targetTag: '{{ .Source.Tag }}-mirror'
  tags: {allow: ['22.*'], deny: ['.*-slim', '.*rc.*']}
",
    // Whole repositories.
    "sync:
- source: quay.io/example/all
  target: registry.example.org/all
  type: repository
",
    // A whole registry, and templates that have no counterpart.
    "sync:
- {source: 'localreg:5000', target: 'copy:5000', type: registry}
- {source: 'gcr.io/example/a:1', target: 'r:5000/gcr/{{ index (split .Sync.Source \"gcr.io/\") 1 }}', type: image}
- {source: 'quay.io/example/b', target: 'r.example/b', type: repository, targetTag: '{{ env \"X\" }}'}
- {source: 'quay.io/example/c:1', target: 'r.example/c:1', type: image}
",
    // OCI layouts.
    "sync:
- {source: 'quay.io/example/a:1', target: 'ocidir:///srv/mirror/a:1', type: image}
- {source: 'ocidir:///srv/in:1', target: 'r.example/in:1', type: image}
",
    // Docker Hub as the target, and a source with a tag that the type ignores.
    "sync:
- {source: 'quay.io/example/a:1', target: 'team/a:1', type: image}
- {source: 'quay.io/example/b:latest', target: 'docker.io/team/b', type: repository, tags: {deny: [dev]}}
",
    // Other settings of registries.
    "version: 1
creds:
- registry: internal.example:8443
  regcert: |
    -----BEGIN CERTIFICATE-----
  hostname: 10.0.0.1:8443
  pathPrefix: proxy
  mirrors: [cache.example]
  blobChunk: 1000000
  credHelper: docker-credential-ecr-login
defaults: {mediaTypes: [application/vnd.oci.image.index.v1+json], skipDockerConfig: true, cacheCount: 500}
sync:
- source: internal.example:8443/a
  target: other.example/a
  type: repository
  ratelimit: {min: 30}
  tags: {allow: ['(', 'v.*']}
- source: internal.example:8443/b
  target: other.example/b
  type: repository
  tags: {allow: 'v1'}
",
];

/// Files of `skopeo sync`.
const SKOPEO: [&str; 10] = [
    // Every key of the manual.
    "registry.example.com:
    images:
        busybox: []
        redis:
            - \"1.0\"
            - \"2.0\"
            - \"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"
    images-by-tag-regex:
        nginx: ^1\\.13\\.[12]-alpine-perl$
    images-by-semver:
        alpine:
            - \"3.12 - 3.13\"
            - \">= 3.17\"
    credentials:
        username: john
        password: this is a secret
    tls-verify: true
    cert-dir: /home/john/certs
quay.io:
    tls-verify: false
    images:
        coreos/etcd:
            - latest
",
    "docker.io:\n  images:\n    nginx: [latest, 1.27]\n    library/redis: ['7-alpine']\n",
    "ghcr.io:\n  images-by-semver:\n    team/tool: \">= v0.22.0\"\n    team/db: '>= 2'\n    team/range: \">=12.0 <15.0\"\n",
    "docker.io:\n  tls-verify: true\n  images-by-tag-regex:\n    httpd: ^2\\.4\\.[0-9]*-alpine$\n    golang: \"^1\\\\.(19|20)\\\\.\"\n    busybox:\n      - \"^1\\\\.3[5-6]\"\n    pause: '^3\\.(8|9)$'\n",
    "quay.io:\n  images-by-tag-regex:\n    fedora/fedora: ^latest$\n",
    "docker://docker.io/library:\n  images:\n    nginx: ['1.27']\n",
    "localhost:5000:\n  images:\n    a/b:\n",
    "registry.k8s.io:\n  images:\n    pause: ['3.10']\n    bad: ['sha256:1111']\n    UPPER: [latest]\n",
    "# from a generator\nquay.io:\n  images: {prometheus/prometheus: [v2.55.0, v3.0.0], prometheus/alertmanager: [v0.27.0]}\ngcr.io:\n  images: {distroless/static: [nonroot]}\nempty.example.com: {}\n",
    "docker.io:\n  images-by-semver:\n    node: latest\n    postgres: '>=16'\n",
];

const LISTS: [&str; 5] = [
    "nginx:1.27\nnginx:1.26\nquay.io/prometheus/prometheus:v3.0.0\n",
    "# images of the cluster\n\ndocker.io/library/redis # cache\nregistry.k8s.io/pause:3.10\r\n",
    "- ghcr.io/team/app:1\n- 'ghcr.io/team/app:2'\n",
    "quay.io/a/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nquay.io/a/b:1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nquay.io/UPPER:1\n",
    "busybox",
];

/// Returns what a conversion prints and reports.
fn shown(name: &str, text: &str) -> String {
    match from(name, text, None) {
        Ok(converted) => {
            let parsed = Document::parse("converted", &converted.file);
            assert!(parsed.is_ok(), "{parsed:?}\n{}", converted.file);
            let left_out: String =
                converted.not_converted.iter().map(|part| format!("! {part}\n")).collect();
            format!("{}{left_out}", converted.file)
        }
        Err(errors) => errors.iter().map(|error| format!("error: {error}\n")).collect(),
    }
}

#[test]
fn files_of_regsync_are_converted() {
    let all: String =
        REGSYNC.iter().map(|text| format!("{}\n", shown("regsync.yml", text))).collect();
    assert!(!all.contains("secrets/hub"), "a login is repeated");
    insta::assert_snapshot!(all);
}

#[test]
fn files_of_skopeo_are_converted() {
    let all: String = SKOPEO.iter().map(|text| format!("{}\n", shown("sync.yml", text))).collect();
    assert!(!all.contains("this is a secret") && !all.contains("john"), "a login is repeated");
    insta::assert_snapshot!(all);
}

#[test]
fn lists_are_converted() {
    let all: String = LISTS.iter().map(|text| format!("{}\n", shown("images.txt", text))).collect();
    insta::assert_snapshot!(all);
}

#[test]
fn what_cannot_be_converted_is_an_error() {
    let mut all = String::new();
    for text in [
        "",
        "# nothing\n",
        "version: 1\nimages: [{from: 'a:1', to: m.example/a}]\n",
        "a: {b: c}\n",
        "sync: []\n",
        "sync: none\n",
        "sync: [{source: 'quay.io/x'}]\n",
        "sync:\n- source: [\n",
        "docker.io: {images: {}}\n",
        "docker.io: {images: [a]}\n",
        "docker.io: {images-by-semver: 3}\n",
        "docker.io: 3\nquay.io: {images: 4}\n",
    ] {
        all.push_str(&format!("{text:?}\n{}\n", shown("other.yml", text)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn no_login_is_repeated() {
    for text in [
        "sync: [{source: 'me:hunter2@quay.io/x:1', target: m.example/x, type: image}, {source: 'a:1', target: 'registry://me:hunter2@m.example/a', type: image}, {source: 'b:1', target: m.example/b}]",
        "'me:hunter2@quay.io': {images: {x: ['1']}}\nquay.io: {images: {y: ['1']}}",
        "me:hunter2@quay.io/x:1\nquay.io/x:1",
    ] {
        let shown = shown("x", text);
        assert!(!shown.contains("hunter2") && shown.contains("- from: "), "{shown}");
    }
}

#[test]
fn the_destination_of_a_list_can_be_given() {
    let converted = from("-", "busybox:1", Some("oci-layout:///srv/{name}")).unwrap();
    assert!(
        converted.file.contains("defaults: {to: 'oci-layout:///srv/{name}'}"),
        "{}",
        converted.file
    );
    assert!(from("-", "busybox:1", Some("oci-layout:///srv/{repo}")).is_err());
}

#[test]
fn text_is_quoted_where_a_parser_would_read_something_else() {
    for (text, expected) in [
        ("latest", "latest"),
        ("quay.io/a/b:1", "quay.io/a/b:1"),
        ("1.10", "'1.10'"),
        ("yes", "'yes'"),
        ("it's", "'it''s'"),
        ("a: b", "'a: b'"),
        ("a #b", "'a #b'"),
        ("m.example/{name}", "'m.example/{name}'"),
        ("", "''"),
        ("a\nb", "\"a\\nb\""),
    ] {
        assert_eq!(write::quoted(text), expected);
    }
}

proptest::proptest! {
    #[test]
    fn every_conversion_parses(which in 0..26_usize, at in 0..600_usize, length in 0..6_usize, put in "[-:{}\\[\\],'a1 \n*&$(|]{0,4}") {
        let all: Vec<&str> = REGSYNC.iter().chain(&SKOPEO).chain(&LISTS).copied().collect();
        let text = all[which];
        let (at, end) = (at.min(text.len()), (at + length).min(text.len()));
        if text.is_char_boundary(at) && text.is_char_boundary(end) {
            let text = format!("{}{put}{}", &text[..at], &text[end..]);
            let _ = shown("x", &text);
        }
    }

    #[test]
    fn quoted_text_is_read_as_itself(text in "\\PC{0,20}|[\n\t\u{0}-\u{1f}\u{85}\u{2028}'\"#: -]{1,8}") {
        let file = format!("a: [{}]\n", write::quoted(&text));
        let root = yaml::parse(&file).map_err(|faults| panic!("{file:?} {faults:?}")).unwrap().unwrap();
        assert_eq!(root.get("a").unwrap().items().unwrap()[0].text(), Some(text.as_str()), "{file:?}");
    }
}
