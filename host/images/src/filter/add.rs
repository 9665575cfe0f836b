//! `add:file=FILE,path=PATH`: adds a layer with files of this machine.
//!
//! The layer depends on the names and contents of the files, on the options, and on the folders of the image: owners, times
//! and extended attributes of the files have no effect. What it refuses: files that are neither regular files, folders nor
//! symbolic links, and a file in place of a folder of the image.

mod folders;
mod local_files;
mod options;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::{Mutex, PoisonError};

use self::folders::{ImageFolders, Real};
use self::local_files::{LocalFile, LocalKind};
use self::options::Options;
use super::local_layers::{is_zstd, new_layer, read_to_files};
use super::reshape::{ConfigEdit, NoPass, Reshape, Reshaped, with};
use super::{Applied, Filter, FilterInputs, Spec};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::RawObject;
use occystrap_base::oci::raw_object::{list, quoted};
use occystrap_layer::blob::{PlainReader, from_io};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::overlay::{Placer, path};
use occystrap_layer::tar::{Member, MemberKind, TarReader, Time, Writer};
use occystrap_net::context::Context;

/// The mode of folders that the image does not have.
const FOLDER_MODE: u32 = 0o755;

/// Longest name in a folder, in bytes (`NAME_MAX` of Linux).
const LONGEST_NAME: usize = 255;

/// The members of a layer by their paths, each with the local file that it is.
type AddedMembers = BTreeMap<Vec<u8>, (Member, Option<LocalFile>)>;

/// The filter `add`.
pub struct Add {
    options: Options,
}

impl Add {
    /// Creates the filter from its options and the environment. Errors when a file does not exist.
    pub fn new(spec: &Spec, inputs: &FilterInputs<'_>) -> Result<Self> {
        let options = Options::parse(spec, inputs.environment)?;
        for (file, _) in &options.files {
            let found = file.symlink_metadata();
            found.map_err(|cause| {
                spec.error(format!(
                    "cannot read '{}': {}",
                    file.display(),
                    occystrap_base::error::io_reason(&cause)
                ))
            })?;
        }
        Ok(Self { options })
    }

    /// Returns the members of the new layer, each after its folder, with the local file that it is.
    fn members(&self, files: Vec<LocalFile>, folders: &ImageFolders) -> Result<AddedMembers> {
        let mut all = AddedMembers::new();
        for file in files {
            let is_folder = matches!(file.kind, LocalKind::Folder);
            let real = folders.real(&file.path, is_folder).map_err(|why| {
                Error::usage(format!("add: {why}"))
                    .hint("name another path, or remove the file of the image first")
            })?;
            let (path, known) = match real {
                Real::Folder(path, known) => (path, Some(known)),
                Real::Other(path) => (path, None),
            };
            if known.is_some() && !is_folder {
                let (shown, name) = (String::from_utf8_lossy(&path), file.source.display());
                let message =
                    format!("add: '{name}' would replace the folder '{shown}' of the image");
                return Err(Error::usage(message)
                    .hint(format!("to add it to the folder, write path=/{shown}/")));
            }
            for folder in path::folders(&path) {
                let member = || (self.folder(folder, folders.folder(folder)), None);
                all.entry(folder.to_vec()).or_insert_with(member);
            }
            // The root is there in any image.
            if path.is_empty() {
                continue;
            }
            let member = match is_folder {
                true => self.folder(&path, known),
                false => self.member(&path, &file),
            };
            all.insert(path, (member, Some(file)));
        }
        all.keys().try_for_each(|path| check_path(path, &all))?;
        Ok(all)
    }

    /// Returns a folder, with the metadata that it has in the image.
    fn folder(&self, path: &[u8], known: Option<&Member>) -> Member {
        match known {
            Some(known) => Member { path: path.to_vec(), ..known.clone() },
            None => {
                self.owned(Member { mode: FOLDER_MODE, ..Member::new(MemberKind::Directory, path) })
            }
        }
    }

    fn member(&self, path: &[u8], file: &LocalFile) -> Member {
        self.owned(match &file.kind {
            LocalKind::Link(to) => {
                let link = Member::new(MemberKind::Symlink, path);
                Member { mode: 0o777, link: to.clone(), ..link }
            }
            LocalKind::File { size, executable } => {
                let default = if *executable { 0o755 } else { 0o644 };
                let mode = self.options.mode.unwrap_or(default);
                Member { mode, size: *size, ..Member::new(MemberKind::File, path) }
            }
            LocalKind::Folder => {
                Member { mode: FOLDER_MODE, ..Member::new(MemberKind::Directory, path) }
            }
        })
    }

    fn owned(&self, member: Member) -> Member {
        let (uid, gid) = self.options.owner;
        Member { uid, gid, mtime: Time::seconds(self.options.time), ..member }
    }
}

impl Filter for Add {
    /// Returns `None`: the layers are read for their folders.
    fn key(&self) -> Option<String> {
        None
    }

    fn in_full(&self, typed: &str) -> String {
        match &self.options.from_environment {
            Some(time) => format!("{typed},ts={time}"),
            None => typed.to_owned(),
        }
    }

    fn reshapes(&self) -> Option<&dyn Reshape> {
        Some(self)
    }

    fn begin<'a>(&'a self, _image: &'a Image) -> Box<dyn Applied + 'a> {
        Box::new(NoPass)
    }
}

impl Reshape for Add {
    fn reshape(&self, image: &Image, context: &Context) -> Result<Reshaped> {
        let files = local_files::of(&self.options.files)?;
        let wanted = files.iter().flat_map(|file| wanted_folders(&file.path, file));
        let wanted: BTreeSet<Vec<u8>> = wanted.collect();
        let (mut layers, mut folders) = image_folders(&image.layers, wanted.clone(), context)?;
        // Links may lead to other folders than those that the paths name: there, too, a file must not be in the way.
        let led = files.iter().filter_map(|file| {
            let path = folders.led(&file.path, matches!(file.kind, LocalKind::Folder))?;
            Some(wanted_folders(&path, file))
        });
        let all: BTreeSet<Vec<u8>> = led.flatten().chain(wanted.iter().cloned()).collect();
        if all != wanted {
            (layers, folders) = image_folders(&layers, all, context)?;
        }
        let members = self.members(files, &folders)?;
        let place = format!("the layer that is added to '{}'", image.name);
        let zstd = !layers.is_empty() && layers.iter().all(is_zstd);
        let layer = new_layer(place.clone(), zstd, context, |to| {
            let mut writer = Writer::new(to);
            for (member, file) in members.values() {
                append(&mut writer, member, file.as_ref(), &place)?;
            }
            writer.finish().map(|_| ()).map_err(|cause| from_io(cause, &place))
        })?;
        let from = (0..layers.len()).map(Some).chain([None]).collect();
        let before = layers.len();
        layers.push(layer);
        let mut config = ConfigEdit::of(image)?;
        config.diff_ids(&layers)?;
        config.change(|config| self.add_step(config, before))?;
        Ok(Reshaped { image: with(image, layers, config.finish(), context), from })
    }
}

impl Add {
    /// Adds a step to the history of a config with `before` layers. A history that does not say which step made which
    /// layer stays as it is.
    fn add_step(&self, config: &mut RawObject<'_>, before: usize) -> serde_json::Result<()> {
        let steps = config.list("history")?;
        let mut makers = 0;
        for step in &steps {
            makers += usize::from(RawObject::parse(step)?.get("empty_layer") != Some("true"));
        }
        if makers != before || steps.is_empty() {
            return Ok(());
        }
        let paths = self.options.files.iter().map(|(_, path)| String::from_utf8_lossy(path));
        let paths: Vec<String> = paths.map(|path| format!("/{path}")).collect();
        let mut step = RawObject::default();
        step.set("created", quoted(&self.options.created));
        step.set("created_by", quoted(&format!("occystrap add {}", paths.join(" "))));
        let mut steps: Vec<String> = steps.into_iter().map(str::to_owned).collect();
        steps.push(step.render());
        config.set("history", list(&steps));
        Ok(())
    }
}

/// Returns the paths that must be folders if a local file is at `path`.
fn wanted_folders(path: &[u8], file: &LocalFile) -> Vec<Vec<u8>> {
    let own = Some(path).filter(|_| matches!(file.kind, LocalKind::Folder));
    path::folders(path).chain(own).map(<[u8]>::to_vec).collect()
}

/// Reads the folders and links of layers, and files at the `wanted` paths. Returns the layers, all of them in files.
fn image_folders(
    layers: &[Layer],
    wanted: BTreeSet<Vec<u8>>,
    context: &Context,
) -> Result<(Vec<Layer>, ImageFolders)> {
    let folders = Mutex::new(ImageFolders::wanting(wanted));
    let mut in_files = Vec::with_capacity(layers.len() + 1);
    // In order: each layer changes what the layers below it have.
    for (index, layer) in layers.iter().enumerate() {
        let read = |_, layer: &Layer, plain: &mut PlainReader| {
            see(layer, plain, index, &mut folders.lock().unwrap_or_else(PoisonError::into_inner))
        };
        in_files.extend(read_to_files(std::slice::from_ref(layer), context, read)?.0);
    }
    Ok((in_files, folders.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// Passes the members of a layer to `folders`, which notes those that it needs.
fn see(
    layer: &Layer,
    plain: &mut PlainReader,
    index: usize,
    folders: &mut ImageFolders,
) -> Result<()> {
    let mut reader = TarReader::new(plain, layer.place.clone());
    let mut placer = Placer::default();
    while let Some(mut member) = reader.next_member()? {
        let wrong = |why: String| Error::source(format!("{}: {why}", layer.place));
        let placed = placer.place(&mut member).map_err(wrong)?;
        folders.see(index, placed, &member).map_err(wrong)?;
    }
    Ok(())
}

/// Errors when engines cannot unpack a path, or read it as a deletion.
fn check_path(path: &[u8], all: &AddedMembers) -> Result<()> {
    let shown = String::from_utf8_lossy(path);
    for name in path.split(|byte| *byte == b'/') {
        if name.starts_with(b".wh.") {
            let message = format!(
                "add: '{shown}' would delete a file of the image: '.wh.' begins a whiteout"
            );
            return Err(Error::usage(message).hint("rename the file, or leave it out"));
        }
        if name.len() > LONGEST_NAME {
            let what = format!("add: '{shown}': bytes of a name");
            return Err(Error::mismatch(what, format!("at most {LONGEST_NAME}"), name.len()));
        }
    }
    let is_file = |folder: &&[u8]| {
        all.get(*folder).is_some_and(|(member, _)| member.kind != MemberKind::Directory)
    };
    match path::folders(path).find(is_file) {
        None => Ok(()),
        Some(file) => {
            let file = String::from_utf8_lossy(file);
            let message = format!("add: '{shown}' lies below '{file}', which is added as a file");
            Err(Error::usage(message).hint("name another path for one of them"))
        }
    }
}

/// Appends a member with the content of a local file, whose size must not have changed meanwhile.
fn append(
    writer: &mut Writer<&mut (dyn io::Write + Send)>,
    member: &Member,
    file: Option<&LocalFile>,
    place: &str,
) -> Result<()> {
    let mut content: Box<dyn BufRead> = Box::new(io::empty());
    let Some(LocalFile { source, kind: LocalKind::File { size, .. }, .. }) = file else {
        return writer.append(member, &mut content).map_err(|cause| from_io(cause, place));
    };
    let failed = |cause: &io::Error| Error::io(Kind::Usage, "read", source.display(), cause);
    let open = File::open(source).map_err(|cause| failed(&cause))?;
    let found = open.metadata().map_err(|cause| failed(&cause))?;
    if found.len() != *size || !found.is_file() {
        let what = format!("'{}': its size in bytes, which changed meanwhile", source.display());
        return Err(Error::mismatch(what, *size, found.len()));
    }
    content = Box::new(BufReader::with_capacity(256 * 1024, open));
    writer.append(member, &mut content).map_err(|cause| match cause.kind() {
        io::ErrorKind::UnexpectedEof => failed(&cause),
        _ => from_io(cause, place),
    })?;
    // A file grows meanwhile, and some file systems report a size of 0.
    match content.fill_buf().map_err(|cause| failed(&cause))? {
        [] => Ok(()),
        _ => {
            let what = format!("'{}': its size in bytes", source.display());
            Err(Error::mismatch(what, *size, "more").hint("copy it to another folder first"))
        }
    }
}

#[cfg(test)]
mod tests;
