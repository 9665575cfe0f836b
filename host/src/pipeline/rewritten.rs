//! The index of an image of which filters changed a platform, or of which not all platforms are moved: it lists what has landed, and keeps everything else that it
//! says. Artifacts about a changed image are left out, since what they say is not true of it.

use std::collections::{BTreeMap, BTreeSet};

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::document::IndexDocument;
use occystrap_base::oci::raw_object::{list, quoted};
use occystrap_base::oci::{Digest, ImageName, Manifest, RawObject, json};
use occystrap_layer::image::{Family, ImageIndex, ListedImage};
use occystrap_output::receipt::Receipt;
use occystrap_verify::report::{ImageReport, ImageStatus};

/// The annotation of buildkit that names the image which an attestation is about (buildkit, docs/attestations).
const REFERENCE: &str = "vnd.docker.reference.digest";

/// Parts of the types of artifacts that are about an image, also where they do not name it: signatures and attestations
/// of cosign, sigstore and Notary, in-toto statements, lists of contents.
const ABOUT_IMAGES: [&str; 8] =
    ["cosign", "sigstore", "notary", "in-toto", "dsse", "spdx", "cyclonedx", "sbom"];

/// What became of everything that the indexes list, by its digest at the source.
#[derive(Default)]
pub struct Rewritten {
    landed: BTreeMap<Digest, Manifest>,
    /// Digests at the source of what has other bytes now.
    changed: BTreeSet<Digest>,
    dropped: BTreeSet<Digest>,
    /// Digests of what is not moved, and stays in the indexes.
    left_out: BTreeSet<Digest>,
}

impl Rewritten {
    /// Returns a record of an image of which some manifests are not moved. Where the index `is_rewritten`, it does not
    /// list them any more.
    #[must_use]
    pub fn without(left_out: &BTreeSet<Digest>, is_rewritten: bool) -> Self {
        match is_rewritten {
            true => Self { dropped: left_out.clone(), ..Self::default() },
            false => Self { left_out: left_out.clone(), ..Self::default() },
        }
    }

    /// Returns the manifests that an index lists and that are not moved.
    #[must_use]
    pub fn absent(&self, index: &ImageIndex) -> Vec<Digest> {
        let listed = index.children.iter().filter(|child| self.left_out.contains(child));
        let absent: BTreeSet<Digest> = listed.copied().collect();
        absent.into_iter().collect()
    }

    /// Takes what became of a member.
    pub fn take(
        &mut self,
        member: &ListedImage,
        (report, receipt): &(ImageReport, Option<Receipt>),
    ) {
        let (Some(before), Some(receipt)) = (&member.image.manifest, receipt) else { return };
        let is_same = receipt.listed_manifests().any(|listed| listed == before.digest);
        let now = if is_same { Some(before.clone()) } else { receipt.manifest.clone() };
        if let Some(now) = now.filter(|_| has_landed(report)) {
            self.add(before.digest, now);
        }
    }

    /// Adds a manifest or an index that has landed. `before` is its digest at the source.
    pub fn add(&mut self, before: Digest, now: Manifest) {
        if now.digest != before {
            self.changed.insert(before);
        }
        self.landed.insert(before, now);
    }

    /// Drops the artifacts that are about something that has changed. Returns a line about each.
    pub fn drop_outdated(&mut self, family: &Family, artifacts: &[&ListedImage]) -> Vec<String> {
        let subjects = subjects(family, artifacts);
        let mut lines = Vec::new();
        let mut outdated = self.changed.clone();
        // An index changes with what it lists, and a signature may be about an index or another artifact.
        loop {
            let before = outdated.len();
            let lists =
                |index: &&ImageIndex| index.children.iter().any(|child| outdated.contains(child));
            let indexes: Vec<Digest> =
                family.indexes.iter().filter(lists).map(|index| index.manifest.digest).collect();
            outdated.extend(indexes);
            for artifact in artifacts {
                let Some(digest) = digest_of(artifact) else { continue };
                let is_outdated = match subjects.get(&digest) {
                    Some(IndexSubject::One(subject)) => outdated.contains(subject),
                    Some(IndexSubject::Unnamed) => !outdated.is_empty(),
                    None => false,
                };
                if is_outdated && outdated.insert(digest) {
                    self.dropped.insert(digest);
                    lines.push(self.line(family, artifact, digest, subjects.get(&digest)));
                }
            }
            if outdated.len() == before {
                return lines;
            }
        }
    }

    fn line(
        &self,
        family: &Family,
        artifact: &ListedImage,
        digest: Digest,
        subject: Option<&IndexSubject>,
    ) -> String {
        let kind = artifact.image.artifact.as_deref().unwrap_or_default();
        let kind = occystrap_base::oci::manifest::type_or_not(kind);
        let of = family.members.iter().find(|member| match subject {
            Some(IndexSubject::One(subject)) => digest_of(member) == Some(*subject),
            _ => false,
        });
        let about = match (of, subject) {
            (Some(member), _) => format!("is about {}, which a filter changed", member.platform),
            (None, Some(IndexSubject::One(_))) => "is about something that changed".to_owned(),
            (None, _) => {
                "does not name the image that it is about, and a filter changed one".to_owned()
            }
        };
        format!("{}: the artifact {} ({kind}) is left out: it {about}", family.name, digest.short())
    }

    /// Returns whether an artifact was dropped.
    #[must_use]
    pub fn is_dropped(&self, member: &ListedImage) -> bool {
        digest_of(member).is_some_and(|digest| self.dropped.contains(&digest))
    }

    /// Returns how many of the manifests that an index lists have neither landed nor been dropped.
    #[must_use]
    pub fn missing(&self, index: &ImageIndex) -> usize {
        let is_there = |child: &&Digest| {
            self.landed.contains_key(child)
                || self.dropped.contains(child)
                || self.left_out.contains(child)
        };
        index.children.iter().filter(|child| !is_there(child)).count()
    }

    /// Returns the digests of what has landed.
    #[must_use]
    pub fn landed(&self) -> BTreeSet<Digest> {
        self.landed.values().map(|manifest| manifest.digest).collect()
    }

    /// Returns an index as it lists what has landed. One of which nothing changed keeps its bytes. Errors when it is not
    /// UTF-8, or has a key twice.
    pub fn index(&self, index: &ImageIndex, name: &ImageName) -> Result<ImageIndex> {
        let is_old = |child: &Digest| self.changed.contains(child) || self.dropped.contains(child);
        if !index.children.iter().any(is_old) {
            return Ok(index.clone());
        }
        let wrong = |cause: &dyn std::fmt::Display| {
            Error::source(format!("'{name}': the index cannot be changed: {cause}"))
        };
        let text = std::str::from_utf8(&index.manifest.bytes).map_err(|cause| wrong(&cause))?;
        let text = self.rewrite(text).map_err(|cause| wrong(&cause))?;
        let digest = Digest::of(text.as_bytes());
        let children = index.children.iter().filter(|child| !self.dropped.contains(child));
        let now = |child: &Digest| self.landed.get(child).map_or(*child, |now| now.digest);
        Ok(ImageIndex {
            children: children.map(now).collect(),
            manifest: Manifest { bytes: text.into(), digest, ..index.manifest.clone() },
        })
    }

    /// Returns the text of an index with the descriptors of what has landed. Platforms, annotations and unknown fields
    /// stay.
    fn rewrite(&self, text: &str) -> serde_json::Result<String> {
        let mut index = RawObject::parse(text)?;
        let mut entries = Vec::new();
        for entry in index.list("manifests")? {
            let mut descriptor = RawObject::parse(entry)?;
            let digest = descriptor.text("digest").and_then(|digest| digest.parse::<Digest>().ok());
            if digest.is_some_and(|digest| self.dropped.contains(&digest)) {
                continue;
            }
            match digest
                .filter(|digest| self.changed.contains(digest))
                .and_then(|digest| self.landed.get(&digest))
            {
                None => entries.push(entry.to_owned()),
                Some(now) => {
                    descriptor.set("mediaType", quoted(&now.media_type));
                    descriptor.set("digest", quoted(&now.digest.to_string()));
                    descriptor.set("size", now.bytes.len().to_string());
                    // A copy of the old bytes, and where these are.
                    descriptor.remove("data");
                    descriptor.remove("urls");
                    entries.push(descriptor.render());
                }
            }
        }
        index.set("manifests", list(&entries));
        Ok(index.render())
    }
}

/// What an artifact is about.
enum IndexSubject {
    /// A manifest or an index.
    One(Digest),
    /// An image that it does not name.
    Unnamed,
}

/// Returns what each artifact is about, where it is about an image: buildkit writes it into the index, others into the
/// manifest (OCI image specification, "Image Manifest", `subject`).
fn subjects(family: &Family, artifacts: &[&ListedImage]) -> BTreeMap<Digest, IndexSubject> {
    let mut subjects = BTreeMap::new();
    for artifact in artifacts {
        let Some(manifest) = &artifact.image.manifest else { continue };
        let text = std::str::from_utf8(&manifest.bytes).unwrap_or_default();
        let subject = RawObject::parse(text).ok().and_then(|manifest| {
            let subject = manifest.object("subject").ok()?;
            subject.text("digest")?.parse().ok()
        });
        let kind = artifact.image.artifact.as_deref().unwrap_or_default();
        let about = ABOUT_IMAGES.iter().any(|part| kind.contains(part));
        let unnamed = about.then_some(IndexSubject::Unnamed);
        subjects.extend(
            subject.map(IndexSubject::One).or(unnamed).map(|subject| (manifest.digest, subject)),
        );
    }
    for index in &family.indexes {
        let Ok(document) = json::parse::<IndexDocument>(&index.manifest.bytes) else { continue };
        for entry in document.manifests.iter().filter(|entry| entry.is_attestation()) {
            let Ok(digest) = entry.digest().parse::<Digest>() else { continue };
            let named = entry.annotation(REFERENCE).and_then(|named| named.parse().ok());
            match named {
                Some(subject) => drop(subjects.insert(digest, IndexSubject::One(subject))),
                None => drop(subjects.entry(digest).or_insert(IndexSubject::Unnamed)),
            }
        }
    }
    subjects
}

fn digest_of(member: &ListedImage) -> Option<Digest> {
    member.image.manifest.as_ref().map(|manifest| manifest.digest)
}

/// Returns whether an image counts as landed. An image that failed verification does not; an image that could not be
/// checked does, because nothing says otherwise.
#[must_use]
pub fn has_landed(report: &ImageReport) -> bool {
    !matches!(report.status, ImageStatus::Error | ImageStatus::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_base::oci::manifest::{OCI_INDEX, OCI_MANIFEST};

    #[test]
    fn entries_that_stay_keep_their_bytes() {
        let digests = [b"a", b"b", b"c"].map(|text| Digest::of(text));
        let [a, b, c] = &digests;
        let text = format!(
            r#" {{"x": 1.50,"manifests":[{{"digest":"{a}","size":1, "data":"YQ==","urls":[],"platform":{{"os":"linux"}}}},
 {{ "digest" : "{b}" , "size":1}},{{"digest":"{c}"}}]}}"#
        );
        let manifest = |bytes: &str, media_type: &str| Manifest {
            bytes: bytes.to_owned().into(),
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes.as_bytes()),
        };
        let now = manifest("new bytes", OCI_MANIFEST);
        let (mut rewritten, new) = (Rewritten::default(), now.digest);
        rewritten.add(*a, now);
        rewritten.add(*b, Manifest { digest: *b, ..manifest("b", OCI_MANIFEST) });
        let index = ImageIndex { manifest: manifest(&text, OCI_INDEX), children: digests.to_vec() };
        assert_eq!(rewritten.missing(&index), 1);
        rewritten.dropped.insert(*c);
        assert_eq!(rewritten.missing(&index), 0);
        let name = ImageName { repository: "x".into(), tag: None };
        let made = rewritten.index(&index, &name).unwrap();
        let expected = format!(
            r#" {{"x": 1.50,"manifests":[{{"digest":"{new}","size":9,"platform":{{"os":"linux"}},"mediaType":"{OCI_MANIFEST}"}},{{ "digest" : "{b}" , "size":1}}]}}"#
        );
        assert_eq!(std::str::from_utf8(&made.manifest.bytes).unwrap(), expected);
        assert_eq!(made.children, [new, *b]);
        assert_eq!(made.manifest.digest, Digest::of(expected.as_bytes()));
        // What lists only things that stay is not written anew.
        let same = ImageIndex { children: vec![*b], ..index };
        assert_eq!(rewritten.index(&same, &name).unwrap().manifest, same.manifest);
    }
}
