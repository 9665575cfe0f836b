//! The plugins that the receipts of one run need, each loaded once: loading a component takes a megabyte and some
//! milliseconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use occystrap_base::error::Result;
use occystrap_base::oci::Digest;
use occystrap_output::plugin::{Catalog, Plugin};
use occystrap_output::receipt::identity::PluginIdentity;

/// Plugins by scheme and, where that decides, digest. A slot is filled by the first thread that needs it;
/// threads that need another one do not wait.
type Slots = HashMap<(String, Option<Digest>), Arc<OnceLock<Result<Plugin>>>>;

/// The plugins of one run, loaded as receipts ask for them.
pub struct Plugins<'a> {
    catalog: &'a Catalog,
    slots: Mutex<Slots>,
}

impl<'a> Plugins<'a> {
    /// Returns a set in which no plugin is loaded yet.
    #[must_use]
    pub fn new(catalog: &'a Catalog) -> Self {
        Self { catalog, slots: Mutex::default() }
    }

    /// Returns the catalog of the plugins.
    #[must_use]
    pub fn catalog(&self) -> &'a Catalog {
        self.catalog
    }

    /// Returns the plugin for a receipt, as [`Catalog::for_receipt`] finds it.
    pub fn for_receipt(&self, scheme: &str, wrote: &PluginIdentity) -> Result<Plugin> {
        let settled = self.catalog.is_settled(scheme);
        let key = (scheme.to_owned(), (!settled).then_some(wrote.sha256));
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key).or_default())
        };
        let found = slot.get_or_init(|| match settled {
            true => self.catalog.for_scheme(scheme),
            false => self.catalog.for_receipt(scheme, wrote),
        });
        found.clone()
    }
}
