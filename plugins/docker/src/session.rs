//! Writing one image: the plugin writes a docker-save archive as a stream, which the engine loads when it is
//! complete.

use std::cell::RefCell;

use occystrap_docker_save::{header, list};
use occystrap_plugin::blobs::Sink;
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, ImageLayer, ImageName, LayerSummary,
    Place, Receipt, Request, Role, Session,
};
use occystrap_plugin::{engine, engine_load};

pub struct DockerSession {
    name: ImageName,
    state: RefCell<State>,
}

struct State {
    archive: Sink,
    config: Option<Member>,
    /// The diff-id of each layer; `None` while a filter can still change the layer.
    layers: Vec<Option<String>>,
    members: Vec<Member>,
}

/// A member of the archive that was written.
#[derive(Clone)]
struct Member {
    name: String,
    digest: String,
    size: u64,
}

impl State {
    /// Appends a member with the content of a blob. The size is needed first, because the archive is a stream.
    fn append(&mut self, name: String, blob: &Blob) -> Result<Member, Error> {
        let described = blob.descriptor()?;
        self.archive.write(&header::render(&name, described.size))?;
        let size = self.archive.splice(blob)?;
        self.pad(size)?;
        Ok(Member { name, digest: described.digest, size })
    }

    fn append_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.archive.write(&header::render(name, size))?;
        for piece in bytes.chunks(PIECE) {
            self.archive.write(piece)?;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), Error> {
        let rest = size.next_multiple_of(header::BLOCK) - size;
        Ok(self.archive.pad(rest as u32)?)
    }
}

/// The largest number of bytes per call of the host.
const PIECE: usize = 64 * 1024;

impl GuestSession for DockerSession {
    fn open(request: Request) -> Result<Session, Error> {
        let archive = engine_load::load(&engine::open()?)?;
        let state = State { archive, config: None, layers: Vec::new(), members: Vec::new() };
        Ok(Session::new(Self { name: request.name, state: RefCell::new(state) }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        let mut state = self.state.borrow_mut();
        let mut decisions = Vec::new();
        for layer in layers {
            // A layer that occurs twice in one image is written once. A layer that the engine has already is
            // written all the same, because an archive must be complete.
            let repeated = layer.diff_id.is_some() && state.layers.contains(&layer.diff_id);
            state.layers.push(layer.diff_id);
            let take = Decision::Take(Form::Uncompressed);
            decisions.push(if repeated { Decision::Skip } else { take });
        }
        Ok(decisions)
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let name = list::config(&config.descriptor()?.digest);
        state.config = Some(state.append(name, config)?);
        Ok(())
    }

    fn write_layer(&self, index: u32, diff_id: String, layer: &Blob) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        if !state.members.iter().any(|member| member.digest == diff_id) {
            let member = state.append(list::layer(&diff_id), layer)?;
            state.members.push(member);
        }
        match state.layers.get_mut(index as usize) {
            Some(layer) => *layer = Some(diff_id),
            None => return Err(Error::Other("a layer that was not planned".to_owned())),
        }
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let Self { name, state } = this.into_inner();
        let mut state = state.into_inner();
        let config = state.config.clone().ok_or_else(|| missing("the config"))?;
        let layers = (state.layers.iter())
            .map(|diff_id| {
                let mut known = state.members.iter();
                known.find(|member| Some(&member.digest) == diff_id.as_ref()).cloned()
            })
            .collect::<Option<Vec<Member>>>()
            .ok_or_else(|| missing("a layer"))?;
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        state.append_bytes(list::NAME, &list::render(&name, &config.name, &names))?;
        state.archive.pad(2 * header::BLOCK as u32)?;
        Sink::finish(state.archive)?;

        let image = format!("{}:{}", name.repository, name.tag.unwrap_or_default());
        let expect = |role: Role, place: Place, member: &Member| Expectation {
            role,
            place,
            size: Some(member.size),
            digest: Some(member.digest.clone()),
        };
        let mut expectations = vec![expect(Role::Config, Place::Image(image.clone()), &config)];
        expectations.extend((0..).zip(&layers).map(|(index, layer)| {
            let place = Place::ImageLayer(ImageLayer { image: image.clone(), index });
            expect(Role::Layer(index), place, layer)
        }));
        Ok(Receipt { expectations, state: Vec::new() })
    }
}

fn missing(what: &str) -> Error {
    Error::Other(format!("the session ended before {what} was written"))
}
