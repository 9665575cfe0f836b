//! `occystrap info --tree`: where the bytes of an image are, layer by layer, and which of them are wasted because a later
//! layer deletes or replaces their files.
//!
//! Every layer is read as a stream and checked against its digest. Sizes are those of the content of files; headers and
//! padding of the tar are not counted.

mod largest;
mod text;

use std::io::{self, Write};

use serde::Serialize;

pub use largest::{UsageEntry, largest};

use crate::info::history::{shorten, steps};
use crate::source::Source;
use occystrap_base::error::Result;
use occystrap_base::oci::json;
use occystrap_base::terminal::table::{Paper, write_json};
use occystrap_layer::blob::{Stored, read_checked, read_layers};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::overlay::{Change, Fate, Links, MemberBudget, MemberList, Trace, fate};
use occystrap_layer::tar::Reader;
use occystrap_net::context::Context;

/// How many wasted files are listed: the largest ones, which are worth a change of the image.
const MOST_WASTED: usize = 15;

/// The usage of all images of a source.
#[derive(Debug, Serialize)]
pub struct Usage {
    /// The source, without secrets.
    source: String,
    images: Vec<ImageUsage>,
}

/// The usage of one image.
#[derive(Debug, Serialize)]
struct ImageUsage {
    image: String,
    tag: String,
    platform: String,
    /// Bytes of all files in all layers.
    size: u64,
    /// Bytes of files that a later layer deletes or replaces.
    wasted: u64,
    /// Whether the image has more members than are kept, so that all numbers are too small.
    incomplete: bool,
    /// Layers, lowest first.
    layers: Vec<LayerUsage>,
    /// The largest wasted files.
    waste: Vec<Waste>,
}

/// The usage of one layer.
#[derive(Debug, Serialize)]
struct LayerUsage {
    /// Number of the layer, from 0 for the lowest.
    index: usize,
    diff_id: String,
    created_by: Option<String>,
    size: u64,
    wasted: u64,
    /// The largest directories and files: parents before children, the larger first.
    entries: Vec<UsageEntry>,
}

/// A wasted file.
#[derive(Debug, Serialize)]
struct Waste {
    path: String,
    size: u64,
    /// Number of its layer, from 0.
    layer: usize,
    /// `deleted` or `replaced`.
    fate: &'static str,
    /// Number of the layer that deletes or replaces it, from 0.
    by: usize,
}

/// Reads every image of a source. Errors when one does not match its digests, or is not an image.
pub fn usage(source: &Source, context: &Context) -> Result<Usage> {
    let images = source.open(context)?;
    let instead = "'occystrap info' without --tree describes it";
    images.iter().try_for_each(|image| image.check_is_image(instead))?;
    let images = images.iter().map(|image| of_image(image, context));
    Ok(Usage { source: source.display.clone(), images: images.collect::<Result<_>>()? })
}

impl Usage {
    /// Writes the JSON document (docs/inspecting.md).
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        write_json(to, self)
    }

    /// Writes the usage as text.
    pub fn write_text(&self, to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
        for (index, image) in self.images.iter().enumerate() {
            if index > 0 {
                writeln!(to)?;
            }
            text::write(image, to, paper)?;
        }
        Ok(())
    }
}

/// The members of one layer, and their effect on other layers.
#[derive(Default)]
struct LayerMembers {
    members: MemberList,
    trace: Trace,
}

/// Reads one image.
fn of_image(image: &Image, context: &Context) -> Result<ImageUsage> {
    let read = read(image, context)?;
    let config = json::parse(&image.config).unwrap_or_default();
    let steps = steps(&config, image.layers.len());
    let links = Links::of(read.iter().map(|layer| (&layer.members, &layer.trace)));
    let (mut layers, mut waste) = (Vec::new(), Vec::new());
    for (index, (layer, LayerMembers { members, .. })) in image.layers.iter().zip(&read).enumerate()
    {
        let (mut size, mut wasted) = (0, 0);
        members.each(|entry| {
            if entry.act != Change::File {
                return;
            }
            size += entry.size;
            let traces = read.iter().map(|read| &read.trace);
            let (fate, by) = match fate(entry.path, false, index, traces) {
                Fate::Present => return,
                _ if links.keep(index, entry.path) => return,
                Fate::Deleted(by) => ("deleted", by),
                Fate::Replaced(by) => ("replaced", by),
            };
            wasted += entry.size;
            let path = String::from_utf8_lossy(entry.path).into_owned();
            keep(&mut waste, Waste { path, size: entry.size, layer: index, fate, by });
        });
        let step = steps.iter().find(|step| step.layer == Some(index));
        layers.push(LayerUsage {
            index,
            diff_id: layer.diff_id.to_string(),
            created_by: step.and_then(|step| step.created_by.as_deref().map(shorten)),
            size,
            wasted,
            entries: largest(members, size),
        });
    }
    Ok(ImageUsage {
        image: image.name.repository.clone(),
        tag: image.name.tag.clone().unwrap_or_default(),
        platform: image.platform.to_string(),
        size: layers.iter().map(|layer| layer.size).sum(),
        wasted: layers.iter().map(|layer| layer.wasted).sum(),
        incomplete: read.iter().any(|read| read.members.cut),
        layers,
        waste,
    })
}

/// Adds a file to the wasted files, which are sorted by size, and keeps the largest.
fn keep(waste: &mut Vec<Waste>, one: Waste) {
    let at = waste.partition_point(|known| known.size >= one.size);
    if at < MOST_WASTED && one.size > 0 {
        waste.insert(at, one);
        waste.truncate(MOST_WASTED);
    }
}

/// Reads the members of all layers.
fn read(image: &Image, context: &Context) -> Result<Vec<LayerMembers>> {
    let budget = MemberBudget::default();
    // An opaque layer is not a tar.
    let wanted = |_, layer: &Layer| !layer.opaque;
    let read = |_, layer: &Layer, stored, _: &Context| read_layer(layer, stored, &budget);
    let read = read_layers(&image.layers, wanted, "layer", context, read)?;
    Ok(read.into_iter().map(Option::unwrap_or_default).collect())
}

/// Reads the members of one layer.
fn read_layer(layer: &Layer, stored: Stored, budget: &MemberBudget) -> Result<LayerMembers> {
    read_checked(layer, stored, |plain| {
        let mut read = LayerMembers::default();
        let mut reader = Reader::new(plain, layer.place.clone());
        while let Some(member) = reader.next_member()? {
            read.members.add(&member, budget);
            read.trace.add(&member, &member.plain_path());
        }
        read.trace.seal();
        Ok(read)
    })
}
