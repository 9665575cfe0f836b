//! A folder on a web server for blocking code: the host calls of a plugin, and verification.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use reqwest::Method;
use reqwest::header::HeaderMap;
use tokio::runtime::Handle;
use url::Url;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::destination::check_path;
use occystrap_base::oci::Digest;
use occystrap_base::secret::Secret;
use occystrap_layer::blob::{into_io, read_buffered};
use occystrap_net::context::{Blocking, Context};
use occystrap_net::http::failure::Failure;
use occystrap_net::http::wire::Answer;
use occystrap_net::web::client::{Denied, Repeat, shown};
use occystrap_net::web::{Folder, UrlDownload, WebClient};

/// A folder on a web server for reading, and the runtime that requests run on. Cheap to clone.
#[derive(Clone)]
pub struct SiteReader {
    client: Blocking<WebClient>,
    /// Ends with `/`.
    folder: Url,
}

impl SiteReader {
    /// Opens a folder that the user has named, with the login that its URI had. Errors when only a receipt names it, or
    /// the certificates cannot be used.
    pub fn open(
        folder: &Folder,
        credentials: Option<&(String, Secret)>,
        context: &Context,
    ) -> Result<Self> {
        let url = folder.url(context.web.allow()).clone();
        let login = Folder::login(credentials).map(|header| (url.clone(), header));
        let client = context.web.client(login, context.counters.clone(), context.cancel.root())?;
        match client.check(url.as_str()) {
            Ok(folder) => Ok(Self { client: Blocking::new(client, context), folder }),
            Err(Denied::Place(error)) => Err(error),
            Err(Denied::Form) => Err(Error::usage(format!("'{url}' is not a place on the web"))),
        }
    }

    /// Returns its URL, which ends with `/`.
    #[must_use]
    pub fn folder(&self) -> &Url {
        &self.folder
    }

    /// Returns how messages name a part of it.
    #[must_use]
    pub fn display(&self, path: &str) -> String {
        format!("{}{path}", self.folder)
    }

    /// Returns a URL that may be asked for. Errors when it has no normal form, or was not granted.
    pub fn check(&self, url: &str) -> Result<Url, Denied> {
        self.client.check(url)
    }

    /// Returns what a path below the folder names, spelled as in a URL; `None` for what is no such path.
    #[must_use]
    pub fn url_of(&self, path: &str) -> Option<Url> {
        if check_path(path, None).is_err() || path.contains(['?', '#']) {
            return None;
        }
        self.client.check(&self.display(path)).ok()
    }

    /// Returns the path of a URL that is below the folder.
    #[must_use]
    pub fn path_of(&self, url: &Url) -> Option<String> {
        let path = url.as_str().strip_prefix(self.folder.as_str())?;
        self.url_of(path).map(|_| path.to_owned())
    }

    /// Makes a GET request, and returns the head of its answer.
    pub(crate) fn get(&self, url: &Url, headers: HeaderMap) -> Result<Answer> {
        self.client.wait(self.client.ask(Method::GET, url, headers, None, Repeat::Yes))
    }

    /// Makes a HEAD request, and returns its answer.
    pub(crate) fn head(&self, url: &Url, headers: HeaderMap) -> Result<Answer> {
        self.client.wait(self.client.ask(Method::HEAD, url, headers, None, Repeat::Yes))
    }

    /// Returns the next bytes of an answer.
    pub(crate) fn chunk(&self, answer: &mut Answer) -> Result<Option<Bytes>, Failure> {
        self.client.wait(answer.chunk())
    }

    /// Returns the size of what is at a URL, where the server says it; `None` when nothing is there.
    pub fn stat(&self, url: &Url) -> Result<Option<Option<u64>>> {
        self.client.wait(self.client.stat(url))
    }

    /// Reads what is at a URL, which must be of this size and digest.
    #[must_use]
    pub fn read(&self, url: &Url, size: u64, digest: Digest) -> SiteDownload {
        SiteDownload {
            fetch: self.client.download(url, Some((size, digest))),
            runtime: self.client.runtime().clone(),
            ready: Bytes::new(),
        }
    }

    /// Returns all of what is at a URL, which must be of this size and digest.
    pub fn bytes(&self, url: &Url, size: u64, digest: Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.read(url, size, digest).read_to_end(&mut bytes);
        read.map_err(|cause| occystrap_layer::blob::from_io(cause, &shown(url)))?;
        Ok(bytes)
    }

    /// Downloads what is at a URL and returns its size and digest; `None` when nothing is there. Nothing is kept.
    /// `count` is called with the size of every piece; its error ends the download.
    pub fn hash<E: From<Error>>(
        &self,
        url: &Url,
        mut count: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Option<(u64, Digest)>, E> {
        let mut fetch = self.client.download(url, None);
        loop {
            match self.client.wait(fetch.next()) {
                Ok(Some(piece)) => count(piece.len() as u64)?,
                Ok(None) => return Ok(Some(fetch.content())),
                Err(error) if error.kind() == Kind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A folder on a web server for writing. Cheap to clone.
#[derive(Clone)]
pub struct BlockingSite {
    reader: SiteReader,
}

impl BlockingSite {
    /// Opens a folder as [`SiteReader::open`] does.
    pub fn open(
        folder: &Folder,
        credentials: Option<&(String, Secret)>,
        context: &Context,
    ) -> Result<Self> {
        Ok(Self { reader: SiteReader::open(folder, credentials, context)? })
    }

    /// Returns the same folder for reading.
    #[must_use]
    pub fn reader(&self) -> &SiteReader {
        &self.reader
    }

    /// Returns the client, for asynchronous code.
    #[must_use]
    pub fn client(&self) -> &WebClient {
        &self.reader.client
    }

    /// Makes a request, and returns the head of its answer.
    pub(crate) fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
        repeat: Repeat,
    ) -> Result<Answer> {
        self.wait(self.client().ask(method, url, headers, body, repeat))
    }

    /// Waits for asynchronous work.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.reader.client.wait(work)
    }
}

/// A download for blocking code. Its end is an error where the bytes are not those that were asked for.
pub struct SiteDownload {
    fetch: UrlDownload,
    runtime: Handle,
    ready: Bytes,
}

impl BufRead for SiteDownload {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.ready.is_empty() {
            let next = self.runtime.block_on(self.fetch.next()).map_err(into_io)?;
            self.ready = next.unwrap_or_default();
        }
        Ok(&self.ready)
    }

    fn consume(&mut self, amount: usize) {
        self.ready.advance(amount);
    }
}

impl Read for SiteDownload {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}
