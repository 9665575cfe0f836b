//! Files as tools write them. A new case is one line.

use super::*;

/// Returns the steps of a file for an image, as one line. A broken entry is `x`.
fn steps(config: &str, format: AuthFileFormat, image: &str) -> String {
    let of = Reference::parse(image).unwrap();
    let file = AuthFile::parse(config.as_bytes(), format).unwrap();
    let found = file.steps(&of);
    let texts = found.iter().map(|step| match step {
        LoginStep::Helper { name, key } => format!("{name}({key})"),
        LoginStep::Entry { entry, .. } => shown(entry),
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn shown(entry: &Value) -> String {
    match read_entry(entry) {
        Ok(Some(Login::Password { username, password })) => {
            format!("{username}:{}", password.expose())
        }
        Ok(Some(Login::IdentityToken(token))) => format!("token={}", token.expose()),
        Ok(Some(Login::RegistryToken(token))) => format!("bearer={}", token.expose()),
        Ok(None) => "-".to_owned(),
        Err(Malformed) => "x".to_owned(),
    }
}

const CONTAINERS: AuthFileFormat = AuthFileFormat::Containers;
const DOCKER: AuthFileFormat = AuthFileFormat::Docker;
const LEGACY: AuthFileFormat = AuthFileFormat::Legacy;

// bWU6cHc= decodes to me:pw, and b3RoZXI6cHc= to other:pw.
#[test]
fn keys_are_matched_as_docker_and_podman_match_them() {
    for (config, format, image, expected) in [
        (r#"{"auths":{"quay.io":{"auth":"bWU6cHc="}}}"#, CONTAINERS, "quay.io/a/b", "me:pw"),
        // Docker Hub under each of its names.
        (
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cHc="}}}"#,
            DOCKER,
            "docker.io/a",
            "me:pw",
        ),
        (r#"{"auths":{"docker.io":{"auth":"bWU6cHc="}}}"#, CONTAINERS, "docker.io/a", "me:pw"),
        (
            r#"{"auths":{"index.docker.io":{"auth":"bWU6cHc="}}}"#,
            CONTAINERS,
            "docker.io/a",
            "me:pw",
        ),
        (
            r#"{"auths":{"https://registry-1.docker.io/v2/":{"auth":"bWU6cHc="}}}"#,
            CONTAINERS,
            "docker.io/a",
            "me:pw",
        ),
        (
            r#"{"auths":{"docker.io/library":{"auth":"bWU6cHc="}}}"#,
            CONTAINERS,
            "docker.io/library/a",
            "me:pw",
        ),
        // URLs, as docker login wrote them for years, and as people type them.
        (
            r#"{"auths":{"https://quay.io/v2/":{"auth":"bWU6cHc="}}}"#,
            CONTAINERS,
            "quay.io/a",
            "me:pw",
        ),
        (r#"{"auths":{"https://quay.io/v1/":{"auth":"bWU6cHc="}}}"#, DOCKER, "quay.io/a", "me:pw"),
        (r#"{"auths":{"http://quay.io":{"auth":"bWU6cHc="}}}"#, DOCKER, "quay.io/a", "me:pw"),
        (r#"{"auths":{"https://quay.io":{"auth":"bWU6cHc="}}}"#, CONTAINERS, "quay.io/a", "me:pw"),
        (
            r#"{"auths":{"https://r.example:5000/some/path":{"auth":"bWU6cHc="}}}"#,
            DOCKER,
            "r.example:5000/a",
            "me:pw",
        ),
        // Namespaces: the most specific first, and the registry last.
        (
            r#"{"auths":{"quay.io":{"auth":"bWU6cHc="},"quay.io/a/b":{"auth":"b3RoZXI6cHc="}}}"#,
            CONTAINERS,
            "quay.io/a/b",
            "other:pw me:pw",
        ),
        (
            r#"{"auths":{"quay.io":{"auth":"bWU6cHc="},"quay.io/a/b":{"auth":"b3RoZXI6cHc="}}}"#,
            CONTAINERS,
            "quay.io/a/c",
            "me:pw",
        ),
        (r#"{"auths":{"quay.io/a":{"auth":"bWU6cHc="}}}"#, CONTAINERS, "quay.io/ab/c", ""),
        (r#"{"auths":{"quay.io/a":{"auth":"bWU6cHc="}}}"#, CONTAINERS, "quay.io/b/c", ""),
        // Docker has no namespaces: it removes the path.
        (r#"{"auths":{"quay.io/a":{"auth":"bWU6cHc="}}}"#, DOCKER, "quay.io/b/c", "me:pw"),
        // Other registries.
        (
            r#"{"auths":{"localhost:5000":{"auth":"bWU6cHc="}}}"#,
            DOCKER,
            "localhost:5000/a",
            "me:pw",
        ),
        (r#"{"auths":{"localhost:5000":{"auth":"bWU6cHc="}}}"#, DOCKER, "localhost:5001/a", ""),
        (r#"{"auths":{"quay.io":{"auth":"bWU6cHc="}}}"#, DOCKER, "quay.io.evil.example/a", ""),
        (r#"{"auths":{"quay.io.evil.example":{"auth":"bWU6cHc="}}}"#, DOCKER, "quay.io/a", ""),
        (
            r#"{"auths":{"x":null,"y":5,"z":{"auth":"&"},"quay.io":{"auth":"bWU6cHc="}}}"#,
            DOCKER,
            "quay.io/a",
            "me:pw",
        ),
        // Helpers: the helper of a registry comes before its entry, and the store for all registries last.
        (
            r#"{"credHelpers":{"1.dkr.ecr.eu-west-1.amazonaws.com":"ecr-login"}}"#,
            DOCKER,
            "1.dkr.ecr.eu-west-1.amazonaws.com/a",
            "ecr-login(1.dkr.ecr.eu-west-1.amazonaws.com)",
        ),
        (
            r#"{"credHelpers":{"gcr.io":"gcloud"},"auths":{"gcr.io":{"auth":"bWU6cHc="}}}"#,
            DOCKER,
            "gcr.io/p/a",
            "gcloud(gcr.io) me:pw",
        ),
        (r#"{"credHelpers":{"gcr.io":""}}"#, DOCKER, "gcr.io/p/a", ""),
        (
            r#"{"credHelpers":{"https://index.docker.io/v1/":"x"}}"#,
            DOCKER,
            "docker.io/a",
            "x(https://index.docker.io/v1/)",
        ),
        (r#"{"credHelpers":{"docker.io":"x"}}"#, CONTAINERS, "docker.io/a", "x(docker.io)"),
        (
            r#"{"credsStore":"desktop","auths":{"quay.io":{}}}"#,
            DOCKER,
            "quay.io/a",
            "- desktop(quay.io)",
        ),
        (
            r#"{"credsStore":"desktop","auths":{"https://index.docker.io/v1/":{}}}"#,
            DOCKER,
            "docker.io/a",
            "- desktop(https://index.docker.io/v1/)",
        ),
        (
            r#"{"auths":{"https://index.docker.io/v1/":{},"registry-1.docker.io":{}},"credsStore":"desktop","experimental":"disabled"}"#,
            DOCKER,
            "docker.io/team/app",
            "- - desktop(https://index.docker.io/v1/)",
        ),
        (r#"{"credsStore":"","auths":{}}"#, DOCKER, "quay.io/a", ""),
        (r#"{"credsStore":"x","credHelpers":{"quay.io":"y"}}"#, DOCKER, "quay.io/a", "y(quay.io)"),
        // Sections that are null, in another case, or next to members that are not about logins.
        (r#"{"auths":null,"credHelpers":null,"credsStore":null}"#, DOCKER, "quay.io/a", ""),
        (r#"{"Auths":{"quay.io":{"Auth":"bWU6cHc="}}}"#, DOCKER, "quay.io/a", "me:pw"),
        (
            r#"{"HttpHeaders":{"User-Agent":"x"},"detachKeys":5,"auths":{"quay.io":{"auth":"bWU6cHc="}}}"#,
            DOCKER,
            "quay.io/a",
            "me:pw",
        ),
        ("{\"auths\":{\"quay.io\":{\"auth\":\"bWU6cHc=\"}}}\n}", DOCKER, "quay.io/a", "me:pw"),
        ("{}", DOCKER, "quay.io/a", ""),
        // .dockercfg.
        (
            r#"{"https://quay.io/v1/":{"auth":"bWU6cHc=","email":"x"}}"#,
            LEGACY,
            "quay.io/a",
            "me:pw",
        ),
        (r#"{"quay.io":{"auth":"bWU6cHc=","email":""}}"#, LEGACY, "quay.io/a", "me:pw"),
        (r#"{"https://index.docker.io/v1/":{"auth":"bWU6cHc="}}"#, LEGACY, "docker.io/a", "me:pw"),
    ] {
        assert_eq!(steps(config, format, image), expected, "{format:?} {config} {image}");
    }
}

#[test]
fn entries_are_read_as_docker_reads_them() {
    for (entry, expected) in [
        (r#"{"auth":"bWU6cHc="}"#, "me:pw"),
        // Line breaks, as of base64 without -w0 and of MIME encoders, and absent padding.
        (r#"{"auth":"bWU6cHc=\n"}"#, "me:pw"),
        (r#"{"auth":"bWU6\ncHc="}"#, "me:pw"),
        (r#"{"auth":"bWU6\r\ncHc=\r\n"}"#, "me:pw"),
        (r#"{"auth":"bWU6cHc"}"#, "me:pw"),
        (r#"{"auth":" bWU6cHc= "}"#, "me:pw"),
        // Empty fields, and fields with another login.
        (r#"{"username":"","password":"","auth":"bWU6cHc="}"#, "me:pw"),
        (r#"{"username":"old","password":"older","auth":"bWU6cHc="}"#, "me:pw"),
        (r#"{"username":"me","password":"pw"}"#, "me:pw"),
        (r#"{"username":"me","password":"pw","auth":""}"#, "me:pw"),
        (
            r#"{"username":"me","password":"pw","auth":null,"email":null,"serveraddress":"x"}"#,
            "me:pw",
        ),
        (r#"{"auth":"bWU6cHc=","identitytoken":""}"#, "me:pw"),
        (r#"{"auth":"bWU6cHc=","identitytoken":null,"registrytoken":""}"#, "me:pw"),
        // Tokens. Azure's registries add a name of zeros without a password.
        (r#"{"identitytoken":"tok"}"#, "token=tok"),
        (
            r#"{"auth":"MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==","identitytoken":"tok"}"#,
            "token=tok",
        ),
        (r#"{"registrytoken":"tok"}"#, "bearer=tok"),
        // Names and passwords of services: colons, dollars, JSON keys, and NUL characters of old versions at the end.
        (r#"{"auth":"bWU6cDp3"}"#, "me:p:w"),
        (r#"{"auth":"cm9ib3QkdGVhbStjaTpwdw=="}"#, "robot$team+ci:pw"),
        (r#"{"auth":"dGVhbStyb2JvdDpwdw=="}"#, "team+robot:pw"),
        (r#"{"auth":"X2pzb25fa2V5OnsiYSI6ICJiIn0="}"#, "_json_key:{\"a\": \"b\"}"),
        (r#"{"auth":"X2pzb25fa2V5OnsKICJhIjogImIiCn0K"}"#, "_json_key:{\n \"a\": \"b\"\n}\n"),
        (
            r#"{"email":"x@y.example","password":"{\"type\":\"service_account\", \"key\":\"-----BEGIN\\n\"}","username":"_json_key"}"#,
            "_json_key:{\"type\":\"service_account\", \"key\":\"-----BEGIN\\n\"}",
        ),
        (r#"{"username":"oauth2accesstoken","password":"ya29.x"}"#, "oauth2accesstoken:ya29.x"),
        (r#"{"auth":"Z2l0bGFiK2RlcGxveS10b2tlbi0xOmdsZHQteA=="}"#, "gitlab+deploy-token-1:gldt-x"),
        (r#"{"auth":"QVdTOmV5SngvKz0="}"#, "AWS:eyJx/+="),
        (r#"{"auth":"bWU6cHcAAAA="}"#, "me:pw"),
        (r#"{"auth":"bcO8OnDDpA=="}"#, "m\u{fc}:p\u{e4}"),
        // An empty login requests access without a login.
        (r#"{"auth":"Og=="}"#, "-"),
        (r#"{"auth":""}"#, "-"),
        (r#"{"username":"","password":""}"#, "-"),
        (r#"{"email":"x@example.com"}"#, "-"),
        ("{}", "-"),
        ("null", "-"),
        // Half of a login is a login: some registries accept it.
        (r#"{"auth":"bWU6"}"#, "me:"),
        (r#"{"auth":"OnB3"}"#, ":pw"),
        // Malformed entries.
        (r#"{"auth":"c2VjcmV0"}"#, "x"),
        (r#"{"auth":"%"}"#, "x"),
        (r#"{"auth":"/zpwdw=="}"#, "x"),
        (r#"{"auth":5}"#, "x"),
        ("[]", "x"),
        ("\"bWU6cHc=\"", "x"),
    ] {
        let entry: Value = serde_json::from_str(entry).unwrap();
        assert_eq!(shown(&entry), expected, "{entry}");
    }
}

#[test]
fn a_document_that_is_no_object_is_no_auth_file() {
    for bad in ["", " ", "[", "null", "[]", "\"x\"", "{\"auths\":", "\u{feff}{}", "auth = bWU6cHc="]
    {
        assert!(AuthFile::parse(bad.as_bytes(), CONTAINERS).is_none(), "{bad:?}");
    }
}
