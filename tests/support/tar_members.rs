//! Members of tar archives, generated, written and read: for the tests of the layer crate and of filters.

use std::io::Read;

use occystrap_base::error::Result;
use occystrap_layer::blob::from_io;
use occystrap_layer::tar::member::Records;
use occystrap_layer::tar::{Member, MemberKind, Sparse, TarReader, Time, Writer};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Members of a tar archive, each with its content.
pub type Listed = Vec<(Member, Vec<u8>)>;

/// Reads all members of an archive.
pub fn read(tar: &[u8]) -> Result<Listed> {
    let mut reader = TarReader::new(tar, "'x'");
    let mut listed = Vec::new();
    while let Some(member) = reader.next_member()? {
        let mut content = Vec::new();
        reader.content().read_to_end(&mut content).map_err(|cause| from_io(cause, "'x'"))?;
        listed.push((member, content));
    }
    reader.finish()?;
    Ok(listed)
}

/// Writes an archive of these members.
pub fn write(listed: &Listed) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (member, content) in listed {
        writer.append(member, &mut content.as_slice()).unwrap();
    }
    writer.finish().unwrap()
}

/// Returns a regular file.
pub fn file(path: &[u8], content: &[u8]) -> (Member, Vec<u8>) {
    let mut member = Member::new(MemberKind::File, path);
    member.size = content.len() as u64;
    (member, content.to_vec())
}

/// Generates members of every kind.
pub fn member() -> impl Strategy<Value = (Member, Vec<u8>)> {
    let name = || {
        vec(vec(any::<u8>().prop_filter("NUL", |byte| *byte != 0 && *byte != b'/'), 1..60), 1..6)
            .prop_map(|parts| parts.join(&b'/'))
    };
    let short = || vec(1_u8.., 0..40);
    let records = btree_map(
        "[a-z]{1,9}".prop_map(|key| format!("SCHILY.xattr.user.{key}").into_bytes()),
        vec(any::<u8>(), 0..50),
        0..3,
    );
    let numbers =
        (0_u32..0o200_0000, any::<i64>(), any::<i64>(), any::<i64>(), 0_u32..1_000_000_000);
    (0_u8..8, name(), name(), numbers, (short(), short()), records, vec(any::<u8>(), 0..1_100))
        .prop_map(|(kind, path, link, numbers, owners, records, content)| {
            let mut member = Member::new(MemberKind::from_flag(b'0' + kind), path);
            let (mode, uid, gid, seconds, nanos) = numbers;
            let seconds = seconds.max(i64::MIN + 1);
            (member.mode, member.uid, member.gid) = (mode, uid, gid);
            member.mtime = Time { seconds, nanos: if kind < 4 { 0 } else { nanos } };
            (member.owner, member.group) = owners;
            member.records = records as Records;
            match member.kind {
                MemberKind::HardLink | MemberKind::Symlink => member.link = link,
                MemberKind::CharDevice | MemberKind::BlockDevice => member.device = (uid as u32, 7),
                _ => {}
            }
            if !member.kind.has_content() {
                return (member, Vec::new());
            }
            member.size = content.len() as u64;
            if kind == 7 && !content.is_empty() {
                let pieces = std::vec![(4_096, 1), (10_000, member.size - 1), (99_999, 0)];
                member.sparse = Sparse::new(pieces, 100_000, member.size);
                member.size = 100_000;
            }
            (member, content)
        })
}
