//! Writing an image, and the rules that a plugin can break while writing.

use std::cell::RefCell;

use occystrap_docker_save::list;
use occystrap_plugin::blobs::Sink;
use occystrap_plugin::engine::{self, Engine};
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, ImageLayer, ImageName, LayerSummary,
    Place, Receipt, Request, Role, Session,
};
use occystrap_plugin::{engine_load, registry, storage};

use crate::archive::{self, Member};

pub struct HostileSession {
    behaviour: String,
    name: ImageName,
    engine: Engine,
    archive: Sink,
    members: RefCell<Vec<Member>>,
}

const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

impl HostileSession {
    /// Does what the behaviour says, before anything is written.
    fn begin(&self) -> Result<(), Error> {
        match self.behaviour.as_str() {
            "open-storage" => drop(storage::open()?),
            "open-registry" => drop(registry::open()?),
            "inspect-other" => drop(self.engine.inspect_image("busybox:latest")?),
            "inspect-path" => drop(self.engine.inspect_image("../containers/json?all=1#")?),
            "hash-other" => drop(self.engine.hash_image("busybox:latest")?),
            "reserve" => drop(self.archive.reserve(512)?),
            "fill" => self.archive.fill(0, b"x")?,
            "write-big" => self.archive.write(&vec![0; 64 * 1024 + 1])?,
            "handles" => {
                let mut all = Vec::new();
                for _ in 0..100_000 {
                    all.push(engine_load::load(&self.engine)?);
                }
            }
            "flood" => {
                for _ in 0..10_000 {
                    self.engine.inspect_image(&self.image())?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn image(&self) -> String {
        format!("{}:{}", self.name.repository, self.name.tag.as_deref().unwrap_or_default())
    }

    /// Writes a second archive in the same session.
    fn load_again(&self) -> Result<(), Error> {
        let again = engine_load::load(&self.engine)?;
        match self.behaviour.as_str() {
            "load-empty" => drop(Sink::finish(again)?),
            "load-forged" => {
                archive::append_bytes(&again, "c.json", b"{}")?;
                let config = Member { name: "c.json".into(), digest: ZEROS.into(), size: 2 };
                archive::finish(&again, "honest", &self.name, &config, &[])?;
                Sink::finish(again)?;
            }
            // The second archive is dropped with some content in it.
            _ => archive::append_bytes(&again, "c.json", b"{}")?,
        }
        Ok(())
    }
}

impl GuestSession for HostileSession {
    fn open(request: Request) -> Result<Session, Error> {
        let behaviour = request.options.first().map(|(_, value)| value.clone()).unwrap_or_default();
        let engine = engine::open()?;
        let archive = engine_load::load(&engine)?;
        let members = RefCell::default();
        Ok(Session::new(Self { behaviour, name: request.name, engine, archive, members }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        self.begin()?;
        let decision = match self.behaviour.as_str() {
            "skip" => Decision::Skip,
            "gzip" => Decision::Take(Form::Gzip),
            _ => Decision::Take(Form::Uncompressed),
        };
        Ok(vec![decision; layers.len()])
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        let name = list::config(&config.descriptor()?.digest);
        let member = match self.behaviour.as_str() {
            "forged-config" => archive::append_forged(&self.archive, name, config)?,
            _ => archive::append_blob(&self.archive, name, config)?,
        };
        self.members.borrow_mut().push(member);
        Ok(())
    }

    fn write_layer(&self, index: u32, diff_id: String, layer: &Blob) -> Result<(), Error> {
        let name = list::layer(&diff_id);
        let member = match (self.behaviour.as_str(), index) {
            ("forged-layer", 1) => archive::append_forged(&self.archive, name, layer)?,
            ("left-out", 1) => return Ok(()),
            ("unheaded", 1) => {
                self.archive.splice(layer)?;
                return Ok(());
            }
            ("spliced-twice", 1) => {
                archive::append_blob(&self.archive, name.clone(), layer)?;
                archive::append_blob(&self.archive, format!("{name}.again"), layer)?
            }
            _ => archive::append_blob(&self.archive, name, layer)?,
        };
        self.members.borrow_mut().push(member);
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let this: Self = this.into_inner();
        let members = this.members.take();
        let (config, layers) = members.split_first().unwrap();
        if this.behaviour.starts_with("load-") {
            this.load_again()?;
        }
        archive::finish(&this.archive, &this.behaviour, &this.name, config, layers)?;
        let image = this.image();
        match this.behaviour.as_str() {
            // The archive is complete, but the sink is not finished.
            "never-finished" => drop(this.archive),
            _ => drop(Sink::finish(this.archive)?),
        }
        let expect = |role: Role, place: Place, member: &Member| Expectation {
            role,
            place,
            size: Some(member.size),
            digest: Some(member.digest.clone()),
        };
        let mut expectations = vec![expect(Role::Config, Place::Image(image.clone()), config)];
        expectations.extend((0..).zip(layers).map(|(index, layer)| {
            let place = Place::ImageLayer(ImageLayer { image: image.clone(), index });
            expect(Role::Layer(index), place, layer)
        }));
        falsify(&this.behaviour, &mut expectations);
        Ok(Receipt { expectations, state: this.behaviour.into_bytes() })
    }
}

/// Falsifies the receipt as `behaviour` says.
fn falsify(behaviour: &str, expectations: &mut Vec<Expectation>) {
    let place =
        |image: &str, index: u32| Place::ImageLayer(ImageLayer { image: image.to_owned(), index });
    match behaviour {
        "receipt-no-config" => drop(expectations.remove(0)),
        "receipt-no-layer" => drop(expectations.remove(2)),
        "receipt-swapped" => {
            expectations[1].role = Role::Layer(1);
            expectations[2].role = Role::Layer(0);
        }
        // The receipt has the same wrong order as the archive.
        "all-swapped" => {
            let (one, two) = (expectations[1].clone(), expectations[2].clone());
            (expectations[1].digest, expectations[1].size) = (two.digest, two.size);
            (expectations[2].digest, expectations[2].size) = (one.digest, one.size);
        }
        "receipt-invented" => expectations[1].digest = Some(ZEROS.to_owned()),
        "receipt-size" => expectations[1].size = Some(1),
        "receipt-index" => expectations[1].place = place("team/app:1", u32::MAX),
        "receipt-other-image" => expectations[0].place = Place::Image("busybox:latest".to_owned()),
        "receipt-other-layer" => expectations[1].place = place("busybox:latest", 0),
        "receipt-file" => expectations[1].place = Place::File("/etc/passwd".to_owned()),
        "receipt-blob" => {
            let digest = expectations[1].digest.clone().unwrap();
            expectations[1].place = Place::Blob(digest);
        }
        _ => {}
    }
}
