//! An archive that a plugin writes into an engine, read along by the host.
//!
//! An engine does what an archive says: it replaces whatever image has a name in it. So the host
//! refuses everything but one image under the one name that the user gave, made of the blobs that
//! it handed out. The grammar is stricter than that of tar, so that no engine can read it in
//! another way: plain members only, no extensions, nothing twice, nothing behind the end.

use std::collections::BTreeMap;

use serde::Deserialize;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::layout::LIST;
use occystrap_base::oci::{Digest, ImageName};
use occystrap_images::source::tar_headers::{BLOCK, HeaderStep, Headers};

/// The largest member that a plugin writes itself: the list, of at most a thousand layers.
const LARGEST_OWN: u64 = 1024 * 1024;

/// A thousand layers, the config and the list.
const MOST_MEMBERS: usize = 1_010;

/// Follows an archive as it is written.
pub struct Archive {
    headers: Headers,
    at: u64,
    next: Next,
    members: BTreeMap<String, ArchiveMember>,
    /// Bytes of memory that the members hold.
    held: usize,
}

/// What must come next.
enum Next {
    /// A header block, with the bytes of it that have arrived.
    Header(Vec<u8>),
    /// The content of a member: the bytes that have arrived, and its size.
    Content { name: String, bytes: Vec<u8>, size: u64 },
    /// Zeros to the end of a block.
    Padding(u64),
    /// Zeros.
    End,
}

enum ArchiveMember {
    /// One of the host's blobs: its digest and size in bytes.
    Blob(Digest, u64),
    /// Written by the plugin.
    Own(Vec<u8>),
}

/// The image that an engine will load from the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The image's name.
    pub name: String,
    /// Digest and size in bytes of the config.
    pub config: (Digest, u64),
    /// Diff-id and size in bytes of each layer, lowest first.
    pub layers: Vec<(Digest, u64)>,
}

impl Archive {
    /// Returns an archive to which nothing was written yet.
    #[must_use]
    pub fn new() -> Self {
        let headers = Headers::new("its framing".to_owned());
        Self { headers, at: 0, next: Next::Header(Vec::new()), members: BTreeMap::new(), held: 0 }
    }

    /// Bytes of memory that it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        let next = match &self.next {
            Next::Header(bytes) | Next::Content { bytes, .. } => bytes.capacity(),
            Next::Padding(_) | Next::End => 0,
        };
        self.held + next
    }

    /// Takes bytes that the plugin wrote itself. Errors when the archive does not allow them at this position.
    pub fn framing(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let taken = match &mut self.next {
                Next::Header(block) => {
                    let taken = (BLOCK as usize - block.len()).min(bytes.len());
                    block.extend_from_slice(&bytes[..taken]);
                    taken
                }
                Next::Content { size, name, .. } if *size > LARGEST_OWN => {
                    let why = format!("'{name}' has more than {LARGEST_OWN} bytes and is no blob");
                    return Err(odd(&why));
                }
                Next::Content { bytes: have, size, .. } => {
                    let rest = usize::try_from(*size).unwrap_or(usize::MAX) - have.len();
                    let taken = rest.min(bytes.len());
                    have.extend_from_slice(&bytes[..taken]);
                    taken
                }
                Next::Padding(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    zeros(&bytes[..taken])?;
                    *left -= taken as u64;
                    taken
                }
                Next::End => {
                    zeros(bytes)?;
                    bytes.len()
                }
            };
            self.at += taken as u64;
            bytes = &bytes[taken..];
            self.step()?;
        }
        Ok(())
    }

    /// Takes a blob. Errors when it is not the whole content of the member whose header was written last.
    pub fn blob(&mut self, digest: Digest, size: u64) -> Result<()> {
        match &mut self.next {
            Next::Content { name, bytes, size: announced }
                if bytes.is_empty() && *announced == size =>
            {
                let name = std::mem::take(name);
                self.insert(name, ArchiveMember::Blob(digest, size), size)?;
                self.at += size;
                self.step()
            }
            // An empty member is complete with its header; its blob adds nothing.
            _ if size == 0 => Ok(()),
            _ => Err(odd("a blob is not the whole content of one member")),
        }
    }

    fn step(&mut self) -> Result<()> {
        match &mut self.next {
            Next::Header(block) if block.len() == BLOCK as usize => {
                let mut header = [0; BLOCK as usize];
                header.copy_from_slice(block);
                self.next = self.header(&header)?;
                self.step()
            }
            Next::Content { name, bytes, size } if bytes.len() as u64 == *size => {
                let (name, bytes, size) = (std::mem::take(name), std::mem::take(bytes), *size);
                let member = match size {
                    0 => ArchiveMember::Blob(Digest::of(b""), 0),
                    _ => ArchiveMember::Own(bytes),
                };
                self.insert(name, member, size)?;
                self.step()
            }
            Next::Padding(0) => {
                self.next = Next::Header(Vec::new());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn header(&mut self, block: &[u8; BLOCK as usize]) -> Result<Next> {
        let start = self.at - BLOCK;
        // The plugin wrote the header, so the error must not name a source.
        let step = self.headers.read(block, start).map_err(|cause| odd(&cause.to_string()))?;
        match step {
            HeaderStep::End => Ok(Next::End),
            HeaderStep::Member(entry) if entry.kind.is_file() && entry.oddity.is_none() => {
                let name = String::from_utf8(entry.name).map_err(|_| odd("a name is not text"))?;
                Ok(Next::Content { name, bytes: Vec::new(), size: entry.size })
            }
            _ => Err(odd("it has something other than plain files")),
        }
    }

    fn insert(&mut self, name: String, member: ArchiveMember, size: u64) -> Result<()> {
        if self.members.len() >= MOST_MEMBERS {
            return Err(odd(&format!("it has more than {MOST_MEMBERS} files")));
        }
        let own = if let ArchiveMember::Own(bytes) = &member { bytes.capacity() } else { 0 };
        self.held += name.len() + size_of::<ArchiveMember>() + own;
        if self.members.insert(name.clone(), member).is_some() {
            return Err(odd(&format!("it has '{name}' twice")));
        }
        self.next = Next::Padding(size.next_multiple_of(BLOCK) - size);
        Ok(())
    }

    /// Returns the image that an engine will load. Errors when the archive does not hold exactly one image under
    /// `name`, made of blobs.
    pub fn finish(self, name: &ImageName) -> Result<Contents> {
        #[derive(Deserialize)]
        #[serde(expecting = "an object")]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Listed {
            config: String,
            repo_tags: Vec<String>,
            layers: Vec<String>,
        }
        if !matches!(self.next, Next::End) {
            return Err(odd("it is not complete"));
        }
        let Some(ArchiveMember::Own(manifest)) = self.members.get(LIST) else {
            return Err(odd(&format!("it has no {LIST}")));
        };
        let listed = serde_json::from_slice::<[Listed; 1]>(manifest)
            .map_err(|cause| odd(&format!("its {LIST} is not one image's: {cause}")))?;
        let [Listed { config, repo_tags, layers }] = listed;
        let name = name.to_string();
        if repo_tags != [name.as_str()] {
            let named = repo_tags.join(", ");
            return Err(odd(&format!("it names the image '{named}' where you named it '{name}'")));
        }
        let named =
            |name: &str| name == LIST || name == config || layers.iter().any(|layer| layer == name);
        if let Some(other) = self.members.keys().find(|name| !named(name)) {
            return Err(odd(&format!("'{other}' is no part of the image")));
        }
        let blob = |name: &String| match self.members.get(name) {
            Some(ArchiveMember::Blob(digest, size)) => Ok((*digest, *size)),
            _ => Err(odd(&format!("'{name}' is not one of the image's blobs"))),
        };
        let layers = layers.iter().map(blob).collect::<Result<_>>()?;
        Ok(Contents { config: blob(&config)?, layers, name })
    }
}

impl Default for Archive {
    fn default() -> Self {
        Self::new()
    }
}

fn zeros(bytes: &[u8]) -> Result<()> {
    match bytes.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(odd("it has bytes where zeros belong")),
    }
}

fn odd(why: &str) -> Error {
    Error::new(Kind::Plugin, format!("the archive for the engine was refused: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(size);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn name() -> ImageName {
        ImageName { repository: "app".to_owned(), tag: Some("1".to_owned()) }
    }

    fn write(archive: &mut Archive, name: &str, content: &[u8]) -> Result<()> {
        archive.framing(&header(name, content.len() as u64))?;
        archive.framing(content)?;
        archive.framing(&vec![0; content.len().next_multiple_of(512) - content.len()])
    }

    fn splice(archive: &mut Archive, name: &str, content: &[u8]) -> Result<()> {
        archive.framing(&header(name, content.len() as u64))?;
        archive.blob(Digest::of(content), content.len() as u64)?;
        archive.framing(&vec![0; content.len().next_multiple_of(512) - content.len()])
    }

    fn image(manifest: &str) -> Archive {
        let mut archive = Archive::new();
        splice(&mut archive, "c.json", b"{}").unwrap();
        splice(&mut archive, "a/layer.tar", b"layer").unwrap();
        splice(&mut archive, "b/layer.tar", b"").unwrap();
        write(&mut archive, LIST, manifest.as_bytes()).unwrap();
        archive
    }

    const GOOD: &str =
        r#"[{"Config":"c.json","RepoTags":["app:1"],"Layers":["a/layer.tar","b/layer.tar"]}]"#;

    #[test]
    fn an_image_is_read_along() {
        let mut archive = image(GOOD);
        archive.framing(&[0; 1024]).unwrap();
        let contents = archive.finish(&name()).unwrap();
        assert_eq!(contents.config, (Digest::of(b"{}"), 2));
        assert_eq!(contents.layers, [(Digest::of(b"layer"), 5), (Digest::of(b""), 0)]);
    }

    #[test]
    fn other_names_other_files_and_other_content_are_refused() {
        for (manifest, why) in [
            (GOOD.replace("app:1", "app:2"), "names the image 'app:2'"),
            (GOOD.replace("\"app:1\"", "\"app:1\",\"busybox:latest\""), "busybox:latest"),
            (GOOD.replace(",\"b/layer.tar\"", ""), "'b/layer.tar' is no part"),
            (GOOD.replace("[\"a/", "[\"manifest.json\",\"a/"), "not one of the image's blobs"),
            (GOOD.replace("}]", "},{}]"), "not one image's"),
            ("[]".to_owned(), "not one image's"),
        ] {
            let mut archive = image(&manifest);
            archive.framing(&[0; 1024]).unwrap();
            let error = archive.finish(&name()).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(image(GOOD).finish(&name()).is_err(), "not ended");
    }

    #[test]
    fn an_ambiguous_archive_is_refused() {
        let mut twice = image(GOOD);
        assert!(write(&mut twice, LIST, b"[]").is_err());
        let mut behind = image(GOOD);
        behind.framing(&[0; 512]).unwrap();
        assert!(write(&mut behind, "x", b"y").is_err());
        let mut half = Archive::new();
        half.framing(&header("x", 4)).unwrap();
        assert!(half.blob(Digest::of(b"ab"), 2).is_err());
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        link.set_cksum();
        assert!(Archive::new().framing(link.as_bytes()).is_err());
        let mut long = Archive::new();
        long.framing(&header("x", LARGEST_OWN + 1)).unwrap();
        assert!(long.framing(&vec![0; LARGEST_OWN as usize + 1]).is_err());
    }
}
