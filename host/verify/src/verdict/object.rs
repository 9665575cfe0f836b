//! What a verification found of each object, and the verdict on all of them together.

pub use super::flaw::Status;
use super::flaw::{Difference, Flaw, Hint, Reason};
use occystrap_base::error::{Error, printable};
use occystrap_base::oci::Digest;
use occystrap_images::level::Level;
use occystrap_output::plugin::bindings::verifier::Finding;
use occystrap_output::receipt::{Expectation, Receipt, Role};
use occystrap_output::write::target::Target;

/// One object that was checked.
#[derive(Debug, Clone)]
pub struct CheckedObject {
    /// `config`, `layer`, `manifest`, `catalog` or `image`.
    pub kind: &'static str,
    /// The index of a layer, from 0.
    pub index: Option<u32>,
    /// Where it is, as the user named the destination.
    pub location: String,
    /// The digest that it must have.
    pub digest: Option<Digest>,
    /// The size that it must have, in bytes.
    pub size: Option<u64>,
    /// The state that was found.
    pub status: Status,
    /// What is wrong, or why it could not be checked. `None` while the status is *ok*.
    pub reason: Option<Reason>,
    /// Both sides, where it is about a difference.
    pub difference: Option<Difference>,
    /// The command that repairs it.
    pub repair: Option<String>,
    /// What the user can do where no command repairs it.
    pub hint: Option<Hint>,
    /// The flaw is one that a plugin cannot see: the plugin did not overlook it.
    pub host_only: bool,
    /// It need not be here: its manifest says where else it is.
    pub is_elsewhere: bool,
}

impl CheckedObject {
    /// Returns an object without a flaw.
    #[must_use]
    pub fn at(location: String) -> Self {
        Self {
            kind: "image",
            index: None,
            location,
            digest: None,
            size: None,
            status: Status::Ok,
            reason: None,
            difference: None,
            repair: None,
            hint: None,
            host_only: false,
            is_elsewhere: false,
        }
    }

    /// Returns an object that could not be checked.
    #[must_use]
    pub fn unchecked(location: String, reason: Reason) -> Self {
        let mut object = Self::at(location);
        object.mark_unchecked(reason);
        object
    }

    /// Returns an object without a flaw, with what is expected of it.
    #[must_use]
    pub fn expected(one: &Expectation, location: String) -> Self {
        let object = Self::at(location).for_role(one.role);
        Self { digest: one.digest, size: one.size, ..object }
    }

    /// Names what the object is for.
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

    /// Returns the finding about a plugin that broke a rule, failed, or overlooked something while it verified a
    /// destination.
    #[must_use]
    pub fn of_plugin(location: String, error: &Error) -> Self {
        let mut object = Self::at(location);
        object.fail_with(Status::Unreadable, error);
        object
    }

    /// Records a flaw. A hint stays where the flaw has none.
    pub fn record(&mut self, flaw: Flaw) {
        self.status = flaw.status;
        (self.reason, self.difference) = (Some(flaw.reason), flaw.difference);
        if flaw.hint.is_some() {
            self.hint = flaw.hint;
        }
    }

    /// Records a flaw in place of an earlier one, and drops the hint of that.
    pub fn replace(&mut self, flaw: Flaw) {
        self.hint = None;
        self.record(flaw);
    }

    /// Records a flaw of an object that has none so far, and that a plugin need not have seen.
    pub fn record_if_ok(&mut self, flaw: Flaw) {
        if self.status == Status::Ok {
            self.replace(flaw);
            self.host_only = true;
        }
    }

    /// Records a flaw without sides.
    pub fn fail(&mut self, status: Status, reason: Reason) {
        self.record(Flaw::new(status, reason));
    }

    /// Records that the object could not be checked.
    pub fn mark_unchecked(&mut self, reason: Reason) {
        self.fail(Status::Unchecked, reason);
    }

    /// Records that no destination of this kind can hold the object.
    pub fn misplaced(&mut self) {
        self.fail(Status::Unreadable, Reason::Misplaced);
    }

    /// Records the flaw that an error describes, as [`Flaw::of_error`].
    pub fn fail_with(&mut self, status: Status, error: &Error) {
        self.replace(Flaw::of_error(status, error));
    }

    /// Records a problem that a plugin reports and the host has not seen.
    pub fn report_from_plugin(&mut self, plugin: &str, finding: Finding) {
        let side = |text: Option<String>| text.as_deref().map(printable);
        let (expected, found) = (side(finding.expected), side(finding.found));
        let digest = |side: &Option<String>| side.as_ref().and_then(|side| side.parse().ok());
        let difference = match (digest(&expected), digest(&found)) {
            (Some(expected), Some(found)) => Some(Difference::digests(expected, found)),
            _ if expected.is_none() && found.is_none() => None,
            _ => Some(Difference::Value { expected, found }),
        };
        let plugin = plugin.to_owned();
        let reason = Reason::OfPlugin { plugin, message: finding.message };
        self.record(Flaw { difference, ..Flaw::new(finding.problem.into(), reason) });
    }

    /// Returns whether the bytes of the object were hashed, and are not those of its digest.
    #[must_use]
    pub fn has_other_bytes(&self) -> bool {
        match (self.digest, &self.difference) {
            (
                Some(named),
                Some(Difference::Digest { expected: Some(expected), found: Some(found) }),
            ) => named == *expected && expected != found,
            _ => false,
        }
    }
}

/// The verification of one image.
#[derive(Debug, Clone)]
pub struct Verification {
    /// How far it went.
    pub level: Level,
    /// Everything that was checked.
    pub objects: Vec<CheckedObject>,
    /// By its manifest it is an artifact and not an image.
    pub is_artifact: bool,
}

impl Verification {
    /// Returns the verification of an image, or of an index of images.
    #[must_use]
    pub fn new(level: Level, objects: Vec<CheckedObject>) -> Self {
        Self { level, objects, is_artifact: false }
    }

    /// Returns every object that is not *ok*.
    pub fn problems(&self) -> impl Iterator<Item = &CheckedObject> {
        self.objects.iter().filter(|object| object.status != Status::Ok)
    }

    /// Returns the verification of a destination that could not be opened.
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
            object.fail_with(Status::Missing, error);
            if object.status.is_bad() {
                object.repair = repair.map(str::to_owned);
            }
            object
        });
        Self::new(level, objects.collect())
    }
}
