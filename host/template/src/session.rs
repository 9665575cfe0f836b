//! Writing one image. Content never passes through the plugin: the plugin decides what goes where, and the
//! host fetches, moves and hashes the bytes. Nothing is visible before the host has accepted the receipt.

use std::cell::RefCell;

use occystrap_plugin::FileWriter;
use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, LayerSummary, Place, Receipt, Request,
    Role, Session,
};

use crate::sums;

/// The write of one image to one folder.
pub struct ImageSession {
    directory: Directory,
    form: Form,
    /// The files in the order in which they were written.
    files: RefCell<Vec<Expectation>>,
}

impl GuestSession for ImageSession {
    fn open(request: Request) -> Result<Session, Error> {
        // Check the options first: the host calls this function with nothing granted, to have the
        // options checked before it fetches anything.
        let layers = request.options.iter().find(|(name, _)| name == "layers");
        let form = match layers.map(|(_, value)| value.as_str()) {
            Some("uncompressed") | None => Form::Uncompressed,
            Some("stored") => Form::Stored,
            Some("gzip") => Form::Gzip,
            Some("zstd") => Form::Zstd,
            Some(_) => return Err(Error::InvalidOption("layers".to_owned())),
        };
        let directory = storage::open()?;
        Ok(Session::new(Self {
            directory,
            form,
            files: RefCell::default(),
        }))
    }

    // Returns one decision for each layer, before the host fetches any. `Decision::Skip` is for a layer
    // that the destination has already: hash it first (`directory.digest`), or the host refuses the
    // receipt.
    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        Ok(vec![Decision::Take(self.form); layers.len()])
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        self.write(Role::Config, "config.json".to_owned(), config)
    }

    fn write_layer(&self, index: u32, _diff_id: String, layer: &Blob) -> Result<(), Error> {
        self.write(Role::Layer(index), format!("layer-{:03}", index + 1), layer)
    }

    // Returns the receipt. It names every file that must exist from now on: at least the config and every
    // layer.
    fn finalize(this: Session) -> Result<Receipt, Error> {
        let Self {
            directory, files, ..
        } = this.into_inner();
        let mut expectations = files.into_inner();
        let text = sums::render(&expectations);
        let mut file = FileWriter::create(&directory, sums::NAME)?;
        file.write(text.as_bytes())?;
        let written = file.finish()?;
        expectations.push(Expectation {
            role: Role::Manifest,
            place: Place::File(sums::NAME.to_owned()),
            size: Some(written.size),
            digest: written.digest,
        });
        Ok(Receipt {
            expectations,
            state: Vec::new(),
        })
    }
}

impl ImageSession {
    /// Writes a file with the content of a blob, and remembers it for the receipt.
    fn write(&self, role: Role, path: String, blob: &Blob) -> Result<(), Error> {
        let mut file = FileWriter::create(&self.directory, &path)?;
        file.splice(blob)?;
        // The size and the digest that the host has computed.
        let written = file.finish()?;
        self.files.borrow_mut().push(Expectation {
            role,
            place: Place::File(path),
            size: Some(written.size),
            digest: written.digest,
        });
        Ok(())
    }
}
