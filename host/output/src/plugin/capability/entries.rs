//! `entries`: lists the members of a layer's tar, page by page. The host reads and hashes them itself; sizes
//! that a layer states are not believed beyond the bytes that it has.

use std::io::Read;

use wasmtime::component::Resource;

use crate::plugin::bindings::entries::{Entry, EntryKind, Host, HostWalk};
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::handle::{Blob, Walk};
use crate::plugin::state::GuestState;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::{Digest, Hasher};
use occystrap_layer::blob::from_io;
use occystrap_layer::overlay::Whiteout;
use occystrap_layer::tar::{Expanded, Member, MemberKind};

/// Bytes that are hashed between two checks for an interruption.
const PIECE: usize = 64 * 1024;

impl Host for GuestState {
    fn open(
        &mut self,
        layer: Resource<Blob>,
    ) -> wasmtime::Result<Result<Resource<Walk>, ErrorCode>> {
        let tar = self.at_layer(&layer, |blob, near| match blob {
            Blob::Layer(layer) => layer.tar(near),
            Blob::Config { .. } => Ok(None),
            Blob::Spent => {
                Err(Error::new(Kind::Plugin, "it looked into a layer that it had moved"))
            }
        })?;
        match self.or_fail(tar) {
            Ok(Some(_)) if self.walks >= limits::WALKS => {
                let rule = format!("it opened more than {} walks at once", limits::WALKS);
                Err(self.violation(rule))
            }
            Ok(Some(tar)) => {
                let buffer = vec![0; PIECE];
                let walk = Walk { tar, buffer, holes: limits::HOLES, ended: false };
                let walk = self.handle(walk)?;
                self.walks += 1;
                Ok(Ok(walk))
            }
            Ok(None) => Ok(Err(ErrorCode::Unsupported)),
            Err(code) => Ok(Err(code)),
        }
    }
}

impl HostWalk for GuestState {
    fn next_page(
        &mut self,
        walk: Resource<Walk>,
    ) -> wasmtime::Result<Result<Vec<Entry>, ErrorCode>> {
        self.transferring(|state| {
            let before = state.hashed;
            let page = state.page(&walk);
            (page, Some(state.hashed - before))
        })
    }

    fn drop(&mut self, walk: Resource<Walk>) -> wasmtime::Result<()> {
        self.table.delete(walk)?;
        self.walks = self.walks.saturating_sub(1);
        Ok(())
    }
}

impl GuestState {
    fn page(&mut self, walk: &Resource<Walk>) -> wasmtime::Result<Result<Vec<Entry>, ErrorCode>> {
        let mut page = Vec::new();
        let mut bytes = 0;
        while page.len() < limits::PAGE && bytes < limits::PAGE_BYTES {
            let cancel = self.cancel.clone();
            let found = self.table.get_mut(walk)?.step(|| cancel.check());
            match self.or_fail(found) {
                Ok(Some((entry, read))) => {
                    self.count_hashed(read)?;
                    bytes += entry.path.len() + entry.target.as_ref().map_or(0, String::len);
                    page.push(entry);
                }
                Ok(None) => break,
                Err(code) => return Ok(Err(code)),
            }
        }
        Ok(Ok(page))
    }
}

impl Walk {
    /// Returns the next member, and how many bytes were hashed for it.
    fn step(&mut self, go_on: impl Fn() -> Result<()>) -> Result<Option<(Entry, u64)>> {
        go_on()?;
        if self.ended {
            return Ok(None);
        }
        let Some(member) = self.tar.next_member()? else {
            self.ended = true;
            return Ok(None);
        };
        let kind = kind(&member);
        let (digest, read) = match member.kind {
            MemberKind::File => self.hash(&member, go_on)?,
            _ => (None, 0),
        };
        let path = member.plain_path();
        let (path, raw_path) = match String::from_utf8(path) {
            Ok(path) => (path, None),
            Err(cause) => {
                let raw = cause.into_bytes();
                (String::from_utf8_lossy(&raw).into_owned(), Some(raw))
            }
        };
        let linked = matches!(member.kind, MemberKind::Symlink | MemberKind::HardLink);
        let entry = Entry {
            path,
            raw_path,
            kind,
            size: if member.kind.has_content() { member.size } else { 0 },
            mode: member.mode & 0o7777,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime.seconds,
            digest: digest.map(|digest| digest.to_string()),
            target: linked.then(|| String::from_utf8_lossy(&member.link).into_owned()),
        };
        Ok(Some((entry, read)))
    }

    /// Returns the digest of a file's content, and how many bytes were hashed for it; no digest where the holes
    /// of the layer's files exceed [`limits::HOLES`].
    fn hash(
        &mut self,
        member: &Member,
        go_on: impl Fn() -> Result<()>,
    ) -> Result<(Option<Digest>, u64)> {
        let holes = member.size.saturating_sub(member.stored());
        let Some(left) = self.holes.checked_sub(holes) else { return Ok((None, 0)) };
        self.holes = left;
        let place = self.tar.place().to_owned();
        let content = self.tar.content();
        let hashed = match &member.sparse {
            Some(sparse) => {
                let content = Expanded::new(content, sparse, member.size);
                digest(content, &mut self.buffer, &place, go_on)
            }
            None => digest(content, &mut self.buffer, &place, go_on),
        }?;
        Ok((Some(hashed), member.size))
    }
}

fn digest(
    mut from: impl Read,
    piece: &mut [u8],
    place: &str,
    go_on: impl Fn() -> Result<()>,
) -> Result<Digest> {
    let mut hasher = Hasher::default();
    loop {
        let amount = from.read(piece).map_err(|cause| from_io(cause, place))?;
        if amount == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&piece[..amount]);
        go_on()?;
    }
}

fn kind(member: &Member) -> EntryKind {
    match member.kind {
        MemberKind::File => match Whiteout::of(&member.plain_path()) {
            Some(Whiteout::Of(_)) => EntryKind::Whiteout,
            Some(Whiteout::Opaque(_)) => EntryKind::Opaque,
            None => EntryKind::File,
        },
        MemberKind::HardLink => EntryKind::HardLink,
        MemberKind::Symlink => EntryKind::Symlink,
        MemberKind::CharDevice => EntryKind::CharacterDevice,
        MemberKind::BlockDevice => EntryKind::BlockDevice,
        MemberKind::Directory => EntryKind::Directory,
        MemberKind::Fifo => EntryKind::Fifo,
        MemberKind::Other(_) => EntryKind::Other,
    }
}
