//! What an image's config says of its layers, where config and layers are kept by their digest.
//!
//! A manifest and a config can each be whole, and not belong together: an image of them cannot be
//! unpacked. What it refuses: to hold an artifact to more than its config says. It need not be that of
//! an image; where it lists diff-ids, they must hold.

use super::object::{CheckedObject, Status};
use crate::look::document::Flaw;
use occystrap_base::error::Error;
use occystrap_base::oci::artifact::{self, Promise};
use occystrap_base::oci::config_type::is_config;
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::{Digest, Part, Platform, PlatformRequest, config};
use occystrap_output::receipt::{Expectation, Receipt, Role};

/// What a config says; nothing where it cannot be read, which is found when it is looked at.
#[derive(Default, Clone)]
pub struct Claims {
    /// Of the layers, lowest first.
    layers: Option<Vec<Promise>>,
    /// What it is for.
    platform: Option<Platform>,
    /// The config was read, and is none of an image, or not one that all clients read.
    flaw: Option<Flaw>,
    /// By the manifest it need not be one.
    artifact: bool,
    /// Whether it is known if the config is that of an image or of an artifact.
    is_settled: bool,
    /// Other bytes than were promised.
    wrong: Option<Error>,
    /// What is compared with them is a receipt from a file, which may name fewer layers than it did.
    may_be_cut: bool,
}

impl Claims {
    /// Of a config's bytes, which were compared with its digest.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match config::parse_as_clients(bytes, "") {
            Ok(config) => Self {
                platform: Some(config.platform),
                flaw: Flaw::of(bytes),
                ..Self::of_layers(config.diff_ids)
            },
            Err(error) => Self { flaw: Some(Flaw::of_config(bytes, &error)), ..Self::default() },
        }
    }

    /// Of an image whose config says this, whatever else it is.
    #[must_use]
    pub fn of_layers(diff_ids: Vec<Digest>) -> Self {
        let layers = diff_ids.into_iter().map(Promise::DiffId).collect();
        Self { layers: Some(layers), ..Self::default() }
    }

    /// Of a config that has other bytes than were promised.
    #[must_use]
    pub fn of_wrong(error: Error) -> Self {
        Self { wrong: Some(error), ..Self::default() }
    }

    /// The same, of the manifest that leads to the config.
    #[must_use]
    pub fn within(mut self, manifest: &ManifestDocument) -> Self {
        self.is_settled = true;
        let layers = self.layers().filter(|layers| *layers > 0 && self.flaw.is_none());
        let is_untyped = !is_config(manifest.config_type())
            && artifact::is_untyped(manifest)
            && layers == Some(manifest.layers().len());
        if is_untyped || !artifact::is_artifact(manifest) {
            return self;
        }
        (self.artifact, self.flaw) = (true, None);
        let mut said = self.layers.take().filter(|said| !said.is_empty());
        for (layer, promise) in manifest.layers().iter().zip(said.iter_mut().flatten()) {
            if let Promise::DiffId(diff_id) = *promise {
                *promise = Promise::of(layer, diff_id);
            }
        }
        self.layers = said;
        self
    }

    /// Returns claims to compare with a receipt. One that names fewer layers than the config was cut, which is no
    /// fault of the image.
    #[must_use]
    pub fn against(self, receipt: &Receipt) -> Self {
        Self { may_be_cut: !receipt.is_fresh, ..self }
    }

    /// Whether the manifest is of an artifact, and not of an image.
    #[must_use]
    pub fn is_artifact(&self) -> bool {
        self.artifact
    }

    /// What the image is for, where the config says so.
    #[must_use]
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// The same, of what is an image and no artifact.
    #[must_use]
    pub fn of_image(self) -> Self {
        Self { is_settled: true, ..self }
    }

    /// The same; where it may be an artifact, its config need not be one of an image.
    #[must_use]
    pub fn or_artifact(mut self) -> Self {
        if !self.is_settled {
            self.flaw = None;
        }
        self
    }

    /// Whether what the config promises of layers holds for their bytes, and is no artifact's own affair.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// How many layers there are, where the config says so.
    #[must_use]
    pub fn layers(&self) -> Option<usize> {
        self.layers.as_ref().map(Vec::len)
    }

    /// What it promises of the layer of a role.
    #[must_use]
    pub fn promise(&self, role: Role) -> Option<Promise> {
        match role {
            Role::Layer(index) => self.layers.as_ref()?.get(index as usize).copied(),
            _ => None,
        }
    }

    /// What the layer of a role must have, uncompressed; `None` where that is not said, or nothing that
    /// can be compared.
    #[must_use]
    pub fn diff_id(&self, role: Role) -> Option<Digest> {
        match self.promise(role) {
            Some(Promise::DiffId(diff_id)) => Some(diff_id),
            Some(Promise::Stored | Promise::Secret) | None => None,
        }
    }

    /// Say of each layer that nobody can unpack without its key that nobody has.
    pub fn doubt_secrets(&self, expectations: &[Expectation], objects: &mut [CheckedObject]) {
        for (one, object) in expectations.iter().zip(objects) {
            if self.promise(one.role) == Some(Promise::Secret) && object.status == Status::Ok {
                let message = "is encrypted: what it holds only its key tells";
                object.blame(Status::Unchecked, None, None, message);
            }
        }
    }

    /// Says what is wrong with the config, where it is not known yet.
    pub fn judge(&self, expectations: &[Expectation], objects: &mut [CheckedObject]) {
        let config = expectations.iter().position(|one| one.role == Role::Config);
        let Some(object) = config.and_then(|at| objects.get_mut(at)) else { return };
        if object.status != Status::Ok {
            return;
        }
        object.host_only = true;
        if let Some(error) = &self.wrong {
            return object.blame_error(Status::DigestMismatch, error);
        }
        if let Some(flaw) = &self.flaw {
            return flaw.blame_sound(object);
        }
        let layers = expectations.iter().filter(|one| one.role.is_layer()).count();
        let contradicts = |said: &usize| *said < layers || (*said > layers && !self.may_be_cut);
        if let Some(said) = self.layers().filter(contradicts) {
            let side = |count: usize| Some(format!("{count} layers"));
            let (expected, found) = (side(said), side(layers));
            let message = "the manifest lists another number of layers than the config";
            object.blame(Status::DigestMismatch, expected, found, message);
        }
    }
}

/// Marks the config of an image that an index lists for another platform. Every client takes such an image, and nothing
/// says which of the two is right: the verdict is UNCONFIRMED, wherever the index is.
pub fn judge_platform(is: &Platform, listed: &Platform, objects: &mut [CheckedObject]) {
    let config = objects.iter_mut().find(|object| object.kind == "config");
    let Some(object) = config.filter(|object| object.status == Status::Ok) else { return };
    if is.contradicts(listed) {
        blame_platform(is, listed, object);
    }
}

/// Says of an object that an index and a config contradict each other.
pub fn blame_platform(is: &Platform, listed: &Platform, object: &mut CheckedObject) {
    let (expected, found) = (Some(listed.to_string()), Some(is.to_string()));
    let message = "is for another platform than the index says";
    object.blame(Status::Unchecked, expected, found, message);
    object.host_only = true;
}

/// Compares the platform under which a receipt says that an index lists the image.
pub fn judge_listed(receipt: &Receipt, claims: &Claims, objects: &mut [CheckedObject]) {
    let Part::Platform(listed) = &receipt.image.part else { return };
    // One that is known by its digest is listed for none.
    let listed =
        PlatformRequest::parse(listed).map(|listed| listed.instead_of(&Platform::unknown()));
    if let (Ok(listed), Some(is)) = (listed, claims.platform()) {
        judge_platform(is, &listed, objects);
    }
}
