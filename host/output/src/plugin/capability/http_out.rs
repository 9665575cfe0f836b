//! `http-out`: changes files on a web server; refuses that while verifying.

use bytes::Bytes;
use reqwest::Method as HttpMethod;
use wasmtime::component::Resource;

use super::edit::{Editor, Refusal};
use super::failure::short;
use super::http_in::CheckedRequest;
use crate::destination::push::Pushed;
use crate::destination::sink::Sink;
use crate::destination::uploads::{Claim, PutFile, Uploads, When};
use crate::destination::{Journal, Pending};
use crate::plugin::bindings::blobs::Written;
use crate::plugin::bindings::http_in::Header;
use crate::plugin::bindings::http_out::{Host, HostTransfer, Method};
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::handle::{Blob, PendingPut, Response};
use crate::plugin::state::{GuestState, Writing};
use crate::receipt::{Extent, WrittenFile};
use occystrap_base::error::Error;
use occystrap_base::limits;
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_net::web::client::Repeat;

impl Host for Editor<'_> {
    fn send(
        &mut self,
        method: Method,
        url: String,
        headers: Vec<Header>,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
        let state = &mut *self.0;
        if body.len() > limits::HTTP_SENT {
            return Ok(Err(state.too_much(limits::HTTP_SENT)));
        }
        let asked = match state.check_request(&url, headers, true) {
            Ok(asked) => asked,
            Err(code) => return Ok(Err(code)),
        };
        let Some((uploads, journal)) = uploads_of(state) else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        let Ok(Claim { place, path }) = uploads.claim(&asked.url, When::Now) else {
            return Err(state.put_twice(asked.url.as_str()));
        };
        journal.forget(&place, path.as_deref());
        let (http, repeat) = match method {
            Method::Put => (HttpMethod::PUT, Repeat::Yes),
            Method::Post => (HttpMethod::POST, Repeat::No),
            Method::Mkcol => match HttpMethod::from_bytes(b"MKCOL") {
                Ok(mkcol) => (mkcol, Repeat::Yes),
                Err(_) => return Ok(Err(ErrorCode::Unsupported)),
            },
        };
        state.count_own(body.len() as u64)?;
        let bytes = Bytes::from(body);
        let Some(site) = state.writing.as_ref().and_then(|writing| writing.pending.site()).cloned()
        else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        let sent = bytes.clone();
        let answered = state.send_request(asked, |_, url, headers| {
            site.ask(http, url, headers, Some(sent), repeat)
        })?;
        if let (Ok(response), Method::Put, Some(path)) = (&answered, method, path)
            && state.table.get(response)?.is_success()
            && let Some((uploads, _)) = uploads_of(state)
        {
            let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
            uploads.keep(&place, bytes);
            state.journal(whole(path, size, digest))?;
        }
        Ok(answered)
    }

    fn put_blob(
        &mut self,
        url: String,
        headers: Vec<Header>,
        source: Resource<Blob>,
    ) -> wasmtime::Result<Result<Resource<PendingPut>, ErrorCode>> {
        let state = &mut *self.0;
        let CheckedRequest { url, headers, .. } = match state.check_request(&url, headers, true) {
            Ok(asked) => asked,
            Err(code) => return Ok(Err(code)),
        };
        if let Err(stop) = state.request()? {
            return Ok(Err(state.unavailable(stop)));
        }
        let blob = std::mem::replace(state.table.get_mut(&source)?, Blob::Spent);
        let Some((uploads, journal)) = uploads_of(state) else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        let transfer = match blob {
            Blob::Config { media_type, bytes, digest } => {
                let size = bytes.len() as u64;
                let blob = Descriptor { media_type: media_type.to_owned(), digest, size };
                uploads.config(url.clone(), headers, blob, bytes)
            }
            Blob::Layer(layer) => uploads.layer(url.clone(), headers, *layer),
            Blob::Spent => return Ok(Err(ErrorCode::InvalidState)),
        };
        let Ok(transfer) = transfer else { return Err(state.put_twice(url.as_str())) };
        let Claim { place, path } = &transfer.claim;
        journal.forget(place, path.as_deref());
        let place = place.clone();
        state.remember(&place)?;
        state.handle(PendingPut(transfer)).map(Ok)
    }

    fn put_file(
        &mut self,
        url: String,
        headers: Vec<Header>,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        let state = &mut *self.0;
        let CheckedRequest { url, headers, .. } = match state.check_request(&url, headers, true) {
            Ok(asked) => asked,
            Err(code) => return Ok(Err(code)),
        };
        if let Err(stop) = state.request()? {
            return Ok(Err(state.unavailable(stop)));
        }
        let Some((uploads, _)) = uploads_of(state) else { return Ok(Err(ErrorCode::ReadOnly)) };
        match uploads.file(url, headers) {
            Ok(file) => state.sink(Sink::Put(Box::new(file))).map(Ok),
            Err(error) => {
                state.fail(error);
                Ok(Err(ErrorCode::Other(None)))
            }
        }
    }

    fn put_last(
        &mut self,
        url: String,
        headers: Vec<Header>,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<String, ErrorCode>> {
        let state = &mut *self.0;
        if body.len() > LARGEST_MANIFEST {
            return Ok(Err(state.too_much(LARGEST_MANIFEST)));
        }
        let CheckedRequest { url, headers, .. } = match state.check_request(&url, headers, true) {
            Ok(asked) => asked,
            Err(code) => return Ok(Err(code)),
        };
        let Some((uploads, _)) = uploads_of(state) else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        if uploads.held() >= limits::MANIFESTS {
            return Ok(Err(ErrorCode::QuotaExceeded));
        }
        state.remember(url.as_str())?;
        state.keep(body.len())?;
        let bytes = Bytes::from(body);
        let digest = Digest::of(&bytes);
        let Some((uploads, journal)) = uploads_of(state) else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        let Ok(Claim { place, path }) = uploads.claim(&url, When::Last) else {
            return Err(state.put_twice(url.as_str()));
        };
        journal.forget(&place, path.as_deref());
        if path.is_some() {
            uploads.keep(&place, bytes.clone());
        }
        let size = bytes.len() as u64;
        uploads.hold(place, url, headers, bytes);
        if let Some(path) = path {
            state.journal(whole(path, size, digest))?;
        }
        Ok(Ok(digest.to_string()))
    }
}

impl HostTransfer for Editor<'_> {
    fn wait(
        &mut self,
        transfer: Resource<PendingPut>,
    ) -> wasmtime::Result<Result<Written, ErrorCode>> {
        let state = &mut *self.0;
        let PendingPut(transfer) = state.table.delete(transfer)?;
        let (ended, claim) = transfer.wait();
        // Until here no other request could change the place, so that it holds what this one sent.
        if let Some((uploads, _)) = uploads_of(state) {
            uploads.ended(&claim);
        }
        state.release(limits::REMEMBERED + claim.place.len());
        let Pushed { blob, diff_id, .. } = match ended {
            Ok(put) => put,
            Err(error) => return Ok(Err(state.not_sent(error))),
        };
        let path = claim.path;
        let Some((_, journal)) = uploads_of(state) else { return Ok(Err(ErrorCode::ReadOnly)) };
        if let Some(diff_id) = diff_id {
            journal.record_layer(blob.digest, diff_id);
        }
        if let Some(path) = path {
            state.journal(whole(path, blob.size, blob.digest))?;
        }
        Ok(Ok(Written { size: blob.size, digest: Some(blob.digest.to_string()) }))
    }

    fn drop(&mut self, transfer: Resource<PendingPut>) -> wasmtime::Result<()> {
        self.0.table.delete(transfer)?;
        Ok(())
    }
}

impl GuestState {
    /// Sends a file that the plugin has filled.
    pub(super) fn finish_put(
        &mut self,
        put: PutFile,
    ) -> wasmtime::Result<Result<Written, ErrorCode>> {
        let PutFile { mut file, url, headers } = put;
        match self.transferring(|_| (file.keep_promises(), None)) {
            Ok(moved) => self.count_moved(moved),
            Err(error) => return Ok(Err(self.failed(error))),
        }
        let (written, file) = match file.finish() {
            Ok(finished) => finished,
            Err(cause) => return Ok(Err(self.sink_failed(cause))),
        };
        let Some((uploads, journal)) = uploads_of(self) else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        let Ok(Claim { place, path }) = uploads.claim(&url, When::Now) else {
            return Err(self.put_twice(url.as_str()));
        };
        journal.forget(&place, path.as_deref());
        let put = self.transferring(|state| match uploads_of(state) {
            Some((uploads, _)) => (uploads.put(&url, &headers, &file, written.size), None),
            None => (Err(Error::interrupted()), None),
        });
        match put {
            Ok(digest) => {
                if let Some(path) = path {
                    self.journal(whole(path, written.size, digest))?;
                }
                Ok(Ok(Written { size: written.size, digest: Some(digest.to_string()) }))
            }
            Err(error) => Ok(Err(self.not_sent(error))),
        }
    }

    /// Returns the error for a write to a place where an earlier write may land later: which of the two stays
    /// there is unknown.
    fn put_twice(&self, url: &str) -> wasmtime::Error {
        let url = short(url);
        self.violation(format!("it put twice to one place at once, '{url}'"))
    }
}

fn uploads_of(state: &mut GuestState) -> Option<(&mut Uploads, &mut Journal)> {
    match &mut state.writing {
        Some(Writing { pending: Pending::Uploads(uploads), journal }) => Some((uploads, journal)),
        _ => None,
    }
}

fn whole(path: String, size: u64, digest: Digest) -> WrittenFile {
    WrittenFile { path, size, extents: vec![Extent { offset: 0, size, digest }] }
}

impl Host for Refusal<'_> {
    fn send(
        &mut self,
        _method: Method,
        _url: String,
        _headers: Vec<Header>,
        _body: Vec<u8>,
    ) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
        Err(self.0.violation("it tried to change something on a web server while verifying"))
    }

    fn put_blob(
        &mut self,
        _url: String,
        _headers: Vec<Header>,
        _source: Resource<Blob>,
    ) -> wasmtime::Result<Result<Resource<PendingPut>, ErrorCode>> {
        Err(self.0.violation("it tried to put a blob on a web server while verifying"))
    }

    fn put_file(
        &mut self,
        _url: String,
        _headers: Vec<Header>,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        Err(self.0.violation("it tried to put a file on a web server while verifying"))
    }

    fn put_last(
        &mut self,
        _url: String,
        _headers: Vec<Header>,
        _body: Vec<u8>,
    ) -> wasmtime::Result<Result<String, ErrorCode>> {
        Err(self.0.violation("it tried to put something on a web server while verifying"))
    }
}

impl HostTransfer for Refusal<'_> {
    fn wait(
        &mut self,
        _transfer: Resource<PendingPut>,
    ) -> wasmtime::Result<Result<Written, ErrorCode>> {
        Err(self.0.violation("it waited for a put while verifying"))
    }

    fn drop(&mut self, transfer: Resource<PendingPut>) -> wasmtime::Result<()> {
        self.0.table.delete(transfer)?;
        Ok(())
    }
}
