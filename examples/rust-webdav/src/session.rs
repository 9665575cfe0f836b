//! Writing one image: the blobs are uploaded in parallel under their digests, and the index last.

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

/// The write of one image to one folder.
pub struct ImageSession {
    /// The URL of the folder. It ends with `/`.
    folder: String,
    request: Request,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// What the source states about each layer.
    planned: Vec<LayerSummary>,
    config: Option<Descriptor>,
    /// The descriptor of each layer, by the index of the layer.
    layers: BTreeMap<u32, Descriptor>,
    /// The uploads in progress, by digest.
    uploads: BTreeMap<String, Transfer>,
}

impl ImageSession {
    /// Starts to upload a blob, unless an upload of the same blob was started before.
    ///
    /// `known` is the descriptor that the source states. With it, the blob is not asked for its descriptor, for
    /// which the host would have to fetch the layer first. The host checks the content in both cases.
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
            return session.write_manifest(index, Vec::new());
        }
        let config = config.ok_or_else(|| {
            Error::Other("the session ended before the config was written".to_owned())
        })?;
        let layers: Vec<Descriptor> = layers.into_values().collect();
        let mut expectations = vec![expect(Role::Config, &config)];
        expectations.extend((0..).zip(&layers).map(|(at, layer)| expect(Role::Layer(at), layer)));
        // Every layer is kept as the source has it, so the manifest of the source is still right.
        let source = session.request.source_manifest.clone();
        session
            .write_manifest(source.unwrap_or_else(|| manifest::of(&config, &layers)), expectations)
    }
}

impl ImageSession {
    /// Writes the manifest or index. Unless an index lists it, also adds it to `index.json`.
    fn write_manifest(
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
            expectations.push(small_file(Role::Image, MARKER, marker));
            // Readers read this file first. The host sends it when it has accepted the receipt.
            let tag = self.request.name.tag.as_deref().unwrap_or("latest");
            let index = manifest::index(&manifest, tag);
            let header =
                http_in::Header { name: "content-type".to_owned(), value: JSON.to_owned() };
            http_out::put_last(&self.url(INDEX), &[header], &index)?;
            expectations.push(small_file(Role::Catalog, INDEX, &index));
        }
        Ok(Receipt { expectations, state: Vec::new() })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.folder)
    }
}

/// Returns the expectation for a small file.
fn small_file(role: Role, path: &str, content: &[u8]) -> Expectation {
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
