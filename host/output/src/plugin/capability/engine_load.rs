//! `engine-load`: loads an image into the engine; refuses that while verifying.

use wasmtime::component::Resource;

use super::edit::{Editor, Refusal};
use crate::destination::sink::Sink;
use crate::plugin::bindings::engine_load::Host;
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::handle::EngineHandle;

impl Host for Editor<'_> {
    fn load(
        &mut self,
        _into: Resource<EngineHandle>,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        let state = &mut *self.0;
        if let Some(sink) = state.sink_of_plan("") {
            return sink;
        }
        let named = state.writing.as_ref().and_then(|writing| writing.pending.engine());
        let Some(named) = named else { return Ok(Err(ErrorCode::AccessDenied)) };
        let loading = named.load();
        state.sink(Sink::Load(Box::new(loading))).map(Ok)
    }
}

impl Host for Refusal<'_> {
    fn load(
        &mut self,
        _into: Resource<EngineHandle>,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        Err(self.0.violation("it tried to load an image while verifying"))
    }
}
