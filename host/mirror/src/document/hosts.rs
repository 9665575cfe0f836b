//! `hosts` and `prune`.

use std::num::NonZeroU32;

use occystrap_net::registry::Reference;

use super::read::Reader;
use super::yaml::{Node, Value};
use super::{Extra, HostLimits, Prune};

/// Largest number of requests a second. Registries serve some thousands.
const FASTEST: f64 = 100_000.0;

/// Largest number of connections to one host. Each is a file of the process, which may have about a thousand.
const MOST_CONNECTIONS: u32 = 1_000;

/// Reads `hosts`.
pub fn read(reader: &mut Reader, node: &Node) -> Vec<HostLimits> {
    let Some(pairs) = node.pairs().filter(|pairs| !pairs.is_empty()) else {
        let hint = "write 'docker.io: {requests-per-second: 5}' below it, or remove it";
        reader.unexpected(node, "'hosts'", "a map", hint);
        return Vec::new();
    };
    let mut hosts: Vec<HostLimits> = Vec::new();
    for (key, node) in pairs {
        // Only a name that begins a reference is one of a host.
        let host = match Reference::parse(&format!("{}/x", key.text)) {
            Ok(reference) if !key.text.contains('/') => reference.host,
            _ => {
                let hint = "write the host as references begin: docker.io, quay.io, localhost:5000";
                reader.report(key.mark, format!("'{}' is not a host", key.text), hint);
                continue;
            }
        };
        if let Some(known) = hosts.iter().find(|known| known.host == host) {
            let message =
                format!("'{}' is the host of line {} once more", key.text, known.place.line());
            reader.report(key.mark, message, "put all limits of a host in one place");
            continue;
        }
        let what = format!("the host '{host}'");
        if !reader.keys(node, &what, &["requests-per-second", "connections", "pulls-left"]) {
            continue;
        }
        let limits = HostLimits {
            requests_per_second: node
                .get("requests-per-second")
                .and_then(|node| rate(reader, node)),
            connections: node
                .get("connections")
                .and_then(|node| reader.number(node, "'connections'", 1..=MOST_CONNECTIONS))
                .and_then(NonZeroU32::new),
            pulls_left: node
                .get("pulls-left")
                .and_then(|node| reader.number(node, "'pulls-left'", 0..=u32::MAX)),
            place: reader.place(key.mark),
            host,
        };
        if node.pairs().is_some_and(<[_]>::is_empty) {
            reader.report(
                key.mark,
                format!("{what} has no limit"),
                "add 'requests-per-second', 'connections' or 'pulls-left'",
            );
        }
        hosts.push(limits);
    }
    hosts
}

fn rate(reader: &mut Reader, node: &Node) -> Option<f64> {
    let number = match &node.value {
        // Only digits and a point: `inf`, `nan` and `1e9` are no rates.
        Value::Scalar { text, is_plain: true }
            if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') =>
        {
            text.parse::<f64>().ok()
        }
        _ => None,
    };
    let number = number.filter(|number| *number > 0.0 && *number <= FASTEST);
    if number.is_none() {
        reader.unexpected(
            node,
            "'requests-per-second'",
            "a number above 0, up to 100000",
            "for one in two seconds, write 0.5",
        );
    }
    number
}

/// Reads `prune`.
pub fn read_prune(reader: &mut Reader, node: &Node) -> Prune {
    let words = [("report", Extra::Report), ("delete", Extra::Delete)];
    if !reader.keys(node, "'prune'", &["extra"]) {
        return Prune::default();
    }
    match node.get("extra") {
        Some(extra) => Prune { extra: reader.word(extra, "'extra'", &words).unwrap_or_default() },
        None => {
            reader.report(
                node.mark,
                "'prune' is empty",
                "write 'prune: {extra: report}', or remove it",
            );
            Prune::default()
        }
    }
}
