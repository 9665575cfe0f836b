//! `engine`: reads the one image name, in the one engine, that the user named.

use wasmtime::component::Resource;

use crate::destination::ReadAccess;
use crate::destination::engine_image::EngineReader;
use crate::plugin::bindings::engine::{Host, HostEngine, ImageDigests, ImageInfo};
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::handle::EngineHandle;
use crate::plugin::state::GuestState;

impl Host for GuestState {
    fn open(&mut self) -> wasmtime::Result<Result<Resource<EngineHandle>, ErrorCode>> {
        if self.named().is_none() {
            return Ok(Err(ErrorCode::AccessDenied));
        }
        self.handle(EngineHandle).map(Ok)
    }
}

impl HostEngine for GuestState {
    fn inspect_image(
        &mut self,
        _engine: Resource<EngineHandle>,
        reference: String,
    ) -> wasmtime::Result<Result<Option<ImageInfo>, ErrorCode>> {
        let named = self.granted_image(&reference)?;
        let memory = self.memory.clone();
        let found = match memory.recall_image() {
            Some(known) => known,
            None => self.request()?.and_then(|()| named.inspect()),
        };
        memory.remember_image(found.clone());
        Ok(match found {
            Ok(image) => Ok(image.map(|image| ImageInfo {
                id: image.id.to_string(),
                id_is_manifest: image.id_is_manifest,
                diff_ids: image.diff_ids.iter().map(ToString::to_string).collect(),
            })),
            Err(error) => Err(self.unavailable(error)),
        })
    }

    fn hash_image(
        &mut self,
        _engine: Resource<EngineHandle>,
        reference: String,
    ) -> wasmtime::Result<Result<Option<ImageDigests>, ErrorCode>> {
        let named = self.granted_image(&reference)?;
        let memory = self.memory.clone();
        let found = match memory.recall_export() {
            Some(known) => known,
            None => {
                let asked = self.request()?;
                self.transferring(|_| (asked.and_then(|()| named.export(0)), None))
            }
        };
        memory.remember_export(found.clone());
        Ok(match found {
            Ok(exported) => Ok(exported.map(|exported| ImageDigests {
                config: exported.config.to_string(),
                layers: exported.layers.iter().map(ToString::to_string).collect(),
            })),
            Err(error) => Err(self.unavailable(error)),
        })
    }

    fn drop(&mut self, engine: Resource<EngineHandle>) -> wasmtime::Result<()> {
        self.table.delete(engine)?;
        Ok(())
    }
}

impl GuestState {
    fn named(&self) -> Option<&EngineReader> {
        self.access.as_ref().and_then(ReadAccess::engine)
    }

    /// Returns the engine, for a call about the image that the user named. Any other image ends the session.
    fn granted_image(&self, reference: &str) -> wasmtime::Result<EngineReader> {
        match self.named() {
            Some(named) if named.image().to_string() == reference => Ok(named.clone()),
            Some(_) => {
                let rule = format!("it asked for the image '{reference}', which you did not name");
                Err(self.violation(rule))
            }
            None => Err(self.violation("it named an image although no engine was granted")),
        }
    }
}
