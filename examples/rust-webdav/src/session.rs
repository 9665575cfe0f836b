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
            let url = self.url(&path(&descriptor.digest));
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
            make_folder(&self.url(folder))?;
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
        for transfer in uploads.into_values() {
            Transfer::wait(transfer)?;
        }
        if let Some(index) = session.request.index.clone() {
            return session.tie(index, Vec::new());
        }
        let config = config.ok_or_else(|| Error::Other("there was no config".to_owned()))?;
        let layers: Vec<Descriptor> = layers.into_values().collect();
        let mut expectations = vec![expect(Role::Config, &config)];
        expectations.extend((0..).zip(&layers).map(|(at, layer)| expect(Role::Layer(at), layer)));
        // Every layer is as the source has it, so its manifest still fits.
        let source = session.request.source_manifest.clone();
        session.tie(source.unwrap_or_else(|| manifest::of(&config, &layers)), expectations)
    }
}

impl ImageSession {
    /// Write the manifest or index, and, where nothing that comes later will list it, name it.
    fn tie(
        &self,
        manifest: Manifest,
        mut expectations: Vec<Expectation>,
    ) -> Result<Receipt, Error> {
        let Manifest { media_type, bytes } = manifest;
        let (size, digest) = (bytes.len() as u64, blobs::digest_of(&bytes));
        let manifest = Descriptor { digest, size, media_type };
        put(&self.url(&path(&manifest.digest)), &manifest.media_type, &bytes)?;
        expectations.push(expect(Role::Manifest, &manifest));
        if !self.request.listed {
            let marker = br#"{"imageLayoutVersion":"1.0.0"}"#;
            put(&self.url(MARKER), JSON, marker)?;
            expectations.push(whole(Role::Image, MARKER, marker));
            // Readers begin here: it is sent when the host has accepted this receipt.
            let tag = self.request.name.tag.as_deref().unwrap_or("latest");
            let index = manifest::index(&manifest, tag);
            let header =
                http_in::Header { name: "content-type".to_owned(), value: JSON.to_owned() };
            http_out::put_last(&self.url(INDEX), &[header], &index)?;
            expectations.push(whole(Role::Catalog, INDEX, &index));
        }
        Ok(Receipt { expectations, state: Vec::new() })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.folder)
    }
}

/// A small file at a path.
fn whole(role: Role, path: &str, content: &[u8]) -> Expectation {
    Expectation {
        role,
        place: Place::File(path.to_owned()),
        size: Some(content.len() as u64),
        digest: Some(blobs::digest_of(content)),
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
