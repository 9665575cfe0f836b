//! `registry-push`: pushes to the repository; refuses that while verifying.

use bytes::Bytes;
use wasmtime::component::Resource;

use super::edit::{Editor, Refusal};
use super::failure::short;
use crate::destination::Pending;
use crate::plugin::bindings::registry_push::{Host, HostTransfer};
use crate::plugin::bindings::types::{self, ErrorCode};
use crate::plugin::handle::{Blob, PendingTransfer, RepositoryHandle};
use crate::plugin::state::Writing;
use occystrap_base::limits;
use occystrap_base::oci::manifest::{LARGEST_MANIFEST, is_manifest_type};
use occystrap_base::oci::{Descriptor, Digest, Manifest};

impl Host for Editor<'_> {
    fn push_blob(
        &mut self,
        _to: Resource<RepositoryHandle>,
        source: Resource<Blob>,
        chunk_size: Option<u64>,
    ) -> wasmtime::Result<Result<Resource<PendingTransfer>, ErrorCode>> {
        let state = &mut *self.0;
        let blob = std::mem::replace(state.table.get_mut(&source)?, Blob::Spent);
        let Some(Writing { pending: Pending::Push(push), .. }) = &mut state.writing else {
            return Ok(Err(ErrorCode::AccessDenied));
        };
        let transfer = match blob {
            Blob::Config { media_type, bytes, digest } => {
                let size = bytes.len() as u64;
                push.config(Descriptor { media_type: media_type.to_owned(), digest, size }, bytes)
            }
            Blob::Layer(layer) => push.layer(*layer, chunk_size),
            Blob::Spent => return Ok(Err(ErrorCode::InvalidState)),
        };
        state.handle(PendingTransfer(transfer)).map(Ok)
    }

    fn push_manifest(
        &mut self,
        _to: Resource<RepositoryHandle>,
        reference: String,
        manifest: types::Manifest,
    ) -> wasmtime::Result<Result<String, ErrorCode>> {
        let state = &mut *self.0;
        let types::Manifest { media_type, bytes } = manifest;
        if bytes.len() > LARGEST_MANIFEST {
            let most = LARGEST_MANIFEST >> 20;
            return Err(state.violation(format!("it pushed a manifest of more than {most} MiB")));
        }
        let digest = Digest::of(&bytes);
        let Some(Writing { pending: Pending::Push(push), .. }) = &state.writing else {
            return Ok(Err(ErrorCode::AccessDenied));
        };
        if !push.allows(&reference, digest) {
            let name = short(&reference);
            let rule = format!("it pushed a manifest as '{name}', which you did not name");
            return Err(state.violation(rule));
        }
        if !is_manifest_type(&media_type) {
            let name = short(&media_type);
            let rule = format!("it pushed a manifest of the media type '{name}'");
            return Err(state.violation(rule));
        }
        if push.held() >= limits::MANIFESTS {
            return Ok(Err(ErrorCode::QuotaExceeded));
        }
        state.remember(&reference)?;
        state.keep(bytes.len())?;
        let Some(Writing { pending: Pending::Push(push), journal }) = &mut state.writing else {
            return Ok(Err(ErrorCode::AccessDenied));
        };
        let manifest = Manifest { bytes: Bytes::from(bytes), media_type, digest };
        journal.record_manifest(reference.clone(), manifest.clone());
        push.hold(reference, manifest);
        Ok(Ok(digest.to_string()))
    }
}

impl HostTransfer for Editor<'_> {
    fn wait(
        &mut self,
        transfer: Resource<PendingTransfer>,
    ) -> wasmtime::Result<Result<types::Descriptor, ErrorCode>> {
        let state = &mut *self.0;
        let transfer = state.table.delete(transfer)?;
        let pushed = match transfer.0.wait() {
            Ok(pushed) => pushed,
            Err(error) => return Ok(Err(state.not_sent(error))),
        };
        let Some(Writing { journal, .. }) = &mut state.writing else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        let answer = types::Descriptor {
            digest: pushed.blob.digest.to_string(),
            size: pushed.blob.size,
            media_type: pushed.blob.media_type.clone(),
        };
        journal.record_pushed(pushed);
        Ok(Ok(answer))
    }

    fn drop(&mut self, transfer: Resource<PendingTransfer>) -> wasmtime::Result<()> {
        self.0.table.delete(transfer)?;
        Ok(())
    }
}

impl Host for Refusal<'_> {
    fn push_blob(
        &mut self,
        _to: Resource<RepositoryHandle>,
        _source: Resource<Blob>,
        _chunk_size: Option<u64>,
    ) -> wasmtime::Result<Result<Resource<PendingTransfer>, ErrorCode>> {
        Err(self.0.violation("it tried to push a blob while verifying"))
    }

    fn push_manifest(
        &mut self,
        _to: Resource<RepositoryHandle>,
        _reference: String,
        _manifest: types::Manifest,
    ) -> wasmtime::Result<Result<String, ErrorCode>> {
        Err(self.0.violation("it tried to push a manifest while verifying"))
    }
}

impl HostTransfer for Refusal<'_> {
    fn wait(
        &mut self,
        _transfer: Resource<PendingTransfer>,
    ) -> wasmtime::Result<Result<types::Descriptor, ErrorCode>> {
        Err(self.0.violation("it waited for a push while verifying"))
    }

    fn drop(&mut self, transfer: Resource<PendingTransfer>) -> wasmtime::Result<()> {
        self.0.table.delete(transfer)?;
        Ok(())
    }
}
