//! Writing an image, and the rules that a plugin can break while writing.

use std::cell::RefCell;

use occystrap_plugin::registry::{self, Repository};
use occystrap_plugin::registry_push::{self, Transfer};
use occystrap_plugin::types::Descriptor;
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, LayerSummary, Place, Receipt, Request,
    Role, Session,
};
use occystrap_plugin::{engine, storage, storage_edit};

use crate::manifest;

pub struct HostileSession {
    behaviour: String,
    tag: String,
    repository: Repository,
    transfers: RefCell<Vec<Transfer>>,
}

const INVALID_DIGESTS: [&str; 5] = ["", "sha256:", "sha256:../../x", "md5:00", "SHA256:00"];

impl HostileSession {
    fn push(&self, blob: &Blob) -> Result<(), Error> {
        let chunk_size = match self.behaviour.as_str() {
            "chunk-nothing" => Some(0),
            "chunk-byte" => Some(1),
            "chunk-all" => Some(u64::MAX),
            _ => None,
        };
        let transfer = registry_push::push_blob(&self.repository, blob, chunk_size)?;
        self.transfers.borrow_mut().push(transfer);
        Ok(())
    }

    /// Does what the behaviour says, before anything is written.
    fn begin(&self) -> Result<(), Error> {
        match self.behaviour.as_str() {
            "open-storage" => drop(storage::open()?),
            "open-engine" => drop(engine::open()?),
            // Uses the storage as if it had been granted.
            "use-storage" => {
                if let Ok(directory) = storage::open() {
                    storage_edit::create_file(&directory, "evil")?;
                }
            }
            "flood" => {
                for n in 0..1_000_000_u64 {
                    drop(self.repository.stat_blob(&format!("sha256:{n:064x}")));
                }
            }
            "flood-names" => {
                for n in 0..1_000_000_u64 {
                    drop(self.repository.get_manifest(&format!("tag-{n}")));
                }
            }
            "handles" => {
                let mut all = Vec::new();
                for _ in 0..100_000 {
                    all.push(registry::open()?);
                }
            }
            "no-digest" => {
                for text in INVALID_DIGESTS {
                    assert!(self.repository.stat_blob(text).is_err());
                    assert!(self.repository.blob_digest(text).is_err());
                }
                self.repository.stat_blob(&"x".repeat(64 * 1024))?;
            }
            "long-name" => drop(self.repository.get_manifest(&"x".repeat(64 * 1024))?),
            "other-name" => drop(self.repository.get_manifest("../../../other/manifests/1")?),
            _ => {}
        }
        Ok(())
    }
}

impl GuestSession for HostileSession {
    fn open(request: Request) -> Result<Session, Error> {
        let behaviour = request.options.first().map(|(_, value)| value.clone()).unwrap_or_default();
        Ok(Session::new(Self {
            behaviour,
            tag: request.name.tag.unwrap_or_default(),
            repository: registry::open()?,
            transfers: RefCell::default(),
        }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        self.begin()?;
        let decision = match self.behaviour.as_str() {
            "skip" => Decision::Skip,
            _ => Decision::Take(Form::Stored),
        };
        Ok(vec![decision; layers.len()])
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        self.push(config)
    }

    fn write_layer(&self, index: u32, _diff_id: String, layer: &Blob) -> Result<(), Error> {
        if self.behaviour == "push-less" && index == 1 {
            return Ok(());
        }
        self.push(layer)?;
        if self.behaviour == "push-twice" {
            self.push(layer)?;
        }
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let Self { behaviour, tag, repository, transfers } = this.into_inner();
        let mut blobs = Vec::new();
        for transfer in transfers.into_inner() {
            if behaviour == "wait-less" && blobs.len() == 2 {
                // The plugin does not wait for this transfer, which may fail.
                blobs.push(Descriptor {
                    digest: digest_of_nothing(),
                    size: 0,
                    media_type: String::new(),
                });
                continue;
            }
            blobs.push(Transfer::wait(transfer)?);
        }
        let config = blobs.remove(0);
        let manifest = manifest::render(&behaviour, &config, &blobs);
        let push = |name: &str, manifest| registry_push::push_manifest(&repository, name, manifest);
        let mut digest = None;
        match behaviour.as_str() {
            "no-manifest" => {}
            "other-tag" => digest = Some(push("latest", &manifest)?),
            "other-digest" => digest = Some(push(&digest_of_nothing(), &manifest)?),
            "no-tag" => digest = Some(push("../../other/manifests/1", &manifest)?),
            "long-tag" => digest = Some(push(&"x".repeat(64 * 1024), &manifest)?),
            "two-manifests" => {
                let other = manifest::render("manifest-short", &config, &blobs);
                push(&tag, &other)?;
                digest = Some(push(&tag, &manifest)?);
            }
            "wrong-last" => {
                digest = Some(push(&tag, &manifest)?);
                push(&tag, &manifest::render("manifest-short", &config, &blobs))?;
            }
            _ => digest = Some(push(&tag, &manifest)?),
        }
        let blob = |role: Role, blob: &Descriptor| Expectation {
            role,
            place: Place::Blob(blob.digest.clone()),
            size: Some(blob.size),
            digest: Some(blob.digest.clone()),
        };
        let mut expectations = vec![blob(Role::Config, &config)];
        expectations
            .extend((0..).zip(&blobs).map(|(index, layer)| blob(Role::Layer(index), layer)));
        if let Some(digest) = digest {
            expectations.push(Expectation {
                role: Role::Manifest,
                place: Place::Manifest(tag),
                size: None,
                digest: Some(digest),
            });
        }
        falsify(&behaviour, &mut expectations);
        Ok(Receipt { expectations, state: behaviour.into_bytes() })
    }
}

/// Falsifies the receipt as `behaviour` says.
fn falsify(behaviour: &str, expectations: &mut Vec<Expectation>) {
    let last = expectations.len() - 1;
    match behaviour {
        "receipt-no-manifest" => drop(expectations.pop()),
        "receipt-no-layer" => drop(expectations.remove(2)),
        "receipt-no-config" => drop(expectations.remove(0)),
        "receipt-swapped" => {
            expectations[1].role = Role::Layer(1);
            expectations[2].role = Role::Layer(0);
        }
        "receipt-invented" => {
            expectations[1].place = Place::Blob(digest_of_nothing());
            expectations[1].digest = None;
        }
        "receipt-no-digest" => expectations[1].place = Place::Blob("sha256:../x".to_owned()),
        "receipt-file" => expectations[1].place = Place::File("/etc/passwd".to_owned()),
        "receipt-size" => expectations[1].size = Some(1),
        "receipt-other-tag" => expectations[last].place = Place::Manifest("latest".to_owned()),
        _ => {}
    }
}

/// Returns the digest of zero bytes.
fn digest_of_nothing() -> String {
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned()
}
