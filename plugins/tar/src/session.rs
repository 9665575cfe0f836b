//! Writing one image.

use std::cell::RefCell;

use occystrap_docker_save::list;
use occystrap_plugin::storage;
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, ImageName, LayerSummary, Place,
    Receipt, Request, Role, Session,
};

use crate::archive::{Archive, Member};

pub struct TarSession {
    name: ImageName,
    path: String,
    state: RefCell<State>,
}

struct State {
    archive: Archive,
    config: Option<Member>,
    /// The diff-id of each layer; `None` while a filter can still change the layer.
    layers: Vec<Option<String>>,
    /// The layers that were written, with their diff-ids.
    members: Vec<(String, Member)>,
}

impl GuestSession for TarSession {
    fn open(request: Request) -> Result<Session, Error> {
        let path = storage::file_name().ok_or(ErrorCode::AccessDenied)?;
        let archive = Archive::create(&storage::open()?, &path)?;
        let state = State { archive, config: None, layers: Vec::new(), members: Vec::new() };
        Ok(Session::new(Self { name: request.name, path, state: RefCell::new(state) }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        let mut state = self.state.borrow_mut();
        let mut decisions = Vec::new();
        for layer in layers {
            // A layer that occurs twice in one image is written once.
            let repeated = layer.diff_id.is_some() && state.layers.contains(&layer.diff_id);
            state.layers.push(layer.diff_id);
            decisions.push(if repeated {
                Decision::Skip
            } else {
                Decision::Take(Form::Uncompressed)
            });
        }
        Ok(decisions)
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        let digest = config.descriptor()?.digest;
        let mut state = self.state.borrow_mut();
        let name = list::config(&digest);
        state.config = Some(state.archive.append(&name, &digest, config)?);
        Ok(())
    }

    fn write_layer(&self, index: u32, diff_id: String, layer: &Blob) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        if !state.members.iter().any(|(known, _)| *known == diff_id) {
            let name = list::layer(&diff_id);
            let member = state.archive.append(&name, &diff_id, layer)?;
            state.members.push((diff_id.clone(), member));
        }
        match state.layers.get_mut(index as usize) {
            Some(layer) => *layer = Some(diff_id),
            None => return Err(Error::Other("a layer that was not planned".to_owned())),
        }
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let session: Self = this.into_inner();
        let State { mut archive, config, layers, members } = session.state.into_inner();
        let config = config.ok_or_else(|| missing("the config"))?;
        let layers = (layers.iter())
            .map(|diff_id| {
                let mut known = members.iter();
                known.find(|(known, _)| Some(known) == diff_id.as_ref()).map(|(_, member)| member)
            })
            .collect::<Option<Vec<&Member>>>()
            .ok_or_else(|| missing("a layer"))?;

        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let manifest = list::render(&session.name, &config.name, &names);
        let manifest = archive.append_bytes(list::NAME, &manifest)?;
        let size = archive.finish()?;

        let mut expectations = vec![config.expect(Role::Config)];
        expectations
            .extend((0..).zip(&layers).map(|(index, layer)| layer.expect(Role::Layer(index))));
        expectations.push(manifest.expect(Role::Manifest));
        expectations.push(Expectation {
            role: Role::Image,
            place: Place::File(session.path),
            size: Some(size),
            digest: None,
        });
        Ok(Receipt { expectations, state: Vec::new() })
    }
}

fn missing(what: &str) -> Error {
    Error::Other(format!("the session ended before {what} was written"))
}
