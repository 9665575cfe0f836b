//! Links what a component imports to the host, in one of two ways: for writing, or for verifying.

use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{self, OutputPluginPre};
use super::capability::edit::{Editor, Granted, Refusal, WriteDenied};
use super::capability::wasi;
use super::runtime::PluginEngine;
use super::state::GuestState;

pub(super) fn link(
    engine: &PluginEngine,
    component: &Component,
    write: bool,
) -> wasmtime::Result<OutputPluginPre<GuestState>> {
    let mut linker = Linker::<GuestState>::new(engine.wasmtime());
    bindings::types::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    bindings::log::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    bindings::blobs::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    bindings::entries::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| {
        state
    })?;
    bindings::storage::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| {
        state
    })?;
    bindings::registry::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| {
        state
    })?;
    bindings::engine::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    bindings::http_in::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| {
        state
    })?;
    if write {
        bindings::storage_edit::add_to_linker::<GuestState, Granted>(&mut linker, |state| {
            Editor(state)
        })?;
        bindings::registry_push::add_to_linker::<GuestState, Granted>(&mut linker, |state| {
            Editor(state)
        })?;
        bindings::engine_load::add_to_linker::<GuestState, Granted>(&mut linker, |state| {
            Editor(state)
        })?;
        bindings::http_out::add_to_linker::<GuestState, Granted>(&mut linker, |state| {
            Editor(state)
        })?;
    } else {
        bindings::storage_edit::add_to_linker::<GuestState, WriteDenied>(&mut linker, |state| {
            Refusal(state)
        })?;
        bindings::registry_push::add_to_linker::<GuestState, WriteDenied>(&mut linker, |state| {
            Refusal(state)
        })?;
        bindings::engine_load::add_to_linker::<GuestState, WriteDenied>(&mut linker, |state| {
            Refusal(state)
        })?;
        bindings::http_out::add_to_linker::<GuestState, WriteDenied>(&mut linker, |state| {
            Refusal(state)
        })?;
    }
    wasi::link(&mut linker, engine, component)?;
    OutputPluginPre::new(linker.instantiate_pre(component)?)
}
