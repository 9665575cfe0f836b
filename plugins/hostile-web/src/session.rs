//! Writing an image, and the rules that a plugin can break while writing.

use std::cell::RefCell;

use occystrap_plugin::blobs::{Sink, Written};
use occystrap_plugin::http_in;
use occystrap_plugin::http_out::{self, Method, Transfer};
use occystrap_plugin::writer::{
    Blob, Decision, Error, Expectation, Form, GuestSession, LayerSummary, Place, Receipt, Request,
    Role, Session,
};

use crate::unwanted::send;

pub struct HostileSession {
    behaviour: String,
    folder: String,
    expectations: RefCell<Vec<Expectation>>,
}

impl HostileSession {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.folder)
    }

    fn expect(&self, role: Role, path: String, written: Written) {
        let (size, digest) = (Some(written.size), written.digest);
        let place = Place::File(path);
        self.expectations.borrow_mut().push(Expectation { role, place, size, digest });
    }

    fn write(&self, role: Role, path: String, blob: &Blob) -> Result<(), Error> {
        let transfer = http_out::put_blob(&self.url(&path), &[], blob)?;
        self.expect(role, path, Transfer::wait(transfer)?);
        Ok(())
    }
}

impl GuestSession for HostileSession {
    fn open(request: Request) -> Result<Session, Error> {
        let behaviour = request.options.first().map(|(_, value)| value.clone()).unwrap_or_default();
        let folder = http_in::folder()?;
        Ok(Session::new(Self { behaviour, folder, expectations: RefCell::default() }))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        if !self.behaviour.starts_with("verify-") {
            send(&self.behaviour)?;
        }
        Ok(vec![Decision::Take(Form::Stored); layers.len()])
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        self.write(Role::Config, "config".to_owned(), config)
    }

    fn write_layer(&self, index: u32, _diff_id: String, layer: &Blob) -> Result<(), Error> {
        let path = format!("layer-{index}");
        match self.behaviour.as_str() {
            // Writes one file with other bytes around the layer, through a sink. This is allowed.
            "framed" if index == 0 => {
                let url = self.url("framed");
                let sink = http_out::put_file(&url, &[])?;
                let gap = sink.reserve(4)?;
                let size = sink.splice(layer)?;
                sink.pad(8)?;
                sink.fill(gap, b"head")?;
                let written = Sink::finish(sink)?;
                assert_eq!(written.size, size + 12);
                self.expect(Role::Image, "framed".to_owned(), written);
                Err(Error::Other("framed was written".to_owned()))
            }
            "sink" => {
                let sink = http_out::put_file(&self.url(&path), &[])?;
                sink.splice(layer)?;
                self.expect(Role::Layer(index), path, Sink::finish(sink)?);
                Ok(())
            }
            // Replaces the file after the PUT; the receipt names the first content.
            "replace" => {
                self.write(Role::Layer(index), path.clone(), layer)?;
                http_out::send(Method::Put, &self.url(&path), &[], b"evil")?;
                Ok(())
            }
            "replace-by-post" => {
                self.write(Role::Layer(index), path.clone(), layer)?;
                http_out::send(Method::Post, &self.url(&path), &[], b"evil")?;
                Ok(())
            }
            // Two writes to one URL run at the same time.
            "put-while-put" => {
                let transfer = http_out::put_blob(&self.url(&path), &[], layer)?;
                http_out::send(Method::Put, &self.url(&path.to_uppercase()), &[], b"evil")?;
                self.expect(Role::Layer(index), path, Transfer::wait(transfer)?);
                Ok(())
            }
            "post-while-put" => {
                let transfer = http_out::put_blob(&self.url(&path), &[], layer)?;
                http_out::send(Method::Post, &self.url(&path), &[], b"evil")?;
                self.expect(Role::Layer(index), path, Transfer::wait(transfer)?);
                Ok(())
            }
            "file-while-put" => {
                let sink = http_out::put_file(&self.url(&path), &[])?;
                let transfer = http_out::put_blob(&self.url(&path), &[], layer)?;
                sink.write(b"evil")?;
                Sink::finish(sink)?;
                self.expect(Role::Layer(index), path, Transfer::wait(transfer)?);
                Ok(())
            }
            "last-while-put" => {
                let transfer = http_out::put_blob(&self.url(&path), &[], layer)?;
                http_out::put_last(&self.url(&path), &[], b"evil")?;
                self.expect(Role::Layer(index), path, Transfer::wait(transfer)?);
                Ok(())
            }
            "put-after-last" => {
                http_out::put_last(&self.url(&path), &[], b"evil")?;
                self.write(Role::Layer(index), path, layer)
            }
            "put-after-dropped" => {
                drop(http_out::put_blob(&self.url(&path), &[], layer)?);
                let (size, digest) = (Some(4), None);
                http_out::send(Method::Put, &self.url(&path), &[], b"evil")?;
                let place = Place::File(path);
                let role = Role::Layer(index);
                self.expectations.borrow_mut().push(Expectation { role, place, size, digest });
                Ok(())
            }
            "replace-by-query" => {
                self.write(Role::Layer(index), path.clone(), layer)?;
                http_out::send(Method::Put, &self.url(&format!("{path}?x")), &[], b"evil")?;
                Ok(())
            }
            // Does not wait for the transfer.
            "no-wait" => {
                let transfer = http_out::put_blob(&self.url(&path), &[], layer)?;
                drop(transfer);
                self.expect(Role::Layer(index), path, Written { size: 1, digest: None });
                Ok(())
            }
            _ => self.write(Role::Layer(index), path, layer),
        }
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let session: Self = this.into_inner();
        let last = format!("list of {}", session.expectations.borrow().len());
        let digest = http_out::put_last(&session.url("list"), &[], last.as_bytes())?;
        let written = Written { size: last.len() as u64, digest: Some(digest) };
        session.expect(Role::Manifest, "list".to_owned(), written);
        let mut expectations = session.expectations.into_inner();
        match session.behaviour.as_str() {
            "receipt-invented" => expectations[0].place = Place::File("invented".to_owned()),
            "receipt-outside" => expectations[0].place = Place::File("../config".to_owned()),
            "receipt-query" => expectations[0].place = Place::File("config?x".to_owned()),
            "receipt-digest" => {
                expectations[0].digest = Some(format!("sha256:{}", "0".repeat(64)));
            }
            "receipt-without-layer" => drop(expectations.remove(1)),
            _ => {}
        }
        Ok(Receipt { expectations, state: session.behaviour.into_bytes() })
    }
}
