//! Links what a component imports to the host, in one of two ways: for writing, or for verifying.

use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{self, OutputPluginPre};
use super::capability::edit::{Denied, Editor, Granted, Refusal};
use super::capability::wasi;
use super::runtime::PluginEngine;
use super::state::State;

pub(super) fn link(
    engine: &PluginEngine,
    component: &Component,
    write: bool,
) -> wasmtime::Result<OutputPluginPre<State>> {
    let mut linker = Linker::<State>::new(engine.wasmtime());
    bindings::types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::log::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::blobs::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::entries::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::storage::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::registry::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::engine::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::http_in::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    if write {
        bindings::storage_edit::add_to_linker::<State, Granted>(&mut linker, |state| {
            Editor(state)
        })?;
        bindings::registry_push::add_to_linker::<State, Granted>(&mut linker, |state| {
            Editor(state)
        })?;
        bindings::engine_load::add_to_linker::<State, Granted>(&mut linker, |state| Editor(state))?;
        bindings::http_out::add_to_linker::<State, Granted>(&mut linker, |state| Editor(state))?;
    } else {
        bindings::storage_edit::add_to_linker::<State, Denied>(&mut linker, |state| {
            Refusal(state)
        })?;
        bindings::registry_push::add_to_linker::<State, Denied>(&mut linker, |state| {
            Refusal(state)
        })?;
        bindings::engine_load::add_to_linker::<State, Denied>(&mut linker, |state| Refusal(state))?;
        bindings::http_out::add_to_linker::<State, Denied>(&mut linker, |state| Refusal(state))?;
    }
    wasi::link(&mut linker, engine, component)?;
    OutputPluginPre::new(linker.instantiate_pre(component)?)
}
