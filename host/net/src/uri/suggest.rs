//! Hints for text that is not a URI of occystrap: a path, an image's name, another tool's transport.

use std::path::Path;

use super::{has_login, hide};
use occystrap_base::error::printable;
use occystrap_base::oci::ImageName;

/// Hint where there is no better one.
const FORM: &str = "expected scheme://..., such as registry://docker.io/library/busybox:latest or tar:///tmp/x.tar";

/// Returns a hint for a text that is not a URI.
#[must_use]
pub fn instead_of(text: &str) -> String {
    let path = Path::new(text);
    let typed = printable(text);
    if has_login(text) || hide::plain(text) != text || text.is_empty() {
        // No part of a login is repeated.
        return FORM.to_owned();
    }
    if path.is_file() {
        return format!("did you mean tar://{typed}?");
    }
    if path.join("oci-layout").is_file() {
        return format!("did you mean oci-layout://{typed}?");
    }
    if path.is_dir() {
        return format!("did you mean dir://{typed}?");
    }
    if let Some((transport, rest)) = text.split_once(':')
        && let Some(hint) = instead_of_transport(transport, rest)
    {
        return hint;
    }
    if text.starts_with(['/', '.', '~']) || text.ends_with(".tar") {
        return format!("a path is written tar://{typed}, dir://{typed} or oci-layout://{typed}");
    }
    match ImageName::parse(text) {
        Ok(name) => format!(
            "an image is written registry://{}, or docker://{typed} in an engine; a path tar://{typed} or dir://{typed}",
            name.in_full()
        ),
        Err(_) => FORM.to_owned(),
    }
}

/// Returns a hint for a transport of another tool (containers-transports(5)); `None` for other text.
#[must_use]
pub fn instead_of_transport(transport: &str, rest: &str) -> Option<String> {
    if has_login(rest.trim_start_matches('/')) {
        return None;
    }
    let rest = printable(rest);
    // A reference may follow the path.
    let path = || rest.split(':').next().unwrap_or_default();
    let uri = match transport {
        "oci" => format!("oci-layout://{rest}"),
        "docker-archive" | "oci-archive" => format!("tar://{}", path()),
        "docker-daemon" => format!("docker://{rest}"),
        "http" | "https" => format!("registry://{}", rest.trim_start_matches('/')),
        _ => return None,
    };
    Some(format!("did you mean {uri}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_other_tools_have_suggestions() {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir_all(here("layout")).unwrap();
        std::fs::write(here("layout/oci-layout"), "{}").unwrap();
        std::fs::write(here("a.tar"), "").unwrap();
        for (text, hint) in [
            (here("a.tar"), format!("did you mean tar://{}?", here("a.tar"))),
            (here("layout"), format!("did you mean oci-layout://{}?", here("layout"))),
            (here(""), format!("did you mean dir://{}?", here(""))),
            ("docker-archive:/x/y.tar:app:1".into(), "did you mean tar:///x/y.tar?".into()),
            ("docker-daemon:app:1".into(), "did you mean docker://app:1?".into()),
            (
                "/no/such".into(),
                "a path is written tar:///no/such, dir:///no/such or oci-layout:///no/such".into(),
            ),
            ("me:hunter2@host/x".into(), FORM.into()),
            ("a b".into(), FORM.into()),
        ] {
            assert_eq!(instead_of(&text), hint, "{text}");
        }
        for (text, reference) in [
            ("busybox:1", "docker.io/library/busybox:1"),
            ("ghcr.io/team/app", "ghcr.io/team/app"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
        ] {
            let hint = instead_of(text);
            assert!(hint.contains(&format!("registry://{reference}, ")), "{hint}");
        }
    }
}
