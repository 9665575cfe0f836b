//! Reading the layers of an image, each once and as many side by side as there are cores: what they
//! are, and every member.

use std::collections::BTreeMap;

use super::compatibility::check_compression;
use super::elsewhere;
use super::finding::{Finding, Findings};
use super::replay::{Replay, TWICE};
use super::{member, whiteout};
use crate::source::view::{View, ViewedLayer};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Hashed;
use occystrap_base::oci::{Compression, Digest};
use occystrap_layer::blob::{self, PlainReader, Stored, from_io, side_by_side};
use occystrap_layer::image::{Content, Layer};
use occystrap_layer::overlay::{MOST_MEMBERS, MemberBudget, MemberList};
use occystrap_layer::tar::Reader;
use occystrap_net::context::Context;

/// What reading a layer found.
struct Read {
    findings: Findings,
    roll: MemberList,
    /// What it is uncompressed; `None` where it could not be read to its end.
    plain: Option<Hashed>,
}

/// Read all layers, and look at what they do to each other. Errors when the user interrupts.
pub fn check(view: &View, to: &mut Findings, context: &Context) -> Result<()> {
    // One that an image has twice is read once.
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, kept) in view.layers.iter().enumerate() {
        if kept.content.is_some() {
            places.entry(&kept.called).or_insert(index);
        }
    }
    let read = read_all(view, places.values().copied(), context)?;
    let ids = view.config.diff_ids();
    let mut replay = Some(Replay::default());
    let (mut members_missing, mut verified) = (None, 0);
    for (index, kept) in view.layers.iter().enumerate() {
        let found = places.get(kept.called.as_str()).and_then(|first| read.get(first));
        let Some(Read { findings, roll, plain }) = found else {
            // Nobody knows what is in it.
            replay = None;
            continue;
        };
        findings.copy(index, to);
        verified += usize::from(diff_id(index, ids.get(index).copied().flatten(), *plain, to));
        if roll.cut {
            members_missing = members_missing.or(Some(index));
        }
        if plain.is_none() || roll.cut {
            replay = None;
        }
        if let (Some(replay), Ok(index)) = (&mut replay, u16::try_from(index)) {
            replay.add(index, roll);
        }
        context.cancel.check()?;
    }
    passed(view, verified, to);
    match replay {
        Some(replay) => to.append(replay.finish()),
        None => {
            let why = match members_missing {
                Some(_) => {
                    format!("the image has more than {MOST_MEMBERS} members, or very long names")
                }
                None => "not all of them could be read".to_owned(),
            };
            let message = format!("what layers do to each other was not looked at: {why}");
            to.push(Finding::new(super::Severity::Unchecked, "layers", message));
        }
    }
    Ok(())
}

fn passed(view: &View, verified: usize, to: &mut Findings) {
    let all = view.layers.len();
    if all == 0 {
        return;
    }
    if verified == all {
        to.pass("diff-id", format!("{all} layers hold what the config promises"));
    }
    let promised = view.layers.iter().filter(|kept| kept.promised.digest.is_some()).count();
    let unseen = to.failed("layer-missing") + to.failed(elsewhere::RULE);
    if promised == all && to.failed("layer-digest") + to.failed("layer-data") + unseen == 0 {
        to.pass("layer-digest", format!("{all} layers hold what the manifest promises"));
    }
    if to.failed("tar-format") + to.failed("layer-data") + unseen == 0 {
        to.pass("tar-format", format!("{all} layers are tars to their end"));
    }
}

/// Whether a layer is what the config promises.
fn diff_id(
    index: usize,
    expected: Option<Digest>,
    found: Option<Hashed>,
    to: &mut Findings,
) -> bool {
    let (Some(expected), Some(found)) = (expected, found) else { return false };
    if expected == found.digest {
        return true;
    }
    let message = "holds something else, uncompressed, than the config promises";
    to.push(Finding::error("diff-id", message).sides(expected, found.digest).layer(index));
    false
}

fn read_all(
    view: &View,
    wanted: impl Iterator<Item = usize>,
    context: &Context,
) -> Result<BTreeMap<usize, Read>> {
    let layers: Vec<(usize, Layer)> =
        wanted.filter_map(|index| Some((index, as_layer(&view.layers[index])?))).collect();
    let layers = layers.iter().map(|(index, layer)| (*index, layer));
    let room = MemberBudget::default();
    let read = side_by_side(layers, context, |index, layer, stored| {
        context.cancel.check().ok()?;
        Some((index, read(index, layer, stored, &view.layers[index], &room, context)))
    });
    context.cancel.check()?;
    Ok(read.into_iter().flatten().collect())
}

/// A layer that is read to find out what it is. Of a plain one in a file the digest is compared
/// afterwards: there is no need to hash it twice.
pub(super) fn as_layer(kept: &ViewedLayer) -> Option<Layer> {
    let content = match kept.content.clone()? {
        // What clients reject is a finding, also where the bytes are right.
        Content::Registry(repository) => Content::Registry(repository.strict()),
        content => content,
    };
    let known = kept.promised.digest;
    let in_file = matches!(content, Content::File(_));
    let plain = in_file && kept.compression == Some(Compression::None);
    Some(Layer {
        diff_id: known.unwrap_or_else(|| Digest::of(b"")),
        opaque: false,
        digest: known.filter(|_| !plain),
        size: if in_file { kept.size? } else { kept.promised.size? },
        media_type: kept.promised.media_type.clone().unwrap_or_default(),
        content,
        place: kept.called.clone(),
    })
}

fn read(
    index: usize,
    layer: &Layer,
    stored: Stored,
    kept: &ViewedLayer,
    room: &MemberBudget,
    context: &Context,
) -> Read {
    let progress = context.progress.layer(&format!("layer {}", index + 1), layer.size);
    let mut stored = stored.showing(&progress);
    let mut scan =
        Scan { findings: Findings::default(), roll: MemberList::default(), room, trouble: None };
    let (plain, outcome) = match stored.detect() {
        Ok(found) => {
            if let Some(media_type) = &kept.promised.media_type {
                check_compression(index, media_type, found, &mut scan.findings);
            }
            blob::read_lenient(layer, stored, |plain| scan.visit(plain, &layer.place))
        }
        Err(cause) => (None, Err(from_io(cause, &layer.place))),
    };
    progress.finish();
    let Scan { mut findings, roll, trouble, .. } = scan;
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::NotFound && elsewhere::is(kept) => {
            findings.push(elsewhere::finding(index, kept));
        }
        Err(error) => findings.push(Finding::unread(rule(&error), &error)),
    }
    if let (Some(expected), Some(found)) = (kept.promised.digest, plain)
        && kept.compression == Some(Compression::None)
        && layer.digest.is_none()
        && expected != found.digest
    {
        let message = "holds something else than its digest promises";
        findings.push(Finding::error("layer-digest", message).sides(expected, found.digest));
    }
    // Of a layer that ends early, it is no news that its tar does.
    if let Some(error) = trouble.filter(|_| plain.is_some()) {
        findings.push(Finding::unread("tar-format", &error));
    }
    Read { findings, roll, plain }
}

/// Which rule an error of a layer's stored form is about.
pub(super) fn rule(error: &Error) -> &'static str {
    match (error.kind(), error.sides()) {
        (Kind::NotFound, _) => "layer-missing",
        (_, Some((expected, _))) if expected.starts_with("sha256:") => "layer-digest",
        (Kind::Source, Some(_)) => "layer-size",
        _ => "layer-data",
    }
}

/// Goes through the members of one layer.
struct Scan<'a> {
    findings: Findings,
    roll: MemberList,
    room: &'a MemberBudget,
    /// Why the tar could not be read to its end.
    trouble: Option<Error>,
}

impl Scan<'_> {
    fn visit(&mut self, plain: &mut PlainReader, place: &str) {
        let mut reader = Reader::new(plain, place);
        let mut has_root = false;
        loop {
            match reader.next_member() {
                Ok(Some(found)) => {
                    let findings = &mut self.findings;
                    member::check(&found, reader.flag(), &mut |finding| findings.push(finding));
                    whiteout::check(&found, &mut |finding| findings.push(finding));
                    // The image's root is on no roll.
                    let root = !found.path.is_empty() && found.plain_path().is_empty();
                    if root && has_root {
                        let twice = Finding::error("duplicate-member", TWICE);
                        self.findings.push(twice.path(&found.path));
                    }
                    has_root |= root;
                    self.roll.add(&found, self.room);
                }
                Ok(None) => break,
                Err(error) => {
                    self.trouble = Some(error);
                    return;
                }
            }
        }
        match reader.finish() {
            Ok(0) => {}
            Ok(noise) => {
                let message = format!(
                    "something follows the end of the tar ({noise} bytes that are not zero), which readers leave out"
                );
                self.findings.push(Finding::warning("tar-trailer", message));
            }
            Err(error) => self.trouble = Some(error),
        }
    }
}
