//! `occystrap info --tree`: where the bytes of an image are, layer by layer, and which of them nobody
//! sees because a later layer deletes or replaces their files.
//!
//! Every layer is read, as a stream, and checked against what was promised of it. Sizes are those of
//! the files' content; headers and padding of the tar are not counted.

mod largest;
mod text;

use std::io::{self, Write};

use serde::Serialize;

pub use largest::{Entry, largest};

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

/// Wasted files that are named, the largest ones: what is worth mending.
const MOST_WASTED: usize = 15;

/// All images of a source.
#[derive(Debug, Serialize)]
pub struct Usage {
    /// The source, without secrets.
    source: String,
    images: Vec<ImageUsage>,
}

/// One image.
#[derive(Debug, Serialize)]
struct ImageUsage {
    image: String,
    tag: String,
    platform: String,
    /// Bytes of all files in all layers.
    size: u64,
    /// Bytes of those that a later layer deletes or replaces.
    wasted: u64,
    /// Whether an image had more members than are kept: all numbers are too small then.
    incomplete: bool,
    /// Lowest first.
    layers: Vec<LayerUsage>,
    /// The largest files that nobody sees.
    waste: Vec<Waste>,
}

#[derive(Debug, Serialize)]
struct LayerUsage {
    /// From 0, lowest first.
    index: usize,
    diff_id: String,
    created_by: Option<String>,
    size: u64,
    wasted: u64,
    /// What takes most of it: parents before children, the larger first.
    entries: Vec<Entry>,
}

/// A file that nobody sees.
#[derive(Debug, Serialize)]
struct Waste {
    path: String,
    size: u64,
    /// Its layer, from 0.
    layer: usize,
    /// `deleted` or `replaced`.
    fate: &'static str,
    /// By which layer, from 0.
    by: usize,
}

/// Read every image of a source. Errors when one is not what was promised.
pub fn usage(source: &Source, context: &Context) -> Result<Usage> {
    let images = source.open(context)?;
    let instead = "'occystrap info' without --tree describes it";
    images.iter().try_for_each(|image| image.check_is_image(instead))?;
    let images = images.iter().map(|image| of_image(image, context));
    Ok(Usage { source: source.display.clone(), images: images.collect::<Result<_>>()? })
}

impl Usage {
    /// For programs (docs/inspecting.md).
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        write_json(to, self)
    }

    /// For people.
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

/// What was read of a layer.
#[derive(Default)]
struct Read {
    roll: MemberList,
    trace: Trace,
}

fn of_image(image: &Image, context: &Context) -> Result<ImageUsage> {
    let read = read(image, context)?;
    let config = json::parse(&image.config).unwrap_or_default();
    let steps = steps(&config, image.layers.len());
    let links = Links::of(read.iter().map(|read| (&read.roll, &read.trace)));
    let (mut layers, mut waste) = (Vec::new(), Vec::new());
    for (index, (layer, Read { roll, .. })) in image.layers.iter().zip(&read).enumerate() {
        let (mut size, mut wasted) = (0, 0);
        roll.each(|entry| {
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
            entries: largest(roll, size),
        });
    }
    Ok(ImageUsage {
        image: image.name.repository.clone(),
        tag: image.name.tag.clone().unwrap_or_default(),
        platform: image.platform.to_string(),
        size: layers.iter().map(|layer| layer.size).sum(),
        wasted: layers.iter().map(|layer| layer.wasted).sum(),
        incomplete: read.iter().any(|read| read.roll.cut),
        layers,
        waste,
    })
}

/// Keep the largest.
fn keep(waste: &mut Vec<Waste>, one: Waste) {
    let at = waste.partition_point(|known| known.size >= one.size);
    if at < MOST_WASTED && one.size > 0 {
        waste.insert(at, one);
        waste.truncate(MOST_WASTED);
    }
}

fn read(image: &Image, context: &Context) -> Result<Vec<Read>> {
    let room = MemberBudget::default();
    // What is opaque is no tar.
    let wanted = |_, layer: &Layer| !layer.opaque;
    let read = |_, layer: &Layer, stored, _: &Context| read_layer(layer, stored, &room);
    let read = read_layers(&image.layers, wanted, "layer", context, read)?;
    Ok(read.into_iter().map(Option::unwrap_or_default).collect())
}

fn read_layer(layer: &Layer, stored: Stored, room: &MemberBudget) -> Result<Read> {
    read_checked(layer, stored, |plain| {
        let mut read = Read::default();
        let mut reader = Reader::new(plain, layer.place.clone());
        while let Some(member) = reader.next_member()? {
            read.roll.add(&member, room);
            read.trace.add(&member, &member.plain_path());
        }
        read.trace.seal();
        Ok(read)
    })
}
