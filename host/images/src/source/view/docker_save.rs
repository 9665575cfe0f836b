//! Views of an archive of `docker save` and a directory of the output `dir`: a list of images, each with its files.

use super::{ConfigFile, FlawIn, Promised, View, ViewedLayer};
use crate::source::docker_save::{self, Rivals, SavedEntry};
use crate::source::members::{ArchiveMembers, compression};
use crate::source::two_lists::{self, Leads};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::layout::INDEX;
use occystrap_base::oci::layout::LIST;
use occystrap_base::oci::{Digest, ImageName, MOST_LAYERS};
use occystrap_layer::image::Content;

/// Returns the views of the images of a manifest file: under `name`, which a catalog gives them, or one view for each
/// tag.
pub fn views(
    members: &dyn ArchiveMembers,
    name: Option<&ImageName>,
    manifest: &str,
) -> Result<Vec<View>> {
    let (mut views, catalogued) = (Vec::new(), name.is_some());
    let entries = docker_save::read(members, manifest)?;
    let rivals = Rivals::of(&entries);
    for entry in entries {
        let names = match name {
            Some(name) => vec![name.clone()],
            None => docker_save::names(&entry),
        };
        for name in names {
            let mut view = view(members, &entry, name)?;
            let wrong = docker_save::wrong_names(&entry);
            for error in wrong.into_iter().chain(rivals.of_entry(&entry)) {
                view.flaw(FlawIn::Name, error.within(members.place()))?;
            }
            if catalogued
                && let Err(error) =
                    docker_save::check_name(&entry, &view.name, manifest, members.place())
            {
                view.flaw(FlawIn::Name, error)?;
            }
            views.push(view);
        }
    }
    Ok(views)
}

/// Returns the views of the images of an archive. If the archive has a second list, it must lead to the same images.
pub fn archive(members: &dyn ArchiveMembers) -> Result<Vec<View>> {
    let mut views = views(members, None, LIST)?;
    for view in &mut views {
        let config = view.config.bytes.as_ref().map(|bytes| Digest::of(bytes));
        if let Some(Err(error)) = config.map(|id| two_lists::agree(members, &view.name, id)) {
            view.flaw(FlawIn::Name, error)?;
            continue;
        }
        let message = match two_lists::leads(members, &view.name) {
            Ok(Some(Leads::ToNothing)) => "lists no image".to_owned(),
            Ok(Some(Leads::ToMissing(path))) => {
                format!("leads to '{path}', which is not there or has another size")
            }
            // An error of the list itself was noted above.
            Ok(None | Some(Leads::ToImage)) | Err(_) => continue,
        };
        let place = members.place();
        view.flaw(
            FlawIn::Layout,
            Error::source(format!(
                "{place}: {INDEX} {message}: readers of {LIST} (Docker, Podman) find the image, readers of \
                 {INDEX} (containerd, skopeo's oci-archive) do not"
            )),
        )?;
    }
    Ok(views)
}

fn view(members: &dyn ArchiveMembers, entry: &SavedEntry, name: ImageName) -> Result<View> {
    let mut view = View::new(name, members.place());
    view.config = ConfigFile {
        called: entry.config().to_owned(),
        promised: Promised { digest: docker_save::promised(entry.config()), ..Promised::default() },
        ..ConfigFile::default()
    };
    match members.require_bytes(entry.config(), "config", LARGEST_CONFIG) {
        Ok(bytes) => view.read_config(bytes),
        Err(error) => view.flaw(FlawIn::Config, error)?,
    }
    for (index, called) in entry.layers().iter().take(MOST_LAYERS).enumerate() {
        // Docker 25 names a blob by its digest; other names state no digest of the stored form.
        let promised = docker_save::promised(called).filter(|_| called.starts_with("blobs/"));
        let mut kept = ViewedLayer {
            called: called.clone(),
            promised: Promised { digest: promised, ..Promised::default() },
            size: None,
            compression: None,
            counted: None,
            content: None,
        };
        let found = members
            .require(called, "layer")
            .and_then(|section| Ok((compression(&section, members.place())?, section)));
        match found {
            Ok((compression, section)) => {
                kept.size = Some(section.size);
                kept.compression = Some(compression);
                kept.content = Some(Content::File(section));
            }
            Err(error) => view.flaw(FlawIn::Layer(index), error)?,
        }
        view.layers.push(kept);
    }
    Ok(view)
}
