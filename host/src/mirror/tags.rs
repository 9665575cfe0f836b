//! The tags that rules select in the repositories of a file.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::services::Services;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_mirror::expand::MirrorSource;
use occystrap_mirror::ledger::Facts;
use occystrap_net::registry::Repository;

/// Repositories and tags that are asked for at a time.
pub const AT_A_TIME: usize = 16;

/// The tags of a repository that rules select.
#[derive(Default)]
pub struct SelectedTags {
    /// The tags.
    pub tags: Vec<String>,
    /// Tags of which a rule needs the date, and whose image cannot be read: why, with the tag.
    pub unread: Vec<Error>,
}

/// Dates of tags, and why others could not be read.
type Dates = (BTreeMap<String, Option<OffsetDateTime>>, Vec<Error>);

/// Returns, for each source with rules, the tags that its rules select, or why there are none. Sources without rules have
/// one image: an empty list stands for it.
pub fn select(
    sources: &[MirrorSource<'_>],
    services: &Services<'_>,
    facts: Option<&(dyn Facts + Sync)>,
) -> Result<Vec<Result<SelectedTags>>> {
    let ruled = sources.iter().filter(|source| source.rules.is_some());
    let repositories: Vec<Repository> =
        ruled.map(|source| services.source(&source.reference)).collect::<Result<_>>()?;
    let lists =
        services.each(repositories.iter().cloned(), AT_A_TIME, |repository| async move {
            repository.tags().await
        })?;
    let mut listed = repositories.iter().zip(lists);
    let mut selected = Vec::with_capacity(sources.len());
    for source in sources {
        let next = source.rules.and_then(|_| listed.next());
        let Some((repository, tags)) = next else {
            selected.push(Ok(SelectedTags::default()));
            continue;
        };
        if let Ok(Some(tags)) = &tags {
            services.note_tags(repository.place(), tags);
        }
        selected.push(select_of(source, repository, tags, services, facts));
    }
    Ok(selected)
}

fn select_of(
    source: &MirrorSource<'_>,
    repository: &Repository,
    tags: Result<Option<Vec<String>>>,
    services: &Services<'_>,
    facts: Option<&(dyn Facts + Sync)>,
) -> Result<SelectedTags> {
    let Some(rules) = source.rules else { return Ok(SelectedTags::default()) };
    let tags = tags.map_err(|error| error.within(&source.place))?;
    let Some(tags) = tags else {
        let message = format!("{}: {}: repository not found", source.place, repository.place());
        return Err(Error::new(Kind::NotFound, message)
            .hint("check its name; a private repository needs a login: docker login HOST"));
    };
    let (dates, unread) = match rules.need_dates() {
        true => dates(rules.candidates(&tags), repository, services, facts)
            .map_err(|error| error.within(&source.place))?,
        false => Dates::default(),
    };
    let unread: Vec<Error> = unread
        .into_iter()
        .map(|error| {
            error.within(&source.place).hint("leave the tag out with 'not', or remove it there")
        })
        .collect();
    let mut date_of = |tag: &str| Ok::<_, Error>(dates.get(tag).copied().flatten());
    let selected = rules.select(&tags, OffsetDateTime::now_utc(), &mut date_of)?;
    match selected.tags.is_empty() && unread.is_empty() {
        true => Err(source.no_tag(&selected.counts)),
        false => Ok(SelectedTags { tags: selected.tags, unread }),
    }
}

/// Returns the creation date of the image of each tag. A date is read once for each digest: the ledger keeps it. An image
/// that cannot be read keeps no other from having a date.
fn dates(
    tags: Vec<&str>,
    repository: &Repository,
    services: &Services<'_>,
    facts: Option<&(dyn Facts + Sync)>,
) -> Result<Dates> {
    let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
    let digests = services.each(tags.clone(), AT_A_TIME, |tag| {
        let repository = repository.clone();
        async move { repository.digest_of(&tag).await }
    })?;
    let mut by_tag: BTreeMap<String, Digest> = BTreeMap::new();
    let mut unread = Vec::new();
    for (tag, digest) in tags.into_iter().zip(digests) {
        match digest {
            Ok(Some(digest)) => {
                by_tag.insert(tag, digest);
            }
            Ok(None) => {
                let place = repository.place();
                let message = format!("{place}:{tag}: the tag was removed after it was listed");
                unread.push(Error::new(Kind::NotFound, message));
            }
            Err(error) if is_about_image(&error) => unread.push(error),
            Err(error) => return Err(error),
        }
    }
    let mut wanted: Vec<Digest> = by_tag.values().copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut known = match facts {
        Some(facts) => facts.created(&wanted)?,
        None => BTreeMap::new(),
    };
    wanted.retain(|digest| !known.contains_key(digest));
    let created = services.each(wanted.clone(), AT_A_TIME, |digest| {
        let repository = repository.clone();
        async move { created(&repository, digest).await }
    })?;
    let mut fresh = Vec::new();
    for (digest, created) in wanted.into_iter().zip(created) {
        match created {
            Ok(created) => fresh.push((digest, created)),
            Err(error) if is_about_image(&error) => {
                let mut tags = by_tag.iter().filter(|(_, of)| **of == digest);
                let tag = tags.next().map(|(tag, _)| tag.as_str()).unwrap_or_default();
                unread.push(error.within(format!("{}:{tag}", repository.place())));
                by_tag.retain(|_, of| *of != digest);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(facts) = facts {
        facts.note_created(&fresh)?;
    }
    known.extend(fresh);
    let date = |digest: &Digest| {
        let seconds = known.get(digest).copied().flatten()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    };
    let dates = by_tag.into_iter().map(|(tag, digest)| (tag, date(&digest))).collect();
    Ok((dates, unread))
}

/// Returns whether an error is about one image, and not about the registry.
fn is_about_image(error: &Error) -> bool {
    matches!(error.kind(), Kind::Source | Kind::NotFound)
}

/// Returns the creation date in the config of an image, in seconds since 1970. Of an index, the first image that it
/// lists decides.
async fn created(repository: &Repository, digest: Digest) -> Result<Option<i64>> {
    let mut manifest = repository.manifest(&digest.to_string()).await?;
    let mut document: serde_json::Value =
        serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    if let Some(first) = document["manifests"][0]["digest"].as_str() {
        manifest = repository.manifest(first).await?;
        document = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    }
    let config = &document["config"];
    let (Some(Ok(digest)), Some(size)) =
        (config["digest"].as_str().map(str::parse), config["size"].as_u64())
    else {
        return Ok(None);
    };
    let what = occystrap_base::oci::Descriptor { media_type: String::new(), digest, size };
    let bytes = repository.blob_bytes(&what, LARGEST_CONFIG).await?;
    let config: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let date = config["created"].as_str();
    let date = date.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    Ok(date.map(OffsetDateTime::unix_timestamp))
}
