//! Headers that readers understand in different ways. They are read as Go's `archive/tar` reads them, or refused.

use super::*;

/// Returns a header block with the fields that `set` writes, and the right checksum.
fn header(flag: u8, size: usize, set: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("a").unwrap();
    header.set_mode(0o644);
    header.set_size(size as u64);
    header.set_entry_type(tar::EntryType::new(flag));
    set(header.as_mut_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn with_content(flag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(flag, content.len(), |_| {});
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn records(of: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (keyword, value) in of {
        pax::write(&mut bytes, keyword.as_bytes(), value.as_bytes());
    }
    bytes
}

fn pax(of: &[(&str, &str)]) -> Vec<u8> {
    with_content(b'x', &records(of))
}

fn global(of: &[(&str, &str)]) -> Vec<u8> {
    with_content(b'g', &records(of))
}

fn only(tar: &[u8]) -> Member {
    let mut listed = read(tar).unwrap();
    assert_eq!(listed.len(), 1);
    listed.remove(0).0
}

fn why(tar: &[u8]) -> String {
    let error = read(tar).unwrap_err().to_string();
    error.split_once("is damaged: ").expect(&error).1.to_owned()
}

#[test]
fn a_size_behind_a_nul_hides_no_member() {
    let hidden = header(b'0', 0, |_| {});
    let size = |bytes: &mut [u8]| bytes[124..136].copy_from_slice(b"\x000001000\0\0\0\0");
    let listed = read(&[header(b'0', 0, size), hidden].concat()).unwrap();
    assert_eq!((listed.len(), listed[0].1.len()), (1, BLOCK));
}

#[test]
fn a_prefix_in_a_gnu_header_counts_where_no_times_are() {
    let gnu = |prefix: &[u8]| {
        let prefix = prefix.to_vec();
        header(b'0', 0, move |bytes| {
            bytes[257..265].copy_from_slice(b"ustar  \0");
            bytes[345..345 + prefix.len()].copy_from_slice(&prefix);
        })
    };
    assert_eq!(only(&gnu(b"etc/secret")).path, b"etc/secret/a");
    let timed = only(&gnu(b"14000000000\x0014000000001\0"));
    assert_eq!(timed.path, b"a");
    assert_eq!(timed.records[b"ctime".as_slice()], b"1610612737");
    assert_eq!(why(&gnu(b"\xff\xff etc")), "its prefix makes no sense");
}

#[test]
fn a_name_that_is_given_twice_is_refused() {
    let long = || with_content(b'L', b"long\0");
    let link = || with_content(b'K', b"long\0");
    let path = || pax(&[("path", "short")]);
    let file = || header(b'0', 0, |_| {});
    for tar in [
        [long(), path(), file()],
        [path(), long(), file()],
        [long(), long(), file()],
        [path(), pax(&[("mtime", "1")]), file()],
        [link(), pax(&[("linkpath", "x")]), header(b'2', 0, |_| {})],
        [long(), pax(&[("GNU.sparse.name", "x")]), file()],
    ] {
        assert_eq!(why(&tar.concat()), crate::tar::extension::TWICE);
    }
    assert_eq!(only(&[long(), pax(&[("mtime", "1")]), file()].concat()).path, b"long");
    // An empty one is ignored.
    assert_eq!(only(&[with_content(b'L', b"\0"), file()].concat()).path, b"a");
}

#[test]
fn records_for_all_members_change_none() {
    let file = || header(b'0', 0, |_| {});
    let commented = [global(&[("comment", "of a commit"), ("mtime", "5")]), file()].concat();
    assert_eq!(only(&commented), only(&file()));
    for keyword in ["path", "linkpath", "size", "uid", "gid", "GNU.sparse.size"] {
        let message = why(&[global(&[(keyword, "7")]), file()].concat());
        assert!(message.contains("engines ignore them"), "{keyword}: {message}");
    }
    let between = [pax(&[("path", "b")]), global(&[("comment", "x")]), file()].concat();
    assert!(why(&between).contains("stands between"));
}

#[test]
fn sparse_files_are_of_one_of_three_forms() {
    let content = with_content(b'0', b"xyz");
    let sparse = |of: &[(&str, &str)]| {
        let of: Vec<_> =
            of.iter().map(|(what, value)| (format!("GNU.sparse.{what}"), *value)).collect();
        let of: Vec<_> = of.iter().map(|(what, value)| (what.as_str(), *value)).collect();
        [pax(&of), content.clone()].concat()
    };
    let oldest = [("size", "9"), ("numblocks", "1"), ("offset", "2"), ("numbytes", "3")];
    let older = [("size", "9"), ("numblocks", "1"), ("map", "2,3")];
    assert_eq!(only(&sparse(&oldest)), only(&sparse(&older)));
    let message = "its sparse map makes no sense";
    for of in [
        &[("size", "9"), ("map", "2,3")][..],
        &[("size", "9"), ("numblocks", "2"), ("map", "2,3")],
        &[("size", "9"), ("realsize", "8"), ("numblocks", "1"), ("map", "2,3")],
        &[("numblocks", "1"), ("map", "2,3")],
        &[("size", "9"), ("numblocks", "1"), ("numbytes", "3"), ("offset", "2")],
        &[("size", "9"), ("numblocks", "1"), ("map", "2,3"), ("offset", "2"), ("numbytes", "3")],
        &[("major", "1"), ("minor", "0"), ("size", "9")],
        &[("major", "1"), ("minor", "1"), ("realsize", "9")],
        &[("major", "2"), ("minor", "0"), ("size", "9"), ("numblocks", "1"), ("map", "2,3")],
        &[("name", "other")],
    ] {
        assert_eq!(why(&sparse(of)), message, "{of:?}");
    }
    let folder = [
        pax(&[("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0,0")]),
        header(b'5', 0, |_| {}),
    ];
    assert_eq!(why(&folder.concat()), message);
}
