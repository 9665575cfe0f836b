//! Writing one image: blobs as they come, all at once, and the manifest at the end.

use std::cell::RefCell;

use occystrap_manifest::{Compression, Document, form};
use occystrap_plugin::registry::{self, Repository};
use occystrap_plugin::registry_push::{self, Transfer};
use occystrap_plugin::types::Descriptor;
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, LayerSummary, Place, Receipt, Request,
    Role, Session,
};

pub struct RegistrySession {
    repository: Repository,
    request: Request,
    compression: Compression,
    chunk_size: Option<u64>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Every layer is taken as the source has it.
    unchanged: bool,
    /// The diff-id of each layer.
    layers: Vec<Option<String>>,
    /// On their way; the config first, then layers by their index.
    config: Option<Transfer>,
    transfers: Vec<(usize, Transfer)>,
}

impl GuestSession for RegistrySession {
    fn open(request: Request) -> Result<Session, Error> {
        let option = |name: &str| {
            let found = request.options.iter().find(|(key, _)| key == name);
            found.map_or("", |(_, value)| value.as_str())
        };
        // Options first: the host asks about them before it grants anything.
        let compression = Compression::parse(option("compression"))?;
        let chunk_size = chunk_size(option("chunk_size"))?;
        Ok(Session::new(Self {
            repository: registry::open()?,
            compression,
            chunk_size,
            state: RefCell::default(),
            request,
        }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        let mut state = self.state.borrow_mut();
        state.unchanged = true;
        let mut decisions = Vec::new();
        for layer in layers {
            // The same layer twice in one image is one blob.
            let again = layer.diff_id.is_some() && state.layers.contains(&layer.diff_id);
            let form = form(&layer, self.compression);
            state.unchanged &= form == Form::Stored;
            state.layers.push(layer.diff_id);
            // Whether the registry has a blob already, the host looks when it pushes it.
            decisions.push(if again { Decision::Skip } else { Decision::Take(form) });
        }
        Ok(decisions)
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        let transfer = registry_push::push_blob(&self.repository, config, None)?;
        self.state.borrow_mut().config = Some(transfer);
        Ok(())
    }

    fn write_layer(&self, index: u32, diff_id: String, layer: &Blob) -> Result<(), Error> {
        let transfer = registry_push::push_blob(&self.repository, layer, self.chunk_size)?;
        let mut state = self.state.borrow_mut();
        let index = index as usize;
        match state.layers.get_mut(index) {
            Some(layer) => *layer = Some(diff_id),
            None => return Err(Error::Other("a layer that was not planned".to_owned())),
        }
        state.transfers.push((index, transfer));
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let Self { repository, request, state, .. } = this.into_inner();
        let State { unchanged, layers, config, transfers } = state.into_inner();
        let config = Transfer::wait(config.ok_or_else(|| missing("the config"))?)?;
        let mut pushed: Vec<(&Option<String>, Descriptor)> = Vec::new();
        for (index, transfer) in transfers {
            pushed.push((&layers[index], Transfer::wait(transfer)?));
        }
        let blobs = layers.iter().map(|diff_id| {
            let found = pushed.iter().find(|(known, _)| *known == diff_id);
            found.map(|(_, blob)| blob.clone()).ok_or_else(|| missing("a layer"))
        });
        let blobs = blobs.collect::<Result<Vec<Descriptor>, Error>>()?;

        let document = Document { source: request.source_manifest, unchanged };
        let manifest = document.render(&config, &blobs);
        let tag = request.name.tag.unwrap_or_default();
        let digest = registry_push::push_manifest(&repository, &tag, &manifest)?;

        let blob = |role: Role, blob: &Descriptor| Expectation {
            role,
            place: Place::Blob(blob.digest.clone()),
            size: Some(blob.size),
            digest: Some(blob.digest.clone()),
        };
        let mut expectations = vec![blob(Role::Config, &config)];
        expectations
            .extend((0..).zip(&blobs).map(|(index, layer)| blob(Role::Layer(index), layer)));
        expectations.push(Expectation {
            role: Role::Manifest,
            place: Place::Manifest(tag),
            size: Some(manifest.bytes.len() as u64),
            digest: Some(digest),
        });
        Ok(Receipt { expectations, state: Vec::new() })
    }
}

/// A number of bytes, or of KiB, MiB or GiB with `k`, `M` or `G` behind it.
fn chunk_size(text: &str) -> Result<Option<u64>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || Error::InvalidOption("chunk_size".to_owned());
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).filter(|size| *size > 0).map(Some).ok_or_else(invalid)
}

fn missing(what: &str) -> Error {
    Error::Other(format!("the session ended before {what} was pushed"))
}
