//! Writing one image: the blobs are pushed in parallel, and the manifest at the end.

use std::cell::RefCell;

use occystrap_manifest::{Compression, Document, Plan};
use occystrap_plugin::registry::{self, Repository};
use occystrap_plugin::registry_push::{self, Transfer};
use occystrap_plugin::types::{Descriptor, Manifest};
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, GuestSession, LayerSummary, Place, Receipt, Request, Role,
    Session,
};
use occystrap_plugin::{blobs, log};

pub struct RegistrySession {
    repository: Repository,
    request: Request,
    compression: Compression,
    chunk_size: Option<u64>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    plan: Plan,
    /// The number of layers.
    layers: usize,
    /// The upload of the config.
    config: Option<Transfer>,
    /// The uploads of the layers, each with the index of its layer.
    transfers: Vec<(usize, Transfer)>,
}

impl GuestSession for RegistrySession {
    fn open(request: Request) -> Result<Session, Error> {
        let option = |name: &str| {
            let found = request.options.iter().find(|(key, _)| key == name);
            found.map_or("", |(_, value)| value.as_str())
        };
        // The options are checked first: the host calls this function with nothing granted, to have them
        // checked before it fetches anything.
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
        let plan = match self.request.listed {
            true => Plan::listed(&layers, self.compression),
            false => Plan::new(&layers, self.compression),
        };
        // A layer is skipped only if the image has it twice. Whether the registry has a blob already, the
        // host checks when it pushes the blob.
        let decisions =
            (0..layers.len()).map(|index| match plan.first_with_same_blob(index) == index {
                true => Decision::Take(plan.form(index)),
                false => Decision::Skip,
            });
        let decisions = decisions.collect();
        let mut state = self.state.borrow_mut();
        (state.plan, state.layers) = (plan, layers.len());
        Ok(decisions)
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        let transfer = registry_push::push_blob(&self.repository, config, None)?;
        self.state.borrow_mut().config = Some(transfer);
        Ok(())
    }

    fn write_layer(&self, index: u32, _diff_id: String, layer: &Blob) -> Result<(), Error> {
        let transfer = registry_push::push_blob(&self.repository, layer, self.chunk_size)?;
        let mut state = self.state.borrow_mut();
        state.transfers.push((index as usize, transfer));
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let Self { repository, request, state, .. } = this.into_inner();
        if let Some(index) = &request.index {
            let expectations = vec![push(&repository, &request, index)?];
            return Ok(Receipt { expectations, state: Vec::new() });
        }
        let State { plan, layers, config, transfers } = state.into_inner();
        let config = Transfer::wait(config.ok_or_else(|| missing("the config"))?)?;
        let mut pushed: Vec<(usize, Descriptor)> = Vec::new();
        for (index, transfer) in transfers {
            pushed.push((index, Transfer::wait(transfer)?));
        }
        let blobs = (0..layers).map(|index| {
            let found = pushed.iter().find(|(known, _)| *known == plan.first_with_same_blob(index));
            found.map(|(_, blob)| blob.clone()).ok_or_else(|| missing("a layer"))
        });
        let blobs = blobs.collect::<Result<Vec<Descriptor>, Error>>()?;

        let source = request.source_manifest.clone();
        let document = Document { source, unchanged: plan.unchanged(), oci: false };
        let (manifest, dropped) = document.render(&config, &blobs);
        for line in dropped {
            let line = format!("annotations about other bytes are left out, of {line}");
            log::log(log::Level::Warn, &line);
        }
        let manifest = push(&repository, &request, &manifest)?;

        let blob = |role: Role, blob: &Descriptor| Expectation {
            role,
            place: Place::Blob(blob.digest.clone()),
            size: Some(blob.size),
            digest: Some(blob.digest.clone()),
        };
        let mut expectations = vec![blob(Role::Config, &config)];
        expectations
            .extend((0..).zip(&blobs).map(|(index, layer)| blob(Role::Layer(index), layer)));
        expectations.push(manifest);
        Ok(Receipt { expectations, state: Vec::new() })
    }
}

/// Pushes a manifest under the tag that the user gave, or under its digest if an index lists it. Returns the
/// expectation for it.
fn push(
    repository: &Repository,
    request: &Request,
    manifest: &Manifest,
) -> Result<Expectation, Error> {
    let reference = match (request.listed, &request.name.tag) {
        (false, Some(tag)) => tag.clone(),
        _ => blobs::digest_of(&manifest.bytes),
    };
    let digest = registry_push::push_manifest(repository, &reference, manifest)?;
    Ok(Expectation {
        role: Role::Manifest,
        place: Place::Manifest(reference),
        size: Some(manifest.bytes.len() as u64),
        digest: Some(digest),
    })
}

/// Parses the option `chunk_size`: a number of bytes, or of KiB, MiB or GiB with the suffix `k`, `M` or `G`.
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
