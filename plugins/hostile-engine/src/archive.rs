//! The docker-save archive, correct or falsified.

use occystrap_docker_save::{header, list};
use occystrap_plugin::blobs::Sink;
use occystrap_plugin::writer::{Blob, Error, ImageName};

/// A member of the archive that was written.
#[derive(Clone)]
pub struct Member {
    pub name: String,
    pub digest: String,
    pub size: u64,
}

const BLOCK: usize = header::BLOCK as usize;

/// The largest number of bytes per call of the host.
const PIECE: usize = 64 * 1024;

/// Appends a member with the content of a blob.
pub fn append_blob(sink: &Sink, name: String, blob: &Blob) -> Result<Member, Error> {
    let described = blob.descriptor()?;
    sink.write(&header::render(&name, described.size))?;
    let size = sink.splice(blob)?;
    pad(sink, size)?;
    Ok(Member { name, digest: described.digest, size })
}

/// Appends a member with the name and size of a blob, but with other content.
pub fn append_forged(sink: &Sink, name: String, blob: &Blob) -> Result<Member, Error> {
    let described = blob.descriptor()?;
    append_bytes(sink, &name, &vec![b' '; described.size as usize])?;
    Ok(Member { name, digest: described.digest, size: described.size })
}

/// Appends a member with bytes of the plugin's own.
pub fn append_bytes(sink: &Sink, name: &str, bytes: &[u8]) -> Result<(), Error> {
    sink.write(&header::render(name, bytes.len() as u64))?;
    bytes.chunks(PIECE).try_for_each(|piece| sink.write(piece))?;
    pad(sink, bytes.len() as u64)
}

/// Appends a member that is not a file, such as a link, a device or an extended header.
pub fn append_special(sink: &Sink, kind: u8) -> Result<(), Error> {
    let mut block = header::render("evil", 0);
    block[156] = kind;
    block[157..168].copy_from_slice(b"/etc/passwd");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    Ok(sink.write(&block)?)
}

/// Appends `manifest.json` and the end of the archive, falsified as `behaviour` says.
pub fn finish(
    sink: &Sink,
    behaviour: &str,
    name: &ImageName,
    config: &Member,
    layers: &[Member],
) -> Result<(), Error> {
    let mut names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    let mut config = config.name.as_str();
    match behaviour {
        "list-short" => drop(names.pop()),
        "list-swapped" | "all-swapped" => names.swap(0, 1),
        "list-twice" => names.push(names[0]),
        "list-config" => config = names[0],
        "list-itself" => names.push(list::NAME),
        "list-nothing" => names.push("../../etc/passwd"),
        _ => {}
    }
    let rendered = String::from_utf8(list::render(name, config, &names)).unwrap();
    let tag = format!("{}:{}", name.repository, name.tag.as_deref().unwrap_or_default());
    let tag = format!("\"{tag}\"");
    let rendered = match behaviour {
        "tag-other" => rendered.replace(&tag, "\"busybox:latest\""),
        "tag-more" => rendered.replace(&tag, &format!("{tag},\"busybox:latest\"")),
        "tag-none" => rendered.replace(&tag, ""),
        "second-image" => format!("[{0},{0}]", &rendered[1..rendered.len() - 1]),
        "list-keys" => rendered.replacen('{', "{\"Parent\":\"sha256:00\",", 1),
        _ => rendered,
    };
    match behaviour {
        "extra-file" => append_bytes(sink, "evil", b"evil")?,
        // Old engines, from before `manifest.json`, read names from this file.
        "extra-repositories" => {
            append_bytes(sink, "repositories", br#"{"busybox":{"latest":"0"}}"#)?
        }
        "extra-oci" => append_bytes(sink, "index.json", b"{}")?,
        "symlink" => append_special(sink, b'2')?,
        "hardlink" => append_special(sink, b'1')?,
        "extension" => append_special(sink, b'x')?,
        "device" => append_special(sink, b'3')?,
        "damaged" => sink.write(&[7; BLOCK])?,
        "many-files" => (0..2_000).try_for_each(|n| append_bytes(sink, &format!("{n}"), b"x"))?,
        "endless" => loop {
            append_bytes(sink, "endless", &[7; 4 * PIECE])?;
        },
        _ => {}
    }
    if behaviour != "no-list" {
        append_bytes(sink, list::NAME, rendered.as_bytes())?;
    }
    if behaviour == "list-again" {
        append_bytes(sink, list::NAME, rendered.as_bytes())?;
    }
    if behaviour != "no-end" {
        sink.pad(2 * BLOCK as u32)?;
    }
    if behaviour == "behind-the-end" {
        append_bytes(sink, "evil", b"evil")?;
    }
    Ok(())
}

fn pad(sink: &Sink, size: u64) -> Result<(), Error> {
    Ok(sink.pad((size.next_multiple_of(header::BLOCK) - size) as u32)?)
}
