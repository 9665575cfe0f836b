//! Writing an image, and the rules that a plugin can break while writing.

use std::cell::{Cell, RefCell};

use occystrap_plugin::blobs::Sink;
use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, LayerSummary, Place, Receipt, Request,
    Role, Session,
};
use occystrap_plugin::{FileWriter, engine, log, registry, storage_edit};

use crate::{listing, reenter, sabotage};

pub struct HostileSession {
    behaviour: String,
    directory: Directory,
    expectations: RefCell<Vec<Expectation>>,
    kept: Cell<Option<u32>>,
    /// The manifest of the source, or the index that is to be written.
    manifest: Vec<u8>,
    listed: bool,
}

impl HostileSession {
    /// Returns the text after `NAME=` in the behaviour.
    fn argument(&self, name: &str) -> Option<&str> {
        self.behaviour.strip_prefix(name)?.strip_prefix('=')
    }

    fn splice(&self, role: Role, path: String, blob: &Blob) -> Result<(), Error> {
        let sink = storage_edit::create_file(&self.directory, &path)?;
        sink.splice(blob)?;
        let written = Sink::finish(sink)?;
        let (size, digest) = (Some(written.size), written.digest);
        let expectation = Expectation { role, place: Place::File(path), size, digest };
        self.expectations.borrow_mut().push(expectation);
        Ok(())
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let sink = storage_edit::create_file(&self.directory, path)?;
        sink.write(bytes)?;
        Sink::finish(sink)?;
        Ok(())
    }

    /// Writes the manifest, unchanged or falsified.
    fn write_manifest(&self) -> Result<(), Error> {
        let kept = String::from_utf8_lossy(&self.manifest).into_owned();
        let bytes = match self.behaviour.as_str() {
            "manifest-kept" => kept,
            // The same content with another digest.
            "manifest-spaced" => kept + " ",
            // Only a manifest that an index lists is changed.
            "manifest-listed" if self.listed => kept + " ",
            "manifest-listed" => kept,
            "manifest-empty" => "{}".to_owned(),
            "manifest-swapped" => kept.replacen("\"layers\":[", "\"layers\":[{\"digest\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",\"size\":1},", 1),
            _ => return Ok(()),
        };
        let sink = storage_edit::create_file(&self.directory, "manifest")?;
        sink.write(bytes.as_bytes())?;
        let written = Sink::finish(sink)?;
        let place = Place::File("manifest".to_owned());
        let (size, digest) = (Some(written.size), written.digest);
        self.expectations.borrow_mut().push(Expectation {
            role: Role::Manifest,
            place,
            size,
            digest,
        });
        Ok(())
    }

    /// Does what the behaviour says, before anything is written.
    fn begin(&self) -> Result<(), Error> {
        match self.behaviour.as_str() {
            "loop" => sabotage::forever(),
            "grow" => sabotage::grow(),
            "panic" => panic!("as asked"),
            "recurse" => drop(sabotage::recurse(1)),
            "flood" => (0..).for_each(|n| log::log(log::Level::Warn, &format!("line {n}"))),
            "shout" => log::log(log::Level::Warn, &"x".repeat(10_000_000)),
            "open-registry" => drop(registry::open()?),
            "open-engine" => drop(engine::open()?),
            "escape" => {
                log::log(log::Level::Warn, &format!("a\u{1b}[2Jb\nc\u{202e}{}", "y".repeat(5_000)))
            }
            "reenter" => {
                reenter::arm();
                drop(self.directory.read("config", 0, 100)?);
            }
            "handles" => {
                let mut all = Vec::new();
                for _ in 0..100_000 {
                    all.push(storage::open()?);
                }
            }
            "sinks" => {
                let mut all = Vec::new();
                for n in 0..100_000 {
                    all.push(storage_edit::create_file(&self.directory, &format!("{n}"))?);
                }
            }
            "files" => {
                for n in 0..100_000 {
                    self.write(&format!("many/{n}"), b"x")?;
                }
            }
            "pieces" => {
                let sink = storage_edit::create_file(&self.directory, "pieces")?;
                for _ in 0..100_000 {
                    sink.pad(1)?;
                }
            }
            "gaps" => {
                let sink = storage_edit::create_file(&self.directory, "gaps")?;
                for _ in 0..100_000 {
                    sink.reserve(1)?;
                }
            }
            "pad-forever" => {
                let sink = storage_edit::create_file(&self.directory, "pad")?;
                for n in 1_u64.. {
                    sink.pad(1 << 20)?;
                    if n % 256 == 0 {
                        log::log(log::Level::Warn, &format!("padded {n} MiB"));
                    }
                }
            }
            "stat-forever" => loop {
                self.directory.stat("config")?;
            },
            "create-forever" => {
                let long = "x".repeat(200);
                for n in 0_u64.. {
                    storage_edit::create_file(&self.directory, &format!("{n}/{long}"))?;
                }
            }
            "given-up" => {
                storage_edit::create_file(&self.directory, "a")?;
                self.write("a/b", b"below")?;
            }
            "pieces-everywhere" => {
                for n in 0..1_000 {
                    let sink = storage_edit::create_file(&self.directory, &format!("{n}"))?;
                    for _ in 0..60_000 {
                        sink.pad(1)?;
                    }
                    Sink::finish(sink)?;
                }
            }
            "buffers" => {
                let mut all = Vec::new();
                for n in 0..1_000 {
                    let sink = storage_edit::create_file(&self.directory, &format!("{n}"))?;
                    sink.write(&vec![0; 60_000])?;
                    all.push(sink);
                }
            }
            "ranges" => {
                for n in 0.. {
                    self.directory.digest("many", n, Some(1))?;
                }
            }
            "write-big" => self.write("big", &vec![0; 64 * 1024 + 1])?,
            "write-huge" => self.write("huge", &vec![0; 10_000_000])?,
            "pad-big" => storage_edit::create_file(&self.directory, "pad")?.pad(u32::MAX)?,
            "reserve-big" => {
                storage_edit::create_file(&self.directory, "gap")?.reserve(u32::MAX)?;
            }
            "gap-unfilled" => {
                let sink = storage_edit::create_file(&self.directory, "gap")?;
                sink.reserve(512)?;
                Sink::finish(sink)?;
            }
            "gap-twice" => {
                let sink = storage_edit::create_file(&self.directory, "gap")?;
                let at = sink.reserve(4)?;
                sink.fill(at, b"once")?;
                sink.fill(at, b"more")?;
            }
            "fill-anywhere" => {
                let sink = storage_edit::create_file(&self.directory, "gap")?;
                sink.write(b"framing")?;
                sink.fill(u64::MAX, b"x")?;
            }
            _ => {}
        }
        if let Some(path) = self.argument("create") {
            self.write(path, b"evil")?;
        }
        if let Some(path) = self.argument("stat") {
            self.directory.stat(path)?;
        }
        if let Some(path) = self.argument("digest") {
            self.directory.digest(path, 0, None)?;
        }
        if let Some(path) = self.argument("read") {
            let stolen = self.directory.read(path, 0, 1_000)?;
            self.write("stolen", &stolen)?;
        }
        Ok(())
    }
}

impl GuestSession for HostileSession {
    fn open(request: Request) -> Result<Session, Error> {
        let behaviour = request.options.first().map(|(_, value)| value.clone()).unwrap_or_default();
        Ok(Session::new(Self {
            behaviour,
            directory: storage::open()?,
            expectations: RefCell::default(),
            kept: Cell::default(),
            listed: request.listed,
            manifest: request
                .index
                .or(request.source_manifest)
                .map(|manifest| manifest.bytes)
                .unwrap_or_default(),
        }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        self.begin()?;
        let count = layers.len();
        Ok(match self.behaviour.as_str() {
            "plan-few" => Vec::new(),
            "plan-many" => vec![Decision::Skip; count + 1],
            "plan-huge" => vec![Decision::Skip; 20_000_000],
            "skip" => vec![Decision::Skip; count],
            "skip-unchecked" => {
                for (index, layer) in (0..).zip(&layers) {
                    self.expectations.borrow_mut().push(Expectation {
                        role: Role::Layer(index),
                        place: Place::File(format!("layer-{index}")),
                        size: None,
                        digest: layer.diff_id.clone(),
                    });
                }
                vec![Decision::Skip; count]
            }
            // Hashes the existing file, and names it in the receipt as the layer, whatever it contains.
            "skip-other" => {
                for (index, layer) in (0..).zip(&layers) {
                    let path = format!("layer-{index}");
                    self.directory.digest(&path, 0, None)?;
                    self.expectations.borrow_mut().push(Expectation {
                        role: Role::Layer(index),
                        place: Place::File(path),
                        size: None,
                        digest: layer.diff_id.clone(),
                    });
                }
                vec![Decision::Skip; count]
            }
            _ if self.behaviour.starts_with("manifest-") => {
                vec![Decision::Take(Form::Stored); count]
            }
            "stored" | "entries-stored" => vec![Decision::Take(Form::Stored); count],
            "entries-gzip" => vec![Decision::Take(Form::Gzip); count],
            "entries-zstd" => vec![Decision::Take(Form::Zstd); count],
            _ => vec![Decision::Take(Form::Uncompressed); count],
        })
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        self.kept.set(Some(config.handle()));
        if self.behaviour == "entries-config" {
            listing::of_layer(config)?;
        }
        self.splice(Role::Config, "config".to_owned(), config)
    }

    fn write_layer(&self, index: u32, _diff_id: String, layer: &Blob) -> Result<(), Error> {
        let path = format!("layer-{index}");
        match self.behaviour.as_str() {
            // Ignores the error of a splice.
            "swallow" => {
                if self.splice(Role::Layer(index), path.clone(), layer).is_err() {
                    self.write(&path, b"something else")?;
                }
                Ok(())
            }
            "entries" | "entries-stored" | "entries-gzip" | "entries-zstd" => {
                let text = listing::of_layer(layer)?;
                let mut file = FileWriter::create(&self.directory, &format!("entries-{index}"))?;
                file.write(text.as_bytes())?;
                file.finish()?;
                self.splice(Role::Layer(index), path, layer)
            }
            "entries-late" => {
                self.splice(Role::Layer(index), path, layer)?;
                listing::of_layer(layer).map(drop).map_err(Error::from)
            }
            "entries-many" => listing::open_many_walks(layer).map_err(Error::from),
            "entries-again" => {
                listing::walk_repeatedly(layer)?;
                self.splice(Role::Layer(index), path, layer)
            }
            "one-path" => self.splice(Role::Layer(index), "layer".to_owned(), layer),
            "splice-twice" => {
                self.splice(Role::Layer(index), path, layer)?;
                self.splice(Role::Image, "copy".to_owned(), layer)
            }
            "keep-blob" => {
                // Uses a handle that was lent only for the previous call.
                let kept = unsafe { Blob::from_handle(self.kept.get().unwrap_or_default()) };
                let stolen = kept.read(0, 1_000)?;
                self.write("stolen", &stolen)
            }
            "guess-handle" => {
                for handle in 0..10_000 {
                    let guessed = std::mem::ManuallyDrop::new(unsafe { Blob::from_handle(handle) });
                    drop(guessed.read(0, 1));
                }
                Ok(())
            }
            "give-up" => Err(Error::Other("a\u{1b}[2Jb\nc".repeat(1_000))),
            "unfinished" => {
                let sink = storage_edit::create_file(&self.directory, &path)?;
                sink.splice(layer)?;
                Ok(())
            }
            "framed" => {
                let sink = storage_edit::create_file(&self.directory, &path)?;
                sink.write(b"evil")?;
                sink.splice(layer)?;
                let written = Sink::finish(sink)?;
                self.expectations.borrow_mut().push(Expectation {
                    role: Role::Layer(index),
                    place: Place::File(path),
                    size: Some(written.size),
                    digest: None,
                });
                Ok(())
            }
            _ => self.splice(Role::Layer(index), path, layer),
        }
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let session: Self = this.into_inner();
        session.write_manifest()?;
        let expectations = session.expectations.take();
        Ok(sabotage::receipt(&session.behaviour, expectations))
    }
}
