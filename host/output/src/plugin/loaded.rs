//! A loaded plugin: a compiled component with its description and its permissions, which starts sessions.

use std::sync::Arc;

use super::bindings::{OutputPluginPre, writer};
use super::description::{self, Description};
use super::linker::link;
use super::permission::{self, Permission};
use super::runtime::{Compiled, NotLoaded, PluginEngine, Unkept};
use super::session::{Instance, VerifySession, WriteSession};
use super::state::{GuestState, Writing};
use crate::destination::hash_memo::HashMemo;
use crate::destination::{Journal, Pending, ReadAccess};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_base::warnings::Warnings;

/// A compiled plugin. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    engine: PluginEngine,
    name: Arc<str>,
    sha256: Digest,
    writing: OutputPluginPre<GuestState>,
    verifying: OutputPluginPre<GuestState>,
    description: Description,
    imports: Vec<String>,
    permissions: Vec<Permission>,
    /// Its machine code, if that is not in the cache.
    unkept: Option<Unkept>,
}

impl Plugin {
    /// Compiles a component, derives its permissions and calls `describe`. `name` is its name in errors until
    /// it has described itself.
    pub fn load(engine: &PluginEngine, name: &str, bytes: &[u8]) -> Result<Self> {
        Self::try_load(engine, name, bytes).map_err(NotLoaded::into_error)
    }

    /// Loads a plugin as [`Self::load`], with an error that says whether the cost of compiling is too high.
    pub fn try_load(engine: &PluginEngine, name: &str, bytes: &[u8]) -> Result<Self, NotLoaded> {
        let Compiled { component, unkept } = engine.compile(name, bytes)?;
        let component_type = component.component_type();
        let imports = component_type.imports(engine.wasmtime());
        let imports: Vec<String> = imports.map(|(import, _)| import.to_owned()).collect();
        let permissions = permission::of(name, imports.iter().map(String::as_str))?;
        let unlinkable = |cause: wasmtime::Error| {
            Error::new(
                Kind::Plugin,
                format!("plugin '{name}' does not fit this version: {cause:#}"),
            )
        };
        let writing = link(engine, &component, true).map_err(unlinkable)?;
        let verifying = link(engine, &component, false).map_err(unlinkable)?;
        let name: Arc<str> = name.into();
        let description = describe(engine, &verifying, &name)?.with(&permissions);
        Ok(Self(Arc::new(Inner {
            engine: engine.clone(),
            name: description.name.as_str().into(),
            sha256: Digest::of(bytes),
            writing,
            verifying,
            description,
            imports,
            permissions,
            unkept,
        })))
    }

    /// Keeps its machine code for later runs, if it is not kept yet. Call this only after the user has added
    /// the plugin.
    pub fn keep_code(&self) {
        if let Some(unkept) = &self.0.unkept {
            self.0.engine.keep(unkept);
        }
    }

    /// Returns its description.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// Returns the URI schemes it answers to.
    #[must_use]
    pub fn schemes(&self) -> &[String] {
        &self.0.description.schemes
    }

    /// Returns the digest of the component.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.0.sha256
    }

    /// Returns the names of the component's imports, as it spells them.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// Returns its permissions.
    #[must_use]
    pub fn permissions(&self) -> &[Permission] {
        &self.0.permissions
    }

    /// Starts a session that writes an image: the plugin may read and change what `pending` stands for.
    pub fn write(
        &self,
        pending: Pending,
        warnings: &Warnings,
        cancel: &Cancel,
    ) -> Result<WriteSession> {
        let mut state = self.state(cancel, HashMemo::default());
        state.warnings = warnings.clone();
        state.access = Some(pending.read_access());
        state.writing = Some(Writing { pending, journal: Journal::default() });
        let instance = Instance::start(&self.0.engine, &self.0.writing, state)?;
        Ok(WriteSession::new(instance))
    }

    /// Asks the plugin whether it accepts the values of options, with nothing granted. Errors name the option
    /// that it refuses. Other faults of the plugin are found when it is used.
    pub fn check_options(
        &self,
        options: &[(String, String)],
        scheme: &str,
        cancel: &Cancel,
    ) -> Result<()> {
        if self.description().options.iter().all(|option| option.boolean) {
            return Ok(());
        }
        match self.try_open(options, cancel) {
            Ok(Some(name)) => Err(self.description().invalid(&name, options, scheme)),
            _ => Ok(()),
        }
    }

    /// Opens a session with nothing granted, and returns the option that the plugin refuses, or `None`. Errors
    /// when it breaks a rule or crashes.
    pub fn try_open(
        &self,
        options: &[(String, String)],
        cancel: &Cancel,
    ) -> Result<Option<String>> {
        let state = self.state(cancel, HashMemo::default());
        let mut instance = Instance::start(&self.0.engine, &self.0.verifying, state)?;
        let request = writer::Request {
            name: writer::ImageName { repository: String::new(), tag: None },
            options: options.to_vec(),
            source_manifest: None,
            index: None,
            listed: false,
        };
        instance.call(|store, plugin| {
            let opened = plugin.occystrap_output_writer().session().call_open(store, &request)?;
            Ok(Ok(match opened {
                Err(writer::Error::InvalidOption(name)) => Some(name),
                // Other errors are not about the options: nothing was granted.
                _ => None,
            }))
        })
    }

    /// Calls `describe` once more.
    pub fn describe_again(&self) -> Result<Description> {
        let description = describe(&self.0.engine, &self.0.verifying, &self.0.name)?;
        Ok(description.with(&self.0.permissions))
    }

    /// Starts a session that verifies: the plugin may read what was granted.
    pub fn verify(
        &self,
        access: &ReadAccess,
        memory: &HashMemo,
        cancel: &Cancel,
    ) -> Result<VerifySession> {
        let mut state = self.state(cancel, memory.clone());
        state.access = Some(access.clone());
        let instance = Instance::start(&self.0.engine, &self.0.verifying, state)?;
        Ok(VerifySession::new(instance))
    }

    fn state(&self, cancel: &Cancel, memory: HashMemo) -> GuestState {
        GuestState::new(Arc::clone(&self.0.name), cancel.clone(), memory)
    }
}

/// Calls `describe` of a fresh instance, with nothing granted.
fn describe(
    engine: &PluginEngine,
    pre: &OutputPluginPre<GuestState>,
    name: &Arc<str>,
) -> Result<Description> {
    let state = GuestState::new(Arc::clone(name), Cancel::default(), HashMemo::default());
    let mut session = Instance::start(engine, pre, state)?;
    let raw = session
        .call(|store, plugin| Ok(Ok(plugin.occystrap_output_writer().call_describe(store)?)))?;
    description::check(raw, name)
}
