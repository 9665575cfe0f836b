//! The report of one image.

use std::time::Duration;

use serde::Serialize;

use super::object::ObjectReport;
use super::seconds;
use crate::verdict::flaw::Status;
use crate::verdict::found::Found;
use crate::verdict::object::Verification;

use crate::verdict::outcome::Outcome;
use occystrap_base::error::{Error, Kind};
use occystrap_base::oci::{Digest, ImageName, PlatformPart};
use occystrap_base::secret;
use occystrap_base::terminal::size::size;
use occystrap_net::context::Context;
use occystrap_output::receipt::Receipt;

/// The result for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStatus {
    /// Everything was checked and nothing is wrong.
    Verified,
    /// Something is wrong.
    Failed,
    /// Something could not be checked.
    Unconfirmed,
    /// The run did not verify it.
    NotVerified,
    /// It could not be moved.
    Error,
}

impl From<Outcome> for ImageStatus {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Verified => Self::Verified,
            Outcome::Failed => Self::Failed,
            Outcome::Unconfirmed => Self::Unconfirmed,
        }
    }
}

/// The kind of what refers to an image.
const REFERRER: &str = "referrer";

/// One image of a run.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    source: String,
    destination: String,
    pub(super) image: String,
    tag: String,
    /// The platform, such as `linux/arm64/v8`, where it is known.
    platform: Option<String>,
    /// [`Receipt::manifest_digest`].
    pub digest: Option<Digest>,
    kind: &'static str,
    /// The result.
    pub status: ImageStatus,
    pub(super) layers: usize,
    pub(super) bytes: u64,
    seconds: f64,
    pub(super) retries: u64,
    pub(super) rate_limits: u64,
    /// Why it could not be moved, or not be checked.
    pub error: Option<Error>,
    #[serde(serialize_with = "super::object::serialize")]
    pub(super) verification: Option<Verification>,
    /// The warnings that the user got while it was written.
    pub warnings: Vec<String>,
    #[serde(skip)]
    pub(super) part: PlatformPart,
    #[serde(skip)]
    pub(super) note: Option<String>,
    /// How long its verification took.
    #[serde(skip)]
    pub verified_in: Duration,
    /// It landed, and its receipt could not be written.
    #[serde(skip)]
    pub(super) lacks_receipt: bool,
}

impl ImageReport {
    /// Returns the report of an image that is being moved.
    #[must_use]
    pub fn started(source: &str, destination: &str, name: &ImageName) -> Self {
        // An archive names its images itself: no URI has shown that the name is not a secret.
        secret::show(&name.to_string());
        Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
            image: name.repository.clone(),
            tag: name.tag.clone().unwrap_or_default(),
            platform: None,
            digest: None,
            kind: "image",
            part: PlatformPart::Whole,
            status: ImageStatus::Error,
            layers: 0,
            bytes: 0,
            seconds: 0.0,
            retries: 0,
            rate_limits: 0,
            error: None,
            verification: None,
            warnings: Vec::new(),
            note: None,
            verified_in: Duration::ZERO,
            lacks_receipt: false,
        }
    }

    /// Returns what is wrong with it, or why it could not be checked: its error, or that of its first object that is not
    /// *ok*.
    #[must_use]
    pub fn problem(&self) -> Option<Error> {
        let objects = self.verification.iter().flat_map(Verification::problems);
        self.error.clone().or_else(|| objects.map(super::words::error_of).next())
    }

    /// Returns the report of a source that could not be read.
    #[must_use]
    pub fn failed(source: &str, destination: &str, error: Error, context: &Context) -> Self {
        let name = ImageName { repository: String::new(), tag: None };
        let mut report = Self::started(source, destination, &name);
        report.error = Some(error);
        report.finish(Duration::ZERO, context)
    }

    /// Returns the report of a destination that could not be opened for verification: UNCONFIRMED where the error does not
    /// concern the image itself, FAILED where the image is not there or is something else.
    #[must_use]
    pub fn unopened(display: &str, error: Error, context: &Context) -> Self {
        let status = match error.kind() {
            Kind::Usage | Kind::Interrupted => ImageStatus::Error,
            _ if error.is_unconfirmed() => ImageStatus::Unconfirmed,
            _ => ImageStatus::Failed,
        };
        Self { status, ..Self::failed(display, display, error, context) }
    }

    /// Returns the report of an image with a receipt.
    #[must_use]
    pub fn of_receipt(receipt: &Receipt) -> Self {
        let platform = match &receipt.image.part {
            PlatformPart::Platform(platform) => Some(platform.as_str()),
            PlatformPart::Whole
            | PlatformPart::Index
            | PlatformPart::Nested(_)
            | PlatformPart::Referrer(_) => None,
        };
        Self::started(&receipt.source, &receipt.destination, &receipt.image.image_name())
            .about(receipt.image.part.clone(), platform)
    }

    /// Returns the report of an image with a receipt whose plugin is missing: UNCONFIRMED, because nothing is known about
    /// the image itself.
    #[must_use]
    pub fn without_plugin(receipt: &Receipt, error: Error) -> Self {
        Self { status: ImageStatus::Unconfirmed, error: Some(error), ..Self::of_receipt(receipt) }
    }

    /// Returns the report of an image without a receipt.
    #[must_use]
    pub fn found(destination: &str, found: Found) -> Self {
        let mut report = Self::started(destination, destination, &found.name)
            .about(found.part, found.platform.as_deref());
        (report.layers, report.bytes) = (found.layers, found.bytes);
        report.set_verification(Some(found.verification));
        report
    }

    /// Sets the part of the image, and its platform.
    #[must_use]
    pub fn about(mut self, part: PlatformPart, platform: Option<&str>) -> Self {
        self.kind = match &part {
            PlatformPart::Index | PlatformPart::Nested(_) => "index",
            PlatformPart::Referrer(_) => REFERRER,
            PlatformPart::Whole | PlatformPart::Platform(_) => "image",
        };
        self.platform = platform.map(str::to_owned);
        self.part = part;
        self
    }

    /// Records that it could not be moved, or not be finished.
    pub fn fail(&mut self, error: Error) {
        self.status = ImageStatus::Error;
        self.error = Some(error);
    }

    /// Records that it was written, and that something beside its own objects is wrong.
    pub fn fail_verification(&mut self, error: Error) {
        self.status = ImageStatus::Failed;
        self.error = Some(error);
    }

    /// Records that it was written, and its verification where there was one.
    pub fn landed(&mut self, receipt: &Receipt, proof: Option<Verification>, note: Option<&str>) {
        let layers = receipt.expectations.iter().filter(|e| e.role.is_layer());
        self.layers = layers.count();
        self.bytes = receipt.bytes();
        self.digest = receipt.manifest_digest();
        self.note = note.map(str::to_owned);
        self.set_verification(proof);
    }

    /// Records that it landed and that its receipt could not be written. The report has both.
    pub fn without_receipt(&mut self, error: Error) {
        self.error = Some(error.within("the image has landed, but its receipt was not written"));
        self.lacks_receipt = true;
    }

    /// Ends the report.
    #[must_use]
    pub fn finish(mut self, took: Duration, context: &Context) -> Self {
        self.seconds = seconds(took);
        self.retries = context.counters.retries();
        self.rate_limits = context.counters.rate_limits();
        self
    }

    fn set_verification(&mut self, proof: Option<Verification>) {
        self.status = match proof.as_ref().map(Verification::outcome) {
            None => ImageStatus::NotVerified,
            Some(outcome) => outcome.into(),
        };
        if self.kind != REFERRER && proof.as_ref().is_some_and(|proof| proof.is_artifact) {
            self.kind = "artifact";
        }
        self.verification = proof;
    }

    /// Returns the objects that are wrong or could not be checked, at most `most`.
    #[must_use]
    pub fn problems(&self, most: usize) -> Vec<ObjectReport> {
        let objects = self.verification.iter().flat_map(|proof| &proof.objects);
        let problems = objects.filter(|object| object.status != Status::Ok);
        problems.take(most).map(ObjectReport::of).collect()
    }

    /// Returns the verdict, where it was verified.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.verification.as_ref().map(Verification::outcome)
    }

    /// Logs the result and the digest of the image, for `-v`.
    pub fn log(&self) {
        match self.digest {
            Some(digest) => tracing::info!("{}, {digest}", self.line()),
            None => tracing::info!("{}", self.line()),
        }
    }

    /// Returns the result in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let outcome = match self.status {
            ImageStatus::Verified => "verified",
            ImageStatus::Failed => "FAILED",
            ImageStatus::Unconfirmed => "UNCONFIRMED",
            ImageStatus::NotVerified => "not verified",
            ImageStatus::Error => return format!("{}: not moved", self.name()),
        };
        match self.part {
            PlatformPart::Index | PlatformPart::Nested(_) => format!("{}: {outcome}", self.name()),
            _ => {
                let (layers, bytes) = (self.layers, size(self.bytes));
                let kind = if self.is_artifact() { "artifact, " } else { "" };
                format!("{}: {kind}{layers} layers, {bytes}, {outcome}", self.name())
            }
        }
    }

    /// Returns whether this is an image with a name of its own, and not a part of another one.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.part.is_whole() && !self.is_artifact()
    }

    /// Returns whether it is an artifact. Its layers are compared with its config only where the config lists them.
    pub(super) fn is_artifact(&self) -> bool {
        self.kind == "artifact" || self.kind == REFERRER
    }

    /// Returns how lines about it begin.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.image.as_str(), self.tag.as_str()) {
            ("", _) => self.source.clone(),
            (image, "") => format!("{image}{}", self.part),
            (image, tag) => format!("{image}:{tag}{}", self.part),
        }
    }
}
