//! A session of a plugin: one instance with a store of its own, which is gone after the session or a trap.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Resource, ResourceAny};

use super::bindings::types::ErrorCode;
use super::bindings::{OutputPlugin, OutputPluginPre, verifier, writer};
use super::handle::Blob;
use super::runtime::PluginEngine;
use super::state::{GuestState, Writing};
use super::violation::{Violation, trapped, violation};
use super::{cpu_time, description};
use crate::destination::{Journal, Pending};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::Digest;

/// A running instance.
pub(super) struct Instance {
    store: Store<GuestState>,
    plugin: OutputPlugin,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.store.data_mut().end_lines();
        let GuestState { plugin, clock, .. } = self.store.data();
        tracing::debug!(
            guest_us = clock.guest_time().as_micros() as u64,
            host_calls = clock.calls(),
            "session of plugin '{plugin}' ended"
        );
    }
}

impl Instance {
    pub(super) fn start(
        engine: &PluginEngine,
        pre: &OutputPluginPre<GuestState>,
        mut state: GuestState,
    ) -> Result<Self> {
        engine.tick();
        state.allowance = engine.allowance();
        let name = Arc::clone(&state.plugin);
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(limits::CALL_BYTES);
        store.set_max_component_handles(limits::HANDLES);
        store.call_hook(|mut context, border| {
            let state = context.data_mut();
            state.clock.cross(border);
            let most = state.allowance.host_calls;
            if state.clock.calls() > most {
                return Err(state.violation(format!("it made more than {most} calls")));
            }
            Ok(())
        });
        cpu_time::limit(&mut store, engine.allowance().cpu_time);
        match pre.instantiate(&mut store) {
            Ok(plugin) => Ok(Self { store, plugin }),
            Err(cause) => Err(trapped(&name, &cause)),
        }
    }

    /// Calls the guest. An error that the host knows takes precedence over the guest's.
    pub(super) fn call<T>(
        &mut self,
        call: impl FnOnce(
            &mut Store<GuestState>,
            &OutputPlugin,
        ) -> wasmtime::Result<Result<T, writer::Error>>,
    ) -> Result<T> {
        let result = call(&mut self.store, &self.plugin);
        let state = self.store.data_mut();
        match result {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(said)) => {
                let host = matches!(said, writer::Error::Host(_));
                let noted = state.noted.take().filter(|_| host);
                let why = state.failure.take().or(noted);
                Err(why.unwrap_or_else(|| refused(&state.plugin, said)))
            }
            Err(cause) => match cause.downcast_ref::<Violation>() {
                Some(Violation(error)) => Err(error.clone()),
                None => Err(state.failure.take().unwrap_or_else(|| trapped(&state.plugin, &cause))),
            },
        }
    }
}

/// Returns the error for what a plugin said when it gave up.
fn refused(plugin: &str, said: writer::Error) -> Error {
    let message = match said {
        writer::Error::InvalidOption(name) => {
            return Error::usage(format!(
                "plugin '{plugin}': the value of option '{name}' is not valid"
            ));
        }
        writer::Error::Unrepresentable(why) => {
            format!("plugin '{plugin}' cannot write this image: {why}")
        }
        writer::Error::Other(why) => format!("plugin '{plugin}': {why}"),
        writer::Error::Host(ErrorCode::Other(Some(why))) => format!("plugin '{plugin}': {why}"),
        writer::Error::Host(code) => {
            format!("plugin '{plugin}' gave up after '{}'", description::code_name(&code))
        }
    };
    Error::new(Kind::Plugin, message)
}

/// A session that writes an image.
pub struct WriteSession {
    instance: Instance,
    session: Option<ResourceAny>,
}

impl WriteSession {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance, session: None }
    }

    /// Calls `session.open`.
    pub fn open(&mut self, request: &writer::Request) -> Result<()> {
        let session = self.instance.call(|store, plugin| {
            plugin.occystrap_output_writer().session().call_open(store, request)
        })?;
        self.session = Some(session);
        Ok(())
    }

    /// Calls `session.plan`.
    pub fn plan(&mut self, layers: &[writer::LayerSummary]) -> Result<Vec<writer::Decision>> {
        let session = self.session()?;
        self.instance.call(|store, plugin| {
            plugin.occystrap_output_writer().session().call_plan(store, session, layers)
        })
    }

    /// Calls `session.write-config`.
    pub fn write_config(&mut self, config: Blob) -> Result<()> {
        let session = self.session()?;
        self.lend(config, |store, plugin, blob| {
            plugin.occystrap_output_writer().session().call_write_config(store, session, blob)
        })
    }

    /// Calls `session.write-layer`.
    pub fn write_layer(&mut self, index: u32, diff_id: Digest, layer: Blob) -> Result<()> {
        let session = self.session()?;
        self.lend(layer, |store, plugin, blob| {
            let writer = plugin.occystrap_output_writer();
            writer.session().call_write_layer(store, session, index, &diff_id.to_string(), blob)
        })
    }

    /// Calls `session.finalize`. Returns the plugin's receipt, the host's journal, and the writes that wait
    /// until the two agree.
    pub fn finalize(mut self) -> Result<(writer::Receipt, Journal, Pending)> {
        let session = self.session()?;
        self.instance.store.data_mut().is_finalizing = true;
        let receipt = self.instance.call(|store, plugin| {
            plugin.occystrap_output_writer().session().call_finalize(store, session)
        })?;
        let state = self.instance.store.data_mut();
        match (state.failure.take(), state.writing.take()) {
            // A host call failed, and the plugin continued as if it had not.
            (Some(failure), _) => Err(failure),
            (None, Some(Writing { mut pending, journal })) => {
                pending.settle();
                Ok((receipt, journal, pending))
            }
            (None, None) => Err(violation(&state.plugin, "it was not writing")),
        }
    }

    fn session(&self) -> Result<ResourceAny> {
        let name = &self.instance.store.data().plugin;
        self.session.ok_or_else(|| violation(name, "its session is not open"))
    }

    fn lend(
        &mut self,
        blob: Blob,
        call: impl FnOnce(
            &mut Store<GuestState>,
            &OutputPlugin,
            Resource<Blob>,
        ) -> wasmtime::Result<Result<(), writer::Error>>,
    ) -> Result<()> {
        let state = self.instance.store.data_mut();
        let full = violation(&state.plugin, "it holds too many handles");
        let own = state.table.push(blob).map_err(|_| full)?;
        let lent = Resource::new_borrow(own.rep());
        let result = self.instance.call(|store, plugin| call(store, plugin, lent));
        // The blob ends here, whatever the guest did with it.
        let _ = self.instance.store.data_mut().table.delete(own);
        result
    }
}

/// A session that verifies.
pub struct VerifySession {
    instance: Instance,
}

impl VerifySession {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance }
    }

    /// Calls `verify`.
    pub fn verify(
        mut self,
        receipt: &writer::Receipt,
        level: verifier::Level,
    ) -> Result<Vec<verifier::Finding>> {
        self.instance.call(|store, plugin| {
            plugin.occystrap_output_verifier().call_verify(store, receipt, level)
        })
    }
}
