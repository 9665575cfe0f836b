//! What refers to the checked images: signatures, lists of contents, attestations. They are counted, and not checked.

use std::collections::BTreeMap;

use super::report::CheckedImage;
use crate::source::Source;
use occystrap_base::error::{Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_net::context::{Blocking, Context};
use occystrap_net::registry::WantedReferrers;

/// The name of a type that a list of referrers does not say.
const UNKNOWN: &str = "unknown";

/// Returns the number of referrers by their artifact types. Returns `None` for a source that is not at a registry, and
/// where the registry does not tell them. Errors when the user interrupts.
pub fn count(
    source: &Source,
    images: &[CheckedImage],
    context: &Context,
) -> Result<Option<BTreeMap<String, usize>>> {
    let digests = images.iter().flat_map(|image| image.digest.into_iter().chain(image.listed_by));
    let digests: Vec<Digest> = digests.collect();
    let repository = source.repository(context)?.filter(|_| !digests.is_empty());
    let Some(repository) = repository else { return Ok(None) };
    let repository = Blocking::new(repository, context);
    let wanted = WantedReferrers::default();
    match repository.wait(repository.find_referrers(&digests, &wanted)) {
        Ok(found) => {
            let mut counts = BTreeMap::new();
            for referrer in found {
                let kind = referrer.kind.unwrap_or_else(|| UNKNOWN.to_owned());
                *counts.entry(kind).or_default() += 1;
            }
            Ok(Some(counts))
        }
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        Err(error) => {
            tracing::warn!("referrers are not listed: {error}");
            Ok(None)
        }
    }
}
