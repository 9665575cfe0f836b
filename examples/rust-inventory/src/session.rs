//! Writing one image: its config, its layers, and the inventory.

use std::cell::RefCell;

use occystrap_plugin::FileWriter;
use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, LayerSummary, Place, Receipt, Request,
    Role, Session,
};

use crate::inventory::{self, Inventory};

/// The write of one image to one folder.
pub struct ImageSession {
    directory: Directory,
    inventory: RefCell<Inventory>,
    files: RefCell<Vec<Expectation>>,
}

impl GuestSession for ImageSession {
    fn open(request: Request) -> Result<Session, Error> {
        let directory = storage::open()?;
        let inventory = RefCell::new(Inventory::begin(&directory, &request.name)?);
        Ok(Session::new(Self { directory, inventory, files: RefCell::default() }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        Ok(vec![Decision::Take(Form::Uncompressed); layers.len()])
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        self.write(Role::Config, "config.json".to_owned(), config)
    }

    fn write_layer(&self, index: u32, _diff_id: String, layer: &Blob) -> Result<(), Error> {
        match self.inventory.borrow_mut().add(index, layer) {
            // A blob that is not a layer has no files.
            Ok(()) | Err(ErrorCode::Unsupported) => {}
            Err(code) => return Err(code.into()),
        }
        self.write(Role::Layer(index), format!("layer-{:03}.tar", index + 1), layer)
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let session: Self = this.into_inner();
        let written = session.inventory.into_inner().finish()?;
        let mut expectations = session.files.into_inner();
        expectations.push(Expectation {
            role: Role::Manifest,
            place: Place::File(inventory::NAME.to_owned()),
            size: Some(written.size),
            digest: written.digest,
        });
        Ok(Receipt { expectations, state: Vec::new() })
    }
}

impl ImageSession {
    fn write(&self, role: Role, path: String, blob: &Blob) -> Result<(), Error> {
        let mut file = FileWriter::create(&self.directory, &path)?;
        file.splice(blob)?;
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
