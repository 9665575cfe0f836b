//! Reader and writer against each other, and against the crate `tar`.

use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

mod as_go_reads;
#[path = "../../../../tests/support/tar_members.rs"]
mod tar_members;

use tar_members::{Listed, file, member, read, write};

/// Returns the number of headers of a member.
fn blocks(listed: &Listed) -> usize {
    write(listed).len() / BLOCK - 2
}

#[test]
fn ustar_is_enough_where_it_loses_nothing() {
    let long = |n: usize| vec![b'a'; n];
    let deep = [long(155), b"/".to_vec(), long(100)].concat();
    for path in [long(100), deep.clone()] {
        assert_eq!(blocks(&vec![file(&path, b"")]), 1);
    }
    for path in [long(101), [deep, long(1)].concat(), "ü".into(), b"\xff".to_vec()] {
        assert_eq!(blocks(&vec![file(&path, b"")]), 3, "{path:?}");
    }
    let (mut late, none) = file(b"a", b"");
    late.mtime = Time { seconds: 5, nanos: 1 };
    assert_eq!(blocks(&vec![(late, none)]), 3);
}

#[test]
fn the_crate_tar_reads_what_is_written() {
    let mut listed = vec![file(b"etc/motd", b"hello"), file(&[b'n'; 300], b"x")];
    listed[0].0.mode = 0o4755;
    listed[0].0.uid = 1 << 40;
    listed[1].0.mtime = Time::seconds(-5);
    let bytes = write(&listed);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut entries = archive.entries().unwrap();
    let mut first = entries.next().unwrap().unwrap();
    assert_eq!(first.path_bytes().as_ref(), b"etc/motd");
    assert_eq!(first.header().mode().unwrap(), 0o4755);
    let mut content = String::new();
    first.read_to_string(&mut content).unwrap();
    assert_eq!(content, "hello");
    assert_eq!(entries.next().unwrap().unwrap().path_bytes().as_ref(), [b'n'; 300]);
}

#[test]
fn tars_of_gnu_and_v7_are_read() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o600);
    let long = "d/".repeat(120) + "file";
    builder.append_data(&mut header, &long, b"abc".as_slice()).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "l", "t".repeat(150)).unwrap();
    let mut old = tar::Header::new_old();
    old.set_path("dir/").unwrap();
    old.set_size(0);
    old.set_mode(0o755);
    old.as_mut_bytes()[156] = 0;
    old.set_cksum();
    builder.append(&old, std::io::empty()).unwrap();
    let listed = read(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(listed[0].0.path, long.as_bytes());
    assert_eq!((listed[0].0.mode, listed[0].1.as_slice()), (0o600, b"abc".as_slice()));
    assert_eq!(listed[1].0.link, [b't'; 150]);
    assert_eq!(
        (listed[2].0.kind, listed[2].0.path.as_slice()),
        (MemberKind::Directory, b"dir".as_slice())
    );
}

#[test]
fn a_damaged_member_is_an_error() {
    let good = write(&vec![file(b"a", &[7; 700])]);
    for (at, byte) in [(0, b'b'), (124, b'9'), (148, b'x')] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(read(&bad).is_err(), "{at}");
    }
    for end in [100, 512, 600, 1_300] {
        assert!(read(&good[..end]).is_err(), "{end}");
    }
    // The zeros at the end may be missing, as Go and Python take it.
    assert_eq!(read(&good[..3 * BLOCK]).unwrap().len(), 1);
    assert_eq!(read(b"").unwrap().len(), 0);
}

#[test]
fn a_name_ends_where_it_ends() {
    for record in [b"path".as_slice(), b"GNU.sparse.name"] {
        let mut listed = vec![file(b"a", b"")];
        listed[0].0.records.insert(record.to_vec(), b"etc/passwd\0.txt".to_vec());
        listed[0].0.records.insert(b"GNU.sparse.size".to_vec(), b"0".to_vec());
        listed[0].0.records.insert(b"GNU.sparse.numblocks".to_vec(), b"1".to_vec());
        listed[0].0.records.insert(b"GNU.sparse.map".to_vec(), b"0,0".to_vec());
        assert!(read(&write(&listed)).is_err());
    }
}

#[test]
fn a_directory_without_a_name_is_the_root() {
    let root = vec![(Member::new(MemberKind::Directory, b""), Vec::new())];
    assert_eq!(read(&write(&root)).unwrap()[0].0.path, b"/");
    let mut bytes = write(&vec![(Member::new(MemberKind::Directory, b"x"), Vec::new())]);
    bytes[..2].fill(0);
    let header = tar::Header::from_byte_slice(&bytes[..BLOCK]);
    let mut header = header.clone();
    header.set_cksum();
    bytes[..BLOCK].copy_from_slice(header.as_bytes());
    let listed = read(&bytes).unwrap();
    assert_eq!(listed[0].0.path, b".");
    assert_eq!(read(&write(&listed)).unwrap()[0].0.path, b".");
}

#[test]
fn numbers_of_bytes_that_nobody_sends_take_no_memory() {
    for flag in [b'x', b'L', b'g', b'0', b'S'] {
        let mut header = tar::Header::new_ustar();
        header.set_size(1 << 60);
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_cksum();
        assert!(read(header.as_bytes()).is_err(), "{flag}");
    }
}

proptest! {
    #[test]
    fn written_values_are_read_again(listed in vec(member(), 0..5)) {
        let bytes = write(&listed);
        prop_assert_eq!(bytes.len() % BLOCK, 0);
        let again = read(&bytes).unwrap();
        prop_assert_eq!(&again, &listed);
        prop_assert_eq!(write(&again), bytes);
    }

    #[test]
    fn no_tar_makes_it_panic(bytes in vec(any::<u8>(), 0..2_048)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(listed in vec(member(), 1..4), at in any::<usize>(), flip in 1_u8..) {
        let mut bytes = write(&listed);
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let _ = read(&bytes);
    }
}
