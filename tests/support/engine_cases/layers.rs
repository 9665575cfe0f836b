//! Whiteouts, duplicates, links, and what layers do to each other.

use super::{EngineCase, base, on_base};
use crate::support::layer::{device, layer};
use crate::support::layer::{dir, file, hardlink, symlink};
use tar::EntryType;

fn empty(name: &str) -> crate::support::layer::Member {
    file(name, b"")
}

fn fifo(name: &str) -> crate::support::layer::Member {
    device(name, EntryType::Fifo, 0, 0)
}

pub fn cases() -> Vec<EngineCase> {
    let mut all = vec![
        EngineCase::of("nothing odd", &[base()]),
        EngineCase::of("one layer twice", &[base(), base()]),
        EngineCase::of("empty layers", &[vec![], vec![], base()]),
        EngineCase::of("no layer", &[]),
        EngineCase::of(
            "one file in three layers",
            &[base(), vec![file("etc/motd", b"2")], vec![file("etc/motd", b"3")]],
        ),
        EngineCase::of("whiteout in the lowest layer", &[vec![empty(".wh.x")]]),
        EngineCase::of(
            "hard link to the layer below the next",
            &[base(), vec![file("b", b"")], vec![hardlink("c", "etc/motd")]],
        ),
        EngineCase::of("hard link to a FIFO below", &[vec![fifo("p")], vec![hardlink("h", "p")]]),
        EngineCase::of(
            "below a circle of a lower layer",
            &[vec![symlink("k", "k")], vec![file("k/new", b"")]],
        ),
        EngineCase::of(
            "below a link to a file of a lower layer",
            &[vec![file("z", b""), symlink("k", "z")], vec![file("k/new", b"")]],
        ),
        EngineCase::of(
            "below an absolute link of a lower layer",
            &[vec![dir("q"), symlink("k", "/q")], vec![file("k/new", b"")]],
        ),
        EngineCase::of(
            "below a link to nothing of a lower layer",
            &[vec![symlink("k", "no")], vec![file("k/new", b"")]],
        ),
        EngineCase::of(
            "directory below an absolute link of a lower layer",
            &[vec![dir("q"), symlink("k", "/q")], vec![dir("k/sub"), file("k/sub/new", b"")]],
        ),
        EngineCase::of("below a link to the root", &[vec![symlink("k", "/"), file("k/a", b"")]]),
        EngineCase::of(
            "below an absolute link to nothing",
            &[vec![symlink("d", "/etc"), file("d/a", b"")]],
        ),
        EngineCase::new("deep folders", vec![layer(&deep())]),
    ];
    all.extend(whiteouts());
    all.extend(duplicates());
    all.extend(links());
    all
}

fn deep() -> Vec<crate::support::layer::Member> {
    (1..40).map(|depth| dir(vec!["p"; depth].join("/"))).collect()
}

fn whiteouts() -> Vec<EngineCase> {
    let (hosts, opaque) = ("etc/.wh.hosts", "d/.wh..wh..opq");
    [
        ("whiteout twice", vec![empty(hosts), empty(hosts)]),
        ("whiteout twice, spelled in two ways", vec![empty(hosts), empty("./etc/.wh.hosts")]),
        ("opaque marker twice", vec![dir("d"), empty(opaque), empty(opaque)]),
        ("opaque marker of the root twice", vec![empty(".wh..wh..opq"), empty(".wh..wh..opq")]),
        ("file of AUFS", vec![empty(".wh..wh.plnk")]),
        ("file of AUFS twice", vec![empty(".wh..wh.plnk"), empty(".wh..wh.plnk")]),
        ("whiteout without a name", vec![empty("etc/.wh.")]),
        ("whiteout of its folder", vec![empty("etc/.wh..")]),
        ("whiteout of the folder above", vec![empty("etc/.wh...")]),
        ("whiteout of a directory", vec![empty(".wh.usr")]),
        ("whiteout of nothing", vec![empty("no/.wh.nothing")]),
        ("whiteout below a file", vec![empty("etc/hosts/.wh.x")]),
        ("whiteout below a file of its layer", vec![file("z", b""), empty("z/.wh.x")]),
        ("whiteout below a link", vec![empty("lib/.wh.a")]),
        ("whiteout below a link of its layer", vec![symlink("k", "/d"), empty("k/.wh.a")]),
        (
            "whiteout below a link of its layer to a folder of it",
            vec![dir("q"), symlink("k", "/q"), empty("k/.wh.a")],
        ),
        (
            "opaque marker below a link of its layer",
            vec![symlink("k", "/d"), empty("k/.wh..wh..opq")],
        ),
        ("opaque marker below a file of its layer", vec![file("z", b""), empty("z/.wh..wh..opq")]),
        ("whiteout below what the layer deletes", vec![empty(".wh.d"), empty("d/.wh.a")]),
        ("whiteout of a folder after one below it", vec![empty("d/e/.wh.f"), empty("d/.wh.e")]),
        ("opaque marker of nothing", vec![empty("no/.wh..wh..opq")]),
        ("opaque marker after a file", vec![dir("d"), file("d/new", b""), empty(opaque)]),
        ("whiteout with content", vec![file(hosts, b"data")]),
        ("whiteout that is a link", vec![symlink(hosts, "x")]),
        ("whiteout that is a directory", vec![dir(hosts)]),
        ("whiteout that is a FIFO", vec![fifo(hosts)]),
        ("whiteout, then the file", vec![empty(hosts), file("etc/hosts", b"n")]),
        ("file, then its whiteout", vec![file("etc/hosts", b"n"), empty(hosts)]),
        ("file between two whiteouts", vec![empty(hosts), file("etc/hosts", b"n"), empty(hosts)]),
        ("directory, then its whiteout", vec![dir("d"), file("d/new", b""), empty(".wh.d")]),
        (
            "file in a directory, then the directory's whiteout",
            vec![file("d/new", b""), empty(".wh.d")],
        ),
        ("whiteout, then the directory", vec![empty(".wh.d"), dir("d"), file("d/new", b"")]),
        ("whiteout, then a file below it", vec![empty(".wh.d"), file("d/new", b"")]),
        (
            "whiteout of a file, then a file below it",
            vec![empty("etc/.wh.motd"), file("etc/motd/x", b"")],
        ),
        ("whiteout, then a link", vec![empty("etc/.wh.motd"), symlink("etc/motd", "x")]),
        ("whiteout and opaque marker", vec![dir("d"), empty(opaque), empty("d/.wh.a")]),
        ("overlayfs's mark for a deleted file", vec![device("etc/motd", EntryType::Char, 0, 0)]),
    ]
    .map(|(name, members)| on_base(name, members))
    .into()
}

fn duplicates() -> Vec<EngineCase> {
    [
        ("file twice", vec![file("srv/a", b"1"), file("srv/a", b"2")]),
        ("file twice, spelled in two ways", vec![file("srv/a", b"1"), file("./srv//a", b"2")]),
        ("directory twice", vec![dir("srv"), dir("srv/")]),
        ("root twice", vec![dir("./"), dir(".")]),
        ("link twice", vec![symlink("s", "a"), symlink("s", "a")]),
        ("FIFO twice", vec![fifo("p"), fifo("p")]),
        ("hard link twice", vec![file("z", b""), hardlink("h", "z"), hardlink("h", "z")]),
        ("file over a link of its layer", vec![file("t", b""), symlink("s", "t"), file("s", b"")]),
        ("file over a directory of its layer", vec![dir("q"), file("q/a", b""), file("q", b"")]),
        ("directory after a file in it", vec![file("srv/a", b""), dir("srv")]),
        ("file over an implied directory", vec![file("srv/a", b""), file("srv", b"")]),
        ("file over a directory", vec![file("d", b"n")]),
        ("link over a directory", vec![symlink("d", "etc")]),
        ("directory over a file", vec![dir("etc/motd"), file("etc/motd/x", b"")]),
        ("directory over a link", vec![dir("lib")]),
        ("file over a link", vec![file("lib", b"n")]),
        ("below a file", vec![file("etc/motd/x", b"")]),
        ("below a file of its layer", vec![file("z", b""), file("z/x", b"")]),
        ("below a FIFO of its layer", vec![fifo("z"), file("z/x", b"")]),
        ("directory below a file of its layer", vec![file("z", b""), dir("z/x")]),
    ]
    .map(|(name, members)| on_base(name, members))
    .into()
}

fn links() -> Vec<EngineCase> {
    let z = || file("z", b"");
    [
        ("hard link", vec![z(), hardlink("h", "z")]),
        ("hard link to a lower layer", vec![hardlink("h", "etc/motd")]),
        (
            "hard link to a lower layer in a listed folder",
            vec![dir("etc"), hardlink("etc/h", "etc/motd")],
        ),
        ("hard link to a link of a lower layer", vec![hardlink("h", "lib")]),
        ("hard link through a link of a lower layer", vec![hardlink("h", "lib/a")]),
        (
            "hard link through a link of its layer",
            vec![dir("r"), file("r/z", b""), symlink("t", "/r"), hardlink("h", "t/z")],
        ),
        (
            "hard link through a link to a lower layer",
            vec![symlink("t", "/etc"), hardlink("h", "t/motd")],
        ),
        ("hard link through a link to nothing", vec![symlink("t", "no"), hardlink("h", "t/z")]),
        ("hard link to a later file", vec![hardlink("h", "z"), z()]),
        ("hard link to nothing", vec![hardlink("h", "nothing")]),
        ("hard link to a directory", vec![hardlink("h", "etc")]),
        ("hard link to itself", vec![hardlink("h", "h")]),
        ("hard link to a link", vec![symlink("s", "nothing"), hardlink("h", "s")]),
        ("hard link to a FIFO", vec![fifo("p"), hardlink("h", "p")]),
        ("hard link to an absolute name", vec![z(), hardlink("h", "/z")]),
        ("hard link to a name with ..", vec![z(), hardlink("h", "q/../z")]),
        ("hard link that leads out", vec![hardlink("h", "../etc/passwd")]),
        ("hard link to an empty name", vec![hardlink("h", "")]),
        ("hard link to a deleted file", vec![empty("etc/.wh.motd"), hardlink("h", "etc/motd")]),
        (
            "hard link to a file of an emptied directory",
            vec![dir("d"), empty("d/.wh..wh..opq"), hardlink("h", "d/a")],
        ),
        (
            "hard link to a file that the layer writes again",
            vec![file("etc/motd", b"n"), hardlink("h", "etc/motd")],
        ),
        ("hard link over a file", vec![z(), hardlink("etc/motd", "z")]),
        ("below a link of a lower layer", vec![file("lib/new", b"")]),
        ("below a link of its layer", vec![symlink("k", "d"), file("k/new", b"")]),
        ("below an absolute link of its layer", vec![symlink("k", "/d"), file("k/new", b"")]),
        (
            "below an absolute link to a folder of its layer",
            vec![dir("q"), symlink("k", "/q"), file("k/new", b"")],
        ),
        (
            "below an absolute link to an implied folder",
            vec![symlink("k", "/q"), file("q/a", b""), file("k/new", b"")],
        ),
        (
            "below an implied folder that is there already",
            vec![symlink("k", "/d"), file("d/b", b""), file("k/new", b"")],
        ),
        (
            "below a link over two links",
            vec![dir("q"), symlink("r", "q"), symlink("k", "/r"), file("k/new", b"")],
        ),
        ("below a link to nothing", vec![symlink("k", "nothing"), file("k/new", b"")]),
        ("below a circle", vec![symlink("k", "l"), symlink("l", "k"), file("k/new", b"")]),
        ("below a link that leads out", vec![symlink("k", "../../etc"), file("k/new", b"")]),
        ("below a link to a file", vec![z(), symlink("k", "z"), file("k/new", b"")]),
        (
            "below a link to a deleted folder",
            vec![empty(".wh.d"), symlink("k", "d"), file("k/new", b"")],
        ),
        ("below a link in a folder", vec![dir("q"), symlink("q/k", "../d"), file("q/k/new", b"")]),
        ("below a link to its folder", vec![dir("q"), symlink("q/k", ".."), file("q/k/new", b"")]),
        ("directory below an absolute link of its layer", vec![symlink("k", "/d"), dir("k/sub")]),
        (
            "link below an absolute link of its layer",
            vec![symlink("k", "/d"), symlink("k/sub", "x")],
        ),
        ("circle of links", vec![symlink("s", "t"), symlink("t", "s")]),
        ("link to above the root", vec![symlink("s", "../../etc/passwd")]),
        ("link to an absolute name", vec![symlink("s", "/etc/passwd")]),
        ("link to nothing at all", vec![symlink("s", "")]),
    ]
    .map(|(name, members)| on_base(name, members))
    .into()
}
