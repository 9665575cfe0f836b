//! The check of one receipt: the host reads every byte, and then the plugin verifies. A problem that only the plugin
//! reports makes the image UNCONFIRMED; its approval never counts.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::batch_limits::Stop;
use super::cost::{self, Purse, Spent};
use super::grants::{Grants, Opened};
use super::rules;
use super::watch::{TimeWatch, Watched};
use crate::derive::store::Store;
use crate::look::unpacked;
use crate::receipt::format::DestinationFormat;
use crate::receipt::index_children::{self, Beneath};
use crate::receipt::plugins::Plugins;
use crate::receipt::{completeness, manifest_chain, objects as of_receipt};
use crate::verdict::claims::compare_listed;
use crate::verdict::flaw::{Difference, Flaw, Reason, Status};
use crate::verdict::object::{CheckedObject, Verification};

use crate::verdict::outcome::{Outcome, Outcomes};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::progress::Progress;
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_net::registry::{Reference, RegistryClient};
use occystrap_net::uri::Uri;
use occystrap_output::destination::ReadAccess;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::read_access::FolderReader;
use occystrap_output::plugin::Plugin;
use occystrap_output::plugin::bindings::verifier::{self, Finding};
use occystrap_output::plugin::description::{self, parse_boolean};
use occystrap_output::receipt::{Place, Receipt};
use occystrap_output::write::target::Target;
use occystrap_output::write::target::{self, REPOSITORY_OPTIONS};

/// A receipt to check.
pub(super) struct Ask<'a> {
    pub(super) receipt: &'a Receipt,
    /// The bytes that were read for it.
    pub(super) spent: &'a Spent<'a>,
    /// The verified manifests of earlier receipts in the file.
    pub(super) verified: &'a Outcomes,
}

/// A verdict on a receipt.
pub(super) struct Checked {
    pub(super) proof: Verification,
    /// A remark that does not change the verdict.
    pub(super) note: Option<String>,
    /// Its manifests are where an index that lists them is followed.
    is_kept: bool,
}

impl From<Checked> for (Verification, Option<String>) {
    fn from(checked: Checked) -> Self {
        (checked.proof, checked.note)
    }
}

impl Checked {
    /// Returns the manifests that an index may list without another check.
    pub(super) fn manifests(&self, receipt: &Receipt) -> impl Iterator<Item = (Digest, Outcome)> {
        let outcome = self.proof.outcome();
        let counts = self.is_kept && outcome == Outcome::Verified;
        receipt.listed_manifests().filter(move |_| counts).map(move |digest| (digest, outcome))
    }
}

/// What all receipts of one batch share.
pub(super) struct Batch<'a> {
    pub(super) grants: &'a Grants,
    pub(super) context: &'a Context,
    pub(super) watch: &'a TimeWatch,
    pub(super) plugins: Plugins<'a>,
    pub(super) client: OnceLock<Result<RegistryClient>>,
    /// The bytes that may be read.
    pub(super) purse: Purse,
}

impl Batch<'_> {
    /// Returns the context for one receipt, which can be cancelled alone. It shows no progress and makes one request at a
    /// time, because other receipts are checked in parallel.
    fn context_of(&self, watched: &Watched) -> Context {
        (self.context.clone())
            .with_cancel(watched.cancel().clone())
            .with_progress(Progress::hidden())
            .with_own_counters()
            .with_parallel(1)
    }

    /// Returns the verdict on one receipt, or why there is none.
    pub(super) fn check(&self, ask: &Ask, watched: &Watched) -> Result<Checked, Stop> {
        let receipt = ask.receipt;
        let uri = Uri::parse(&receipt.destination)?;
        if uri.credentials.is_some() {
            return Err(Stop::Refused(Error::source("the receipt's destination has a login")));
        }
        let plugin =
            self.plugins.for_receipt(&uri.scheme, &receipt.plugin).map_err(Stop::Unchecked)?;
        let context = self.context_of(watched);
        let target = self.target(&plugin, &uri, &context)?;
        let note = is_of(receipt, &plugin, &uri.scheme)?;
        let format = DestinationFormat::of(&target);
        let opened = match &target.endpoint {
            target::Endpoint::Directory(path) | target::Endpoint::TaggedDirectory(path, _) => {
                self.grants.open(path, false)?
            }
            target::Endpoint::File(path) => self.grants.open(path, true)?,
            target::Endpoint::Repository(..)
            | target::Endpoint::Engine(..)
            | target::Endpoint::Web(..) => {
                rules::check(receipt, &format, None)?;
                let access = target.open_to_read(&context).map_err(Stop::Unchecked)?;
                return check(ask, &target, &format, &access, note, &context)
                    .map_err(Stop::Unchecked);
            }
        };
        let folder = match opened {
            Opened::There(folder) => folder,
            Opened::Missing(error) => {
                let level = Level::Full;
                let proof = Verification::unreachable(level, receipt, &target, &error, None);
                return Ok(Checked { proof, note, is_kept: false });
            }
        };
        rules::check(receipt, &format, folder.file_name())?;
        let access = ReadAccess::Storage(folder);
        check(ask, &target, &format, &access, note, &context).map_err(Stop::Unchecked)
    }

    /// Returns what the destination of a receipt names. Nothing is opened or requested.
    fn target(&self, plugin: &Plugin, uri: &Uri, context: &Context) -> Result<Target, Stop> {
        let refuse = |message: String, hint: &str| {
            Err(Stop::Unchecked(Error::new(Kind::Auth, message).hint(hint)))
        };
        match plugin.description().destination {
            description::DestinationKind::Engine => {
                return refuse(
                    format!(
                        "'{}': receipts of unknown origin cannot name a container engine",
                        uri.display()
                    ),
                    "'occystrap verify RECEIPT', without --untrusted, asks the engine",
                );
            }
            description::DestinationKind::Repository => {
                let host = Reference::parse(&uri.rest)?.host;
                if !self.grants.allows(&host) {
                    return refuse(
                        format!("the registry '{host}' was not granted"),
                        "--allow-registry HOST[:PORT] grants one",
                    );
                }
                let mut own = uri.options.iter().filter(|(name, _)| {
                    REPOSITORY_OPTIONS.contains(&name.as_str()) && name != "max_workers"
                });
                if own.any(|(name, value)| {
                    name != "insecure"
                        || (parse_boolean(value) != Some(false) && !self.grants.settings().insecure)
                }) {
                    return refuse(
                        "a receipt cannot set how a registry is contacted".to_owned(),
                        "--insecure, --username and --password hold for all receipts",
                    );
                }
            }
            _ => {}
        }
        let client = |_: &Uri| {
            let settings = self.grants.settings();
            let shared = self
                .client
                .get_or_init(|| RegistryClient::new(settings, self.context.cancel.clone()));
            shared
                .as_ref()
                .map(|shared| shared.with_cancel(context.cancel.clone()))
                .map_err(Error::clone)
        };
        Ok(Target::with_plugin(plugin.clone(), uri, client, &context.cancel)?)
    }
}

/// Errors where a receipt does not name the plugin of its destination's scheme. Returns a remark where it names another
/// version of that plugin.
fn is_of(receipt: &Receipt, plugin: &Plugin, scheme: &str) -> Result<Option<String>, Stop> {
    let (wrote, is) = (&receipt.plugin, &plugin.description().name);
    if wrote.name != *is {
        let message = format!(
            "the receipt was made by plugin '{}', '{scheme}://' is that of '{is}'",
            wrote.name
        );
        return Err(Stop::Unchecked(Error::new(Kind::Plugin, message)));
    }
    let (then, now) = (wrote.sha256, plugin.sha256());
    let other = then != now;
    Ok(other.then(|| {
        format!(
            "the receipt was made by plugin '{is}' {}; the plugin here is {}",
            then.short(),
            now.short()
        )
    }))
}

fn check(
    ask: &Ask,
    target: &Target,
    format: &DestinationFormat,
    access: &ReadAccess,
    note: Option<String>,
    context: &Context,
) -> Result<Checked> {
    let memory = HashMemo::default();
    let receipt = ask.receipt;
    let expectations = &receipt.expectations;
    ask.spent.count(cost::of(expectations, &receipt.journal, access, &memory))?;
    let claims = manifest_chain::claims(receipt, format, access, Level::Full, &memory);
    let missing = completeness::missing(receipt, format, &claims);
    // First, so that no byte is read twice.
    let wrong = match access {
        ReadAccess::Storage(destination) => {
            unpacked::layers(expectations, &claims, destination, &memory, &context.cancel)?
        }
        _ => Vec::new(),
    };
    let mut objects =
        of_receipt::of(receipt, target, access, &claims, Level::Full, &memory, context)?;
    manifest_chain::excuse_elsewhere(receipt, access, &memory, &mut objects);
    if let ReadAccess::Storage(destination) = access {
        unpacked::record(wrong, &mut objects);
        claims.compare(expectations, &mut objects);
        check_journal(receipt, destination, &mut objects);
    }
    claims.mark_unpromised(expectations, &mut objects);
    // What is missing in a cut receipt is not a flaw of the manifest.
    let is_complete = missing.is_none();
    match missing {
        Some(missing) => {
            let reason = Reason::ReceiptSaysLittle { missing };
            objects.push(CheckedObject::unchecked(access.whole(), reason));
        }
        None => manifest_chain::check(receipt, format, access, &memory, &mut objects),
    }
    if receipt.image.part.is_index() {
        let store = index_children::store(format, access, &memory, context);
        let counted = store.as_deref().map(|store| cost::Counted {
            store,
            spent: ask.spent,
            access,
            memory: &memory,
            manifests: 0.into(),
        });
        let store = counted.as_ref().map(|counted| counted as &dyn Store);
        let looked = ask.verified;
        let beneath = Beneath { receipt, access, memory: &memory, looked };
        beneath.check(store, Level::Full, &mut objects)?;
    }
    context.cancel.check()?;
    // The plugin cannot change the verdict on an image that has a flaw.
    if is_complete && !objects.iter().any(|object| object.status.is_bad()) {
        let session = target.plugin.verify(access, &memory, &context.cancel);
        let said =
            session.and_then(|session| session.verify(&receipt.for_guest(), verifier::Level::Full));
        add_doubts(said, &target.plugin.description().name, access, &mut objects)?;
    }
    let is_kept = format.has_manifests();
    let is_artifact = claims.is_artifact();
    if !is_artifact {
        compare_listed(receipt, &claims, &mut objects);
    }
    let proof = Verification { level: Level::Full, objects, is_artifact };
    Ok(Checked { proof, note, is_kept })
}

/// Compares the size of each file with the journal, also where the journal has no other use. Files that several images
/// share change, and are left out.
fn check_journal(receipt: &Receipt, destination: &FolderReader, objects: &mut [CheckedObject]) {
    let written: HashMap<&str, u64> =
        receipt.journal.iter().map(|file| (file.path.as_str(), file.size)).collect();
    for (one, object) in receipt.expectations.iter().zip(objects) {
        let (Place::File { path }, Status::Ok) = (&one.place, object.status) else { continue };
        let Some(said) = written.get(path.as_str()) else { continue };
        let found = destination.symlink_metadata(path);
        let found = found.map_or(0, |metadata| metadata.len());
        if found != *said {
            let flaw = Flaw::new(Status::SizeMismatch, Reason::OtherSizeThanJournal);
            object.record(flaw.between(Difference::Size { expected: *said, found }));
        }
    }
}

/// Adds the findings of the plugin, where the host has found no flaw, as objects that are *unchecked*.
fn add_doubts(
    said: Result<Vec<Finding>>,
    plugin: &str,
    access: &ReadAccess,
    objects: &mut Vec<CheckedObject>,
) -> Result<()> {
    let findings = match said {
        Ok(findings) => findings,
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            let mut object = CheckedObject::of_plugin(access.whole(), &error);
            object.status = Status::Unchecked;
            objects.push(object);
            return Ok(());
        }
    };
    for finding in findings.into_iter().take(limits::UNTRUSTED_FINDINGS) {
        let location = access.display(&finding.subject);
        let at = objects.iter().position(|object| object.location == location);
        let at = at.unwrap_or_else(|| {
            objects.push(CheckedObject::at(location));
            objects.len() - 1
        });
        objects[at].report_from_plugin(plugin, finding);
        objects[at].status = Status::Unchecked;
    }
    Ok(())
}
