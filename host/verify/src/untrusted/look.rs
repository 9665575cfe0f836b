//! Looking at one receipt: the host at every byte, and then the plugin, whose word raises a doubt and
//! settles none.

use std::collections::HashMap;

use super::cost::Spent;
use super::grants::Opened;
use super::watch::Watched;
use super::{Batch, Stop, cost, rules};
use crate::derive::store::Store;
use crate::look::elsewhere;
use crate::look::{objects, unpacked};
use crate::receipt::format::Format;
use crate::receipt::index_children::{self, Beneath};
use crate::receipt::manifest_chain;
use crate::verdict::claims::{Claims, judge_listed};
use crate::verdict::object::Verification;
use crate::verdict::object::{CheckedObject, Outcome, Outcomes, Status};
use crate::verify::says_little;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::limits;
use occystrap_base::oci::Digest;
use occystrap_base::oci::artifact::Promise;
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_net::registry::{Client, Reference};
use occystrap_net::uri::Uri;
use occystrap_output::destination::Grant;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::plugin::Plugin;
use occystrap_output::plugin::bindings::verifier::{self, Finding};
use occystrap_output::plugin::description::{self, parse_boolean};
use occystrap_output::receipt::{Expectation, Place, Receipt};
use occystrap_output::write::target::Target;
use occystrap_output::write::target::{self, REPOSITORY_OPTIONS};

/// A receipt to look at.
pub(super) struct Ask<'a> {
    pub(super) receipt: &'a Receipt,
    /// What looking costs.
    pub(super) spent: &'a Spent<'a>,
    /// Of the same file's receipts, those that are verified.
    pub(super) verified: &'a Outcomes,
}

/// What came of it.
pub(super) struct Looked {
    pub(super) proof: Verification,
    /// What is odd, and changes nothing.
    pub(super) note: Option<String>,
    /// Its manifests are where what is listed is looked for.
    is_kept: bool,
}

impl Looked {
    /// What an index may list now.
    pub(super) fn manifests(&self, receipt: &Receipt) -> impl Iterator<Item = (Digest, Outcome)> {
        let outcome = self.proof.outcome();
        let counts = self.is_kept && outcome == Outcome::Verified;
        receipt.listed_manifests().filter(move |_| counts).map(move |digest| (digest, outcome))
    }
}

impl Batch<'_> {
    /// The verdict on one receipt, or why there is none.
    pub(super) fn look(&self, ask: &Ask, watched: &Watched) -> Result<Looked, Stop> {
        let receipt = ask.receipt;
        let uri = Uri::parse(&receipt.destination)?;
        if uri.credentials.is_some() {
            return Err(Stop::Refused(Error::source("the receipt's destination has a login")));
        }
        let plugin = self.plugins.for_receipt(&uri.scheme, &receipt.plugin).map_err(Stop::Doubt)?;
        let context = self.context_of(watched);
        let target = self.target(&plugin, &uri, &context)?;
        let note = is_of(receipt, &plugin, &uri.scheme)?;
        let format = Format::of(&target);
        let grant = match &target.endpoint {
            target::Endpoint::Directory(path) | target::Endpoint::TaggedDirectory(path, _) => {
                self.grants.open(path, false)?
            }
            target::Endpoint::File(path) => self.grants.open(path, true)?,
            target::Endpoint::Repository(..)
            | target::Endpoint::Engine(..)
            | target::Endpoint::Web(..) => {
                rules::check(receipt, &format, None)?;
                let grant = target.open(&context).map_err(Stop::Doubt)?;
                return judge(ask, &target, &format, &grant, note, &context).map_err(Stop::Doubt);
            }
        };
        let destination = match grant {
            Opened::There(destination) => destination,
            Opened::Missing(error) => {
                let level = Level::Full;
                let proof = Verification::unreachable(level, receipt, &target, &error, None);
                return Ok(Looked { proof, note, is_kept: false });
            }
        };
        rules::check(receipt, &format, destination.file_name())?;
        let grant = Grant::Storage(destination);
        judge(ask, &target, &format, &grant, note, &context).map_err(Stop::Doubt)
    }

    /// What a receipt's destination names. Nothing is opened or asked.
    fn target(&self, plugin: &Plugin, uri: &Uri, context: &Context) -> Result<Target, Stop> {
        let doubt = |message: String, hint: &str| {
            Err(Stop::Doubt(Error::new(Kind::Auth, message).hint(hint)))
        };
        match plugin.description().destination {
            description::DestinationKind::Engine => {
                return doubt(
                    format!("'{}': receipts of unknown origin get no engine", uri.display()),
                    "'occystrap verify RECEIPT', without --untrusted, asks the engine",
                );
            }
            description::DestinationKind::Repository => {
                let host = Reference::parse(&uri.rest)?.host;
                if !self.grants.allows(&host) {
                    return doubt(
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
                    return doubt(
                        "how a registry is spoken to is not the receipt's to say".to_owned(),
                        "--insecure, --username and --password hold for all receipts",
                    );
                }
            }
            _ => {}
        }
        let client = |_: &Uri| {
            let settings = self.grants.settings();
            let shared =
                self.client.get_or_init(|| Client::new(settings, self.context.cancel.clone()));
            shared
                .as_ref()
                .map(|shared| shared.with_cancel(context.cancel.clone()))
                .map_err(Error::clone)
        };
        Ok(Target::with_plugin(plugin.clone(), uri, client, &context.cancel)?)
    }
}

/// A receipt names the plugin that answers to its destination's scheme. Of another version of that, it
/// is noted.
fn is_of(receipt: &Receipt, plugin: &Plugin, scheme: &str) -> Result<Option<String>, Stop> {
    let (wrote, is) = (&receipt.plugin, &plugin.description().name);
    if wrote.name != *is {
        let message =
            format!("the receipt is of plugin '{}', '{scheme}://' is that of '{is}'", wrote.name);
        return Err(Stop::Doubt(Error::new(Kind::Plugin, message)));
    }
    let (then, now) = (wrote.sha256, plugin.sha256());
    let other = then != now;
    Ok(other.then(|| {
        format!("the receipt is of plugin '{is}' {}, this is {}", then.short(), now.short())
    }))
}

fn judge(
    ask: &Ask,
    target: &Target,
    format: &Format,
    grant: &Grant,
    note: Option<String>,
    context: &Context,
) -> Result<Looked> {
    let memory = HashMemo::default();
    let receipt = ask.receipt;
    let expectations = &receipt.expectations;
    ask.spent.count(cost::of(expectations, &receipt.journal, grant, &memory))?;
    let claims = manifest_chain::claims(receipt, format, grant, Level::Full, &memory);
    let little = says_little(receipt, format, &claims);
    // First, so that no byte is read twice.
    let wrong = match grant {
        Grant::Storage(destination) => {
            unpacked::layers(expectations, &claims, destination, &memory, &context.cancel)?
        }
        _ => Vec::new(),
    };
    let mut objects = objects::of(receipt, target, grant, &claims, Level::Full, &memory, context)?;
    elsewhere::of_receipt(receipt, grant, &memory, &mut objects);
    if let Grant::Storage(destination) = grant {
        unpacked::judge(wrong, &mut objects);
        claims.judge(expectations, &mut objects);
        check_journal(receipt, destination, &mut objects);
    }
    check_layers(expectations, &claims, &mut objects);
    // What a receipt that was cut leaves out is no fault of the manifest.
    match &little {
        Some(why) => objects.push(CheckedObject::unchecked(grant.whole(), why)),
        None => manifest_chain::judge(receipt, format, grant, &memory, &mut objects),
    }
    if receipt.image.part.is_index() {
        let store = index_children::store(format, grant, &memory, context);
        let counted = store.as_deref().map(|store| cost::Counted {
            store,
            spent: ask.spent,
            grant,
            memory: &memory,
            manifests: 0.into(),
        });
        let store = counted.as_ref().map(|counted| counted as &dyn Store);
        let looked = ask.verified;
        let beneath = Beneath { receipt, grant, memory: &memory, looked };
        beneath.judge(store, Level::Full, &mut objects)?;
    }
    context.cancel.check()?;
    // Who has lost cannot win by more looking, and what the plugin says changes nothing.
    if little.is_none() && !objects.iter().any(|object| object.status.is_bad()) {
        let session = target.plugin.verify(grant, &memory, &context.cancel);
        let said =
            session.and_then(|session| session.verify(&receipt.for_guest(), verifier::Level::Full));
        hear(said, &target.plugin.description().name, grant, &mut objects)?;
    }
    let is_kept = format.has_manifests();
    let is_artifact = claims.is_artifact();
    if !is_artifact {
        judge_listed(receipt, &claims, &mut objects);
    }
    let proof = Verification { level: Level::Full, objects, is_artifact };
    Ok(Looked { proof, note, is_kept })
}

/// What a journal says of a file's size must be so, even where nobody needs the journal. Of files that
/// several images share nothing is said: they change.
fn check_journal(receipt: &Receipt, destination: &Destination, objects: &mut [CheckedObject]) {
    let written: HashMap<&str, u64> =
        receipt.journal.iter().map(|file| (file.path.as_str(), file.size)).collect();
    for (one, object) in receipt.expectations.iter().zip(objects) {
        let (Place::File { path }, Status::Ok) = (&one.place, object.status) else { continue };
        let Some(said) = written.get(path.as_str()) else { continue };
        let found = destination.dir().and_then(|dir| dir.symlink_metadata(path));
        let found = found.map_or(0, |metadata| metadata.len());
        if found != *said {
            let side = |size: u64| Some(format!("{size} bytes"));
            let message = "has another size than its journal says";
            object.blame(Status::SizeMismatch, side(*said), side(found), message);
        }
    }
}

/// A layer is the image's when the config says so, and the host has seen what it unpacks to. An
/// artifact's config need not say anything.
pub(super) fn check_layers(
    expectations: &[Expectation],
    claims: &Claims,
    objects: &mut [CheckedObject],
) {
    if claims.is_artifact() && claims.layers().is_none() {
        return;
    }
    claims.doubt_secrets(expectations, objects);
    for (one, object) in expectations.iter().zip(objects) {
        if !one.role.is_layer() || object.status != Status::Ok {
            continue;
        }
        let why = match (claims.promise(one.role), &one.place) {
            (None, _) => "the config does not say what this layer is",
            (Some(Promise::DiffId(diff_id)), Place::Part { .. }) if one.digest != Some(diff_id) => {
                "is not the layer that the config names, or compressed where the host cannot tell"
            }
            _ => continue,
        };
        object.blame(Status::Unchecked, None, None, why);
    }
}

/// What the plugin says, where the host has found nothing: a doubt.
fn hear(
    said: Result<Vec<Finding>>,
    plugin: &str,
    grant: &Grant,
    objects: &mut Vec<CheckedObject>,
) -> Result<()> {
    let findings = match said {
        Ok(findings) => findings,
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            let mut object = CheckedObject::of_plugin(grant.whole(), &error);
            object.status = Status::Unchecked;
            objects.push(object);
            return Ok(());
        }
    };
    for finding in findings.into_iter().take(limits::UNTRUSTED_FINDINGS) {
        let location = grant.display(&finding.subject);
        let at = objects.iter().position(|object| object.location == location);
        let at = at.unwrap_or_else(|| {
            objects.push(CheckedObject::at(location));
            objects.len() - 1
        });
        objects[at].accuse(plugin, finding);
        objects[at].status = Status::Unchecked;
    }
    Ok(())
}
