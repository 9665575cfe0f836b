//! Writing one image: blobs under their digests side by side, and the index last.

use std::cell::RefCell;
use std::collections::BTreeMap;

use occystrap_plugin::blobs;
use occystrap_plugin::http_in;
use occystrap_plugin::http_out::{self, Transfer};
use occystrap_plugin::types::{Descriptor, Manifest};
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, LayerSummary, Place, Receipt, Request,
    Role, Session,
};
use occystrap_plugin::{hex, make_folder, put};

use crate::{INDEX, MARKER, manifest};

const JSON: &str = "application/json";

/// One image on its way to one folder.
pub struct ImageSession {
    /// Ends with `/`.
    folder: String,
    request: Request,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// What the source says each layer is.
    planned: Vec<LayerSummary>,
    config: Option<Descriptor>,
    /// Of each layer, by its index.
    layers: BTreeMap<u32, Descriptor>,
    /// Uploads under way, by digest.
    uploads: BTreeMap<String, Transfer>,
}

impl ImageSession {
    /// Start to upload a blob, once. To ask a layer what it is would have the host fetch it first, so
    /// that is not done where the source has said it; the host checks it either way.
    fn upload(&self, blob: &Blob, known: Option<Descriptor>) -> Result<Descriptor, Error> {
        let descriptor = match known {
            Some(known) => known,
            None => blob.descriptor()?,
        };
        let mut state = self.state.borrow_mut();
        if !state.uploads.contains_key(&descriptor.digest) {
            let url = format!("{}{}", self.folder, path(&descriptor.digest));
            let transfer = http_out::put_blob(&url, &[], blob)?;
            state.uploads.insert(descriptor.digest.clone(), transfer);
        }
        Ok(descriptor)
    }
}

impl GuestSession for ImageSession {
    fn open(request: Request) -> Result<Session, Error> {
        let folder = http_in::folder()?;
        Ok(Session::new(Self { folder, request, state: RefCell::default() }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        for folder in ["", "blobs/", "blobs/sha256/"] {
            make_folder(&format!("{}{folder}", self.folder))?;
        }
        let decisions = vec![Decision::Take(Form::Stored); layers.len()];
        self.state.borrow_mut().planned = layers;
        Ok(decisions)
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        let descriptor = self.upload(config, None)?;
        self.state.borrow_mut().config = Some(descriptor);
        Ok(())
    }

    fn write_layer(&self, index: u32, _diff_id: String, layer: &Blob) -> Result<(), Error> {
        let known = self.state.borrow().planned.get(index as usize).and_then(|planned| {
            let LayerSummary { media_type, size, digest, .. } = planned.clone();
            Some(Descriptor { digest: digest?, size, media_type })
        });
        let descriptor = self.upload(layer, known)?;
        self.state.borrow_mut().layers.insert(index, descriptor);
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let session: Self = this.into_inner();
        let State { config, layers, uploads, .. } = session.state.take();
        if session.request.index.is_some() || session.request.listed {
            return Err(Error::Unrepresentable("a folder holds one platform".to_owned()));
        }
        for transfer in uploads.into_values() {
            Transfer::wait(transfer)?;
        }
        let config = config.ok_or_else(|| Error::Other("there was no config".to_owned()))?;
        let layers: Vec<Descriptor> = layers.into_values().collect();
        // Every layer is as the source has it, so its manifest still fits.
        let source = session.request.source_manifest.clone();
        let Manifest { media_type, bytes } =
            source.unwrap_or_else(|| manifest::of(&config, &layers));
        let (size, digest) = (bytes.len() as u64, blobs::digest_of(&bytes));
        let manifest = Descriptor { digest, size, media_type };
        put(
            &format!("{}{}", session.folder, path(&manifest.digest)),
            &manifest.media_type,
            &bytes,
        )?;
        put(&format!("{}{MARKER}", session.folder), JSON, br#"{"imageLayoutVersion":"1.0.0"}"#)?;

        // Readers begin here: it is sent when the host has accepted this receipt.
        let tag = session.request.name.tag.as_deref().unwrap_or("latest");
        let index = manifest::index(&manifest, tag);
        let header = http_in::Header { name: "content-type".to_owned(), value: JSON.to_owned() };
        let digest = http_out::put_last(&format!("{}{INDEX}", session.folder), &[header], &index)?;

        let mut expectations =
            vec![expect(Role::Config, &config), expect(Role::Manifest, &manifest)];
        expectations.extend((0..).zip(&layers).map(|(at, layer)| expect(Role::Layer(at), layer)));
        expectations.push(Expectation {
            role: Role::Catalog,
            place: Place::File(INDEX.to_owned()),
            size: Some(index.len() as u64),
            digest: Some(digest),
        });
        expectations.push(Expectation {
            role: Role::Image,
            place: Place::File(MARKER.to_owned()),
            size: None,
            digest: None,
        });
        Ok(Receipt { expectations, state: Vec::new() })
    }
}

fn path(digest: &str) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

fn expect(role: Role, blob: &Descriptor) -> Expectation {
    Expectation {
        role,
        place: Place::File(path(&blob.digest)),
        size: Some(blob.size),
        digest: Some(blob.digest.clone()),
    }
}
