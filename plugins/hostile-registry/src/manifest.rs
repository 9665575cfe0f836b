//! The manifest, correct or falsified.

use occystrap_plugin::types::{Descriptor, Manifest};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn blob(blob: &Descriptor) -> String {
    format!(
        r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
        blob.media_type, blob.digest, blob.size
    )
}

/// Returns the manifest of an image whose blobs were pushed, falsified as `behaviour` says.
pub fn render(behaviour: &str, config: &Descriptor, layers: &[Descriptor]) -> Manifest {
    let mut listed: Vec<String> = layers.iter().map(blob).collect();
    let (mut media_type, mut more) = (OCI, String::new());
    let mut config = blob(config);
    match behaviour {
        "manifest-short" => drop(listed.pop()),
        "manifest-order" => listed.reverse(),
        "manifest-twice" => listed.push(listed[0].clone()),
        "manifest-config" => config = listed[0].clone(),
        "manifest-size" => listed[0] = listed[0].replace(r#""size":"#, r#""size":1"#),
        "manifest-invented" => {
            let zeros = format!("sha256:{}", "0".repeat(64));
            listed[0] = listed[0].replace(&layers[0].digest, &zeros);
        }
        "manifest-type" => media_type = "text/html",
        "manifest-header" => media_type = "text/html\r\nx-evil: 1",
        "manifest-index" => {
            media_type = "application/vnd.oci.image.index.v1+json";
            more = r#","manifests":[]"#.to_owned();
        }
        "manifest-both" => more = r#","manifests":[]"#.to_owned(),
        "manifest-case" => more = format!(r#","Layers":[{}]"#, listed[0]),
        "manifest-keys" => more = format!(r#","layers":[{}]"#, listed[0]),
        "manifest-huge" => more = format!(r#","annotations":{{"a":"{}"}}"#, "x".repeat(5_000_000)),
        "manifest-large" => more = format!(r#","annotations":{{"a":"{}"}}"#, "x".repeat(4_194_200)),
        _ => {}
    }
    let layers = listed.join(",");
    let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]{more}}}"#);
    Manifest { media_type: media_type.to_owned(), bytes: text.into_bytes() }
}
