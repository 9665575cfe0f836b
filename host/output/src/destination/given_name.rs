//! Gives a loaded image the name that was asked for, even if the engine has stored it under another one.
//!
//! Docker takes the name in an archive as it is. Podman reads one without a registry as
//! `localhost/NAME`, and where it has an image of Docker Hub under that name, the two stand side by
//! side. What it refuses: to remove a name that existed before, and to decide whether the image is right. If something
//! fails here, the verification reports it with both sides.

use occystrap_base::error::{Kind, Result};
use occystrap_base::oci::{Digest, ImageName};
use occystrap_net::docker::{Engine, Loaded};

/// The registry that Podman means where an archive names none.
const PODMANS_OWN: &str = "localhost";

/// One name, before an image is loaded under it.
pub(super) struct GivenName<'a> {
    engine: &'a Engine,
    asked: &'a ImageName,
    /// Whether the engine had an image under the name that Podman would make of it.
    had_local: bool,
}

impl<'a> GivenName<'a> {
    /// Records, before the load, whether Podman's name exists. A failed request counts as yes.
    pub(super) async fn before(engine: &'a Engine, asked: &'a ImageName) -> GivenName<'a> {
        let had_local = match local(asked) {
            Some(local) => !matches!(engine.inspect(&local).await, Ok(None)),
            None => true,
        };
        Self { engine, asked, had_local }
    }

    /// Makes sure that the name, short and in full, leads to the loaded image, which has this config and these layers.
    /// Errors only when the user interrupts.
    pub(super) async fn settle(
        self,
        loaded: &Loaded,
        config: Digest,
        diff_ids: &[Digest],
    ) -> Result<()> {
        match self.give(loaded, config, diff_ids).await {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => {
                let (place, asked) = (self.engine.place(), self.asked);
                tracing::warn!("whether {place} calls the image '{asked}' is not known: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn give(&self, loaded: &Loaded, config: Digest, diff_ids: &[Digest]) -> Result<()> {
        let is_it = async |name: &str| -> Result<bool> {
            let Some(found) = self.engine.inspect(name).await? else { return Ok(false) };
            // In containerd's store an ID says nothing of the config.
            Ok(found.diff_ids == diff_ids
                && (found.id == config || self.engine.about().await?.containerd_store))
        };
        let (asked, full) = (self.asked.clone(), self.asked.in_full());
        let mut names = vec![full, asked];
        names.dedup();
        let mut given = false;
        for name in &names {
            if is_it(&name.to_string()).await? {
                continue;
            }
            let mut known = vec![config.to_string()];
            known.extend(loaded.names.iter().cloned());
            let mut image = None;
            for name in known {
                // An engine may print text that is not a valid name.
                if is_it(&name).await.unwrap_or(false) {
                    image = Some(name);
                    break;
                }
            }
            // The engine does not have the image that it reported: the verification gives the details.
            let Some(image) = image else { return Ok(()) };
            tracing::debug!(image, %name, "tagging");
            self.engine.tag(&image, name).await?;
            given = true;
        }
        let made = local(self.asked).filter(|made| !self.had_local && loaded.names.contains(made));
        if let (true, Some(made)) = (given, made) {
            self.engine.untag(&made).await?;
        }
        Ok(())
    }
}

/// Returns the name that Podman stores for a name without a registry; `None` for a name with one.
fn local(asked: &ImageName) -> Option<String> {
    (asked.in_full() != *asked).then(|| format!("{PODMANS_OWN}/{asked}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_without_a_registry_become_others() {
        for (name, made) in [
            ("app:1", Some("localhost/app:1")),
            ("team/app:1", Some("localhost/team/app:1")),
            ("docker.io/team/app:1", Some("localhost/team/app:1")),
            ("localhost/app:1", None),
            ("localhost:5000/x/y:1", None),
            ("quay.io/x/y:1", None),
        ] {
            let name = ImageName::parse(name).unwrap();
            assert_eq!(local(&name).as_deref(), made, "{name}");
        }
    }
}
