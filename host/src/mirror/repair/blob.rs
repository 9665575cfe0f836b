//! The repair of one blob at a registry, in each repository that has it.

use std::ops::ControlFlow;

use super::super::check::{self, Check};
use super::super::item;
use super::super::look::Question;
use super::storage;
use super::work::Repair;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_images::level::Level;
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::holding::{BlobCheck, DueRequest, LedgerBlob, Subset};
use occystrap_mirror::ledger::record::LedgerItem;
use occystrap_mirror::ledger::{LONGEST_PAGE, Ledger};
use occystrap_net::registry::{Body, PushOptions, Reference, Removal, Repository};

/// Sources that are asked for the bytes of one blob.
const MOST_SOURCES: usize = 8;

/// What became of a blob that was sent again.
enum Sent {
    /// It was read back, and is right.
    Right,
    /// The registry keeps what is wrong.
    Kept {
        /// What was found, and why it could not be replaced.
        found: String,
        /// What must be removed from the storage of the registry.
        files: Vec<String>,
    },
    /// It could not be sent or read.
    Failed(Error),
}

/// Repairs all blobs that are recorded as bad. Errors when the user interrupts, or the ledger fails.
pub fn each(work: &Repair<'_, impl Ledger>) -> Result<()> {
    let mut after = None;
    loop {
        let due = work.ledger.due_blobs(&DueRequest {
            run: work.run,
            host: None,
            subset: Subset::All,
            older_than: None,
            only_bad: true,
            after,
            most: LONGEST_PAGE,
        })?;
        for blob in &due.blobs {
            work.services.context.cancel.check()?;
            work.blob(blob)?;
        }
        after = due.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

impl<L: Ledger> Repair<'_, L> {
    /// Repairs a blob in each repository that has it.
    fn blob(&self, blob: &LedgerBlob) -> Result<()> {
        let place = format!("{}@{}", blob.host, blob.digest);
        let mut was_wrong = false;
        for repo in self.places.of_blob(&blob.host, &blob.digest)? {
            let repository = self.places.repository(&blob.host, &repo)?;
            match self.services.wait(check::blob(&repository, blob.digest, blob.size))? {
                Check::Good => continue,
                Check::Bad(_) => was_wrong = true,
                Check::Unchecked(error) => return self.leave_blob(blob, &place, &error),
            }
            match self.replace(blob, &repo, &repository)? {
                Sent::Right => {}
                Sent::Failed(error) => return self.leave_blob(blob, &place, &error),
                Sent::Kept { found, files } => {
                    return self.keep_blob(blob, &place, &found, &files);
                }
            }
        }
        self.ledger.record_blob(self.run, &blob.host, &blob.digest, &BlobCheck::Good)?;
        self.right(&place, was_wrong);
        Ok(())
    }

    /// Sends a blob again and reads it back; then deletes it, sends it again and reads it back.
    fn replace(&self, blob: &LedgerBlob, repo: &str, repository: &Repository) -> Result<Sent> {
        let uri = self.places.uri(&blob.host, repo)?;
        let to = self.services.repository_to_push(&uri)?;
        let LedgerBlob { digest, size, .. } = *blob;
        let what = Descriptor { media_type: String::new(), digest, size };
        let chunk_size = uri.option("chunk_size").and_then(|size| size.parse().ok());
        let options = PushOptions { chunk_size };
        let origin = self.origin(blob, repo)?;
        let images = match origin {
            Some(_) => Vec::new(),
            None => self.images_with(blob, repo)?,
        };
        let send = || match &origin {
            Some(origin) => {
                let body = Body::Download(origin.clone());
                self.services.wait(to.push_blob(&what, &body, &options, |_| ()))
            }
            None => self.move_again(&images, blob, repo),
        };
        let mut files = vec![storage::data(digest)];
        let mut why = "the registry accepted it again and kept what it has".to_owned();
        for is_last in [false, true] {
            match send() {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => {
                    if !self.is_there(origin.as_ref(), blob, &error)? {
                        return Ok(Sent::Failed(error));
                    }
                    why = format!("it cannot be sent again: {error}");
                    // The bytes may be right, and the entry of the repository wrong.
                    files = vec![storage::data(digest), storage::blob_link(repo, digest)];
                }
            }
            let found = match self.services.wait(check::blob(repository, digest, size))? {
                Check::Good => return Ok(Sent::Right),
                Check::Unchecked(error) => return Ok(Sent::Failed(error)),
                Check::Bad(found) => found,
            };
            if is_last {
                return Ok(Sent::Kept { found: format!("{found}; {why}"), files });
            }
            match self.services.wait(to.delete_blob(digest)) {
                Ok(Removal::Removed | Removal::Absent) => {
                    why.push_str(", also after it was deleted there");
                }
                Ok(Removal::Refused(status)) => {
                    why.push_str(&format!(", and does not delete it ({status})"));
                    return Ok(Sent::Kept { found: format!("{found}; {why}"), files });
                }
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) if error.kind() == Kind::Network => {
                    why.push_str(&format!(", and fails to delete it ({error})"));
                    return Ok(Sent::Kept { found: format!("{found}; {why}"), files });
                }
                Err(error) => return Ok(Sent::Failed(error)),
            }
        }
        Ok(Sent::Right)
    }

    /// Returns whether the origin has the right bytes of a blob, so that an error at sending it is one of the destination.
    fn is_there(
        &self,
        origin: Option<&Repository>,
        blob: &LedgerBlob,
        error: &Error,
    ) -> Result<bool> {
        match (origin, error.kind()) {
            (Some(origin), Kind::Network | Kind::Destination) => {
                Ok(self.services.wait(check::blob(origin, blob.digest, blob.size))? == Check::Good)
            }
            _ => Ok(false),
        }
    }

    /// Returns a repository with the right bytes of a blob: that of the source of an image with it, or another one at the
    /// destination.
    fn origin(&self, blob: &LedgerBlob, repo: &str) -> Result<Option<Repository>> {
        let mut asked: Vec<String> = Vec::new();
        for item in self.items_with(blob, repo)? {
            let reference = Reference::parse(&item.source)?;
            let source = self.services.source(&reference)?;
            if asked.len() == MOST_SOURCES || asked.contains(&source.place()) {
                continue;
            }
            asked.push(source.place());
            match self.services.wait(source.find_blob(blob.digest, Some(blob.size))) {
                Ok(Some(found)) if found == blob.size => return Ok(Some(source)),
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                // Where filters changed the image, its source has other blobs.
                _ => {}
            }
        }
        for other in self.places.of_blob(&blob.host, &blob.digest)? {
            let other = match other == repo {
                true => continue,
                false => self.places.repository(&blob.host, &other)?,
            };
            if self.services.wait(check::blob(&other, blob.digest, blob.size))? == Check::Good {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Returns images of a repository that have a blob.
    fn items_with(&self, blob: &LedgerBlob, repo: &str) -> Result<Vec<LedgerItem>> {
        let mut found = Vec::new();
        self.places.each_user((&blob.host, repo), &blob.digest, &[], |item| {
            found.push(item);
            Ok(match found.len() < LONGEST_PAGE {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        Ok(found)
    }

    /// Returns images of FILE that have a blob, which their source does not have: filters made it. Each comes with the digest
    /// that its source had.
    fn images_with(
        &self,
        blob: &LedgerBlob,
        repo: &str,
    ) -> Result<Vec<(MirrorItem<'_>, Option<Digest>)>> {
        let items = self.items_with(blob, repo)?;
        let made = items.iter().filter_map(|item| Some((self.of_file(item)?, item.want_digest)));
        Ok(made.collect())
    }

    /// Moves the first image that makes a blob again. Errors where there is none, or where it cannot be moved.
    fn move_again(
        &self,
        images: &[(MirrorItem<'_>, Option<Digest>)],
        blob: &LedgerBlob,
        repo: &str,
    ) -> Result<()> {
        let place = format!("{}/{repo}@{}", blob.host, blob.digest);
        let Some((item, was)) = images.first() else {
            let message = format!("{place}: no source has this blob any more");
            return Err(Error::new(Kind::NotFound, message));
        };
        let repository = self.places.repository(&blob.host, repo)?;
        repository.forget_blob(blob.digest);
        let seen = self.services.wait(Question::about(item, false, self.services)?.ask())?;
        if let (Some(was), Some(now)) = (was, seen.source)
            && *was != now
        {
            let message = format!(
                "{place}: no source has this blob any more: {} is another image now: expected {was}, found {now}",
                item.source
            );
            return Err(Error::new(Kind::NotFound, message)
                .hint("'occystrap mirror run FILE' copies the new image"));
        }
        match item::move_at(item, &seen, self.services, Some(Level::Fast)).record {
            None => Err(Error::interrupted()),
            Some(_) => Ok(()),
        }
    }
}
