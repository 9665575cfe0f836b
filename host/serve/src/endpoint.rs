//! One request: login, route, answer (distribution specification, "Endpoints").

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{LARGEST_MANIFEST, OCI_INDEX};
use occystrap_base::oci::name::is_repository;

use crate::backend::{Asked, Backend, Landed, RemoteBlob};
use crate::limits::{LARGEST_HEAD, MOST_TAGS};
use crate::listener::Answers;
use crate::login::Logins;
use crate::range::{self, Part, Requested};
use crate::received::ReceivedBlobs;
use crate::refusal::{Code, Refusal};
use crate::reply::{self, Body, Reply};
use crate::route::{self, Query, Route, Target};
use crate::upload::{Turn, Uploads, received_range};

/// Digest of the content of an answer (distribution specification, "Pulling manifests").
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The manifest that a pushed manifest refers to, where the registry keeps that ("Pushing Manifests with Subject").
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// Which filters a list of referrers went through ("Listing Referrers").
const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The digest under which an image that filters changed has landed.
const LANDED_AS: HeaderName = HeaderName::from_static("occystrap-downstream-digest");
/// The version of the API, which old clients look for.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// Id of an upload, which Docker logs.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// A registry endpoint.
pub struct Endpoint<B> {
    /// What decides about manifests.
    pub backend: Arc<B>,
    /// Blobs that clients sent.
    pub blobs: Arc<ReceivedBlobs>,
    /// Uploads that have begun.
    pub uploads: Uploads,
    /// Logins of clients; `None` where every client may do everything.
    pub logins: Option<Arc<Logins>>,
}

impl<B: Backend> Answers for Endpoint<B> {
    async fn answer(&self, request: Request<Incoming>, address: IpAddr) -> Reply {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let (class, answered) = self.dispatch(request, address).await;
        let mut reply = answered.unwrap_or_else(Refusal::reply);
        let version = HeaderValue::from_static("registry/2.0");
        reply.headers_mut().insert(API_VERSION, version);
        if method == Method::HEAD {
            let length = reply.headers().get(header::CONTENT_LENGTH).cloned();
            let length = length.unwrap_or_else(|| HeaderValue::from(reply.body().len()));
            reply.headers_mut().insert(header::CONTENT_LENGTH, length);
            *reply.body_mut() = Body::empty();
        }
        tracing::debug!("{address}: {method} {path}: {}", reply.status());
        self.backend.note_request(class, reply.status().as_u16());
        reply
    }

    fn sweep(&self) {
        self.uploads.sweep();
        self.blobs.sweep();
    }
}

impl<B: Backend> Endpoint<B> {
    async fn dispatch(
        &self,
        request: Request<Incoming>,
        address: IpAddr,
    ) -> (&'static str, Result<Reply, Refusal>) {
        if let Err(refusal) = check_head(&request) {
            return ("refused", Err(refusal));
        }
        if let Some(logins) = &self.logins
            && !logins.admit(request.headers()).await
        {
            return ("login", Err(not_admitted()));
        }
        match Route::parse(request.uri().path()) {
            Ok(route) => {
                (class(&route, request.method()), self.route(route, request, address).await)
            }
            Err(refusal) => ("refused", Err(refusal)),
        }
    }

    async fn route(
        &self,
        route: Route,
        request: Request<Incoming>,
        address: IpAddr,
    ) -> Result<Reply, Refusal> {
        if let Some(repository) = route.repository() {
            self.backend.admit(repository)?;
        }
        let query = Query::parse(request.uri().query());
        let method = request.method().clone();
        let is_head = method == Method::HEAD;
        let asked = |repository: &str| Asked {
            repository: repository.to_owned(),
            namespace: query.get("ns").map(str::to_owned),
            is_head,
        };
        match (&method, &route) {
            (&Method::GET | &Method::HEAD, Route::Version) => {
                Ok(reply::content("application/json", Body::from(bytes::Bytes::from_static(b"{}"))))
            }
            (&Method::GET | &Method::HEAD, Route::Manifest(name, target)) => {
                self.get_manifest(&asked(name), target).await
            }
            (&Method::PUT, Route::Manifest(name, target)) => {
                let kind = text(request.headers(), header::CONTENT_TYPE).map(str::to_owned);
                let bytes =
                    self.uploads.read_manifest(request.into_body(), LARGEST_MANIFEST).await?;
                self.put_manifest(&asked(name), target.clone(), kind, bytes).await
            }
            (&Method::DELETE, Route::Manifest(name, target)) => {
                self.check_deletion()?;
                self.backend.delete_manifest(&asked(name), target).await?;
                Ok(reply::status(StatusCode::ACCEPTED))
            }
            (&Method::GET | &Method::HEAD, Route::Blob(name, digest)) => {
                let wanted = text(request.headers(), header::RANGE);
                self.get_blob(&asked(name), *digest, wanted).await
            }
            (&Method::DELETE, Route::Blob(name, digest)) => {
                self.check_deletion()?;
                let was_here = self.blobs.remove(name, *digest);
                self.backend.delete_blob(&asked(name), *digest, was_here).await?;
                Ok(reply::status(StatusCode::ACCEPTED))
            }
            (&Method::POST, Route::Uploads(name)) => {
                self.begin_upload(&asked(name), &query, request, address).await
            }
            (&Method::GET | &Method::HEAD, Route::Upload(name, id)) => {
                let turn = self.uploads.turn(name, id)?;
                Ok(going_on(StatusCode::NO_CONTENT, name, &turn))
            }
            (&Method::PATCH, Route::Upload(name, id)) => self.add_chunk(name, id, request).await,
            (&Method::PUT, Route::Upload(name, id)) => {
                self.end_upload(name, id, &query, request).await
            }
            (&Method::DELETE, Route::Upload(name, id)) => {
                self.uploads.end(self.uploads.turn(name, id)?);
                Ok(reply::status(StatusCode::NO_CONTENT))
            }
            (&Method::GET | &Method::HEAD, Route::Tags(name)) => {
                self.list_tags(&asked(name), &query).await
            }
            (&Method::GET | &Method::HEAD, Route::Referrers(name, subject)) => {
                self.list_referrers(&asked(name), *subject, &query).await
            }
            (_, Route::Catalog) => {
                Err(Refusal::unsupported("the list of all repositories is not available here"))
            }
            (method, _) => Err(Refusal::unsupported(format!("{method} is not possible here"))),
        }
    }

    fn check_deletion(&self) -> Result<(), Refusal> {
        match self.backend.allows_deletion() {
            true => Ok(()),
            false => Err(Refusal::unsupported("deletion is not allowed here")),
        }
    }

    async fn get_manifest(&self, asked: &Asked, target: &Target) -> Result<Reply, Refusal> {
        let served = self.backend.manifest(asked, target).await?;
        let manifest = served.manifest;
        let answer = reply::content(&manifest.media_type, Body::from(manifest.bytes));
        let mut answer = reply::with(answer, CONTENT_DIGEST, manifest.digest.to_string());
        answer.headers_mut().extend(served.headers);
        Ok(answer)
    }

    async fn put_manifest(
        &self,
        asked: &Asked,
        target: Target,
        kind: Option<String>,
        bytes: bytes::Bytes,
    ) -> Result<Reply, Refusal> {
        let name = &asked.repository;
        if let Target::Digest(promised) = target {
            let found = Digest::of(&bytes);
            if found != promised {
                let message = format!("digest of the manifest: expected {promised}, found {found}");
                return Err(Refusal::bad(Code::DigestInvalid, message));
            }
        }
        let landed = self.backend.put_manifest(asked, target, kind, bytes).await?;
        let Landed { digest, subject, landed_as, warning } = landed;
        let mut answer = created(&format!("/v2/{name}/manifests/{digest}"), digest);
        if let Some(subject) = subject {
            answer = reply::with(answer, OCI_SUBJECT, subject.to_string());
        }
        if let Some(landed_as) = landed_as {
            answer = reply::with(answer, LANDED_AS, landed_as.to_string());
        }
        if let Some(warning) = warning.as_deref().and_then(reply::warning) {
            answer.headers_mut().insert(header::WARNING, warning);
        }
        Ok(answer)
    }

    async fn get_blob(
        &self,
        asked: &Asked,
        digest: Digest,
        wanted: Option<&str>,
    ) -> Result<Reply, Refusal> {
        let unknown = || {
            let message = format!("'{}' has no blob {digest}", asked.repository);
            Refusal::not_found(Code::BlobUnknown, message)
        };
        let sent_here = self.blobs.get(&asked.repository, digest);
        if asked.is_head {
            let size = match &sent_here {
                Some(blob) => blob.size(),
                None => self.backend.blob_size(asked, digest).await?.ok_or_else(unknown)?,
            };
            // GET alone has ranges (RFC 9110, 14.2).
            let answer = blob_answer(digest, size, None, |_| Body::empty())?;
            return Ok(reply::with(answer, header::CONTENT_LENGTH, size.to_string()));
        }
        if let Some(blob) = sent_here {
            return blob_answer(digest, blob.size(), wanted, |part| {
                Body::section(blob.section(), part.start, part.size)
            });
        }
        let RemoteBlob { size, pieces } =
            self.backend.blob(asked, digest).await?.ok_or_else(unknown)?;
        blob_answer(digest, size, wanted, |part| match part.size == size {
            true => Body::stream(size, pieces),
            false => Body::part_of_stream(part.start, part.size, pieces),
        })
    }

    async fn begin_upload(
        &self,
        asked: &Asked,
        query: &Query,
        request: Request<Incoming>,
        address: IpAddr,
    ) -> Result<Reply, Refusal> {
        let name = &asked.repository;
        if let Some(digest) = query.get("mount").map(route::digest).transpose()?
            && let Some(from) = query.get("from")
        {
            if !is_repository(from) {
                let message = "'from' is not the name of a repository";
                return Err(Refusal::bad(Code::NameInvalid, message));
            }
            if self.blobs.mount(from, name, digest) {
                return Ok(created(&blob_path(name, digest), digest));
            }
        }
        let promised = query.get("digest").map(route::digest).transpose()?;
        let id = self.uploads.begin(&self.blobs, name, address)?;
        let turn = self.uploads.turn(name, &id)?;
        let Some(promised) = promised else {
            return Ok(going_on(StatusCode::ACCEPTED, name, &turn));
        };
        let (turn, received) = self.uploads.receive(turn, None, request.into_body()).await;
        // A client that sends everything at once has no use for a part of it.
        let arrived = self.uploads.end(turn);
        received?;
        self.keep(name, arrived, promised)
    }

    async fn add_chunk(
        &self,
        name: &str,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Reply, Refusal> {
        let turn = self.turn(name, id)?;
        let part = chunk(request.headers())?;
        let (turn, received) = self.uploads.receive(turn, part, request.into_body()).await;
        let turn = self.going_on_after(turn, received, name)?;
        Ok(going_on(StatusCode::ACCEPTED, name, &turn))
    }

    async fn end_upload(
        &self,
        name: &str,
        id: &str,
        query: &Query,
        request: Request<Incoming>,
    ) -> Result<Reply, Refusal> {
        let Some(promised) = query.get("digest") else {
            let message = "the last request of an upload names its digest: ?digest=sha256:...";
            return Err(Refusal::bad(Code::DigestInvalid, message));
        };
        let promised = route::digest(promised)?;
        let turn = self.turn(name, id)?;
        let part = chunk(request.headers())?;
        let (turn, received) = self.uploads.receive(turn, part, request.into_body()).await;
        let turn = self.going_on_after(turn, received, name)?;
        let arrived = self.uploads.end(turn);
        self.keep(name, arrived, promised)
    }

    /// Returns the upload after a body that arrived. Errors where it did not: then the client may continue, unless there
    /// is no room for the upload. Such an upload ends, because its bytes would take the room of all others.
    fn going_on_after(
        &self,
        turn: Turn,
        received: Result<(), Refusal>,
        name: &str,
    ) -> Result<Turn, Refusal> {
        let Err(refusal) = received else { return Ok(turn) };
        if refusal.status.is_server_error() || refusal.status == StatusCode::PAYLOAD_TOO_LARGE {
            self.uploads.end(turn);
            return Err(refusal);
        }
        Err(located(refusal, name, &turn.id))
    }

    fn turn(&self, name: &str, id: &str) -> Result<Turn, Refusal> {
        self.uploads.turn(name, id).map_err(|refusal| match refusal.status {
            StatusCode::RANGE_NOT_SATISFIABLE => located(refusal, name, id),
            _ => refusal,
        })
    }

    fn keep(
        &self,
        name: &str,
        arrived: Option<crate::received::ArrivingBlob>,
        promised: Digest,
    ) -> Result<Reply, Refusal> {
        let arrived = arrived.ok_or_else(|| {
            Refusal::not_found(Code::BlobUploadUnknown, "the upload has ended already")
        })?;
        self.blobs.keep(arrived, name, promised)?;
        Ok(created(&blob_path(name, promised), promised))
    }

    async fn list_tags(&self, asked: &Asked, query: &Query) -> Result<Reply, Refusal> {
        let name = &asked.repository;
        let most = match query.get("n") {
            Some(number) => number
                .parse::<usize>()
                .map_err(|_| Refusal::bad(Code::Unsupported, "'n' is not a number of tags"))?,
            None => MOST_TAGS,
        };
        let most = most.min(MOST_TAGS);
        let mut tags = self.backend.tags(asked).await?;
        // "in lexical order" (distribution specification, "Listing Tags"), without case as far as tags differ in more.
        tags.sort_unstable();
        if let Some(last) = query.get("last") {
            tags.retain(|tag| tag.as_str() > last);
        }
        let has_more = tags.len() > most;
        tags.truncate(most);
        let next = tags
            .last()
            .filter(|_| has_more)
            .map(|last| format!("</v2/{name}/tags/list?n={most}&last={last}>; rel=\"next\""));
        let document = json!({ "name": name, "tags": tags }).to_string();
        let answer = reply::content("application/json", Body::from(bytes::Bytes::from(document)));
        Ok(match next {
            Some(next) => reply::with(answer, header::LINK, next),
            None => answer,
        })
    }

    async fn list_referrers(
        &self,
        asked: &Asked,
        subject: Digest,
        query: &Query,
    ) -> Result<Reply, Refusal> {
        let wanted = query.get("artifactType");
        let found = self.backend.referrers(asked, subject, wanted).await?;
        let document = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": found.descriptors,
        });
        let bytes = bytes::Bytes::from(document.to_string());
        let answer = reply::content(OCI_INDEX, Body::from(bytes));
        Ok(match found.is_filtered {
            true => reply::with(answer, OCI_FILTERS, "artifactType"),
            false => answer,
        })
    }
}

/// Checks what no route needs to know: the size of the headers.
fn check_head(request: &Request<Incoming>) -> Result<(), Refusal> {
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let headers = request.headers().iter();
    let size =
        uri + headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    if size > LARGEST_HEAD {
        return Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Code::Unsupported,
            format!("the headers are larger than the limit of {LARGEST_HEAD} bytes"),
        ));
    }
    Ok(())
}

fn not_admitted() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        Code::Unauthorized,
        "a login is needed, or this one is wrong",
    )
    .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"occystrap\""))
}

/// Returns the class of a request, for counts.
fn class(route: &Route, method: &Method) -> &'static str {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match route {
        Route::Version => "version",
        Route::Manifest(..) if is_read => "pull-manifest",
        Route::Manifest(..) => "push-manifest",
        Route::Blob(..) if is_read => "pull-blob",
        Route::Blob(..) | Route::Uploads(_) | Route::Upload(..) => "push-blob",
        Route::Tags(_) | Route::Referrers(..) | Route::Catalog => "list",
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Returns where the body of a chunk belongs, where its headers say that.
fn chunk(headers: &HeaderMap) -> Result<Option<Part>, Refusal> {
    let Some(range) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let part = range.to_str().ok().and_then(range::chunk);
    part.map(Some)
        .ok_or_else(|| Refusal::bad(Code::BlobUploadInvalid, "Content-Range is not FIRST-LAST"))
}

fn blob_path(name: &str, digest: Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}

fn upload_path(name: &str, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// Returns the answer for something that is there now.
fn created(path: &str, digest: Digest) -> Reply {
    let answer = reply::with(reply::status(StatusCode::CREATED), header::LOCATION, path);
    reply::with(answer, CONTENT_DIGEST, digest.to_string())
}

/// Returns the answer about an upload that has not ended.
fn going_on(status: StatusCode, name: &str, turn: &Turn) -> Reply {
    let path = upload_path(name, &turn.id);
    let answer = reply::with(reply::status(status), header::LOCATION, path);
    let mut answer = reply::with(answer, UPLOAD_ID, &turn.id);
    answer.headers_mut().insert(header::RANGE, received_range(turn.size()));
    answer
}

/// Adds the place of an upload to a refusal, from where a client continues.
fn located(refusal: Refusal, name: &str, id: &str) -> Refusal {
    match HeaderValue::from_str(&upload_path(name, id)) {
        Ok(path) => refusal.with(header::LOCATION, path),
        Err(_) => refusal,
    }
}

/// Returns the answer with a blob or a part of it. `body` makes the body of a part.
fn blob_answer(
    digest: Digest,
    size: u64,
    wanted: Option<&str>,
    body: impl FnOnce(Part) -> Body,
) -> Result<Reply, Refusal> {
    let whole = Part { start: 0, size };
    let (status, part) = match range::requested(wanted, size) {
        Requested::All => (StatusCode::OK, whole),
        Requested::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Requested::Unsatisfiable => {
            let message = format!("the blob has no such part: it has {size} bytes");
            let refusal =
                Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::SizeInvalid, message);
            let all = HeaderValue::from_str(&format!("bytes */{size}"));
            return Err(match all {
                Ok(all) => refusal.with(header::CONTENT_RANGE, all),
                Err(_) => refusal,
            });
        }
    };
    let mut answer = reply::content("application/octet-stream", body(part));
    *answer.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        let last = part.start + part.size - 1;
        let range = format!("bytes {}-{last}/{size}", part.start);
        answer = reply::with(answer, header::CONTENT_RANGE, range);
    }
    let answer = reply::with(answer, header::ACCEPT_RANGES, "bytes");
    let answer = reply::with(answer, header::ETAG, format!("\"{digest}\""));
    Ok(reply::with(answer, CONTENT_DIGEST, digest.to_string()))
}
