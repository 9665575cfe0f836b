//! Views of an image in an engine: by the engine's own description, or by an export.

use serde_json::{Map, Value, json};

use super::engine_steps::{EngineStep, assign, sizes};
use super::{ConfigFile, FlawIn, Promised, View, ViewedLayer, docker_save, from_manifest, text_of};
use crate::source::docker::{EngineReference, exported};
use crate::source::members::ArchiveMembers;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;
use occystrap_base::oci::layout::INDEX;
use occystrap_base::oci::layout::LIST;
use occystrap_net::context::Context;
use occystrap_net::docker::{Engine, EngineHistoryStep};

/// Returns the view of an image as the engine describes it. Nothing is exported.
pub fn view(asked: &EngineReference, socket: Option<&str>, context: &Context) -> Result<View> {
    let engine = Engine::find(socket, &context.cancel)?;
    context.runtime.block_on(async {
        let (ask, found) = asked.find(&engine).await?;
        let place = format!("'{ask}' of {}", engine.place());
        let said = engine.describe(&ask).await?.ok_or_else(|| engine.absent(&ask))?;
        let steps = engine.history(&ask).await?;
        let containerd = engine.about().await?.containerd_store;
        let mut view = View::new(asked.name(&found), &place);
        view.by_engine = true;
        view.reference = said["RepoDigests"][0].as_str().map(str::to_owned);
        view.engine_steps = assign(&steps, found.diff_ids.len());
        let counted = sizes(&view.engine_steps, found.diff_ids.len());
        view.config = ConfigFile {
            called: "the engine's description".to_owned(),
            promised: Promised {
                // With containerd's store, the ID is the digest of a manifest or an index.
                digest: (!containerd).then_some(found.id),
                ..Promised::default()
            },
            bytes: None,
            document: document(&said, &found.diff_ids, &steps, &view.engine_steps),
        };
        let kept = |(index, digest): (usize, &Digest)| ViewedLayer {
            called: digest.to_string(),
            promised: Promised::default(),
            size: None,
            compression: None,
            counted: counted.get(index).copied().flatten(),
            content: None,
        };
        view.layers = found.diff_ids.iter().enumerate().map(kept).collect();
        Ok(view)
    })
}

/// Exports the image, and returns the view of the export. Its layers are then in files of the spool.
pub fn export(asked: &EngineReference, socket: Option<&str>, context: &Context) -> Result<View> {
    let (spool, name, found) = exported(asked, socket, context)?;
    let containerd = {
        let engine = Engine::find(socket, &context.cancel)?;
        context.runtime.block_on(engine.about())?.containerd_store
    };
    let mut views = match spool.contains(LIST) {
        true => docker_save::views(&spool, Some(&name), LIST)?,
        false if spool.contains(INDEX) => from_manifest::layout(&spool, None, &found.platform)?,
        false => {
            let place = spool.place();
            return Err(Error::source(format!("{place}: the export holds no manifest.json")));
        }
    };
    // An export may list images of other platforms that the engine does not have.
    let expected: Vec<Option<Digest>> = found.diff_ids.iter().copied().map(Some).collect();
    let chosen = views.iter().position(|view| view.config.diff_ids() == expected);
    let mut view = views.swap_remove(chosen.unwrap_or_default());
    view.name = name;
    if !containerd {
        view.config.promised.digest = Some(found.id);
    }
    if chosen.is_none() {
        let what = format!("{}: diff-ids of the export", view.place);
        let list = |ids: &[Option<Digest>]| {
            ids.iter()
                .map(|id| id.map_or("none".to_owned(), |id| id.short()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let error = Error::mismatch(what, list(&expected), list(&view.config.diff_ids()));
        view.flaw(FlawIn::Layers, error)?;
    }
    Ok(view)
}

/// Returns the engine's description in the form of an image config. A step that made no layer is marked.
fn document(
    said: &Value,
    diff_ids: &[Digest],
    steps: &[EngineHistoryStep],
    assigned: &[EngineStep],
) -> Value {
    let history: Vec<Value> = (steps.iter().zip(assigned))
        .map(|(step, assigned)| {
            let mut entry = Map::new();
            if let Some(created) = &assigned.created {
                entry.insert("created".to_owned(), created.clone().into());
            }
            entry.insert("created_by".to_owned(), step.created_by.clone().into());
            if !step.comment.is_empty() {
                entry.insert("comment".to_owned(), step.comment.clone().into());
            }
            if assigned.makes_layer == Some(false) {
                entry.insert("empty_layer".to_owned(), true.into());
            }
            Value::Object(entry)
        })
        .collect();
    json!({
        "created": said["Created"],
        "author": text_of(&said["Author"]),
        "architecture": text_of(&said["Architecture"]),
        "os": text_of(&said["Os"]),
        "variant": text_of(&said["Variant"]),
        "config": said["Config"],
        "rootfs": { "type": said["RootFS"]["Type"], "diff_ids": diff_ids },
        "history": history,
    })
}
