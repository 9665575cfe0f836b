//! The YAML of `skopeo sync --src yaml` (skopeo-sync(1), "YAML file content").

use super::list::destination;
use super::write::{Draft, MirrorFileWriter, named};
use crate::document::yaml::{Key, Node, Value};

/// Keys below a registry.
const KEYS: [&str; 3] = ["images", "images-by-tag-regex", "images-by-semver"];

/// Returns whether a map looks like a file of skopeo: a registry in it has images.
pub fn is_one(root: &Node) -> bool {
    let has_images = |(_, node): &(Key, Node)| KEYS.iter().any(|key| node.get(key).is_some());
    root.pairs().unwrap_or_default().iter().any(has_images)
}

/// Converts a file.
pub fn convert(root: &Node, to: Option<&str>, writer: &mut MirrorFileWriter) {
    destination(to, writer);
    writer.notes.push("It writes each image where `skopeo sync --scoped` did; without --scoped, replace {registry}/{repository} by {name}.".to_owned());
    writer.notes.push("All platforms are mirrored, as with `skopeo sync --all`; for others add 'platforms: [linux/amd64]'.".to_owned());
    for (key, node) in root.pairs().unwrap_or_default() {
        let registry =
            key.text.strip_prefix("docker://").unwrap_or(&key.text).trim_end_matches('/');
        let Some(pairs) = node.pairs() else {
            writer.leave_out(key.mark, named("the registry", registry), "it has no map of images");
            continue;
        };
        for (key, node) in pairs {
            match key.text.as_str() {
                "images" | "images-by-tag-regex" | "images-by-semver" => {
                    images(registry, key, node, writer);
                }
                "credentials" => writer.leave_out(key.mark, "'credentials'", format!("log in once: docker login {registry}")),
                "tls-verify" if node.text() == Some("true") => {}
                "tls-verify" => writer.leave_out(
                    key.mark,
                    "'tls-verify'",
                    "certificates are always checked; give your own to --ca-bundle, and for plain HTTP use --insecure",
                ),
                "cert-dir" => writer.leave_out(key.mark, "'cert-dir'", "give the certificates to --ca-bundle, or put them in /etc/docker/certs.d"),
                other => writer.leave_out(key.mark, named("the key", other), "skopeo has no such key"),
            }
        }
    }
}

/// Converts one of the three maps of images.
fn images(registry: &str, kind: &Key, node: &Node, writer: &mut MirrorFileWriter) {
    let Some(pairs) = node.pairs() else {
        if !matches!(node.value, Value::Null) {
            writer.leave_out(kind.mark, named("the key", &kind.text), "it is no map");
        }
        return;
    };
    for (key, node) in pairs {
        let from = format!("{registry}/{}", key.text);
        let what = named("the image", &from);
        let texts: Vec<String> = match (&node.value, node.items()) {
            (Value::Null, _) => Vec::new(),
            (_, Some(items)) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
            _ => node.text().map(str::to_owned).into_iter().collect(),
        };
        let mut draft = Draft { from: from.clone(), ..Draft::default() };
        match kind.text.as_str() {
            "images" if texts.is_empty() => {
                draft.comments.push("all tags".to_owned());
                draft.rules.push(("regex", vec![".*".to_owned()]));
            }
            "images" => {
                let (digests, tags): (Vec<_>, Vec<_>) =
                    texts.into_iter().partition(|text| text.contains(':'));
                for digest in digests {
                    let pinned = Draft { from: format!("{from}@{digest}"), ..Draft::default() };
                    writer.entry(key.mark, &what, &pinned);
                }
                if tags.is_empty() {
                    continue;
                }
                draft.rules.push(("also", tags));
            }
            "images-by-tag-regex" => {
                draft.rules.push(("regex", texts.iter().map(|text| whole(text)).collect()));
            }
            _ => draft.rules.push(("semver", texts)),
        }
        if draft.rules.iter().any(|(_, values)| values.is_empty()) {
            writer.leave_out(key.mark, what, "it has no rule");
            continue;
        }
        writer.entry(key.mark, &what, &draft);
    }
}

/// Returns an expression that matches a whole tag where the given one matches a part of it.
fn whole(text: &str) -> String {
    if text.contains('|') || text.ends_with("\\$") {
        return format!(".*(?:{text}).*");
    }
    let (start, text) = text.strip_prefix('^').map_or((".*", text), |text| ("", text));
    let (end, text) = text.strip_suffix('$').map_or((".*", text), |text| ("", text));
    format!("{start}{text}{end}")
}
