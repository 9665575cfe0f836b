//! The user of a registry, through the library: settings, a login, patience.

use std::sync::Arc;
use std::time::Duration;

use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Descriptor;
use occystrap_base::oci::digest::Digest;
use occystrap_net::http::{Counters, Settings};
use occystrap_net::registry::{Reference, Repository};

use super::registry::Registry;

/// A test that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("the test hangs") })
}

/// A user of a registry, without credentials of the machine that the tests run on.
pub struct User {
    pub settings: Settings,
    pub counters: Arc<Counters>,
    pub cancel: Cancel,
    home: tempfile::TempDir,
}

impl User {
    pub fn new() -> Self {
        let user = Self {
            settings: Settings {
                insecure: true,
                backoff: Duration::from_millis(1),
                ..Settings::default()
            },
            counters: Arc::default(),
            cancel: Cancel::default(),
            home: tempfile::tempdir().unwrap(),
        };
        user.logged_in("{}")
    }

    /// With a `config.json`.
    pub fn logged_in(mut self, config: &str) -> Self {
        let file = self.home.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        self.settings.authfile = Some(file);
        self
    }

    pub fn named(mut self, user: &str, password: &str) -> Self {
        self.settings.username = Some(user.into());
        self.settings.password = Some(password.into());
        self
    }

    pub fn file(&self, name: &str, content: &str) -> std::path::PathBuf {
        let file = self.home.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    pub fn open(&self, host: &str) -> Repository {
        let reference = Reference::parse(&format!("{host}/a/b:v1")).unwrap();
        Repository::open(&reference, &self.settings, self.counters.clone(), self.cancel.clone())
            .unwrap()
    }

    pub fn pull(&self, registry: &Registry, bytes: &[u8]) -> Result<Vec<u8>> {
        let repository = self.open(&registry.url_host());
        run(pull(&repository, &descriptor(bytes)))
    }
}

pub fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: "application/octet-stream".into(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    }
}

pub async fn pull(repository: &Repository, what: &Descriptor) -> Result<Vec<u8>> {
    let mut download = repository.blob(what);
    let mut bytes = Vec::new();
    while let Some(chunk) = download.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(download.received(), bytes.len() as u64);
    Ok(bytes)
}

/// Returns everything that a user sees of an error.
pub fn seen(error: &Error) -> String {
    format!("{error} | {} | {error:?}", error.hint_text().unwrap_or(""))
}
