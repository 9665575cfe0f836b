//! What an image's config says of its layers, where config and layers are kept by their digest.
//!
//! A manifest and a config can each be whole, and not belong together: an image of them cannot be
//! unpacked. What it refuses: to say anything of what is no image. Attestations and other artifacts
//! have a config that promises nothing, whatever is in it.

use super::object::{Object, Status};
use crate::error::Error;
use crate::image::{Digest, config};
use crate::receipt::{Expectation, Role};

/// What a config says; nothing where it cannot be read, which is found when it is looked at.
#[derive(Default, Clone)]
pub struct Claims {
    /// Of the layers, lowest first.
    diff_ids: Option<Vec<Digest>>,
    /// The config was read, and is none of an image.
    foreign: bool,
    /// Other bytes than were promised.
    wrong: Option<Error>,
}

impl Claims {
    /// Of a config's bytes, which were compared with its digest.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match config::parse(bytes, "") {
            Ok(config) => Self { diff_ids: Some(config.diff_ids), ..Self::default() },
            Err(_) => Self { foreign: true, ..Self::default() },
        }
    }

    /// Of an image whose config says this, whatever else it is.
    #[must_use]
    pub fn of_layers(diff_ids: Vec<Digest>) -> Self {
        Self { diff_ids: Some(diff_ids), ..Self::default() }
    }

    /// Of a config that has other bytes than were promised.
    #[must_use]
    pub fn of_wrong(error: Error) -> Self {
        Self { wrong: Some(error), ..Self::default() }
    }

    /// What it says of layers that are not those of an image counts for nothing.
    #[must_use]
    pub fn for_artifact(mut self) -> Self {
        (self.diff_ids, self.foreign) = (None, false);
        self
    }

    /// Whether it need not be one of an image.
    #[must_use]
    pub fn or_artifact(mut self) -> Self {
        self.foreign = false;
        self
    }

    /// How many layers the image has, where the config says so.
    #[must_use]
    pub fn layers(&self) -> Option<usize> {
        self.diff_ids.as_ref().map(Vec::len)
    }

    /// What the layer of a role must have, uncompressed.
    #[must_use]
    pub fn diff_id(&self, role: Role) -> Option<Digest> {
        match role {
            Role::Layer(index) => self.diff_ids.as_ref()?.get(index as usize).copied(),
            _ => None,
        }
    }

    /// What is wrong with the config, where nobody has found it yet.
    pub fn judge(&self, expectations: &[Expectation], objects: &mut [Object]) {
        let config = expectations.iter().position(|one| one.role == Role::Config);
        let Some(object) = config.and_then(|at| objects.get_mut(at)) else { return };
        if object.status != Status::Ok {
            return;
        }
        object.host_only = true;
        if let Some(error) = &self.wrong {
            return object.blame_error(Status::DigestMismatch, error);
        }
        if self.foreign {
            return object.blame(Status::Unreadable, None, None, "is not the config of an image");
        }
        let layers = expectations.iter().filter(|one| one.role.is_layer()).count();
        if let Some(diff_ids) = self.diff_ids.as_ref().filter(|diff_ids| diff_ids.len() != layers) {
            let side = |count: usize| Some(format!("{count} layers"));
            let (expected, found) = (side(diff_ids.len()), side(layers));
            let message = "the manifest lists another number of layers than the config";
            object.blame(Status::DigestMismatch, expected, found, message);
        }
    }
}
