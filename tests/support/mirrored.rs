//! Repositories with images that share layers, and the file of a mirror for them.
//!
//!     let many = Mirrored::at(&source, 3, 4);         // repositories app0 to app2, tags 0.0 to 3.0
//!     many.write_file(&sandbox, &destination, "");

use serde_json::json;

use super::cli::{Ran, Sandbox};
use super::image::{TestImage, gzip, noise, tar};
use super::registry::Registry;
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_MANIFEST;

/// The name of the file in the sandbox.
pub const FILE: &str = "mirror.yaml";

/// Repositories `team/app0` and so on, each with the tags `0.0`, `1.0` and so on. All images share one layer, those of a
/// repository another one, and each has one of its own.
pub struct Mirrored {
    host: String,
    /// Number of repositories.
    repositories: usize,
}

impl Mirrored {
    /// Puts the images at a registry.
    pub fn at(registry: &Registry, repositories: usize, tags: usize) -> Self {
        let host = registry.url_host();
        let many = Self { host, repositories };
        for repository in 0..repositories {
            for tag in 0..tags {
                put(registry, repository, tag, 0);
            }
        }
        many
    }

    /// Writes the file: all repositories to `HOST/mirror/NAME`, with these lines in the entry.
    pub fn write_file(&self, sandbox: &Sandbox, to: &str, lines: &[&str]) {
        let names: Vec<String> = (0..self.repositories).map(|one| format!("app{one}")).collect();
        let names = match names.as_slice() {
            [only] => only.clone(),
            _ => format!("{{{}}}", names.join(",")),
        };
        let mut text = format!(
            "version: 1\nimages:\n- from: {}/team/{names}\n  to: {to}\n  tags: {{regex: '.*'}}\n",
            self.host
        );
        for line in lines {
            text.push_str(&format!("  {line}\n"));
        }
        std::fs::write(sandbox.path(FILE), text).unwrap();
    }
}

/// Puts an image under a tag. Images with other numbers have another layer of their own.
pub fn put(registry: &Registry, repository: usize, tag: usize, number: u64) -> Digest {
    let own = 1_000 + 100 * repository as u64 + tag as u64 + 10_000 * number;
    let layers = vec![
        tar(&[("shared/by/all", &noise(1, 30_000))]),
        tar(&[("shared/by/some", &noise(2 + repository as u64, 20_000))]),
        tar(&[("own", &noise(own, 10_000))]),
    ];
    let image = TestImage::with_layers("app", layers);
    let described = |media_type: &str, bytes: &[u8]| {
        let digest = registry.put_blob(bytes).to_string();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| described("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(layer)))
        .collect();
    let config = described("application/vnd.oci.image.config.v1+json", &image.config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers,
    });
    let name = format!("team/app{repository}");
    registry.put_manifest(&name, &format!("{tag}.0"), OCI_MANIFEST, manifest.to_string())
}

/// Runs `occystrap mirror COMMAND mirror.yaml ...`.
pub fn mirror(sandbox: &Sandbox, command: &str, more: &[&str]) -> Ran {
    sandbox.run(&[&["mirror", command, FILE, "--insecure"], more].concat())
}
