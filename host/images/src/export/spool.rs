//! The layers of an image, uncompressed in files without names, with a list of their members.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use super::window::Window;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::scratch;
use occystrap_layer::blob::{Stored, read_layers, uncompressed};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::overlay::path::{LONGEST_PATH, TooLong, leads_out, too_long};
use occystrap_layer::overlay::whiteout::{Whiteout, is_aufs};
use occystrap_layer::overlay::{MOST_MEMBERS, MemberBudget, MemberList};
use occystrap_layer::tar::member::plain;
use occystrap_layer::tar::{Member, MemberKind, TarReader};
use occystrap_net::context::Context;

/// Most bytes of the targets of symbolic links of one image. A large distribution has some megabytes.
const MOST_TARGETS: u64 = 64 * 1024 * 1024;

/// Characters of a name that is too long that an error shows.
const SHOWN: usize = 60;

/// One layer.
#[derive(Default)]
pub struct SpooledLayer {
    /// The uncompressed tar; `None` for a layer that is not one.
    pub file: Option<File>,
    /// Its members.
    pub members: MemberList,
    /// Position in the file of each member of the list.
    pub positions: Vec<u64>,
    /// Position of the last member that is the root.
    pub root: Option<u64>,
    /// The name of the layer in errors.
    pub place: String,
}

/// Reads all layers of an image.
pub fn read(image: &Image, context: &Context) -> Result<Vec<SpooledLayer>> {
    let (budget, targets) = (MemberBudget::default(), AtomicU64::new(0));
    // An opaque layer is not a tar.
    let wanted = |_, layer: &Layer| !layer.opaque;
    let read = |_, layer: &Layer, stored: Stored, context: &Context| {
        read_layer(layer, stored, &budget, &targets, context)
    };
    let layers = read_layers(&image.layers, wanted, "layer", context, read)?;
    Ok(layers.into_iter().map(Option::unwrap_or_default).collect())
}

fn read_layer(
    layer: &Layer,
    stored: Stored,
    budget: &MemberBudget,
    targets: &AtomicU64,
    context: &Context,
) -> Result<SpooledLayer> {
    let folder = &context.temp_dir;
    let file = scratch::create(folder)?;
    uncompressed(layer, stored, &file, 0)?;
    let place = &layer.place;
    let mut spooled = SpooledLayer { place: place.clone(), ..SpooledLayer::default() };
    let copy = file.try_clone().map_err(|cause| {
        Error::io(Kind::Destination, "read a temporary file in", folder.display(), &cause)
    })?;
    let mut reader = TarReader::new(Window::new(copy), place.clone());
    while let Some(member) = reader.next_member()? {
        context.cancel.check()?;
        check(&member, place)?;
        let position = reader.span().0;
        if spooled.members.add(&member, budget) {
            spooled.positions.push(position);
            if member.kind == MemberKind::Symlink {
                let length = member.link.len() as u64;
                let known = targets.fetch_add(length, Ordering::Relaxed);
                if known + length > MOST_TARGETS {
                    let what = format!("{place}: bytes of the targets of symbolic links");
                    return Err(Error::mismatch(what, format!("at most {MOST_TARGETS}"), "more"));
                }
            }
        } else if spooled.members.cut {
            let what = format!("{place}: number of members of the image");
            return Err(Error::mismatch(what, format!("at most {MOST_MEMBERS}"), "more"));
        } else if member.plain_path().is_empty() {
            spooled.root = Some(position);
        }
    }
    spooled.file = Some(file);
    Ok(spooled)
}

/// Refuses a member that engines refuse, because it has no place in the image.
fn check(member: &Member, place: &str) -> Result<()> {
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = member.plain_path();
    if let Some(TooLong { what, found, most }) = too_long(&member.path).next() {
        let start: String = name(&member.path).chars().take(SHOWN).collect();
        let why = format!("'{start}…' has a {what} of {found} bytes; Linux allows {most}");
        return Err(refused(place, &why));
    }
    let why = match (member.kind, Whiteout::of(&path)) {
        _ if member.path.is_empty() => "a member has no name".to_owned(),
        (MemberKind::Symlink, None) if member.link.len() > LONGEST_PATH => {
            let (path, found) = (name(&member.path), member.link.len());
            format!("'{path}' is a symbolic link of {found} bytes; Linux allows {LONGEST_PATH}")
        }
        _ if leads_out(&path) => format!("'{}' leads out of the image", name(&member.path)),
        (_, Some(whiteout)) if !whiteout.is_named() => {
            format!("the whiteout '{}' names nothing that it may delete", name(&member.path))
        }
        (MemberKind::Other(flag), None) => {
            let flag = char::from(flag);
            format!("'{}' has the type '{flag}', which engines refuse", name(&member.path))
        }
        (MemberKind::HardLink, None)
            if member.link.is_empty() || leads_out(&plain(&member.link)) =>
        {
            let (path, link) = (name(&member.path), name(&member.link));
            format!("the hard link '{path}' leads out of the image, to '{link}'")
        }
        (kind, None)
            if path.is_empty() && kind != MemberKind::Directory && !is_aufs(&member.path) =>
        {
            format!("the root of the image is a {}", kind.name())
        }
        _ => return Ok(()),
    };
    Err(refused(place, &why))
}

fn refused(place: &str, why: &str) -> Error {
    Error::source(format!("{place}: {why}"))
        .hint("'occystrap check' lists all problems of an image")
}
