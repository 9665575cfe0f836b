//! Full `check`: for each rule about layers an image that breaks it, and no other rule.

use serde_json::Value;
use tar::EntryType;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::layer::{Member, device, dir, file, hardlink, layer, symlink};
use crate::support::shape;

/// Findings of an image with these layers: `severity check layer path`.
fn found(layers: &[Vec<Member>]) -> Vec<String> {
    found_in(layers.iter().map(|members| layer(members)).collect())
}

fn found_in(layers: Vec<Vec<u8>>) -> Vec<String> {
    let sandbox = Sandbox::new();
    let image = TestImage::with_layers("app:1", layers);
    shape::docker25(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["check", "-O", "json", &sandbox.uri("tar", "in.tar")]);
    let document = said.json();
    let results = document["images"][0]["results"].as_array().unwrap();
    let errors = results.iter().any(|result| result["severity"] == "error");
    assert_eq!(said.code, i32::from(errors), "{said:?}");
    sandbox.assert_clean();
    results.iter().map(line).collect()
}

fn line(result: &Value) -> String {
    let text = |key: &str| result[key].as_str().unwrap_or_default().to_owned();
    let layer = result["layer"].as_u64().map_or_else(String::new, |layer| layer.to_string());
    [text("severity"), text("check"), layer, text("path")].join(" ").trim_end().to_owned()
}

/// Returns the layers below the one that breaks a rule.
fn base() -> Vec<Member> {
    vec![
        dir("etc/"),
        file("etc/motd", b"hello"),
        dir("usr/"),
        dir("usr/lib/"),
        file("usr/lib/libc.so", b"\x7fELF"),
        symlink("lib", "usr/lib"),
        hardlink("etc/issue", "etc/motd"),
    ]
}

#[track_caller]
fn finds(upper: Vec<Member>, expected: &[&str]) {
    assert_eq!(found(&[base(), upper]), expected);
}

#[test]
fn a_good_image_has_nothing_to_find() {
    let good = vec![
        dir("./"),
        dir("./srv/"),
        file("./srv/data", b"1"),
        file("etc/.wh.issue", b""),
        dir("usr/lib"),
        file("usr/lib/.wh..wh..opq", b""),
        dir("tmp").mode(0o1777),
        symlink("srv/up", "../etc/motd"),
        symlink("srv/abs", "/etc/motd"),
        hardlink("srv/motd", "/etc/motd").flag(b'2'),
        hardlink("srv/again", "/srv/data"),
    ];
    finds(good, &[]);
}

#[test]
fn names_and_links_that_lead_out() {
    finds(vec![file("../etc/passwd", b"")], &["error tar-path 1 ../etc/passwd"]);
    finds(vec![file("a/../../x", b"")], &["error tar-path 1 a/../../x"]);
    finds(vec![file("", b"")], &["error tar-path 1"]);
    finds(vec![file("srv/../x", b"")], &["warning tar-path 1 srv/../x"]);
    finds(vec![file("/srv", b"")], &["warning tar-path 1 /srv"]);
    finds(vec![file("y", b""), hardlink("x", "srv/../y")], &[]);
    finds(vec![hardlink("x", "../etc/passwd")], &["error tar-link 1 x"]);
    finds(vec![hardlink("x", "")], &["error tar-link 1 x"]);
    finds(vec![symlink("x", "")], &["error tar-link 1 x"]);
    finds(vec![symlink("a/x", "../../etc/passwd")], &["warning tar-link 1 a/x"]);
    let long = |length: usize| format!("d/{}", "n".repeat(length));
    finds(vec![file("f", b"").record("path", long(255).as_bytes())], &[]);
    let told = |rule: &str, name: &str| [format!("error {rule} 1 {name}")];
    finds(
        vec![file("f", b"").record("path", long(256).as_bytes())],
        &told("tar-path", &long(256)).each_ref().map(String::as_str),
    );
    let deep = "d/".repeat(2_050);
    let symbolic = symlink("s", "t").record("linkpath", deep.as_bytes());
    finds(vec![symbolic], &["error tar-link 1 s"]);
    finds(vec![file("bad\x1b[2Jname", b"")], &["warning tar-name 1 bad?[2Jname"]);
    finds(vec![file(b"caf\xe9", b"")], &["info tar-name 1 caf\u{fffd}"]);
}

#[test]
fn links_to_what_is_not_there() {
    finds(vec![hardlink("x", "etc/nothing")], &["error tar-link 1 x"]);
    finds(vec![hardlink("x", "etc")], &["error tar-link 1 x"]);
    // It comes too late.
    finds(vec![hardlink("x", "y"), file("y", b"")], &["error tar-link 1 x"]);
    finds(vec![file("etc/.wh.motd", b""), hardlink("x", "etc/motd")], &["error tar-link 1 x"]);
    // Engines look for it in the layer alone.
    finds(vec![hardlink("x", "etc/motd")], &["error tar-link 1 x"]);
    finds(vec![hardlink("x", "lib/libc.so")], &["error tar-link 1 x"]);
    finds(vec![file("y", b""), symlink("t", "/"), hardlink("x", "t/y")], &[]);
}

#[test]
fn whiteouts_that_make_no_sense() {
    finds(vec![file("etc/.wh.nothing", b"")], &["warning whiteout-nothing 1 etc/nothing"]);
    finds(vec![file("no/.wh..wh..opq", b"")], &["info whiteout-nothing 1 no"]);
    finds(vec![file("etc/.wh.motd", b"data")], &["warning whiteout-size 1 etc/.wh.motd"]);
    finds(vec![file("etc/.wh.", b"")], &["error whiteout 1 etc/.wh."]);
    finds(vec![file("etc/.wh...", b"")], &["error whiteout 1 etc/.wh..."]);
    finds(vec![file("etc/.wh..", b"")], &["error whiteout 1 etc/.wh.."]);
    finds(vec![file(".wh..wh.plnk", b"")], &["info whiteout 1 .wh..wh.plnk"]);
    finds(vec![symlink("etc/.wh.motd", "x")], &["warning whiteout 1 etc/.wh.motd"]);
    finds(
        vec![device("etc/motd", EntryType::Char, 0, 0)],
        &["warning whiteout 1 etc/motd", "info duplicate-file 1 etc/motd", "info overwritten"],
    );
    finds(vec![file("srv/x", b""), file(".wh.srv", b"")], &["error whiteout 1 srv"]);
    finds(
        vec![file(".wh.etc", b""), dir("etc"), file("etc/new", b"")],
        &["warning whiteout 1 etc"],
    );
    finds(
        vec![file("usr/lib/.wh.libc.so", b""), file("usr/.wh.lib", b"")],
        &["error whiteout 1 usr/lib"],
    );
    // For a file the order makes the meaning clear.
    finds(vec![file("etc/.wh.motd", b""), file("etc/motd", b"new")], &[]);
    // A file that is deleted, or was never there, cannot be deleted again.
    assert_eq!(
        found(&[base(), vec![file("etc/.wh.motd", b"")], vec![file("etc/.wh.motd", b"")]]),
        ["warning whiteout-nothing 2 etc/motd"]
    );
    assert_eq!(
        found(&[base(), vec![file(".wh.usr", b"")], vec![file("usr/lib/.wh.libc.so", b"")]]),
        ["warning whiteout-nothing 2 usr/lib/libc.so"]
    );
    assert_eq!(
        found(&[base(), vec![file("etc/.wh..wh..opq", b"")], vec![file("etc/.wh.motd", b"")]]),
        ["warning whiteout-nothing 2 etc/motd"]
    );
    assert_eq!(found(&[vec![file(".wh.x", b"")]]), ["warning whiteout-nothing 0 x"]);
    // A prefix is no path.
    assert_eq!(
        found(&[base(), vec![file("usr/.wh.li", b"")]]),
        ["warning whiteout-nothing 1 usr/li"]
    );
}

#[test]
fn members_that_are_there_twice() {
    finds(vec![file("srv/a", b"1"), file("srv/a", b"2")], &["error duplicate-member 1 srv/a"]);
    finds(vec![file("./srv/a", b"1"), symlink("srv//a", "b")], &["error duplicate-member 1 srv/a"]);
    finds(vec![dir("srv"), dir("srv/")], &["error duplicate-member 1 srv"]);
    finds(
        vec![file("srv/a", b"1"), file("x/../srv/a", b"2")],
        &["error duplicate-member 1 srv/a", "warning tar-path 1 x/../srv/a"],
    );
    finds(vec![dir("./"), file("a", b"1"), dir(".")], &["error duplicate-member 1 ."]);
    finds(
        vec![file("etc/.wh.motd", b""), file("./etc/.wh.motd", b"")],
        &["error duplicate-member 1 etc/motd"],
    );
    let opaque = || file("usr/lib/.wh..wh..opq", b"");
    finds(vec![dir("usr/lib"), opaque(), opaque()], &["error duplicate-member 1 usr/lib"]);
    finds(
        vec![file(".wh..wh.plnk", b""), file(".wh..wh.plnk", b"")],
        &[
            "error duplicate-member 1 .wh..wh.plnk",
            "info whiteout 1 .wh..wh.plnk",
            "info whiteout 1 .wh..wh.plnk",
        ],
    );
    // A folder that was only implied.
    finds(vec![file("srv/a", b"1"), dir("srv")], &[]);
    finds(vec![file("srv/a", b"1"), file("srv", b"2")], &["warning duplicate-member 1 srv"]);
}

#[test]
fn times_owners_and_permissions() {
    finds(vec![file("old", b"").mtime(-1)], &["warning tar-timestamp 1 old"]);
    finds(vec![file("s", b"").mode(0o4777)], &["warning tar-permissions 1 s", "info setuid 1 s"]);
    finds(vec![dir("s").mode(0o2777)], &["warning tar-permissions 1 s"]);
    finds(vec![file("s", b"").mode(0o2755)], &["info setuid 1 s"]);
    finds(vec![file("w", b"").mode(0o666)], &["warning world-writable 1 w"]);
    finds(vec![dir("w").mode(0o777)], &["warning world-writable 1 w"]);
    finds(vec![file("o", b"").record("uid", b"4294967295")], &["warning tar-owner 1 o"]);
    finds(vec![file("o", b"").uid(65_534)], &[]);
}

#[test]
fn kinds_that_engines_do_not_take() {
    finds(vec![file("v", b"").flag(b'V')], &["error tar-type 1 v"]);
    // Types that other readers treat as files.
    finds(vec![file("c", b"x").flag(b'7')], &["error tar-type 1 c"]);
    finds(vec![file("root", b"").record("path", b"./")], &["error tar-path 1 ./"]);
    let large = vec![b'x'; 70_000];
    finds(
        vec![file("a", b"").record("SCHILY.xattr.user.a", &large)],
        &["error tar-attribute 1 a", "warning tar-attribute 1 a"],
    );
    // ext4 does not store it.
    finds(
        vec![file("a", b"").record("SCHILY.xattr.user.a", &large[..65_536])],
        &["warning tar-attribute 1 a"],
    );
    finds(vec![file("a", b"").record("SCHILY.xattr.user.a", &large[..4_000])], &[]);
    let link = symlink("s", "t").record("SCHILY.xattr.user.a", b"1");
    finds(vec![link], &["error tar-attribute 1 s"]);
    let capability = file("ping", b"").record("SCHILY.xattr.security.capability", &large[..20]);
    finds(vec![capability], &["error tar-attribute 1 ping"]);
    let name = format!("SCHILY.xattr.user.{}", "n".repeat(251));
    finds(vec![file("a", b"").record(&name, b"")], &["error tar-attribute 1 a"]);
    finds(vec![device("null", EntryType::Char, 1, 3)], &["info device 1 null"]);
    finds(vec![device("sda", EntryType::Block, 8, 0)], &["info device 1 sda"]);
    finds(
        vec![dir("o").record("SCHILY.xattr.trusted.overlay.opaque", b"y")],
        &["warning overlay-attribute 1 o"],
    );
}

#[test]
fn the_effect_of_layers_on_each_other_is_reported() {
    finds(vec![file("etc/motd", b"new")], &["info duplicate-file 1 etc/motd", "info overwritten"]);
    finds(vec![file("etc", b"")], &["info replaced-directory 1 etc"]);
    finds(vec![dir("lib")], &["warning directory-over-link 1 lib"]);
    finds(vec![file("lib/new", b"")], &["warning tar-through-link 1 lib/new"]);
    let through = |target| vec![symlink("k", target), dir("q"), file("k/new", b"")];
    for (target, severity) in
        [("/q", "warning"), ("q", "warning"), ("/etc", "error"), ("/no", "error"), ("k", "error")]
    {
        finds(through(target), &[&format!("{severity} tar-through-link 1 k/new")]);
    }
    finds(
        vec![file("etc/.wh.motd", b""), file("etc/motd/x", b"")],
        &["error tar-parent 1 etc/motd/x"],
    );
    // Reported once for each link.
    finds(
        vec![file("lib/new", b""), file("lib/x/newer", b"")],
        &["warning tar-through-link 1 lib/new"],
    );
    finds(vec![file("etc/motd/x", b"")], &["error tar-parent 1 etc/motd/x"]);
    // Deleted in between, it is not written again.
    assert_eq!(
        found(&[base(), vec![file("etc/.wh.motd", b"")], vec![file("etc/motd", b"new")]]),
        [""; 0]
    );
    assert_eq!(
        found(&[base(), vec![file(".wh.etc", b"")], vec![file("etc/motd", b"new")]]),
        [""; 0]
    );
    // A file in the place of a folder takes all that was in it.
    assert_eq!(
        found(&[base(), vec![file("etc", b"")], vec![dir("etc"), hardlink("x", "etc/motd")]]),
        [
            "error tar-link 2 x",
            "info duplicate-file 2 etc",
            "info overwritten",
            "info replaced-directory 1 etc"
        ]
    );
}

#[test]
fn tars_that_are_none() {
    let good = || layer(&base());
    let mut damaged = good();
    damaged[512] ^= 1;
    let text = b"this is no tar at all, and longer than a block ".repeat(20);
    let format = "error tar-format 0";
    let (two, one) = (layer(&[file("b", b"2")]), layer(&[file("a", b"1")]));
    let lone = [&one[..1_536], &two].concat();
    for (what, bytes, expected) in [
        ("no tar", text, format),
        ("going on after a lone block of zeros", lone, format),
        ("a damaged header", damaged, format),
        ("cut in a header", good()[..700].to_vec(), format),
        ("cut in a file", good()[..1_100].to_vec(), format),
        ("something behind its end", [good(), b"more".to_vec()].concat(), "warning tar-trailer 0"),
    ] {
        // Members that were not read may be those that other layers delete.
        let unread = (expected == format).then_some("unchecked layers");
        let expected: Vec<&str> = [expected].into_iter().chain(unread).collect();
        assert_eq!(found_in(vec![bytes]), expected, "{what}");
    }
    assert_eq!(found_in(vec![Vec::new()]), [""; 0]);
}

#[test]
fn a_layer_that_is_there_twice_is_told_of_in_both_places() {
    let same = vec![file("w", b"").mode(0o666)];
    assert_eq!(
        found(&[same.clone(), base(), same]),
        [
            "warning world-writable 0 w",
            "warning world-writable 2 w",
            "info duplicate-file 2 w",
            "info overwritten"
        ]
    );
}

#[test]
fn a_flood_is_counted() {
    let sandbox = Sandbox::new();
    let many: Vec<Member> = (0..2_500).map(|n| file(format!("w{n}"), b"").mode(0o666)).collect();
    let image = TestImage::with_layers("app:1", vec![layer(&many)]);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["check", "-O", "json", &sandbox.uri("tar", "in.tar")]);
    let image = said.exits(0).json()["images"][0].clone();
    assert_eq!(image["warnings"], 2_500);
    assert_eq!(image["results"].as_array().unwrap().len(), 1_000);
    assert_eq!(image["left_out"]["world-writable"], 1_500);
    let said = sandbox.run(&["check", &sandbox.uri("tar", "in.tar")]);
    assert!(said.stdout.contains("... and 2490 more (-O json lists them)"), "{}", said.stdout);
}

/// What was not read may be what later layers delete.
#[test]
fn layers_above_a_cut_one_are_not_accused() {
    let mut lower = layer(&[file("a", b"1"), file("b", b"2")]);
    // The name of the second member is not the one of its checksum.
    lower[1024] ^= 1;
    let upper = layer(&[file(".wh.b", b"")]);
    let found = found_in(vec![lower, upper]);
    assert_eq!(found, ["error tar-format 0", "unchecked layers"]);
}
