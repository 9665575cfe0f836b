//! A push of an image by the engine itself (Docker Engine API, "Push an image").

use reqwest::{Method, StatusCode};

use super::engine::{Engine, WORKING};
use super::event::{Event, EventLines};
use occystrap_base::error::{Error, Result, one_line};
use occystrap_base::oci::ImageName;

/// An empty login, as clients send it: `{}` in base64.
const NO_LOGIN: &str = "e30=";

impl Engine {
    /// Lets the engine push an image to the registry in its name, without a login and, for Podman, without checking
    /// certificates. Errors with what the engine says, also after the status 200.
    pub async fn push(&self, name: &ImageName) -> Result<()> {
        super::engine::check_name(&name.to_string())?;
        let query = [("tag", name.tag_or_latest()), ("tlsVerify", "false")];
        let path = format!("images/{}/push", name.repository);
        let what = format!("pushing '{name}'");
        let request = self.request(Method::POST, &path, &query)?;
        let request = request.header("X-Registry-Auth", NO_LOGIN).send();
        let response = self.patiently(WORKING, request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.absent(&name.to_string()));
        }
        let mut response = self.expect(response, &what).await?;
        let mut events = EventLines::default();
        while let Some(piece) = self.patiently(WORKING, response.chunk()).await? {
            events.push(&piece, &what, &self.place, |line| self.check_event(line))?;
        }
        self.check_event(&events.rest())
    }

    /// Errors where an event of a push is an error.
    fn check_event(&self, line: &[u8]) -> Result<()> {
        // What is no event says nothing about the push; whether it arrived shows the manifest.
        let Ok(event) = serde_json::from_slice::<Event>(line) else { return Ok(()) };
        match event.error() {
            None => Ok(()),
            Some(error) => {
                let message = format!("{} did not push the image: {}", self.place, one_line(error));
                Err(Error::source(message))
            }
        }
    }
}
