//! Expectations for an image of a registry that has no receipt.

use super::store::{ListedManifest, Store};
use super::tree;
use crate::look::registry;
use crate::verdict::claims::Claims;
use crate::verdict::found::Found;
use crate::verdict::object::CheckedObject;

use crate::verdict::outcome::Outcomes;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Digest, Manifest};
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_net::registry::Reference;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::remote::RepositoryReader;
use occystrap_output::receipt::{Expectation, Place};

/// Verifies what a name stands for: an image, or an index and every image of it.
pub fn images(
    remote: &RepositoryReader,
    reference: &Reference,
    level: Level,
    context: &Context,
) -> Result<Vec<Found>> {
    let memory = HashMemo::showing(&context.progress);
    let store = Published { remote, memory, context, named: Some(reference.target()) };
    let root = ListedManifest { reference: reference.target(), promised: None, platform: None };
    // Without the root there is nothing to verify. Anything that it names and that is missing is a finding.
    if store.manifest(&root)?.is_none() {
        let message = format!("{}: image not found", store.display(&root));
        return Err(Error::new(Kind::NotFound, message).hint("check the name and the tag"));
    }
    tree::verify(&store, root, &reference.name(), &[], level, &Outcomes::new())
}

/// Returns the store of a repository.
pub fn store<'a>(
    remote: &'a RepositoryReader,
    memory: &HashMemo,
    context: &'a Context,
) -> impl Store + 'a {
    Published { remote, memory: memory.clone(), context, named: None }
}

struct Published<'a> {
    remote: &'a RepositoryReader,
    /// Images of several platforms share layers.
    memory: HashMemo,
    context: &'a Context,
    /// The tag or digest that the user gave.
    named: Option<String>,
}

impl Store for Published<'_> {
    fn manifest(&self, what: &ListedManifest) -> Result<Option<Manifest>> {
        let fetched = match self.memory.recall_manifest(&what.reference) {
            Some(known) => known,
            None => self.remote.manifest(&what.reference)?,
        };
        if let (Some(found), Some(promised)) = (&fetched, &what.promised) {
            found.manifest.check_promised(promised, &self.display(what))?;
        }
        self.memory.remember_manifest(&what.reference, fetched.clone());
        Ok(fetched.map(|fetched| fetched.manifest))
    }

    fn refused(&self, what: &ListedManifest) -> Option<Error> {
        let fetched = self.memory.recall_manifest(&what.reference).flatten()?;
        self.remote.check_headers(&what.reference, &fetched).err()
    }

    fn blob(&self, digest: Digest) -> Place {
        Place::Blob { digest }
    }

    fn place(&self, what: &ListedManifest) -> Place {
        Place::Manifest { reference: what.reference.clone() }
    }

    fn display(&self, what: &ListedManifest) -> String {
        self.remote.display(&what.reference)
    }

    fn claims(&self, expectations: &[Expectation]) -> Claims {
        registry::claims(expectations, self.remote, &self.memory)
    }

    fn check(
        &self,
        expectations: &[Expectation],
        claims: &Claims,
        level: Level,
    ) -> Result<Vec<CheckedObject>> {
        let Self { remote, memory, context, named } = self;
        let asked =
            registry::QueriedRepository { remote, memory, context, named: named.as_deref() };
        registry::objects(expectations, claims, level, &asked)
    }
}
