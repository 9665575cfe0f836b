//! Unusual but correct images: what build tools, archives and registries were seen to leave out, to add or to spell in
//! their own way. No content differs from its digest.
//!
//!     for case in odd_cases::cases() {            // the same every time
//!         let put = case.put(folder);       // at a registry, in a layout or in an archive
//!     }
//!
//! The first seeds are one oddity each; the rest are pairs. A new oddity is one line of a table below.

use std::path::{Path, PathBuf};

use occystrap_base::oci::Digest;
use serde_json::{Map, Value, json};

use super::image::{TestImage, gzip, tar};
use super::raw_tar::{Raw, tar as raw_tar};
use super::registry::Registry;

mod tables;

pub use tables::oddities;

/// Pairs of oddities that follow the single ones.
const PAIRS: usize = 90;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The place of an oddity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum In {
    Config,
    Manifest,
    Index,
    /// `index.json` of a layout.
    Layout,
    /// `manifest.json` of an archive of `docker save`.
    Saved,
    /// The members of such an archive.
    Members,
    /// Compression of the layers.
    Layers,
    Registry,
}

/// The source that holds the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Registry,
    Layout,
    Archive,
}

impl In {
    /// Returns the sources that can hold an oddity of this kind.
    fn carriers(self) -> &'static [Carrier] {
        match self {
            Self::Config | Self::Layers => &[Carrier::Archive, Carrier::Registry, Carrier::Layout],
            Self::Manifest | Self::Index => &[Carrier::Registry, Carrier::Layout],
            Self::Layout => &[Carrier::Layout],
            Self::Saved | Self::Members => &[Carrier::Archive],
            Self::Registry => &[Carrier::Registry],
        }
    }
}

type Edit = Box<dyn Fn(&mut Value) + Send>;

enum Change {
    Json(Edit),
    Text(fn(&str) -> String),
    Members(fn(Vec<Raw>) -> Vec<Raw>),
    Archive(fn(Vec<u8>) -> Vec<u8>),
    Layers(fn(Vec<u8>) -> Vec<u8>),
    Fault(fn(&Registry)),
}

/// One oddity.
pub struct Oddity {
    /// Such as `config: os absent`; docs/compatibility.md names it so.
    pub name: String,
    pub within: In,
    change: Change,
}

/// An image with one or two oddities.
pub struct Case {
    pub seed: usize,
    pub carrier: Carrier,
    pub oddities: Vec<Oddity>,
}

/// A case that was written to a source.
pub struct Put {
    /// Its URI for occystrap.
    pub uri: String,
    /// Its name for skopeo, with options.
    pub skopeo: Vec<String>,
    /// The archive, if it is one that engines load.
    pub archive: Option<PathBuf>,
    _registry: Option<Registry>,
}

/// Single oddities, each with what holds it: those of a config or of layers once in an archive, and once
/// at a registry or in a layout.
fn singles() -> Vec<(Oddity, Carrier)> {
    let mut singles = Vec::new();
    for (index, oddity) in oddities().into_iter().enumerate() {
        let carriers = oddity.within.carriers();
        match carriers {
            [archive, others @ ..] if others.len() > 1 => {
                // The same oddity again: it is no value that can be copied.
                let again = oddities().swap_remove(index);
                singles.push((oddity, *archive));
                singles.push((again, others[index % others.len()]));
            }
            _ => singles.push((oddity, carriers[index % carriers.len()])),
        }
    }
    singles
}

/// Every case, by its seed.
pub fn cases() -> Vec<Case> {
    let singles = singles().into_iter();
    let mut cases: Vec<Case> = singles
        .enumerate()
        .map(|(seed, (oddity, carrier))| Case { seed, carrier, oddities: vec![oddity] })
        .collect();
    let first = cases.len();
    cases.extend((first..first + PAIRS).map(pair));
    cases
}

/// Two oddities that one image can have, chosen by the seed.
fn pair(seed: usize) -> Case {
    let mut all = oddities();
    // A 64-bit LCG (Knuth's constants).
    let mut state = seed as u64;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let first = all.swap_remove(next(all.len()));
    loop {
        let second = next(all.len());
        let carriers = all[second].within.carriers();
        let both = first.within.carriers().iter().find(|one| carriers.contains(one));
        if let Some(carrier) = both {
            let second = all.swap_remove(second);
            return Case { seed, carrier: *carrier, oddities: vec![first, second] };
        }
    }
}

fn image() -> TestImage {
    TestImage::with_layers(
        "team/app:1",
        vec![tar(&[("etc/motd", b"hello")]), tar(&[("usr/bin/true", b"\x7fELF")])],
    )
}

impl Case {
    /// The names of its oddities.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.oddities.iter().map(|one| one.name.as_str()).collect();
        format!("seed {} ({:?}): {}", self.seed, self.carrier, names.join(" + "))
    }

    fn has(&self, within: &[In]) -> bool {
        self.oddities.iter().any(|one| within.contains(&one.within))
    }

    /// A document with the oddities that it has.
    fn document(&self, within: In, mut value: Value) -> Vec<u8> {
        let own = || self.oddities.iter().filter(move |one| one.within == within);
        for one in own() {
            if let Change::Json(change) = &one.change {
                change(&mut value);
            }
        }
        let mut text = value.to_string();
        for one in own() {
            if let Change::Text(change) = one.change {
                text = change(&text);
            }
        }
        text.into_bytes()
    }

    /// A layer as it is stored.
    fn stored(&self, plain: &[u8], usual: Vec<u8>) -> Vec<u8> {
        let change = self.oddities.iter().find_map(|one| match one.change {
            Change::Layers(change) => Some(change),
            _ => None,
        });
        change.map_or(usual, |change| change(plain.to_vec()))
    }

    /// Puts the image where its oddities can be, in a folder.
    pub fn put(&self, folder: &Path) -> Put {
        let image = image();
        let config: Value = serde_json::from_slice(&image.config).unwrap();
        let config = self.document(In::Config, config);
        if self.carrier == Carrier::Archive {
            return self.saved(&image, &config, folder);
        }
        let layers: Vec<Vec<u8>> =
            image.layers.iter().map(|layer| self.stored(layer, gzip(layer))).collect();
        let described = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() });
        let manifest = self.document(In::Manifest, json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described(OCI_CONFIG, &config),
            "layers": layers.iter().map(|layer| described(OCI_LAYER, layer)).collect::<Vec<_>>(),
        }));
        let mut entry = described(OCI_MANIFEST, &manifest);
        let index = self.has(&[In::Index]).then(|| {
            entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
            let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] });
            self.document(In::Index, index)
        });
        let blobs = layers.iter().chain([&config]);
        if self.carrier == Carrier::Registry {
            let registry = Registry::start();
            blobs.for_each(|blob| _ = registry.put_blob(blob));
            registry.put_manifest("team/app", "1", OCI_MANIFEST, &manifest);
            if let Some(index) = &index {
                registry.put_manifest("team/app", "1", OCI_INDEX, index);
            }
            for one in &self.oddities {
                if let Change::Fault(fault) = one.change {
                    fault(&registry);
                }
            }
            let host = registry.url_host();
            return Put {
                uri: format!("registry://{host}/team/app:1?insecure=true"),
                skopeo: vec![
                    "--src-tls-verify=false".to_owned(),
                    format!("docker://{host}/team/app:1"),
                ],
                archive: None,
                _registry: Some(registry),
            };
        }
        let layout = folder.join("layout");
        let store = layout.join("blobs/sha256");
        std::fs::create_dir_all(&store).unwrap();
        let write =
            |bytes: &[u8]| std::fs::write(store.join(Digest::of(bytes).hex()), bytes).unwrap();
        blobs.for_each(|blob| write(blob));
        write(&manifest);
        let mut root = described(OCI_MANIFEST, &manifest);
        if let Some(index) = &index {
            write(index);
            root = described(OCI_INDEX, index);
        }
        let named = Map::from_iter([("org.opencontainers.image.ref.name".to_owned(), json!("1"))]);
        root["annotations"] = named.into();
        let list = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [root] });
        std::fs::write(layout.join("index.json"), self.document(In::Layout, list)).unwrap();
        std::fs::write(layout.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        // The one image that is there, whatever it is called.
        Put {
            uri: format!("oci-layout://{}", layout.display()),
            skopeo: vec![format!("oci:{}", layout.display())],
            archive: None,
            _registry: None,
        }
    }

    /// The same config in an archive that engines load; `None` where no oddity is in the config.
    pub fn put_in_archive(&self, folder: &Path) -> Option<PathBuf> {
        if !self.oddities.iter().any(|one| one.within == In::Config) {
            return None;
        }
        let image = image();
        let config = serde_json::from_slice(&image.config).unwrap();
        self.saved(&image, &self.document(In::Config, config), folder).archive
    }

    /// Writes the layout of `docker save` of Docker 24.
    fn saved(&self, image: &TestImage, config: &[u8], folder: &Path) -> Put {
        let config_name = format!("{}.json", Digest::of(config).hex());
        let names: Vec<String> =
            (0..image.layers.len()).map(|index| image.layer_path(index)).collect();
        let list = json!([{ "Config": config_name, "RepoTags": [image.name], "Layers": names }]);
        let list = self.document(In::Saved, list);
        let mut members = vec![Raw::file(&config_name, config)];
        members.extend(
            names
                .iter()
                .zip(&image.layers)
                .map(|(name, layer)| Raw::file(name, &self.stored(layer, layer.clone()))),
        );
        members.push(Raw::file("manifest.json", &list));
        for one in &self.oddities {
            if let Change::Members(change) = one.change {
                members = change(members);
            }
        }
        let mut bytes = raw_tar(&members);
        for one in &self.oddities {
            if let Change::Archive(change) = one.change {
                bytes = change(bytes);
            }
        }
        let archive = folder.join("app.tar");
        std::fs::write(&archive, bytes).unwrap();
        Put {
            uri: format!("tar://{}", archive.display()),
            skopeo: vec![format!("docker-archive:{}", archive.display())],
            archive: Some(archive),
            _registry: None,
        }
    }
}
