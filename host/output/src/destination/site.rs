//! A folder on a web server, as seen by code that waits: a plugin's host calls, and the checks.

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
use occystrap_net::web::{Client, Folder, UrlDownload};

/// A folder, and where requests run. Cheap to clone.
#[derive(Clone)]
pub struct BlockingSite {
    client: Blocking<Client>,
    /// Ends with `/`.
    folder: Url,
}

impl BlockingSite {
    /// Opens a folder that the user has named, with the login of its URI. Errors when only a receipt names it, or when
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

    /// Its URL, which ends with `/`.
    #[must_use]
    pub fn folder(&self) -> &Url {
        &self.folder
    }

    /// For work that does not wait.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How messages name a part of it.
    #[must_use]
    pub fn display(&self, path: &str) -> String {
        format!("{}{path}", self.folder)
    }

    /// What a path below the folder names, spelled as in a URL; `None` for what is no such path.
    #[must_use]
    pub fn url_of(&self, path: &str) -> Option<Url> {
        if check_path(path, None).is_err() || path.contains(['?', '#']) {
            return None;
        }
        self.client.check(&self.display(path)).ok()
    }

    /// The path of a URL that is below the folder.
    #[must_use]
    pub fn path_of(&self, url: &Url) -> Option<String> {
        let path = url.as_str().strip_prefix(self.folder.as_str())?;
        self.url_of(path).map(|_| path.to_owned())
    }

    /// Make a request, and have the head of its answer.
    pub(crate) fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
        repeat: Repeat,
    ) -> Result<Answer> {
        self.client.wait(self.client.ask(method, url, headers, body, repeat))
    }

    /// The next bytes of an answer.
    pub(crate) fn chunk(&self, answer: &mut Answer) -> Result<Option<Bytes>, Failure> {
        self.client.wait(answer.chunk())
    }

    /// Wait for something that was begun.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.client.wait(work)
    }

    /// The size of what is at a URL, where the server says it; `None` when nothing is there.
    pub fn stat(&self, url: &Url) -> Result<Option<Option<u64>>> {
        self.client.wait(self.client.stat(url))
    }

    /// Read what is at a URL, which must be of this size and digest.
    #[must_use]
    pub fn read(&self, url: &Url, size: u64, digest: Digest) -> Reader {
        Reader {
            fetch: self.client.download(url, Some((size, digest))),
            runtime: self.client.runtime().clone(),
            ready: Bytes::new(),
        }
    }

    /// The first bytes of what is at a URL, which must be of this size and digest: all, up to a limit.
    pub fn bytes(&self, url: &Url, size: u64, digest: Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.read(url, size, digest).read_to_end(&mut bytes);
        read.map_err(|cause| occystrap_layer::blob::from_io(cause, &shown(url)))?;
        Ok(bytes)
    }

    /// Download what is at a URL and hash it, keeping nothing; `None` when nothing is there. `count` is
    /// asked of every piece, and may put an end to it.
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

/// A download for code that waits. Its end is an error where the bytes are not those that were wanted.
pub struct Reader {
    fetch: UrlDownload,
    runtime: Handle,
    ready: Bytes,
}

impl BufRead for Reader {
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

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}
