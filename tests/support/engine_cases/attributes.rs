//! Extended attributes: file capabilities, ACLs, and names and sizes of others.

use super::{EngineCase, on_base};
use crate::support::layer::{Member, device, dir, file, hardlink, symlink};
use tar::EntryType;

const CAPABILITY: &str = "security.capability";
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// `cap_net_raw+ep`, in version 2.
const GOOD: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `user::rw-,group::r--,other::r--`.
const ACL: [u8; 28] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255,
    255, 255, 255,
];

fn with(member: Member, name: &str, value: &[u8]) -> Member {
    member.record(&format!("SCHILY.xattr.{name}"), value)
}

fn on_file(name: &str, value: &[u8]) -> Vec<Member> {
    vec![with(file("f", b"x"), name, value)]
}

/// Returns a member of each kind that is not a file.
fn kinds() -> Vec<(&'static str, Member)> {
    vec![
        ("a directory", dir("f")),
        ("a symbolic link", symlink("f", "t")),
        ("a FIFO", device("f", EntryType::Fifo, 0, 0)),
        ("a character device", device("f", EntryType::Char, 1, 3)),
        ("a whiteout", file("etc/.wh.hosts", b"")),
    ]
}

pub fn cases() -> Vec<EngineCase> {
    let mut rows: Vec<(String, Vec<Member>)> = Vec::new();
    for (name, value) in capabilities() {
        rows.push((format!("capability {name}"), on_file(CAPABILITY, &value)));
    }
    for (name, value) in acls() {
        rows.push((format!("ACL {name}"), on_file(ACCESS, &value)));
    }
    rows.push(("default ACL of a file".into(), on_file(DEFAULT, &ACL)));
    rows.push(("default ACL of a file, without entries".into(), on_file(DEFAULT, &ACL[..4])));
    for (kind, member) in kinds() {
        let of = |name: &str, value: &[u8]| vec![with(member.clone(), name, value)];
        rows.push((format!("malformed capability of {kind}"), of(CAPABILITY, &GOOD[..16])));
        rows.push((format!("malformed ACL of {kind}"), of(ACCESS, &ACL[..27])));
        rows.push((format!("default ACL of {kind}"), of(DEFAULT, &ACL)));
        rows.push((format!("user attribute of {kind}"), of("user.x", b"1")));
    }
    rows.push((
        "trusted attribute of a link".into(),
        vec![with(symlink("f", "t"), "trusted.x", b"1")],
    ));
    let linked =
        |name: &str, value: &[u8]| vec![file("z", b""), with(hardlink("h", "z"), name, value)];
    rows.push(("malformed capability of a hard link".into(), linked(CAPABILITY, &GOOD[..16])));
    rows.push(("default ACL of a hard link".into(), linked(DEFAULT, &ACL)));
    rows.push(("user attribute of a hard link".into(), linked("user.x", b"1")));
    let large = vec![b'v'; 70_000];
    let name = |length: usize| format!("user.{}", "n".repeat(length - 5));
    for (name, value) in [
        ("", &b"1"[..]),
        ("user.", b"1"),
        ("security.", b"1"),
        ("trusted.", b"1"),
        ("system.", b"1"),
        ("foo.bar", b"1"),
        ("system.foo", b"1"),
        ("user.empty", b""),
        ("user.nul", b"a\0b"),
        ("security.selinux", b"system_u:object_r:bin_t:s0\0"),
        ("trusted.overlay.opaque", b"y"),
        ("user.overlay.opaque", b"y"),
        ("user.5000", &large[..5_000]),
        ("user.70000", &large),
        (&name(255), b"1"),
        (&name(256), b"1"),
    ] {
        let shown =
            if name.len() > 30 { format!("of {} bytes", name.len()) } else { format!("'{name}'") };
        rows.push((format!("attribute {shown}"), on_file(name, value)));
    }
    rows.iter().map(|(name, members)| on_base(name, members.clone())).collect()
}

fn capabilities() -> Vec<(&'static str, Vec<u8>)> {
    let version = |first: u8, last: u8, length: usize| {
        let mut value = GOOD.to_vec();
        (value[0], value[3]) = (first, last);
        value.resize(length, 0);
        value
    };
    vec![
        ("of version 2", GOOD.to_vec()),
        ("of version 3", version(1, 3, 24)),
        ("of version 1", version(1, 1, 12)),
        ("of version 4", version(1, 4, 24)),
        ("of version 3 in 20 bytes", version(1, 3, 20)),
        ("with an unknown flag", version(3, 2, 20)),
        ("cut to 16 bytes", GOOD[..16].to_vec()),
        ("through UTF-8", "\u{1}\0\0\u{2}\0\u{20}\u{8}\0\0\0\0\0\u{a0}\0\0\0\0\0\0\0".into()),
        ("of no bytes", Vec::new()),
        ("with all bits", [&GOOD[..4], &[255; 16]].concat()),
    ]
}

fn acls() -> Vec<(&'static str, Vec<u8>)> {
    let user = [2, 0, 4, 0, 232, 3, 0, 0];
    let mask = [16, 0, 4, 0, 255, 255, 255, 255];
    let changed = |at: usize, byte: u8| {
        let mut value = ACL.to_vec();
        value[at] = byte;
        value
    };
    vec![
        ("of three entries", ACL.to_vec()),
        ("cut in an entry", ACL[..27].to_vec()),
        ("cut in the version", ACL[..3].to_vec()),
        ("without entries", ACL[..4].to_vec()),
        ("of version 1", changed(0, 1)),
        ("without the owner", [&ACL[..4], &ACL[12..]].concat()),
        ("in another order", [&ACL[..4], &ACL[12..20], &ACL[4..12], &ACL[20..]].concat()),
        ("with an unknown tag", changed(4, 3)),
        ("with an unknown permission", changed(6, 255)),
        ("of a user without a mask", [&ACL[..12], &user, &ACL[12..]].concat()),
        ("of a user", [&ACL[..12], &user, &ACL[12..20], &mask, &ACL[20..]].concat()),
    ]
}
