//! Names, types, times, owners, modes, and archives that are none.

use super::{EngineCase, base, on_base};
use crate::support::layer::{Member, device, dir, file, layer, symlink};
use tar::EntryType;

pub fn cases() -> Vec<EngineCase> {
    let mut all: Vec<EngineCase> = [names(), types(), numbers(), records()]
        .into_iter()
        .flatten()
        .map(|(name, members)| on_base(&name, members))
        .collect();
    all.extend(archives());
    all
}

type Row = (String, Vec<Member>);

fn names() -> Vec<Row> {
    let long = |name: String| file("f", b"").record("path", name.as_bytes());
    let path =
        |parts: usize| [vec!["n".repeat(200); parts], vec!["x".to_owned()]].concat().join("/");
    let target = |target: String| symlink("s", "t").record("linkpath", target.as_bytes());
    vec![
        ("name of 255 bytes".into(), vec![long("n".repeat(255))]),
        ("name of 256 bytes".into(), vec![long("n".repeat(256))]),
        ("path of 3,800 bytes".into(), vec![long(path(19))]),
        ("path of 4,200 bytes".into(), vec![long(path(21))]),
        ("link target of 4,094 bytes".into(), vec![target("t/".repeat(2_047))]),
        ("link target of 4,096 bytes".into(), vec![target("t/".repeat(2_048))]),
        ("name with ..".into(), vec![file("srv/../x", b"")]),
        ("name that leads out".into(), vec![file("a/../../x", b"")]),
        ("name with a slash".into(), vec![file("/srv", b"")]),
        ("empty name".into(), vec![file("", b"")]),
        ("file that is the root".into(), vec![file(".", b"")]),
        ("file that is a slash".into(), vec![file("/", b"")]),
        ("file above the root".into(), vec![file("..", b"")]),
        ("directory above the root".into(), vec![dir("..")]),
        ("name that is not UTF-8".into(), vec![file(b"caf\xe9", b"")]),
        ("name with a line feed".into(), vec![file("a\nb", b"")]),
        ("name with an escape sequence".into(), vec![file("a\x1b[2Jb", b"")]),
        ("name with a backslash".into(), vec![file("a\\b", b"")]),
        ("name that is a space".into(), vec![file(" ", b"")]),
        ("name of three dots".into(), vec![file("...", b"")]),
    ]
}

fn types() -> Vec<Row> {
    let mut rows: Vec<Row> = b"7VDZ"
        .iter()
        .map(|flag| (format!("type '{}'", flag.escape_ascii()), vec![file("f", b"").flag(*flag)]))
        .collect();
    rows.push(("old type of a file".into(), vec![file("f", b"x").flag(0)]));
    rows.push(("old type of a directory".into(), vec![file("f/", b"").flag(0)]));
    for (name, kind, major, minor) in [
        ("character device", EntryType::Char, 1, 3),
        ("block device", EntryType::Block, 8, 0),
        ("block device 0:0", EntryType::Block, 0, 0),
        ("character device of a large number", EntryType::Char, 4_095, 1_048_575),
        ("FIFO", EntryType::Fifo, 0, 0),
    ] {
        rows.push((name.into(), vec![device("n", kind, major, minor)]));
    }
    rows
}

fn numbers() -> Vec<Row> {
    let time = |seconds| file("old", b"").mtime(seconds);
    let id = |key: &str, value: &str| file("f", b"").record(key, value.as_bytes());
    vec![
        ("time of before 1970".into(), vec![time(-1_000)]),
        ("time of 1600".into(), vec![time(-11_676_096_000)]),
        ("directory of before 1970".into(), vec![dir("old").mtime(-1)]),
        ("link of before 1970".into(), vec![symlink("old", "x").mtime(-1)]),
        ("time of 1970".into(), vec![time(0)]),
        ("time of after 2038".into(), vec![time(2_147_483_653)]),
        ("owner 4294967295".into(), vec![id("uid", "4294967295")]),
        ("owner 4294967296".into(), vec![id("uid", "4294967296")]),
        ("mode 0".into(), vec![file("f", b"").mode(0), dir("q").mode(0), file("q/a", b"")]),
        ("mode with a type in it".into(), vec![file("f", b"").mode(0o100_644)]),
        ("mode with all bits".into(), vec![file("f", b"").mode(0o7_777_777)]),
    ]
}

fn records() -> Vec<Row> {
    [
        ("atime", "-1000"),
        ("atime", "abc"),
        ("ctime", "1,5"),
        ("mtime", "abc"),
        ("mtime", "-0.5"),
        ("mtime", "99999999999999999999"),
        ("uid", "abc"),
        ("uname", "a\0b"),
        ("path", "a\0b"),
        ("SCHILY.devmajor", "x"),
        ("size", "5"),
    ]
    .into_iter()
    .map(|(key, value)| {
        let shown = value.replace('\0', "NUL");
        (format!("record {key}={shown}"), vec![file("f", b"").record(key, value.as_bytes())])
    })
    .collect()
}

/// Archives, by their bytes.
fn archives() -> Vec<EngineCase> {
    let good = || layer(&base());
    let one = || layer(&[file("a", b"1")]);
    let global = |key: &str, value: &[u8]| {
        // A PAX header for the next member, which becomes one for all.
        let mut bytes = layer(&[file("b", b"").record(key, value)]);
        bytes.truncate(1_024);
        bytes[156] = b'g';
        bytes[148..156].fill(b' ');
        let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    };
    let mut damaged = good();
    damaged[512] ^= 1;
    [
        ("data after the end", [good(), b"more".repeat(200)].concat()),
        ("archive without an end", good()[..512].to_vec()),
        ("one block of zeros at the end", [&one()[..1_024], &[0; 512][..]].concat()),
        ("no bytes", Vec::new()),
        ("text", b"this is no tar at all, and longer than a block ".repeat(20)),
        ("cut in a header", good()[..700].to_vec()),
        ("cut in the padding of a file", good()[..1_100].to_vec()),
        ("cut in a file", layer(&[file("a", &[7; 2_000])])[..1_000].to_vec()),
        ("members after a block of zeros", [&one()[..1_536], &one()].concat()),
        ("damaged header", damaged),
        ("global header with a comment", [global("comment", b"x"), one()].concat()),
        (
            "global header between members",
            [&one()[..1_024], &global("comment", b"x"), &good()].concat(),
        ),
        ("global header with a name", [global("path", b"zzz"), one()].concat()),
    ]
    .map(|(name, bytes)| EngineCase::new(name, vec![bytes]))
    .into()
}
