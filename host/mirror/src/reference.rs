//! References to sources, as users type them in the file and in lists.

use occystrap_base::error::{Error, Result};
use occystrap_net::registry::Reference;

/// Parses `[HOST[:PORT]/]REPOSITORY[:TAG][@sha256:...]`, with or without `registry://` or `docker://` before it. Without
/// a host, the image is of Docker Hub, as `docker pull` reads it: the first part is a host when it has a dot or a port, or
/// is `localhost`. The reference has a tag only where the text has one. Errors when it has another form.
pub fn parse(text: &str) -> Result<Reference> {
    let bare =
        text.strip_prefix("registry://").or_else(|| text.strip_prefix("docker://")).unwrap_or(text);
    if let Some((scheme, _)) = bare.split_once("://") {
        return Err(Error::usage(format!("'{scheme}://' is no source of a mirror"))
            .hint("a source is an image at a registry: HOST/REPOSITORY:TAG"));
    }
    if let Some((login, _)) = bare.split_once('@')
        && login.contains(':')
        && !bare.contains("@sha256:")
    {
        // It is not repeated: it may be a password.
        return Err(Error::usage("a source has no login").hint(
            "remove what is before the '@': logins come from `docker login`, or from --username and --password",
        ));
    }
    let (named, _) = bare.split_once('@').unwrap_or((bare, ""));
    let has_host = named
        .split_once('/')
        .is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost");
    let mut reference = match has_host {
        true => Reference::parse(bare)?,
        false => Reference::parse(&format!("docker.io/{bare}"))?,
    };
    let after_host = named.rsplit('/').next().unwrap_or_default();
    if !after_host.contains(':') {
        reference.tag = None;
    }
    Ok(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_pull_reads_them() {
        let hex = "ab".repeat(32);
        for (text, expected) in [
            ("busybox", "docker.io/library/busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("team/app:1", "docker.io/team/app:1"),
            ("index.docker.io/team/app:1", "docker.io/team/app:1"),
            ("localhost/app:1", "localhost/app:1"),
            ("h:5000/app", "h:5000/app"),
            ("docker://quay.io/a/b:1", "quay.io/a/b:1"),
            ("registry://quay.io/a/b:1", "quay.io/a/b:1"),
            (&format!("quay.io/a/b@sha256:{hex}"), &format!("quay.io/a/b@sha256:{hex}")),
            (&format!("a/b:1@sha256:{hex}"), &format!("docker.io/a/b:1@sha256:{hex}")),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_source_is_said_without_logins() {
        for text in [
            "",
            "oci-layout:///x",
            "UPPER",
            "a b",
            "quay.io/",
            "a/b:",
            "quay.io/a@sha256:12",
            "me:secret@quay.io/a",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
