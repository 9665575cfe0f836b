//! What a registry says of itself: expectations where there is no receipt.
//!
//! A manifest names its blobs by digest and size, and an index its manifests, so the chain from a
//! tag down covers everything. The tag itself promises nothing: only a receipt says what it must
//! stand for.

use serde::Deserialize;

use super::derive::Found;
use super::memory::Memory;
use super::{Level, Verification, registry};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::image::{Digest, ImageName, MOST_LAYERS};
use crate::output::remote::Remote;
use crate::receipt::{Expectation, Place, Role};
use crate::registry::{Manifest, Reference};

/// Docker Hub's largest indexes list some thirty platforms; an index of indexes is legal.
const MOST_MANIFESTS: usize = 1_000;

/// Verify what a name stands for: an image, or every image of an index.
pub fn images(
    remote: &Remote,
    reference: &Reference,
    level: Level,
    context: &Context,
) -> Result<Vec<Found>> {
    let mut waiting = vec![(reference.target(), reference.name())];
    let mut found = Vec::new();
    let mut seen = 0;
    while let Some((target, name)) = waiting.pop() {
        let missing = || {
            let message = format!("{}: image not found", remote.display(&target));
            Error::new(Kind::NotFound, message).hint("check the name and the tag")
        };
        let manifest = remote.manifest(&target)?.ok_or_else(missing)?;
        seen += 1;
        if seen > MOST_MANIFESTS {
            let place = remote.display(&reference.target());
            return Err(Error::source(format!("{place}: lists more than {MOST_MANIFESTS} images")));
        }
        if manifest.is_index() {
            let children = parse::<Index>(&manifest, remote, &target)?.manifests;
            waiting.extend(children.into_iter().rev().map(|child| {
                let name = ImageName { tag: Some(child.digest.to_string()), ..name.clone() };
                (child.digest.to_string(), name)
            }));
        } else {
            found.push(image(remote, &target, &manifest, name, level, context)?);
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Listed>,
}

#[derive(Deserialize)]
struct ImageManifest {
    config: Listed,
    layers: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    digest: Digest,
    size: u64,
}

fn parse<'a, T: Deserialize<'a>>(
    manifest: &'a Manifest,
    remote: &Remote,
    target: &str,
) -> Result<T> {
    serde_json::from_slice(&manifest.bytes).map_err(|cause| {
        Error::source(format!("{}: the manifest cannot be read: {cause}", remote.display(target)))
    })
}

fn image(
    remote: &Remote,
    target: &str,
    manifest: &Manifest,
    name: ImageName,
    level: Level,
    context: &Context,
) -> Result<Found> {
    let ImageManifest { config, layers } = parse(manifest, remote, target)?;
    if layers.len() > MOST_LAYERS {
        let what = format!("{}: number of layers", remote.display(target));
        return Err(Error::mismatch(what, format!("at most {MOST_LAYERS}"), layers.len()));
    }
    let blob = |role: Role, listed: &Listed| Expectation {
        role,
        place: Place::Blob { digest: listed.digest },
        size: Some(listed.size),
        digest: Some(listed.digest),
    };
    let mut expectations = vec![blob(Role::Config, &config)];
    expectations.extend((0..).zip(&layers).map(|(index, layer)| blob(Role::Layer(index), layer)));
    expectations.push(Expectation {
        role: Role::Manifest,
        place: Place::Manifest { reference: target.to_owned() },
        size: Some(manifest.bytes.len() as u64),
        digest: Some(manifest.digest),
    });
    let memory = Memory::default();
    memory.remember_manifest(target, Some(manifest.clone()));
    let objects = registry::objects(&expectations, remote, level, &memory, context)?;
    let bytes = config.size + layers.iter().map(|layer| layer.size).sum::<u64>();
    Ok(Found { name, layers: layers.len(), bytes, verification: Verification { level, objects } })
}
