//! Reading layers: each once, as many in parallel as there are cores. Checks their digests and every member, and what
//! the layers of an image do to each other.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::compatibility::check_compression;
use super::finding::{Finding, Findings};
use super::member;
use super::presence::{ELSEWHERE, elsewhere, is_elsewhere};
use super::replay::{Replay, TWICE};
use crate::source::view::{View, ViewedLayer};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Hashed;
use occystrap_base::oci::{Compression, Digest};
use occystrap_layer::blob::{self, PlainReader, Stored, checked, from_io, open_one, side_by_side};
use occystrap_layer::image::{Content, Layer};
use occystrap_layer::overlay::{MOST_MEMBERS, MemberBudget, MemberList};
use occystrap_layer::tar::TarReader;
use occystrap_net::context::Context;

/// The result of reading one layer.
struct LayerCheck {
    findings: Findings,
    members: MemberList,
    /// Digest and size of the uncompressed layer; `None` if it could not be read to its end.
    plain: Option<Hashed>,
    /// Whether all its members were read, as far as they are kept.
    is_whole: bool,
}

/// The members of the layers of an image, as a check has read them.
#[derive(Default)]
pub struct LayerMembers {
    /// The lists, by the number of the first layer that has them, and whether each is whole.
    lists: BTreeMap<usize, (MemberList, bool)>,
    /// For each layer, the lowest first, the key of its list; `None` if its bytes are not there.
    keys: Vec<Option<usize>>,
}

impl LayerMembers {
    /// Returns the members of each layer, the lowest first, and whether the layer was read to its end. A damaged layer
    /// has the members before the damage; it is `None` for a layer whose bytes are not there.
    #[must_use]
    pub fn layers(&self) -> Vec<(Option<&MemberList>, bool)> {
        let list = |key: &Option<usize>| self.lists.get(key.as_ref()?);
        let keys = self.keys.iter();
        keys.map(|key| list(key).map_or((None, false), |(list, is_whole)| (Some(list), *is_whole)))
            .collect()
    }
}

/// Reads all layers of an image and checks what they do to each other. Returns their members. Errors when the user
/// interrupts.
pub fn check(view: &View, to: &mut Findings, context: &Context) -> Result<LayerMembers> {
    // A layer that an image lists twice is read once.
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
        let Some(LayerCheck { findings, members, plain, is_whole }) = found else {
            // Its members are not known.
            replay = None;
            continue;
        };
        findings.copy_to_layer(index, to);
        verified += usize::from(diff_id(index, ids.get(index).copied().flatten(), *plain, to));
        if members.cut {
            members_missing = members_missing.or(Some(index));
        }
        // Members that were not read may be those that later layers delete, or that links lead to.
        if !is_whole || members.cut {
            replay = None;
        }
        if let (Some(replay), Ok(index)) = (&mut replay, u16::try_from(index)) {
            replay.add(index, members);
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
            let message = format!("the effect of layers on each other was not checked: {why}");
            to.push(Finding::new(super::Severity::Unchecked, "layers", message));
        }
    }
    let keys = view.layers.iter().map(|kept| places.get(kept.called.as_str()).copied()).collect();
    let lists = read.into_iter().map(|(index, check)| (index, (check.members, check.is_whole)));
    let lists = lists.collect();
    Ok(LayerMembers { lists, keys })
}

/// Adds the rules that hold for all layers.
fn passed(view: &View, verified: usize, to: &mut Findings) {
    let all = view.layers.len();
    if all == 0 {
        return;
    }
    if verified == all {
        to.pass("diff-id", format!("{all} layers have the diff-ids of the config"));
    }
    let promised = view.layers.iter().filter(|kept| kept.promised.digest.is_some()).count();
    let unread = to.failed("layer-missing") + to.failed(ELSEWHERE);
    if promised == all && to.failed("layer-digest") + to.failed("layer-data") + unread == 0 {
        to.pass("layer-digest", format!("{all} layers have the digests of the manifest"));
    }
    if to.failed("tar-format") + to.failed("layer-data") + unread == 0 {
        to.pass("tar-format", format!("{all} layers are well-formed tars"));
    }
}

/// Returns whether a layer has the diff-id of the config, and reports a difference.
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
    let message = "its uncompressed content has another digest than the config promises";
    to.push(Finding::error("diff-id", message).sides(expected, found.digest).layer(index));
    false
}

/// Reads the layers with the given numbers. Errors when the user interrupts.
fn read_all(
    view: &View,
    wanted: impl Iterator<Item = usize>,
    context: &Context,
) -> Result<BTreeMap<usize, LayerCheck>> {
    let layers: Vec<(usize, Layer)> =
        wanted.filter_map(|index| Some((index, as_layer(&view.layers[index])?))).collect();
    let layers = layers.iter().map(|(index, layer)| (*index, layer));
    let budget = MemberBudget::default();
    let read = side_by_side(layers, context, |index, layer, stored| {
        context.cancel.check().ok()?;
        Some((index, read(index, layer, stored, &view.layers[index], &budget, context)))
    });
    context.cancel.check()?;
    Ok(read.into_iter().flatten().collect())
}

/// Returns a viewed layer in the form in which it can be read; `None` if it is not there. The digest of an uncompressed
/// layer in a file is left out and compared afterwards, so that the same bytes are not hashed twice.
pub fn as_layer(kept: &ViewedLayer) -> Option<Layer> {
    let content = match kept.content.clone()? {
        // A response that clients reject is a finding, even if its bytes are right.
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

/// Reads one layer and checks its digests and its members.
fn read(
    index: usize,
    layer: &Layer,
    stored: Stored,
    kept: &ViewedLayer,
    budget: &MemberBudget,
    context: &Context,
) -> LayerCheck {
    let progress = context.progress.layer(&format!("layer {}", index + 1), layer.size);
    let mut stored = stored.showing(&progress);
    let mut scan = MemberScan {
        findings: Findings::default(),
        members: MemberList::default(),
        budget,
        cut_by: None,
    };
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
    let MemberScan { mut findings, members, cut_by, .. } = scan;
    let is_whole = plain.is_some() && cut_by.is_none();
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::NotFound && is_elsewhere(kept) => {
            findings.push(elsewhere(index, kept));
        }
        Err(error) => findings.push(Finding::unread(rule(&error), &error)),
    }
    if let (Some(expected), Some(found)) = (kept.promised.digest, plain)
        && kept.compression == Some(Compression::None)
        && layer.digest.is_none()
        && expected != found.digest
    {
        let message = "its content has another digest than the manifest promises";
        findings.push(Finding::error("layer-digest", message).sides(expected, found.digest));
    }
    // If the layer ends early, so does its tar: one finding is enough.
    if let Some(error) = cut_by.filter(|_| plain.is_some()) {
        findings.push(Finding::unread("tar-format", &error));
    }
    LayerCheck { findings, members, plain, is_whole }
}

/// Reads every layer of an attestation or an artifact and compares it with its digest. The content is for its own readers
/// and is not checked. Errors when the user interrupts.
pub fn check_digests(view: &View, to: &mut Findings, context: &Context) -> Result<()> {
    let mut right = 0;
    for (index, kept) in view.layers.iter().enumerate() {
        let (Some(layer), Some(digest)) = (as_layer(kept), kept.promised.digest) else { continue };
        let layer = Layer { opaque: true, digest: Some(digest), ..layer };
        let Some(stored) = open_one(&layer, context) else { continue };
        let read = checked(&layer, stored);
        context.cancel.check()?;
        match read {
            Ok(()) => right += 1,
            Err(error) => to.push(Finding::unread(rule(&error), &error).layer(index)),
        }
    }
    if right > 0 && right == view.layers.len() {
        to.pass("layer-digest", format!("{right} layers have the digests of the manifest"));
    }
    Ok(())
}

/// Returns the rule that an error of the stored layer belongs to.
fn rule(error: &Error) -> &'static str {
    match (error.kind(), error.difference()) {
        (Kind::NotFound, _) => "layer-missing",
        (_, Some((expected, _))) if expected.is_digest() => "layer-digest",
        (Kind::Source, Some(_)) => "layer-size",
        _ => "layer-data",
    }
}

/// A walk over the members of one layer.
struct MemberScan<'a> {
    findings: Findings,
    members: MemberList,
    budget: &'a MemberBudget,
    /// Why the tar could not be read to its end.
    cut_by: Option<Error>,
}

impl MemberScan<'_> {
    /// Reports a header for all members that follow it.
    fn report_global<R: BufRead>(&mut self, reader: &TarReader<R>) {
        if reader.has_global() {
            let message = "has a global header (type 'g'), which umoci refuses";
            self.findings.push(Finding::error("tar-type", message));
        }
    }

    /// Checks every member of the layer that `plain` reads.
    fn visit(&mut self, plain: &mut PlainReader, place: &str) {
        let mut reader = TarReader::new(plain, place);
        let mut has_root = false;
        loop {
            match reader.next_member() {
                Ok(Some(found)) => {
                    let findings = &mut self.findings;
                    member::check(&found, reader.flag(), &mut |finding| findings.push(finding));
                    // The member list does not hold the image's root.
                    let root = !found.path.is_empty() && found.plain_path().is_empty();
                    if root && has_root {
                        let twice = Finding::error("duplicate-member", TWICE);
                        self.findings.push(twice.path(&found.path));
                    }
                    has_root |= root;
                    self.members.add(&found, self.budget);
                }
                Ok(None) => break,
                Err(error) => {
                    self.report_global(&reader);
                    self.cut_by = Some(error);
                    return;
                }
            }
        }
        self.report_global(&reader);
        match reader.finish() {
            Ok(0) => {}
            Ok(noise) => {
                let message = format!(
                    "data follows the end of the tar ({noise} bytes that are not zero), which readers ignore"
                );
                self.findings.push(Finding::warning("tar-trailer", message));
            }
            Err(error) => self.cut_by = Some(error),
        }
    }
}
