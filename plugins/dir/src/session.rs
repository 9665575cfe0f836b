//! Writing one image.

use std::cell::RefCell;

use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::writer::{
    Blob, Decision, Entry, Error, Expectation, Form, GuestSession, ImageName, LayerSummary, Place,
    Receipt, Request, Role, Session, Step,
};
use occystrap_plugin::{FileWriter, storage_edit};

use crate::{catalog, checksums, layout, manifest, replaced};

/// The largest number of bytes that is assumed for a tag: enough for a digest, and longer than every tag.
const LONGEST_TAG: usize = 160;

pub struct DirSession {
    directory: Directory,
    name: ImageName,
    unique_names: bool,
    checksums: bool,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    config: Option<File>,
    /// The diff-id of each layer; `None` while a filter can still change the layer.
    layers: Vec<Option<String>>,
    /// The layers that were found at the destination or written. The digest of each is a diff-id.
    files: Vec<File>,
}

/// A file, for the receipt and the checksums.
#[derive(Clone)]
struct File {
    path: String,
    size: u64,
    digest: String,
}

impl File {
    fn expect(&self, role: Role) -> Expectation {
        Expectation {
            role,
            place: Place::File(self.path.clone()),
            size: Some(self.size),
            digest: Some(self.digest.clone()),
        }
    }
}

impl DirSession {
    /// Returns the file of a layer if the destination has it with the right content. The host hashes it.
    fn existing_layer(&self, diff_id: &str) -> Result<Option<File>, Error> {
        let path = layout::layer(diff_id);
        match self.directory.stat(&path)? {
            Some(stat) if stat.kind == storage::EntryKind::File => {
                let digest = self.directory.digest(&path, 0, None)?;
                Ok((digest == diff_id).then_some(File { path, size: stat.size, digest }))
            }
            _ => Ok(None),
        }
    }

    /// Fails if the shared files have no room for another image. It is called before anything is fetched.
    fn check_room(&self) -> Result<(), Error> {
        // An image without a tag is listed under the digest of its config, which is not known yet.
        let tag = self.name.tag.clone().unwrap_or_else(|| "-".repeat(LONGEST_TAG));
        let file = layout::manifest(&self.name, &tag, self.unique_names);
        let entry = catalog::Entry { repository: &self.name.repository, tag: &tag, file: &file };
        catalog::survey(&self.directory, entry)?;
        if self.checksums { checksums::check(&self.directory) } else { Ok(()) }
    }

    fn write_file(&self, path: &str, bytes: &[u8]) -> Result<File, Error> {
        let mut file = FileWriter::create(&self.directory, path)?;
        file.write(bytes)?;
        finish(file, path)
    }

    fn splice(&self, path: &str, blob: &Blob) -> Result<File, Error> {
        let mut file = FileWriter::create(&self.directory, path)?;
        file.splice(blob)?;
        finish(file, path)
    }
}

fn finish(file: FileWriter, path: &str) -> Result<File, Error> {
    let written = file.finish()?;
    let digest = written.digest.unwrap_or_default();
    Ok(File { path: path.to_owned(), size: written.size, digest })
}

impl GuestSession for DirSession {
    fn open(request: Request) -> Result<Session, Error> {
        let enabled =
            |name: &str| request.options.iter().any(|(key, value)| key == name && value == "true");
        let session = Self {
            directory: storage::open()?,
            unique_names: enabled("unique_names"),
            checksums: enabled("checksums"),
            name: request.name.clone(),
            state: RefCell::default(),
        };
        session.check_room()?;
        Ok(Session::new(session))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        let mut state = self.state.borrow_mut();
        let mut decisions = Vec::new();
        for layer in layers {
            let take = match &layer.diff_id {
                None => true,
                // A layer that occurs twice in one image is written once.
                Some(_) if state.layers.contains(&layer.diff_id) => false,
                Some(diff_id) => match self.existing_layer(diff_id)? {
                    Some(file) => {
                        state.files.push(file);
                        false
                    }
                    None => true,
                },
            };
            state.layers.push(layer.diff_id);
            decisions.push(if take { Decision::Take(Form::Uncompressed) } else { Decision::Skip });
        }
        Ok(decisions)
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        let digest = config.descriptor()?.digest;
        let file = self.splice(&layout::config(&digest), config)?;
        self.state.borrow_mut().config = Some(file);
        Ok(())
    }

    fn write_layer(&self, index: u32, diff_id: String, layer: &Blob) -> Result<(), Error> {
        let file = self.splice(&layout::layer(&diff_id), layer)?;
        let mut state = self.state.borrow_mut();
        state.files.push(file);
        match state.layers.get_mut(index as usize) {
            Some(layer) => *layer = Some(diff_id),
            None => return Err(Error::Other("a layer that was not planned".to_owned())),
        }
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let session: Self = this.into_inner();
        let state = session.state.borrow();
        let config = state.config.clone().ok_or_else(|| missing("the config"))?;
        let layers = (state.layers.iter())
            .map(|diff_id| state.files.iter().find(|file| Some(&file.digest) == diff_id.as_ref()))
            .collect::<Option<Vec<&File>>>()
            .ok_or_else(|| missing("a layer"))?;

        // The lock ensures that only one process at a time reads, changes and writes the shared files.
        storage_edit::lock(&session.directory)?;
        // An image without a tag is listed under the digest of its config.
        let tag = session.name.tag.clone().unwrap_or_else(|| config.digest.clone());
        let path = layout::manifest(&session.name, &tag, session.unique_names);
        let repository = &session.name.repository;
        let entry = catalog::Entry { repository, tag: &tag, file: &path };
        let survey = catalog::survey(&session.directory, entry)?;
        replaced::refuse_case_conflict(&session.directory, entry, &survey)?;
        replaced::warn_of_replaced(&session.directory, entry, &config.path, &survey);
        // The order of the writes ensures that the name of a replaced image never leads to the new image,
        // even if this process is killed: first the replaced names leave the catalog, then the manifest
        // changes, then the catalog gets the new name.
        if !survey.displaced.is_empty() {
            catalog::write_without(&session.directory, entry, &survey)?;
        }
        let paths: Vec<String> = layers.iter().map(|file| file.path.clone()).collect();
        let bytes = manifest::render(&session.name, &config.path, &paths, session.unique_names);
        let manifest = session.write_file(&path, &bytes)?;

        if session.checksums {
            let files = [&config, &manifest].into_iter().chain(layers.iter().copied());
            let files: Vec<_> =
                files.map(|file| (file.path.clone(), file.digest.clone())).collect();
            checksums::write(&session.directory, &files)?;
        }
        catalog::write(&session.directory, entry, &survey)?;

        let mut expectations = vec![config.expect(Role::Config)];
        expectations
            .extend((0..).zip(&layers).map(|(index, file)| file.expect(Role::Layer(index))));
        expectations.push(manifest.expect(Role::Manifest));
        expectations.push(Expectation {
            role: Role::Catalog,
            place: Place::Entry(Entry {
                path: layout::CATALOG.to_owned(),
                steps: vec![Step::Key(repository.clone()), Step::Key(tag)],
                value: path,
            }),
            size: None,
            digest: None,
        });
        Ok(Receipt { expectations, state: Vec::new() })
    }
}

fn missing(what: &str) -> Error {
    Error::Other(format!("the session ended before {what} was written"))
}
