//! `storage`: reads the one directory or file that the user named.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use wasmtime::component::Resource;

use crate::destination::commit::expected::HashedFile;
use crate::destination::read_access::FolderReader;
use crate::plugin::bindings::storage::{EntryKind, EntryStat, Host, HostDirectory};
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::handle::DirectoryHandle;
use crate::plugin::state::{GuestState, Writing};
use occystrap_base::files::identity::FileIdentity;
use occystrap_base::limits;

impl Host for GuestState {
    fn open(&mut self) -> wasmtime::Result<Result<Resource<DirectoryHandle>, ErrorCode>> {
        if self.destination().is_none() {
            return Ok(Err(ErrorCode::AccessDenied));
        }
        self.handle(DirectoryHandle).map(Ok)
    }

    fn file_name(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.destination().and_then(FolderReader::file_name).map(str::to_owned))
    }
}

impl HostDirectory for GuestState {
    fn stat(
        &mut self,
        _directory: Resource<DirectoryHandle>,
        path: String,
    ) -> wasmtime::Result<Result<Option<EntryStat>, ErrorCode>> {
        let destination = self.granted(&path)?;
        Ok(match destination.symlink_metadata(&path) {
            Ok(metadata) => {
                let kind = match metadata.file_type() {
                    kind if kind.is_file() => EntryKind::File,
                    kind if kind.is_dir() => EntryKind::Directory,
                    kind if kind.is_symlink() => EntryKind::Symlink,
                    _ => EntryKind::Other,
                };
                Ok(Some(EntryStat { kind, size: metadata.len() }))
            }
            Err(cause) if absent(&cause) => Ok(None),
            Err(cause) => Err(self.read_failed(&path, &cause)),
        })
    }

    fn read(
        &mut self,
        _directory: Resource<DirectoryHandle>,
        path: String,
        offset: u64,
        len: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, ErrorCode>> {
        let destination = self.granted(&path)?;
        let known = self.reading.take().filter(|(known, _)| offset > 0 && *known == path);
        let read = || -> io::Result<Vec<u8>> {
            let file = match known {
                Some((_, file)) => file,
                None => Arc::new(destination.open(&path)?),
            };
            self.reading = Some((path.clone(), Arc::clone(&file)));
            let rest = file.metadata()?.len().saturating_sub(offset);
            let len =
                (len as usize).min(limits::PIECE).min(usize::try_from(rest).unwrap_or(usize::MAX));
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        Ok(read().map_err(|cause| self.read_failed(&path, &cause)))
    }

    fn digest(
        &mut self,
        _directory: Resource<DirectoryHandle>,
        path: String,
        offset: u64,
        len: Option<u64>,
    ) -> wasmtime::Result<Result<String, ErrorCode>> {
        let destination = self.granted(&path)?;
        let open = || {
            let file = destination.open(&path)?;
            let metadata = file.metadata()?;
            let size = metadata.len();
            let len = len.unwrap_or(u64::MAX).min(size.saturating_sub(offset));
            let which = metadata.modified().ok().zip(FileIdentity::of(&file).ok());
            Ok((file, size, len, which.map(|(at, identity)| (identity, at))))
        };
        let (file, size, len, which) = match open() {
            Ok(found) => found,
            Err(cause) => return Ok(Err(self.read_failed(&path, &cause))),
        };
        let memory = self.memory.clone();
        // A known digest is used only in a verification. In a write, the journal must name the file that was hashed,
        // and another file may have got this path since.
        let known = memory.recall(&path, offset, len).filter(|_| self.writing.is_none());
        if known.is_none() {
            self.count_hashed(len)?;
            self.remember(&path)?;
        }
        let digest = match known.map_or_else(
            || {
                self.transferring(|state| {
                    (memory.hash(&file, &path, offset, len, &state.cancel), Some(len))
                })
            },
            Ok,
        ) {
            Ok(digest) => digest,
            Err(error) => {
                self.fail(error);
                return Ok(Err(ErrorCode::Other(Some("the file could not be read".to_owned()))));
            }
        };
        let is_new = |writing: &Writing| !writing.journal.has_hashed(&path);
        if offset == 0 && len == size && self.writing.as_ref().is_some_and(is_new) {
            self.remember(&path)?;
        }
        if let Some(writing) = &mut self.writing
            && offset == 0
            && len == size
        {
            writing.journal.record_hashed(&path, HashedFile { size, digest, file: which });
        }
        Ok(Ok(digest.to_string()))
    }

    fn drop(&mut self, directory: Resource<DirectoryHandle>) -> wasmtime::Result<()> {
        self.table.delete(directory)?;
        Ok(())
    }
}

impl GuestState {
    fn read_failed(&mut self, path: &str, cause: &io::Error) -> ErrorCode {
        let code = match cause.kind() {
            io::ErrorKind::NotFound => return ErrorCode::NotFound,
            io::ErrorKind::PermissionDenied => ErrorCode::AccessDenied,
            io::ErrorKind::InvalidInput => ErrorCode::NotAFile,
            _ if cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                ErrorCode::NotAFile
            }
            _ => ErrorCode::Other(None),
        };
        // The plugin may continue; if it gives up, the user sees this reason.
        self.noted = self.destination().map(|at| at.failure("read", path, cause));
        code
    }
}

fn absent(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
