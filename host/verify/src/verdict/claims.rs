//! What the config of an image promises about its layers.
//!
//! A manifest and a config can each have the right bytes and still not belong together: such an image cannot be
//! unpacked. This module refuses to expect more of an artifact than its config says: that config need not be that of an
//! image, but the diff-ids that it lists must hold.

use super::document;
use super::flaw::{Difference, Flaw, Reason, Status};
use super::object::CheckedObject;
use occystrap_base::error::Error;
use occystrap_base::oci::artifact::{self, Promise};
use occystrap_base::oci::config_type::is_config;
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::{Digest, Platform, PlatformPart, PlatformRequest, config};
use occystrap_output::receipt::{Expectation, Place, Receipt, Role};

/// The promises of a config. They are empty where the config cannot be read, which the check of the config finds.
#[derive(Default, Clone)]
pub struct Claims {
    /// The promise for each layer, lowest first.
    layers: Option<Vec<Promise>>,
    /// The platform of the image.
    platform: Option<Platform>,
    /// The flaw of a config that was read and is not that of an image, or that some clients cannot read.
    flaw: Option<Flaw>,
    /// Whether the manifest is that of an artifact.
    artifact: bool,
    /// Whether it is known if the config belongs to an image or to an artifact.
    is_settled: bool,
    /// The error of a config with other bytes than the promised ones.
    wrong: Option<Error>,
    /// Whether the promises are compared with a receipt from a file, which may have been cut.
    may_be_cut: bool,
}

impl Claims {
    /// Returns the promises of a config whose bytes have the right digest.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match config::parse_as_clients(bytes, "") {
            Ok(config) => Self {
                platform: Some(config.platform),
                flaw: document::check(bytes),
                ..Self::of_layers(config.diff_ids)
            },
            Err(error) => {
                Self { flaw: Some(document::check_config(bytes, &error)), ..Self::default() }
            }
        }
    }

    /// Returns the promises of a config of which only the diff-ids are known.
    #[must_use]
    pub fn of_layers(diff_ids: Vec<Digest>) -> Self {
        let layers = diff_ids.into_iter().map(Promise::DiffId).collect();
        Self { layers: Some(layers), ..Self::default() }
    }

    /// Returns the claims for a config with other bytes than the promised ones.
    #[must_use]
    pub fn of_wrong(error: Error) -> Self {
        Self { wrong: Some(error), ..Self::default() }
    }

    /// Returns the promises that count with `manifest`, which names the config. For an image, all of them count. For an
    /// artifact, the flaw of the config does not count, and a diff-id promises what [`Promise::of`] says.
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

    /// Returns the promises for a comparison with a receipt. A receipt from a file may have been cut: if it names fewer
    /// layers than the config, that is not a flaw of the image.
    #[must_use]
    pub fn against(self, receipt: &Receipt) -> Self {
        Self { may_be_cut: !receipt.is_fresh, ..self }
    }

    /// Returns whether the manifest is that of an artifact, and not of an image.
    #[must_use]
    pub fn is_artifact(&self) -> bool {
        self.artifact
    }

    /// Returns the platform of the image, where the config names one.
    #[must_use]
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// Returns the promises for a manifest that is known to be that of an image.
    #[must_use]
    pub fn of_image(self) -> Self {
        Self { is_settled: true, ..self }
    }

    /// Returns the promises without the flaw of the config, where it may be the config of an artifact.
    #[must_use]
    pub fn or_artifact(mut self) -> Self {
        if !self.is_settled {
            self.flaw = None;
        }
        self
    }

    /// Returns whether it is known that the promises are about the bytes of the layers: the config of an artifact may
    /// mean something else by them.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Returns the number of layers, where the config lists them.
    #[must_use]
    pub fn layers(&self) -> Option<usize> {
        self.layers.as_ref().map(Vec::len)
    }

    /// Returns the promise for the layer of a role.
    #[must_use]
    pub fn promise(&self, role: Role) -> Option<Promise> {
        match role {
            Role::Layer(index) => self.layers.as_ref()?.get(index as usize).copied(),
            _ => None,
        }
    }

    /// Returns the digest that the uncompressed layer of a role must have. `None` where the config promises nothing that
    /// can be compared.
    #[must_use]
    pub fn diff_id(&self, role: Role) -> Option<Digest> {
        match self.promise(role) {
            Some(Promise::DiffId(diff_id)) => Some(diff_id),
            Some(Promise::Stored | Promise::Secret) | None => None,
        }
    }

    /// Marks encrypted layers as unchecked: only a key could unpack them.
    pub fn mark_encrypted(&self, expectations: &[Expectation], objects: &mut [CheckedObject]) {
        for (one, object) in expectations.iter().zip(objects) {
            if self.promise(one.role) == Some(Promise::Secret) && object.status == Status::Ok {
                object.mark_unchecked(Reason::Encrypted);
            }
        }
    }

    /// Marks layers as unchecked that the config does not promise, or whose promise the host could not compare. The
    /// config of an artifact need not promise anything.
    pub fn mark_unpromised(&self, expectations: &[Expectation], objects: &mut [CheckedObject]) {
        if self.is_artifact() && self.layers().is_none() {
            return;
        }
        self.mark_encrypted(expectations, objects);
        for (one, object) in expectations.iter().zip(objects) {
            if !one.role.is_layer() || object.status != Status::Ok {
                continue;
            }
            match (self.promise(one.role), &one.place) {
                (None, _) => object.mark_unchecked(Reason::LayerUnknown),
                (Some(Promise::DiffId(diff_id)), Place::Part { .. })
                    if one.digest != Some(diff_id) =>
                {
                    object.mark_unchecked(Reason::LayerForm);
                }
                _ => {}
            }
        }
    }

    /// Records the flaw of the config, where the config has none so far.
    pub fn compare(&self, expectations: &[Expectation], objects: &mut [CheckedObject]) {
        let config = expectations.iter().position(|one| one.role == Role::Config);
        let Some(object) = config.and_then(|at| objects.get_mut(at)) else { return };
        if object.status != Status::Ok {
            return;
        }
        object.host_only = true;
        if let Some(error) = &self.wrong {
            return object.fail_with(Status::DigestMismatch, error);
        }
        if let Some(flaw) = &self.flaw {
            return object.record_if_ok(flaw.clone());
        }
        let layers = expectations.iter().filter(|one| one.role.is_layer()).count();
        let contradicts = |said: &usize| *said < layers || (*said > layers && !self.may_be_cut);
        if let Some(said) = self.layers().filter(contradicts) {
            let sides = Difference::Layers { expected: said, found: layers };
            let flaw = Flaw::new(Status::DigestMismatch, Reason::OtherNumberOfLayers);
            object.record(flaw.between(sides));
        }
    }
}

/// Marks the config of an image that an index lists for another platform. Every client accepts such an image, and nothing
/// says which of the two is right: the verdict is UNCONFIRMED, wherever the index is.
pub fn compare_platform(is: &Platform, listed: &Platform, objects: &mut [CheckedObject]) {
    let config = objects.iter_mut().find(|object| object.kind == "config");
    let Some(object) = config.filter(|object| object.status == Status::Ok) else { return };
    if is.contradicts(listed) {
        object.record(platform_flaw(is, listed));
        object.host_only = true;
    }
}

/// Returns the flaw of an index and a config that name different platforms.
#[must_use]
pub fn platform_flaw(is: &Platform, listed: &Platform) -> Flaw {
    let sides = Difference::Platform { expected: listed.clone(), found: is.clone() };
    Flaw::new(Status::Unchecked, Reason::OtherPlatform).between(sides)
}

/// Compares the platform under which a receipt says that an index lists the image.
pub fn compare_listed(receipt: &Receipt, claims: &Claims, objects: &mut [CheckedObject]) {
    let PlatformPart::Platform(listed) = &receipt.image.part else { return };
    // An image that is known by its digest is listed for no platform.
    let listed =
        PlatformRequest::parse(listed).map(|listed| listed.instead_of(&Platform::unknown()));
    if let (Ok(listed), Some(is)) = (listed, claims.platform()) {
        compare_platform(is, &listed, objects);
    }
}
