//! What a verification says of each thing, and of all together.

use std::collections::BTreeMap;

use serde::Serialize;

use occystrap_base::error::{Error, Kind, printable};
use occystrap_base::oci::Digest;
use occystrap_images::level::Level;
use occystrap_output::plugin::bindings::verifier::{Finding, Problem};
use occystrap_output::receipt::{Expectation, Receipt, Role};
use occystrap_output::write::target::Target;

/// What was found of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As recorded.
    Ok,
    /// Not there.
    Missing,
    /// There, with another size.
    SizeMismatch,
    /// There, with other content.
    DigestMismatch,
    /// There, but it cannot be read or is not of its form.
    Unreadable,
    /// Could not be looked at; the message says why.
    Unchecked,
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Missing => Self::Missing,
            Problem::SizeMismatch => Self::SizeMismatch,
            Problem::DigestMismatch => Self::DigestMismatch,
            Problem::Unreadable => Self::Unreadable,
        }
    }
}

impl Status {
    /// Whether something wrong was seen.
    #[must_use]
    pub fn is_bad(self) -> bool {
        !matches!(self, Self::Ok | Self::Unchecked)
    }

    /// As in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::SizeMismatch => "size-mismatch",
            Self::DigestMismatch => "digest-mismatch",
            Self::Unreadable => "unreadable",
            Self::Unchecked => "unchecked",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct CheckedObject {
    /// `config`, `layer`, `manifest`, `catalog` or `image`.
    pub kind: &'static str,
    /// Of a layer.
    pub index: Option<u32>,
    /// Where, as the user named it.
    pub location: String,
    /// What it must have.
    pub digest: Option<Digest>,
    /// What it must have, in bytes.
    pub size: Option<u64>,
    /// What was found.
    pub status: Status,
    /// One side of a difference.
    pub expected: Option<String>,
    /// The other side.
    pub found: Option<String>,
    /// In words; empty when all is well.
    pub message: String,
    /// The command that mends it.
    pub repair: Option<String>,
    /// What the user can do to have it looked at.
    #[serde(skip)]
    pub hint: Option<String>,
    /// What is wrong is nothing that a plugin can see: it did not overlook it.
    #[serde(skip)]
    pub host_only: bool,
    /// It need not be here: its manifest says where else it is.
    #[serde(skip)]
    pub is_elsewhere: bool,
}

impl CheckedObject {
    /// Something with nothing wrong so far.
    #[must_use]
    pub fn at(location: String) -> Self {
        Self {
            kind: "image",
            index: None,
            location,
            digest: None,
            size: None,
            status: Status::Ok,
            expected: None,
            found: None,
            message: String::new(),
            repair: None,
            hint: None,
            host_only: false,
            is_elsewhere: false,
        }
    }

    /// Something that could not be looked at, and why.
    #[must_use]
    pub fn unchecked(location: String, why: &str) -> Self {
        let mut object = Self::at(location);
        object.blame(Status::Unchecked, None, None, why);
        object
    }

    /// What is expected, with nothing wrong so far.
    #[must_use]
    pub fn expected(one: &Expectation, location: String) -> Self {
        let object = Self::at(location).for_role(one.role);
        Self { digest: one.digest, size: one.size, ..object }
    }

    /// Name what it is for.
    #[must_use]
    pub fn for_role(mut self, role: Role) -> Self {
        (self.kind, self.index) = match role {
            Role::Config => ("config", None),
            Role::Layer(index) => ("layer", Some(index)),
            Role::Manifest => ("manifest", None),
            Role::Catalog => ("catalog", None),
            Role::Image => ("image", None),
        };
        self
    }

    /// A plugin that broke a rule, failed, or saw nothing while it verified a destination.
    #[must_use]
    pub fn of_plugin(location: String, error: &Error) -> Self {
        let mut object = Self::at(location);
        object.blame_error(Status::Unreadable, error);
        object
    }

    /// Something is wrong: which way, and both sides.
    pub fn blame(
        &mut self,
        status: Status,
        expected: Option<String>,
        found: Option<String>,
        message: &str,
    ) {
        self.status = status;
        (self.expected, self.found) = (expected, found);
        message.clone_into(&mut self.message);
    }

    /// Something that no destination of this kind can hold.
    pub fn misplaced(&mut self) {
        self.blame(Status::Unreadable, None, None, "is not a thing that this destination has");
    }

    /// Something is wrong, or could not be looked at, as an error says.
    pub fn blame_error(&mut self, status: Status, error: &Error) {
        let status = match error.kind() {
            _ if error.is_unconfirmed() => Status::Unchecked,
            Kind::NotFound => Status::Missing,
            _ => status,
        };
        let text = error.to_string();
        // The place and both sides have their own place in a finding.
        let mut message = text.as_str();
        // What is said of a repository is said of each of its things.
        if let Some((place, rest)) = message.split_once(": ")
            && let Some(part) = self.location.strip_prefix(place)
            && (part.is_empty() || part.starts_with(['@', ':']))
        {
            message = rest;
        }
        let sides =
            error.difference().map(|(expected, found)| (expected.to_string(), found.to_string()));
        if let Some((expected, found)) = &sides
            && let Some(rest) =
                message.strip_suffix(&format!(": expected {expected}, found {found}"))
        {
            message = rest;
        }
        let (expected, found) = sides.unzip();
        self.blame(status, expected, found, message);
        self.hint = error.hint_text().map(str::to_owned);
    }

    /// A plugin says that something is wrong which the host has not seen.
    pub fn accuse(&mut self, plugin: &str, finding: Finding) {
        self.blame(
            finding.problem.into(),
            finding.expected.as_deref().map(printable),
            finding.found.as_deref().map(printable),
            &printable(&format!("plugin '{plugin}' reports: {}", finding.message)),
        );
    }
}

/// What is said of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything was looked at and is right.
    Verified,
    /// Something wrong was seen.
    Failed,
    /// Nothing wrong was seen, and something could not be looked at.
    Unconfirmed,
}

/// What came of images, by the digests of their manifests.
pub type Outcomes = BTreeMap<Digest, Outcome>;

/// A verification of one image.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// How far it went.
    pub level: Level,
    /// Everything that was looked at.
    pub objects: Vec<CheckedObject>,
    /// It is no image, by its manifest, and stands where images do.
    #[serde(skip)]
    pub is_artifact: bool,
}

impl Verification {
    /// Of what is an image, or an index of some.
    #[must_use]
    pub fn new(level: Level, objects: Vec<CheckedObject>) -> Self {
        Self { level, objects, is_artifact: false }
    }

    /// The verdict. Nothing looked at is nothing verified.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let has =
            |status: fn(Status) -> bool| self.objects.iter().any(|object| status(object.status));
        if has(Status::is_bad) {
            Outcome::Failed
        } else if self.objects.is_empty() || has(|status| status == Status::Unchecked) {
            Outcome::Unconfirmed
        } else {
            Outcome::Verified
        }
    }

    /// Everything that is not `ok`.
    pub fn problems(&self) -> impl Iterator<Item = &CheckedObject> {
        self.objects.iter().filter(|object| object.status != Status::Ok)
    }

    /// A destination that could not even be opened.
    #[must_use]
    pub fn unreachable(
        level: Level,
        receipt: &Receipt,
        target: &Target,
        error: &Error,
        repair: Option<&str>,
    ) -> Self {
        let objects = receipt.expectations.iter().map(|expectation| {
            let location = target.display_part(&expectation.place.subject());
            let mut object = CheckedObject::expected(expectation, location);
            object.blame_error(Status::Missing, error);
            if object.status.is_bad() {
                object.repair = repair.map(str::to_owned);
            }
            object
        });
        Self::new(level, objects.collect())
    }
}
