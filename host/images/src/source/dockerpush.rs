//! `dockerpush://`: an image in a Docker or Podman engine on this machine, which the engine pushes to this program.
//!
//! An export always reads the whole image. A push does not: the engine asks for each layer first, and skips those that the
//! registry has. This program answers for the registry to which the image goes, so that a layer that is there already is
//! not read at all.
//!
//! | step | what happens |
//! | --- | --- |
//! | ask | the engine is on this machine, and may push to 127.0.0.1 |
//! | listen | on 127.0.0.1, for one repository with a name that no other process can guess |
//! | tag, push | the image gets a name that leads here, and the engine pushes it |
//! | check | the config is the image's, and the layers are those that the engine names |
//! | untag | in every way out; names that a killed process left are removed by the next one |
//!
//! What it refuses: an engine that cannot reach this machine's 127.0.0.1, and a second repository.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::sync::watch;

use super::docker::{EngineReference, check_layers};
use super::platforms::Alone;
use super::received::ReceivedStore;
use super::resolve::narrow;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Digest, ImageName, Manifest};
use occystrap_layer::image::Image;
use occystrap_net::context::{Blocking, Context};
use occystrap_net::docker::{About, Engine, Inspected};
use occystrap_net::registry::Repository;
use occystrap_serve::backend::{
    Asked, Backend, FoundReferrers, Landed, RemoteBlob, ServedManifest, no_manifest,
};
use occystrap_serve::endpoint::Endpoint;
use occystrap_serve::limits::ROOM;
use occystrap_serve::listener::Listener;
use occystrap_serve::received::ReceivedBlobs;
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::room::Room;
use occystrap_serve::route::Target;
use occystrap_serve::upload::{Uploads, random_name};

/// First part of the name of every repository to which an engine pushes.
const FOLDER: &str = "occystrap";

/// The tag.
const TAG: &str = "x";

/// Time in which the first request of an engine arrives. Engines ask before they read any layer.
const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// The hint where the engine cannot push here.
const INSTEAD: &str = "use docker://, which exports the image";

/// Lets the engine push an image here, and returns it. Layers that the engine sent are in files in
/// [`Context::import_dir`]; those that `destination` has already were not sent.
pub fn open(
    asked: &EngineReference,
    socket: Option<&str>,
    destination: Option<&Repository>,
    context: &Context,
) -> Result<Image> {
    let engine = Engine::find(socket, &context.cancel)?;
    let runtime = &context.runtime;
    if engine.is_remote() {
        return Err(unreachable(&engine, "is at another machine"));
    }
    let (ask, found) = runtime.block_on(asked.find(&engine))?;
    let about = runtime.block_on(engine.about())?;
    check_reach(&engine, &about)?;
    runtime.block_on(remove_left(&engine))?;
    let door = Door::open(destination, context)?;
    let place = format!("'{ask}' of {}", engine.place());
    tracing::info!("{place}: pushing {} layers to {}", found.diff_ids.len(), door.name);
    let pushed = {
        let _name = TemporaryName::give(&engine, &found.id.to_string(), &door.name, context)?;
        runtime.block_on(push(&engine, &door))
    };
    let content = door.close();
    pushed?;
    image(content, asked.name(&found), &found, &about, place, destination, context)
}

/// Returns the error for an engine that cannot push to this machine.
fn unreachable(engine: &Engine, why: &str) -> Error {
    let place = engine.place();
    let message = format!("{place}: the engine {why}, and cannot push to this program");
    Error::usage(message).hint(INSTEAD)
}

/// Checks that the engine can push to this machine.
fn check_reach(engine: &Engine, about: &About) -> Result<()> {
    match about.elsewhere {
        Some(why) => Err(unreachable(engine, why)),
        None if !about.podman && !about.loopback_is_insecure => {
            let why = "does not push to 127.0.0.1 without TLS (InsecureRegistryCIDRs)";
            Err(unreachable(engine, why))
        }
        None => Ok(()),
    }
}

/// Removes the names that a killed process left: those that lead to a port of this machine where nothing listens.
async fn remove_left(engine: &Engine) -> Result<()> {
    for name in engine.names().await? {
        let Some(port) = port_of(&name) else { continue };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            engine.untag(&name).await?;
            tracing::warn!(
                "{}: removed the name '{name}', which a killed process left",
                engine.place()
            );
        }
    }
    Ok(())
}

/// Returns the port in a name that this program gives; `None` for every other name.
fn port_of(name: &str) -> Option<u16> {
    let (host, rest) = name.split_once('/')?;
    let hex = rest.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(TAG)?.strip_suffix(':')?;
    let is_random = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    host.strip_prefix("127.0.0.1:")?.parse().ok().filter(|_| is_random)
}

/// A name that an image of the engine has until this is dropped.
struct TemporaryName<'a> {
    engine: &'a Engine,
    name: &'a ImageName,
    context: &'a Context,
}

impl<'a> TemporaryName<'a> {
    fn give(
        engine: &'a Engine,
        image: &str,
        name: &'a ImageName,
        context: &'a Context,
    ) -> Result<Self> {
        context.runtime.block_on(engine.tag(image, name))?;
        Ok(Self { engine, name, context })
    }
}

impl Drop for TemporaryName<'_> {
    fn drop(&mut self) {
        // A client that does not listen to the signal to stop: the name goes in every way out.
        let engine = self.engine.apart_from_stop();
        let removed = engine
            .and_then(|engine| self.context.runtime.block_on(engine.untag(&self.name.to_string())));
        if let Err(error) = removed {
            tracing::warn!("the name '{}' stays in the engine: {error}", self.name);
        }
    }
}

/// Lets the engine push. Errors when it says that it failed, and when it sends no request in time.
async fn push(engine: &Engine, door: &Door) -> Result<()> {
    let mut pushing = std::pin::pin!(engine.push(&door.name));
    let unreached = async {
        tokio::time::sleep(REACHED_WITHIN).await;
        if door.backend.requests.load(Ordering::Relaxed) > 0 {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        pushed = &mut pushing => pushed,
        () = unreached => {
            let seconds = REACHED_WITHIN.as_secs();
            let message = format!(
                "{}: the engine did not reach this program at {} within {seconds} s",
                engine.place(),
                door.name.repository
            );
            Err(Error::new(Kind::Network, message).hint(INSTEAD))
        }
    }
}

/// The place to which the engine pushes.
struct Door {
    name: ImageName,
    backend: Arc<PushBackend>,
    blobs: Arc<ReceivedBlobs>,
    serving: tokio::task::JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

/// What the engine pushed.
struct PushedContent {
    manifests: Vec<(Target, Manifest)>,
    blobs: Arc<ReceivedBlobs>,
    repository: String,
}

impl Door {
    fn open(destination: Option<&Repository>, context: &Context) -> Result<Self> {
        let repository = random_name()
            .map(|name| format!("{FOLDER}/{name}"))
            .map_err(|refusal| Error::new(Kind::Network, refusal.message))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = context.runtime.block_on(Listener::bind(address, None))?;
        let port = listener.address()?.port();
        let backend = Arc::new(PushBackend {
            repository: repository.clone(),
            destination: destination.cloned(),
            manifests: Mutex::default(),
            requests: AtomicU64::new(0),
        });
        let room = Room::new(&context.import_dir, ROOM);
        let blobs = Arc::new(ReceivedBlobs::new(&context.import_dir, room));
        let endpoint = Arc::new(Endpoint {
            backend: Arc::clone(&backend),
            blobs: Arc::clone(&blobs),
            uploads: Uploads::default(),
            logins: None,
        });
        let (stop, stopped) = watch::channel(false);
        let serving = context.runtime.spawn(listener.serve(endpoint, stopped));
        let name = ImageName {
            repository: format!("127.0.0.1:{port}/{repository}"),
            tag: Some(TAG.to_owned()),
        };
        Ok(Self { name, backend, blobs, serving, _stop: stop })
    }

    /// Ends all connections, and returns what was pushed.
    fn close(self) -> PushedContent {
        self.serving.abort();
        let mut manifests = self.backend.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        PushedContent {
            manifests: std::mem::take(&mut *manifests),
            blobs: Arc::clone(&self.blobs),
            repository: self.backend.repository.clone(),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Returns the image that was pushed, if it is the one that the engine describes.
fn image(
    pushed: PushedContent,
    name: ImageName,
    found: &Inspected,
    about: &About,
    place: String,
    destination: Option<&Repository>,
    context: &Context,
) -> Result<Image> {
    let tagged = pushed.manifests.iter().rev().find(|(target, _)| target.tag().is_some());
    let Some((_, root)) = tagged else {
        let message = format!("{place}: the engine pushed no manifest");
        return Err(Error::source(message).hint(INSTEAD));
    };
    let root = root.clone();
    let blobs = pushed.blobs.of_repository(&pushed.repository);
    let manifests = pushed.manifests.into_iter().map(|(_, one)| (one.digest, one)).collect();
    let others = destination.map(|repository| Blocking::new(repository.clone(), context));
    let root_digest = root.digest;
    let store = ReceivedStore { place: place.clone(), manifests, blobs, others };
    let image = narrow(&store, root, None, &found.platform, Alone::IfUnsaid, name)?;
    let is_it = image.id == found.id || about.containerd_store;
    if !is_it {
        let what = format!("{place}: digest of the pushed config");
        let expected = format!("{} (the image's ID)", found.id);
        return Err(Error::mismatch(what, expected, image.id)
            .hint("the image may have been replaced while it was pushed; run this again"));
    }
    tracing::debug!("{place}: pushed as {root_digest}");
    check_layers(image, found, &place)
}

/// The owner of the endpoint to which the engine pushes.
struct PushBackend {
    repository: String,
    destination: Option<Repository>,
    manifests: Mutex<Vec<(Target, Manifest)>>,
    requests: AtomicU64,
}

/// Most manifests of one push: those of an index with all platforms and attestations.
const MOST_MANIFESTS: usize = 1_000;

impl Backend for PushBackend {
    fn admit(&self, repository: &str) -> Result<(), Refusal> {
        match repository == self.repository {
            true => Ok(()),
            false => Err(Refusal::not_found(Code::NameUnknown, "there is no such repository")),
        }
    }

    async fn blob_size(&self, _asked: &Asked, digest: Digest) -> Result<Option<u64>, Refusal> {
        let Some(destination) = &self.destination else { return Ok(None) };
        // A registry that does not answer is no reason to end the push: the engine then sends the layer.
        Ok(destination.stat_blob(digest).await.unwrap_or_default())
    }

    async fn blob(&self, _asked: &Asked, _digest: Digest) -> Result<Option<RemoteBlob>, Refusal> {
        Ok(None)
    }

    async fn manifest(&self, asked: &Asked, target: &Target) -> Result<ServedManifest, Refusal> {
        let manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        let found = manifests
            .iter()
            .rev()
            .find(|(known, one)| known == target || target.digest() == Some(one.digest));
        let (_, manifest) = found.ok_or_else(|| no_manifest(asked, target))?;
        Ok(ServedManifest { manifest: manifest.clone(), headers: HeaderMap::new() })
    }

    async fn put_manifest(
        &self,
        _asked: &Asked,
        target: Target,
        content_type: Option<String>,
        bytes: Bytes,
    ) -> Result<Landed, Refusal> {
        let manifest = Manifest::read("the pushed image", content_type.as_deref(), bytes)
            .map_err(|error| Refusal::of(&error, Code::ManifestInvalid, error.to_string()))?;
        let digest = manifest.digest;
        let mut manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        if manifests.len() >= MOST_MANIFESTS {
            return Err(Refusal::bad(Code::ManifestInvalid, "too many manifests in one push"));
        }
        manifests.push((target, manifest));
        Ok(Landed { digest, subject: None, landed_as: None, warning: None })
    }

    async fn tags(&self, _asked: &Asked) -> Result<Vec<String>, Refusal> {
        Ok(Vec::new())
    }

    async fn referrers(
        &self,
        _asked: &Asked,
        _subject: Digest,
        _wanted: Option<&str>,
    ) -> Result<FoundReferrers, Refusal> {
        Ok(FoundReferrers { descriptors: Vec::new(), is_filtered: false })
    }

    async fn delete_manifest(&self, asked: &Asked, target: &Target) -> Result<(), Refusal> {
        Err(no_manifest(asked, target))
    }

    async fn delete_blob(&self, _: &Asked, _: Digest, _: bool) -> Result<(), Refusal> {
        Err(Refusal::unsupported("deletion is not allowed here"))
    }

    fn allows_deletion(&self) -> bool {
        false
    }

    fn note_request(&self, _class: &'static str, _status: u16) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_program_are_removed() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert_eq!(port_of(&format!("127.0.0.1:4711/occystrap/{hex}:x")), Some(4711));
        for other in [
            format!("127.0.0.1:4711/occystrap/{hex}:latest"),
            format!("localhost:4711/occystrap/{hex}:x"),
            format!("127.0.0.1:4711/team/{hex}:x"),
            format!("127.0.0.1:4711/occystrap/{}:x", &hex[1..]),
            format!("occystrap/{hex}:x"),
            "<none>:<none>".to_owned(),
        ] {
            assert_eq!(port_of(&other), None, "{other}");
        }
    }
}
