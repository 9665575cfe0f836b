//! A client that pushes to a registry, through the library.

use occystrap_base::error::Result;
use occystrap_base::files::Section;
use occystrap_base::oci::Descriptor;
use occystrap_base::oci::Digest;
use occystrap_net::registry::{Body, PushOptions, Reference, RegistryClient, Repository};

use super::registry::Registry;
use super::user::{User, descriptor, run};

pub const LAYER: &[u8] = b"a layer of some bytes";
pub const WHOLE: PushOptions = PushOptions { chunk_size: None };

/// Repositories of one client.
pub struct Pusher {
    client: RegistryClient,
    pub user: User,
}

impl Pusher {
    pub fn new(user: User) -> Self {
        Self { client: RegistryClient::new(&user.settings, user.cancel.clone()).unwrap(), user }
    }

    pub fn to(&self, registry: &Registry, name: &str) -> Repository {
        let reference = Reference::parse(&format!("{}/{name}", registry.url_host())).unwrap();
        self.client.repository_to_push(&reference, self.user.counters.clone()).unwrap()
    }

    pub fn from(&self, registry: &Registry, name: &str) -> Repository {
        let reference = Reference::parse(&format!("{}/{name}", registry.url_host())).unwrap();
        self.client.repository(&reference, self.user.counters.clone()).unwrap()
    }
}

pub fn file(bytes: &[u8]) -> Body {
    use std::io::Write as _;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before").unwrap();
    file.write_all(bytes).unwrap();
    file.write_all(b"after").unwrap();
    Body::File(Section::new(file.into(), 6, bytes.len() as u64))
}

/// Pushes to `a/b` in a task of its own, as the pipeline does.
pub fn push(
    pusher: &Pusher,
    registry: &Registry,
    bytes: &[u8],
    options: PushOptions,
) -> Result<()> {
    push_body(pusher, registry, &descriptor(bytes), file(bytes), options)
}

pub fn push_body(
    pusher: &Pusher,
    registry: &Registry,
    what: &Descriptor,
    body: Body,
    options: PushOptions,
) -> Result<()> {
    let (repository, what) = (pusher.to(registry, "a/b"), what.clone());
    run(async move {
        let task = async move { repository.push_blob(&what, &body, &options, |_| ()).await };
        tokio::spawn(task).await.unwrap()
    })
}

#[track_caller]
pub fn holds(registry: &Registry, bytes: &[u8]) {
    let held = registry.blob("a/b", Digest::of(bytes)).expect("the blob is there");
    assert!(held == bytes);
}

pub fn methods(registry: &Registry) -> String {
    registry.requests().iter().map(|one| one.method.clone()).collect::<Vec<_>>().join(" ")
}
