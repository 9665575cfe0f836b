//! `occystrap export`: writes the merged file system of an image to a file, or to standard output.
//!
//! A file appears when it is whole, and a killed process leaves none behind. What it refuses: to write a tar to a terminal, and to replace a file that is no tar
//! or that the image is read from.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Serialize;

use super::{Host, printed};
use crate::cli::{ExportOptions, OutputFormat};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::identity::FileIdentity;
use occystrap_base::files::new_file::NewFile;
use occystrap_base::terminal::pending_writes;
use occystrap_base::terminal::size::size;
use occystrap_base::terminal::standard_output::StandardOutput;
use occystrap_base::terminal::table::write_json;
use occystrap_images::artifact::images_alone;
use occystrap_images::export::{self, Exported};
use occystrap_layer::image::{Content, Image};
use occystrap_net::context::Context;

/// The magic of a tar header, and its place (POSIX, pax interchange format).
const MAGIC: &[u8; 5] = b"ustar";
const MAGIC_AT: u64 = 257;

/// Bytes that are written at once.
const BUFFER: usize = 256 * 1024;

/// The JSON document (docs/inspecting.md).
#[derive(Serialize)]
struct Document<'a> {
    source: &'a str,
    images: [ExportedImage<'a>; 1],
}

#[derive(Serialize)]
struct ExportedImage<'a> {
    image: &'a str,
    tag: &'a str,
    platform: Option<String>,
    output: String,
    members: u64,
    size: u64,
    digest: String,
}

/// Runs `occystrap export`. Errors when the source has several images, and as reading and writing do.
pub fn run(
    options: &ExportOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let format = host.global.output_format;
    let to_stdout = options.to_stdout();
    if to_stdout && format == OutputFormat::Json {
        return Err(Error::usage("'-o -' and -O json both write to standard output")
            .hint("write the tar to a file: -o rootfs.tar"));
    }
    if to_stdout && io::stdout().is_terminal() {
        return Err(Error::usage("a tar is not written to a terminal")
            .hint("type '-o rootfs.tar', or pipe it: occystrap export SOURCE -o - | tar -t"));
    }
    let context = host.session.context()?;
    let source = host.session.source(&options.source)?;
    let (images, _) = images_alone(source.open(&context)?, "'occystrap info' describes it")?;
    let [image] = images.as_slice() else {
        let what = format!("{}: number of images", source.display);
        let error = Error::mismatch(what, 1_u64, images.len());
        return Err(match images.first() {
            None => error,
            Some(first) => error.hint(format!("choose one, such as '?image={}'", first.name)),
        });
    };
    let (exported, to) = match to_stdout {
        true => (export::write(image, &mut *out, "standard output", &context)?, None),
        false => (to_file(image, &options.output, &context)?, Some(&options.output)),
    };
    let Exported { members, size: bytes, digest } = exported;
    match (format, to) {
        (OutputFormat::Json | OutputFormat::Jsonl, _) => {
            let exported = ExportedImage {
                image: &image.name.repository,
                tag: image.name.tag.as_deref().unwrap_or_default(),
                platform: image.platform.stated(),
                output: options.output.display().to_string(),
                members,
                size: bytes,
                digest: digest.to_string(),
            };
            let document = Document { source: &source.display, images: [exported] };
            write_json(out, &document).map_err(printed)?;
        }
        (OutputFormat::Text, _) if host.global.quiet => {}
        (OutputFormat::Text, to) => {
            let name = to.map_or_else(|| "standard output".into(), |to| to.display().to_string());
            let line = format!(
                "Exported {} to {name}: {members} members, {}, {digest}",
                image.name,
                size(bytes)
            );
            match to {
                Some(_) => writeln!(out, "{line}").map_err(printed)?,
                // Standard output is the tar.
                None => drop(writeln!(err, "{line}")),
            }
        }
    }
    Ok(0)
}

/// Errors when a file that is there is no tar archive, or is the archive that the image is read from.
fn check_replaceable(image: &Image, path: &Path) -> Result<()> {
    let failed = |cause: &io::Error| Error::io(Kind::Destination, "read", path.display(), cause);
    let file = match File::open(path) {
        Ok(file) if file.metadata().is_ok_and(|found| found.is_file() && found.len() > 0) => file,
        Ok(_) => return Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed(&cause)),
    };
    let identity = FileIdentity::of(&file).map_err(|cause| failed(&cause))?;
    let is_source = image.layers.iter().any(|layer| match &layer.content {
        Content::File(section) => {
            FileIdentity::of(&section.file).is_ok_and(|source| identity.is_same_inode(source))
        }
        _ => false,
    });
    let refused = |why: &str| {
        let message = format!("'{}' is not replaced: {why}", path.display());
        Error::destination(message).hint("name another file with -o, or delete this one")
    };
    if is_source {
        return Err(refused("the image is read from it"));
    }
    let mut magic = [0; MAGIC.len()];
    match file.read_exact_at(&mut magic, MAGIC_AT) {
        Ok(()) if magic == *MAGIC => Ok(()),
        _ => Err(refused("it is no tar archive")),
    }
}

/// Writes to a file, which gets its name when it is whole. A device or a FIFO is written to as it is.
fn to_file(image: &Image, path: &Path, context: &Context) -> Result<Exported> {
    let place = path.display().to_string();
    let failed = |cause: &io::Error| Error::io(Kind::Destination, "write to", &place, cause);
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let open = || OpenOptions::new().write(true).open(path);
        let file = pending_writes::during(open).map_err(|cause| failed(&cause))?;
        // The reader of a FIFO may stop to read.
        let to = BufWriter::with_capacity(BUFFER, StandardOutput::of(file));
        return export::write(image, to, &place, context);
    }
    check_replaceable(image, path)?;
    if path.is_dir() {
        return Err(Error::usage(format!("'{place}' is a directory"))
            .hint(format!("name a file: -o {}", path.join("rootfs.tar").display())));
    }
    let new = NewFile::at(path).map_err(|cause| failed(&cause))?;
    let to: BufWriter<&File> = BufWriter::with_capacity(BUFFER, new.file());
    let exported = export::write(image, to, &place, context)?;
    let published = new.file().sync_all().and_then(|()| new.publish());
    published.map_err(|cause| failed(&cause))?;
    Ok(exported)
}
