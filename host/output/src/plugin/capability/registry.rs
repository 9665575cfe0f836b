//! `registry`: reads the one repository that the user named.

use wasmtime::component::Resource;

use crate::destination::ReadAccess;
use crate::destination::remote::RepositoryReader;
use crate::plugin::bindings::registry::{Host, HostRepository};
use crate::plugin::bindings::types::{ErrorCode, Manifest};
use crate::plugin::handle::RepositoryHandle;
use crate::plugin::state::GuestState;
use occystrap_base::oci::Digest;
use occystrap_base::oci::name::is_tag;
use occystrap_net::registry::{BlobProof, KnownBlob};

impl Host for GuestState {
    fn open(&mut self) -> wasmtime::Result<Result<Resource<RepositoryHandle>, ErrorCode>> {
        if self.remote().is_none() {
            return Ok(Err(ErrorCode::AccessDenied));
        }
        self.handle(RepositoryHandle).map(Ok)
    }
}

impl HostRepository for GuestState {
    fn stat_blob(
        &mut self,
        _repository: Resource<RepositoryHandle>,
        digest: String,
    ) -> wasmtime::Result<Result<Option<u64>, ErrorCode>> {
        let remote = self.granted_repository()?;
        let Ok(digest) = digest.parse() else { return Ok(Err(ErrorCode::InvalidDigest)) };
        let memory = self.memory.clone();
        let found = match memory.recall_size(digest) {
            Some(known) => Ok(known),
            None => {
                self.remember("")?;
                self.request()?.and_then(|()| remote.stat_blob(digest))
            }
        };
        if let Ok(size) = found {
            memory.remember_size(digest, size);
        }
        Ok(found.map_err(|error| self.unavailable(error)))
    }

    fn blob_digest(
        &mut self,
        repository: Resource<RepositoryHandle>,
        digest: String,
    ) -> wasmtime::Result<Result<String, ErrorCode>> {
        let remote = self.granted_repository()?;
        let Ok(wanted) = digest.parse::<Digest>() else {
            return Ok(Err(ErrorCode::InvalidDigest));
        };
        let size = match self.stat_blob(repository, digest)? {
            Ok(Some(size)) => size,
            Ok(None) => return Ok(Err(ErrorCode::NotFound)),
            Err(code) => return Ok(Err(code)),
        };
        if let Some(known) = self.memory.recall(&wanted.to_string(), 0, size) {
            return Ok(Ok(known.to_string()));
        }
        // This run has read it for another image.
        let is_read = |known: KnownBlob| known.proof == BlobProof::Read && known.size == size;
        if remote.proved_blob(wanted).is_some_and(is_read) {
            self.memory.remember(&wanted.to_string(), size, wanted);
            return Ok(Ok(wanted.to_string()));
        }
        self.count_hashed(size)?;
        self.remember("")?;
        let asked = self.request()?;
        let found = self
            .transferring(|_| (asked.and_then(|()| remote.hash_blob(wanted, size)), Some(size)));
        Ok(match found {
            Ok(found) => {
                self.memory.remember(&wanted.to_string(), size, found);
                Ok(found.to_string())
            }
            Err(error) => Err(self.unavailable(error)),
        })
    }

    fn get_manifest(
        &mut self,
        _repository: Resource<RepositoryHandle>,
        reference: String,
    ) -> wasmtime::Result<Result<Option<Manifest>, ErrorCode>> {
        let remote = self.granted_repository()?;
        if !is_tag(&reference) && reference.parse::<Digest>().is_err() {
            return Ok(Err(ErrorCode::InvalidPath));
        }
        let memory = self.memory.clone();
        let found = match memory.recall_manifest(&reference) {
            Some(known) => Ok(known),
            None => {
                let found = self.request()?.and_then(|()| remote.manifest(&reference));
                self.remember(&reference)?;
                let bytes = found.as_ref().ok().and_then(Option::as_ref);
                self.keep(bytes.map_or(0, |found| found.manifest.bytes.len()))?;
                found
            }
        };
        if let Ok(manifest) = &found {
            memory.remember_manifest(&reference, manifest.clone());
        }
        Ok(match found {
            Ok(found) => Ok(found.map(|found| Manifest {
                media_type: found.manifest.media_type,
                bytes: found.manifest.bytes.to_vec(),
            })),
            Err(error) => Err(self.unavailable(error)),
        })
    }

    fn drop(&mut self, repository: Resource<RepositoryHandle>) -> wasmtime::Result<()> {
        self.table.delete(repository)?;
        Ok(())
    }
}

impl GuestState {
    fn remote(&self) -> Option<&RepositoryReader> {
        self.access.as_ref().and_then(ReadAccess::repository)
    }

    /// Returns the repository, for a call that names something in it.
    pub(super) fn granted_repository(&self) -> wasmtime::Result<RepositoryReader> {
        match self.remote() {
            Some(remote) => Ok(remote.clone()),
            None => Err(self.violation("it named a blob although no repository was granted")),
        }
    }
}
