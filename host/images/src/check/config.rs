//! Rules about image configs (OCI image specification, "Image Configuration").

use serde_json::Value;

use super::finding::{Finding, Findings};
use crate::source::docker_save::{REWRITTEN, is_rewritten};
use crate::source::view::{FlawIn, View, text_of};
use occystrap_base::error::Kind;
use occystrap_base::oci::{Digest, config, json, time};

/// Checks the config, and whether it fits the manifest and its layers.
pub fn check(view: &View, to: &mut Findings) {
    for flaw in view.flaws.iter().filter(|flaw| flaw.part == FlawIn::Config) {
        let check = match (flaw.error.kind(), flaw.error.difference()) {
            (_, Some((expected, _))) if expected.is_digest() => "config-digest",
            (Kind::Source, Some(_)) => "config-size",
            _ => "config",
        };
        to.push(Finding::unread(check, &flaw.error));
    }
    stored(view, to);
    if let Some(bytes) = &view.config.bytes
        && !view.role.is_artifact()
    {
        utf8(bytes, "config", to);
    }
    if view.role.is_artifact() {
        return;
    }
    let document = &view.config.document;
    if !document.is_object() {
        if view.config.bytes.is_some() && view.flaws.iter().all(|flaw| flaw.part != FlawIn::Config)
        {
            to.push(Finding::error("config", "the config is not a JSON object"));
        }
        return;
    }
    let before = to.count(super::Severity::Error);
    rootfs(view, to);
    layer_count(view, to);
    history(view, to);
    platform(view, to);
    created(&document["created"], "the config's 'created'", to);
    values(&document["config"], &text_of(&document["os"]), to);
    // A strict reader may refuse a config for something that none of the rules above covers.
    if let Some(bytes) = &view.config.bytes
        && to.count(super::Severity::Error) == before
        && let Err(error) = config::parse_as_clients(bytes, &view.place)
    {
        to.push(Finding::unread("config", &error));
    }
}

/// Reports a document that is not UTF-8. Go's parser replaces such bytes; other parsers refuse the document.
pub(super) fn utf8(bytes: &[u8], what: &'static str, to: &mut Findings) {
    if !json::is_utf8(bytes) {
        let message = format!(
            "the {what} is not UTF-8: Docker, Podman and skopeo replace such bytes; other readers reject them"
        );
        to.push(Finding::warning(what, message));
    }
}

/// Checks digest and size of the stored config.
fn stored(view: &View, to: &mut Findings) {
    let Some(bytes) = &view.config.bytes else { return };
    let (promised, found) = (&view.config.promised, Digest::of(bytes));
    match promised.digest {
        Some(expected) if expected == found => {
            to.pass("config-digest", format!("the config is {found}"));
        }
        Some(_) if is_rewritten(bytes) => to.push(Finding::warning("config-digest", REWRITTEN)),
        Some(expected) => to.push(
            Finding::error("config-digest", "the config has other bytes than were promised")
                .sides(expected, found),
        ),
        None => {}
    }
    match promised.size {
        Some(expected) if expected == bytes.len() as u64 => {
            to.pass("config-size", format!("the config has {expected} bytes"));
        }
        Some(expected) => to.push(
            Finding::error("config-size", "the config has another size than was promised")
                .sides(format!("{expected} bytes"), bytes.len()),
        ),
        None => {}
    }
}

/// Checks `rootfs`: its type and the form of its diff-ids.
fn rootfs(view: &View, to: &mut Findings) {
    let document = &view.config.document;
    match &document["rootfs"]["type"] {
        Value::String(kind) if kind == "layers" => {
            to.pass("rootfs-type", "the config's rootfs is of type 'layers'");
        }
        // The OCI image specification ("rootfs") requires it.
        Value::Null => {
            let message = "the config's rootfs has no type, which umoci refuses";
            to.push(Finding::error("rootfs-type", message));
        }
        Value::String(kind) if kind.is_empty() => {
            let message = "the config's rootfs has an empty type, which umoci refuses";
            to.push(Finding::error("rootfs-type", message));
        }
        other => to.push(
            Finding::error("rootfs-type", "the config's rootfs is of another type")
                .sides("\"layers\"", other),
        ),
    }
    let diff_ids = &document["rootfs"]["diff_ids"];
    if diff_ids.is_null() && document["rootfs"].is_object() && view.layers.is_empty() {
        let message = "the config lists no diff-ids: it is that of an image without layers";
        to.push(Finding::info("diff-id", message));
        return;
    }
    let Some(diff_ids) = diff_ids.as_array() else {
        to.push(Finding::error("diff-id", "the config lists no diff-ids"));
        return;
    };
    for (index, id) in diff_ids.iter().enumerate() {
        let wrong = match id.as_str() {
            Some(text) => text.parse::<Digest>().err().map(|error| error.to_string()),
            None => Some(format!("{id} is not a digest")),
        };
        if let Some(why) = wrong {
            let message = format!("its diff-id is malformed: {why}");
            to.push(Finding::error("diff-id", message).layer(index));
        }
    }
}

/// Checks that the manifest has as many layers as the config has diff-ids.
fn layer_count(view: &View, to: &mut Findings) {
    let Some(diff_ids) = view.config.document["rootfs"]["diff_ids"].as_array() else { return };
    let (layers, ids) = (view.layers.len(), diff_ids.len());
    if layers == ids {
        to.pass("layer-count", format!("{layers} layers, and as many diff-ids"));
        return;
    }
    let message = "the manifest lists another number of layers than the config has diff-ids";
    to.push(
        Finding::error("layer-count", message)
            .sides(format!("{ids} layers"), format!("{layers} layers")),
    );
}

/// Checks that the history has as many steps with a layer as there are layers.
fn history(view: &View, to: &mut Findings) {
    let entries = match &view.config.document["history"] {
        Value::Null => &[],
        Value::Array(entries) => entries.as_slice(),
        _ => {
            to.push(Finding::error("history-count", "the config's history is not a list"));
            return;
        }
    };
    if entries.is_empty() {
        to.push(Finding::info("history-count", "the config has no history"));
        return;
    }
    let made = entries.iter().filter(|entry| entry["empty_layer"] != true).count();
    let layers = view.layers.len();
    if made == layers {
        let all = entries.len();
        let message = format!("{all} steps of history, of which {made} made the {layers} layers");
        to.pass("history-count", message);
    } else if view.by_engine {
        let message = "the engine does not say which steps of the history made a layer";
        to.push(Finding::info("history-count", message));
    } else {
        // A short history is that of the example in the OCI image specification: every engine accepts it.
        let finding = match made < layers {
            true => {
                let message = "the history has fewer steps that made a layer than there are layers: steps cannot be assigned to layers";
                Finding::warning("history-count", message)
            }
            false => {
                let message = "the history has more steps that made a layer than there are layers, which Docker refuses";
                Finding::error("history-count", message)
            }
        };
        to.push(finding.sides(format!("{layers} steps"), format!("{made} steps")));
    }
    for entry in entries {
        created(&entry["created"], "a 'created' in the history", to);
    }
}

/// Checks a time. Clients refuse the whole config if they cannot parse one of its times.
fn created(value: &Value, what: &str, to: &mut Findings) {
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.as_str(),
        _ => "",
    };
    if !time::is_readable(text) {
        let message = format!("{what} is not a time: Docker, Podman and skopeo refuse the image");
        to.push(Finding::error("created", message).sides("a time", value));
    } else if !super::time::is_rfc_3339(Some(text)) {
        let message = format!("{what} is not a time of RFC 3339");
        to.push(Finding::warning("created", message).sides("a time", value));
    }
}

/// Checks that the config names a platform, and that the index gives the image the same.
fn platform(view: &View, to: &mut Findings) {
    let document = &view.config.document;
    let mut named = Vec::new();
    for part in ["os", "architecture"] {
        match &document[part] {
            Value::String(text) if !text.is_empty() => named.push(text.as_str()),
            Value::Null | Value::String(_) if part == "architecture" => {
                let message = "the config does not name its 'architecture': engines take their own";
                to.push(Finding::warning("platform", message));
            }
            Value::Null | Value::String(_) => {
                let message = "the config does not name its 'os', which umoci refuses";
                to.push(Finding::error("platform", message));
            }
            _ => {
                let message = format!("the config's '{part}' is not a text, which engines refuse");
                to.push(Finding::error("platform", message));
            }
        }
    }
    // Go's names of systems are in lower case, and Docker and umoci compare them as they are.
    let os = text_of(&document["os"]);
    if os.chars().any(char::is_uppercase) {
        let message = "the config's 'os' has capital letters: Docker and umoci do not know it";
        to.push(Finding::error("platform", message).sides(os.to_lowercase(), os));
    }
    let chosen = view.index.iter().flat_map(|index| &index.entries).filter(|entry| entry.chosen);
    let listed = chosen.filter_map(|entry| entry.platform.as_ref());
    if let [os, architecture] = named[..] {
        for listed in listed {
            if (listed.os.as_str(), listed.architecture.as_str()) != (os, architecture) {
                let message = "the index gives the image another platform than its config";
                let is = format!("{os}/{architecture}");
                to.push(Finding::error("platform", message).sides(is, listed));
            }
        }
        if to.failed("platform") == 0 {
            to.pass("platform", format!("the image is for {os}/{architecture}"));
        }
    }
}

/// Reports values of the config that no engine can use, and fields that are deprecated.
fn values(config: &Value, os: &str, to: &mut Findings) {
    for entry in config["Env"].as_array().into_iter().flatten() {
        let named = entry.as_str().is_some_and(|text| text.find('=').is_some_and(|at| at > 0));
        if !named {
            let message =
                format!("the environment has {entry}, which is not NAME=VALUE: umoci refuses it");
            to.push(Finding::error("config-values", message));
        }
    }
    for key in ["Cmd", "Entrypoint"] {
        if config[key].is_string() {
            let message =
                format!("'{key}' is a text and not a list: Docker alone does not refuse it");
            to.push(Finding::error("config", message));
        }
    }
    let mut warn = |message: String| to.push(Finding::warning("config-values", message));
    for port in config["ExposedPorts"].as_object().into_iter().flat_map(|map| map.keys()) {
        if !is_port(port) {
            warn(format!("exposes '{port}', which is not a port"));
        }
    }
    let folder = text_of(&config["WorkingDir"]);
    if os != "windows" && !folder.is_empty() && !folder.starts_with('/') {
        warn(format!("starts in '{folder}', which does not begin at the root"));
    }
    if let Some(labels) = config["Labels"].as_object()
        && !labels.values().all(Value::is_string)
    {
        warn("a label is not a string".to_owned());
    }
    if config["ArgsEscaped"] == true {
        let message = "the config has ArgsEscaped, which only Docker uses and OCI deprecates";
        to.push(Finding::warning("args-escaped", message));
    }
}

/// Returns whether a text is a port: `80`, `80/tcp`, or a range (OCI image specification: port, or port and protocol).
fn is_port(text: &str) -> bool {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    matches!(protocol.as_str(), "tcp" | "udp" | "sctp")
        && ports.split('-').count() <= 2
        && ports.split('-').all(|port| port.parse::<u16>().is_ok())
}
