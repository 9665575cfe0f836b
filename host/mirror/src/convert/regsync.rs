//! `regsync.yml` (regclient.org, "regsync").

use super::write::{Draft, Limits, MirrorFileWriter, named};
use crate::document::yaml::{Key, Node};
use crate::reference;

/// Keys of `defaults` and of a step that have no counterpart, with what takes their place.
const ADVICE: [(&str, &str); 15] = [
    ("interval", "run `occystrap mirror run` from cron or a systemd timer"),
    ("schedule", "run `occystrap mirror run` from cron or a systemd timer"),
    ("parallel", "give the number to -J"),
    (
        "backup",
        "no tag is kept for the image that is replaced; 'on-conflict: keep' or 'error' replaces nothing",
    ),
    ("mediaTypes", "every image that a selected tag names is mirrored"),
    ("forceRecursive", "`occystrap mirror verify` finds what is missing, and `repair` sends it"),
    ("skipDockerConfig", "--authfile is searched before Docker's file"),
    ("userAgent", "the user agent cannot be chosen"),
    ("cacheCount", "the ledger remembers what was done"),
    ("cacheTime", "the ledger remembers what was done"),
    ("referrerSource", "referrers come from the repository of the image"),
    ("referrerTarget", "referrers go to the repository of the image"),
    ("repos", "name each repository in 'from'; alternatives are written {a,b}"),
    ("retry", "waiting ends when the registry says so"),
    ("maxRetries", "give the number to --retries"),
];

/// Converts a file.
pub fn convert(root: &Node, writer: &mut MirrorFileWriter) {
    let plain_hosts = creds(root, writer);
    let defaults = root.get("defaults");
    for (key, _) in root.pairs().unwrap_or_default() {
        let is_known = matches!(key.text.as_str(), "version" | "creds" | "defaults" | "sync");
        if !is_known && !key.text.starts_with("x-") {
            writer.leave_out(key.mark, named("the key", &key.text), "regsync has no such key");
        }
    }
    for (key, _) in defaults.and_then(Node::pairs).unwrap_or_default() {
        advise(key, writer);
    }
    let Some(steps) = root.get("sync").and_then(Node::items) else {
        writer.leave_out(root.mark, "'sync'", "it is no list of steps");
        return;
    };
    for step in steps {
        for (key, _) in step.pairs().unwrap_or_default() {
            advise(key, writer);
        }
        convert_step(step, defaults, &plain_hosts, writer);
    }
}

/// Reports a key that has no counterpart.
fn advise(key: &Key, writer: &mut MirrorFileWriter) {
    if let Some((_, advice)) = ADVICE.iter().find(|(name, _)| *name == key.text) {
        writer.leave_out(key.mark, format!("'{}'", key.text), *advice);
    }
}

/// Converts `creds`. Returns the hosts that have plain HTTP.
fn creds(root: &Node, writer: &mut MirrorFileWriter) -> Vec<String> {
    let mut plain = Vec::new();
    for node in root.get("creds").and_then(Node::items).unwrap_or_default() {
        let host = node.get("registry").and_then(Node::text).unwrap_or_default().to_owned();
        let Some(host) =
            reference::parse(&format!("{host}/x")).ok().map(|reference| reference.host)
        else {
            writer.leave_out(
                node.mark,
                "an entry of 'creds'",
                "its 'registry' is not the name of a host",
            );
            continue;
        };
        let number =
            |key| node.get(key).and_then(Node::text).filter(|text| *text != "0").map(str::to_owned);
        let rate = number("reqPerSec")
            .filter(|text| text.parse::<f64>().is_ok_and(|rate| rate > 0.0 && rate <= 100_000.0));
        let rate =
            rate.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        let connections = number("reqConcurrent")
            .filter(|text| text.parse::<u32>().is_ok_and(|n| (1..=1_000).contains(&n)));
        let connections = connections.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let limits = Limits { requests_per_second: rate, connections, pulls_left: None };
        writer.hosts.insert(host.clone(), limits);
        for (key, value) in node.pairs().unwrap_or_default() {
            let advice = match key.text.as_str() {
                "user" | "pass" | "token" | "credHelper" | "credExpire" => {
                    format!("log in once: docker login {host}")
                }
                "tls" if value.text() == Some("disabled") => {
                    plain.push(host.clone());
                    "destinations get ?insecure=true; for a source with plain HTTP use --insecure"
                        .to_owned()
                }
                "tls" if value.text() == Some("enabled") => continue,
                "tls" | "regcert" => {
                    "certificates are always checked; give your own to --ca-bundle".to_owned()
                }
                "clientCert" | "clientKey" => "put them in /etc/docker/certs.d".to_owned(),
                "blobChunk" | "blobMax" => {
                    "add ?chunk_size=8M to 'to' where a proxy limits requests".to_owned()
                }
                "registry" | "reqPerSec" | "reqConcurrent" | "repoAuth" | "scheme" | "api" => {
                    continue;
                }
                _ => "name the host that is asked in 'from' and 'to'".to_owned(),
            };
            writer.leave_out(key.mark, format!("'{}'", key.text), advice);
        }
    }
    plain
}

/// Returns the value of a step, or of `defaults`.
fn value<'n>(step: &'n Node, defaults: Option<&'n Node>, key: &str) -> Option<&'n Node> {
    step.get(key).or_else(|| defaults.and_then(|defaults| defaults.get(key)))
}

fn is_true(step: &Node, defaults: Option<&Node>, key: &str) -> bool {
    value(step, defaults, key).and_then(Node::text) == Some("true")
}

fn convert_step(
    step: &Node,
    defaults: Option<&Node>,
    plain_hosts: &[String],
    writer: &mut MirrorFileWriter,
) {
    let text = |key| step.get(key).and_then(Node::text).unwrap_or_default();
    let source = text("source");
    let what = named("the step for", source);
    let target = with_host(without_source_template(text("target"), source));
    let kind = text("type");
    if kind == "registry" {
        writer.leave_out(
            step.mark,
            what,
            "a registry cannot be listed; name its repositories in 'from', as {a,b}",
        );
        return;
    }
    if source.contains("{{") || target.contains("{{") {
        writer.leave_out(step.mark, what, "it has a Go template; write the names");
        return;
    }
    let reference = match reference::parse(source) {
        Ok(reference) => reference,
        Err(error) => return writer.leave_out(step.mark, what, error.to_string()),
    };
    let Some(tag_template) = target_tag(text("targetTag")) else {
        writer.leave_out(
            step.mark,
            what,
            "its 'targetTag' is a Go template; in 'to' there is {tag}",
        );
        return;
    };
    if let Some(pulls) =
        value(step, defaults, "ratelimit").and_then(|node| node.get("min")?.text()?.parse().ok())
    {
        let limits = writer.hosts.entry(reference.host.clone()).or_default();
        limits.pulls_left = limits.pulls_left.max(Some(pulls));
    }
    let mut draft = Draft {
        from: source.to_owned(),
        platforms: value(step, defaults, "platform")
            .and_then(Node::text)
            .map(str::to_owned)
            .into_iter()
            .collect(),
        referrers: referrers(step, defaults, writer),
        ..Draft::default()
    };
    if !draft.platforms.is_empty() {
        draft.comments.push("regsync wrote the image of this platform alone; here its index comes with it and keeps its digest".to_owned());
    }
    let mut to = target.replacen("ocidir://", "oci-layout://", 1);
    if kind == "image" {
        if reference.tag.is_none() && reference.digest.is_none() {
            draft.from.push_str(":latest");
        }
        // The tag of the source is added anyway.
        let (repository, tag) = split_tag(&to);
        if tag.is_some()
            && tag == reference.tag.as_deref().or(Some("latest"))
            && reference.digest.is_none()
        {
            to = repository.to_owned();
        }
        draft.to = Some(with_options(&to, plain_hosts));
        return writer.entry(step.mark, &what, &draft);
    }
    if reference.tag.is_some() {
        // regsync ignores the tag of a source of this type.
        draft.from = split_tag(source).0.to_owned();
    }
    let to = match tag_template {
        Some(template) => format!("{}:{template}", split_tag(&to).0),
        None => split_tag(&to).0.to_owned(),
    };
    draft.to = Some(with_options(&to, plain_hosts));
    let sets: Vec<&Node> = match step.get("tagSets").and_then(Node::items) {
        Some(sets) => sets.iter().chain(step.get("tags")).collect(),
        None => step.get("tags").into_iter().collect(),
    };
    if sets.is_empty() {
        draft.comments.push("all tags".to_owned());
        draft.rules.push(("regex", vec![".*".to_owned()]));
        return writer.entry(step.mark, &what, &draft);
    }
    for set in sets {
        let mut draft = draft.clone();
        rules(set, &mut draft);
        writer.entry(step.mark, &what, &draft);
    }
}

/// Converts one set of rules.
fn rules(set: &Node, draft: &mut Draft) {
    let texts = |key| -> Vec<String> {
        let node = set.get(key);
        let items =
            node.and_then(Node::items).or(node.map(std::slice::from_ref)).unwrap_or_default();
        items.iter().filter_map(Node::text).map(str::to_owned).collect()
    };
    let (allow, deny, semver) = (texts("allow"), texts("deny"), texts("semverRange"));
    let is_tag = |text: &String| occystrap_base::oci::name::is_tag(text);
    if semver.is_empty() && deny.is_empty() && !allow.is_empty() && allow.iter().all(is_tag) {
        draft.rules.push(("also", allow));
        return;
    }
    if !semver.is_empty() {
        draft.rules.push(("semver", semver));
    }
    match allow.is_empty() {
        false => draft.rules.push(("regex", allow)),
        true => {
            if draft.rules.iter().any(|(key, _)| *key == "semver") {
                draft.comments.push("regsync also takes versions with a suffix (1.2.3-alpine); without 'regex', only those without one are taken".to_owned());
            }
            draft.rules.push(("regex", vec![".*".to_owned()]));
        }
    }
    if !deny.is_empty() {
        draft.rules.push(("not", deny));
    }
}

/// Returns the value of `referrers`: empty for none.
fn referrers(step: &Node, defaults: Option<&Node>, writer: &mut MirrorFileWriter) -> Vec<String> {
    if !is_true(step, defaults, "referrers") && !is_true(step, defaults, "digestTags") {
        return Vec::new();
    }
    let filters =
        value(step, defaults, "referrerFilters").and_then(Node::items).unwrap_or_default();
    let types: Vec<&Node> =
        filters.iter().filter_map(|filter| filter.get("artifactType")).collect();
    if let Some(annotations) = filters.iter().find_map(|filter| filter.get("annotations")) {
        let advice = "referrers are selected by their artifact type alone";
        writer.leave_out(annotations.mark, "'annotations' of 'referrerFilters'", advice);
    }
    match types.iter().filter_map(|node| node.text()).map(str::to_owned).collect::<Vec<_>>() {
        types if types.is_empty() || types.len() < filters.len() => vec!["true".to_owned()],
        types => types,
    }
}

/// Replaces `{{ .Sync.Source }}` in a target, which is the text of the source.
fn without_source_template(target: &str, source: &str) -> String {
    let mut out = String::new();
    let mut rest = target;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        match after.split_once("}}") {
            Some((inner, after)) if inner.trim() == ".Sync.Source" => {
                out.push_str(source);
                rest = after;
            }
            _ => {
                out.push_str("{{");
                rest = after;
            }
        }
    }
    out + rest
}

/// Adds Docker Hub's host to a target that has none.
fn with_host(target: String) -> String {
    let first = target.split('/').next().unwrap_or_default();
    let has_host = target.contains("://")
        || target.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    if has_host || target.is_empty() { target } else { format!("docker.io/{target}") }
}

/// Returns the tag of destinations with `{tag}` in it: `Some(None)` where it is that of the source, `None` where it is a
/// template that has no counterpart.
fn target_tag(text: &str) -> Option<Option<String>> {
    if text.is_empty() {
        return Some(None);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inner, after) = after.split_once("}}")?;
        if inner.trim() != ".Source.Tag" {
            return None;
        }
        out.push_str(before);
        out.push_str("{tag}");
        rest = after;
    }
    Some(Some(out + rest))
}

/// Splits a reference from its tag, where it has one.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let bare = text.split('@').next().unwrap_or_default();
    let start = bare.rfind('/').map_or(0, |slash| slash + 1);
    match bare[start..].rfind(':') {
        Some(colon) => (&bare[..start + colon], Some(&bare[start + colon + 1..])),
        None => (bare, None),
    }
}

/// Adds what plain HTTP needs.
fn with_options(to: &str, plain_hosts: &[String]) -> String {
    let host = to.split('/').next().unwrap_or_default();
    if plain_hosts.iter().any(|plain| plain == host) {
        format!("{to}?insecure=true")
    } else {
        to.to_owned()
    }
}
