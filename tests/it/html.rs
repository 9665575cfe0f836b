//! `occystrap info --html`: the page in a browser, and what a hostile image can make of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, noise};
use crate::support::layer::{Member, dir, file, hardlink, layer, symlink};
use crate::support::push::push;
use crate::support::real::hello;
use crate::support::registry::Registry;
use crate::support::shape;

/// Names and texts that are markup, drive a terminal, or are not text.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=http://example.com/x onerror=alert(2)>",
    "</title></svg></style><b>'&amp;",
    "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{202e}",
    "javascript:alert(3)",
    "日本語の長い名前がここにあります",
];

/// An image with directories, waste, links and many small files, as real ones have them.
fn image() -> TestImage {
    let bytes = noise(7, 900_000);
    let mut base = vec![dir("usr"), dir("usr/lib"), symlink("lib", "usr/lib")];
    for number in 0..60 {
        let size = 300_000 / (number + 1);
        base.push(file(format!("usr/lib/lib{number:02}.so.6"), &bytes[..size]));
        base.push(file(format!("usr/share/doc/package-{number}/copyright"), &bytes[..900]));
        base.push(file(format!("usr/bin/program{number}"), &bytes[..20_000]));
    }
    base.push(file("var/cache/apt/archives/large.deb", &bytes));
    base.push(hardlink("usr/bin/again", "usr/bin/program3"));
    let upper = [
        file("usr/lib/lib01.so.6", &bytes[..140_000]),
        file("opt/app/server", &bytes[..700_000]),
        file("opt/app/config/settings.json", b"{}"),
    ];
    let last = [file("var/cache/apt/archives/.wh.large.deb", b""), file("etc/motd", b"hello")];
    let layers = vec![layer(&base), layer(&upper), layer(&last)];
    let mut image = TestImage::with_layers("team/app:1", layers);
    edit(&mut image, |config| {
        config["history"] = json!([
            { "created": "2026-01-02T03:04:05Z", "created_by": "/bin/sh -c #(nop) ADD file:0123456789abcdef in / " },
            { "created_by": "/bin/sh -c #(nop)  ENV A=B", "empty_layer": true },
            { "created_by": "RUN /bin/sh -c apt-get update && apt-get install --no-install-recommends app # buildkit", "comment": "buildkit.dockerfile.v0" },
            { "created_by": "RUN /bin/sh -c rm /var/cache/apt/archives/large.deb # buildkit" },
        ]);
    });
    image
}

fn edit(image: &mut TestImage, change: impl FnOnce(&mut Value)) {
    let mut config = serde_json::from_slice(&image.config).unwrap();
    change(&mut config);
    image.config = config.to_string().into_bytes();
}

/// An image whose names, commands and labels attack the page.
fn hostile() -> TestImage {
    let bytes = noise(9, 40_000);
    let mut members: Vec<Member> = Vec::new();
    for name in HOSTILE {
        members.push(file(name.replace('/', "\u{2215}"), &bytes));
        members.push(file(format!("dir{name}/file"), &bytes[..10_000]));
    }
    members.push(file(b"\xff\xfe<not utf-8>", &bytes));
    let long = |name: String| file("long", &bytes).record("path", name.as_bytes());
    members.push(long("n".repeat(250)));
    members.push(long(format!("{}/file", ["d"; 200].join("/"))));
    members.push(long(format!("s/{}", ["long"; 700].join("/"))));
    members.push(file("open", &bytes).mode(0o666));
    let upper: Vec<Member> =
        HOSTILE[..3].iter().map(|name| file(name.replace('/', "\u{2215}"), b"x")).collect();
    let mut image = TestImage::with_layers("team/app:1", vec![layer(&members), layer(&upper)]);
    edit(&mut image, |config| {
        config["created"] = json!(HOSTILE[0]);
        config["history"] = json!(
            HOSTILE[..2]
                .iter()
                .map(|text| json!({ "created_by": text, "comment": text, "created": text }))
                .collect::<Vec<_>>()
        );
    });
    image
}

fn write(sandbox: &Sandbox, images: &[&TestImage], arguments: &[&str]) -> (Ran, PathBuf) {
    shape::legacy(images, Pack::Gzip).write(&sandbox.path("a.tar"));
    let page = sandbox.path("page.html");
    let source = sandbox.uri("tar", "a.tar");
    let said =
        sandbox.run(&[&["info", "--html", page.to_str().unwrap(), &source], arguments].concat());
    (said, page)
}

#[test]
fn a_page_shows_maps_waste_steps_and_findings() {
    let sandbox = Sandbox::new();
    let (said, page) = write(&sandbox, &[&image()], &[]);
    said.exits(0);
    insta::assert_snapshot!(sandbox.redact(&said.stdout), @r"
    team/app:1  linux/amd64: 4.4 MB of files in 3 layers, 1.1 MB wasted, 0 errors
    Wrote [T]/page.html
    ");
    let html = std::fs::read_to_string(&page).unwrap();
    for text in [
        "<h1>team/app:1  linux/amd64</h1>",
        "var/cache/apt/archives/large.deb&#10;900.0 kB, ",
        "layer 1, deleted by layer 3",
        "layer 1, replaced by layer 2",
        "smaller entries",
        "<code>RUN rm /var/cache/apt/archives/large.deb</code>",
        "deletes 900.0 kB of lower layers",
        "<code>duplicate-file</code>",
        "diff-id, ",
    ] {
        assert!(html.contains(text), "{text} is not in the page");
    }
    // Two maps of the image, and one of each layer with files.
    assert_eq!(html.matches("class=\"map ").count(), 5);
    assert!(html.len() < 300_000, "{}", html.len());
    let mode = page.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);
    sandbox.assert_clean();
    // The same image gives the same page.
    write(&sandbox, &[&image()], &[]).0.exits(0);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), html);
}

#[test]
fn the_numbers_of_a_page_are_those_of_the_tree_for_every_source() {
    let (image, sandbox, registry) = (image(), Sandbox::new(), Registry::start());
    let source = push(&registry, &image, Pack::Zstd);
    let tree = sandbox.run(&["info", "--tree", "-O", "json", &source]).json();
    let page = sandbox.path("page.html");
    let said =
        sandbox.run(&["info", "-O", "json", "--html", page.to_str().unwrap(), &source]).json();
    let (one, other) = (&said["images"][0], &tree["images"][0]);
    assert_eq!((&one["size"], &one["wasted"]), (&other["size"], &other["wasted"]));
    assert_eq!((one["status"].as_str(), said["left_out"].as_u64()), (Some("warnings"), Some(0)));
    assert!(page.is_file());
}

#[test]
fn a_hostile_image_stays_text_in_a_page() {
    let sandbox = Sandbox::new();
    let (said, page) = write(&sandbox, &[&hostile()], &[]);
    said.exits(0);
    let html = std::fs::read_to_string(&page).unwrap();
    for part in ["<script", "<img", "</b>", "<b>", "onerror=alert(2)>", "\u{1b}", "\u{202e}"] {
        assert!(!html.contains(part), "{part} is in the page");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;"));
    assert!(html.contains("Content-Security-Policy"));
    assert_eq!(html.matches("<style").count(), 1);
    // Links lead into the page only, and nothing is loaded.
    for (at, _) in html.match_indices("href=\"") {
        assert!(html[at + 6..].starts_with("#image-"), "{}", &html[at..at + 80]);
    }
    for load in ["src=\"", "url(", "@import", "xlink:", "<link", "<iframe", "<object", "<form"] {
        assert!(!html.contains(load), "{load} is in the page");
    }
    assert!(html.len() < 200_000, "{}", html.len());
}

#[test]
fn the_size_of_a_page_does_not_depend_on_the_number_of_files() {
    let sandbox = Sandbox::new();
    let content = noise(3, 4_000);
    let layers = (0..60).map(|number| {
        let files = (0..500).map(|file_number| {
            let folder = file_number % 37;
            let name = format!("data{number}/folder-with-a-name-{folder}/file-{file_number}");
            file(name, &content[..1 + (file_number * 7919 + number * 31) % 4_000])
        });
        layer(&files.collect::<Vec<_>>())
    });
    let image = TestImage::with_layers("team/app:1", layers.collect());
    let (said, page) = write(&sandbox, &[&image], &[]);
    said.exits(0);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.len() < 3_000_000, "{}", html.len());
    assert!(html.contains("20 smaller layers have no map"));
    assert!(html.contains("29980 more files are not listed"));
}

#[test]
fn a_damaged_layer_is_a_finding_in_the_page() {
    let sandbox = Sandbox::new();
    let image = image();
    let mut archive = shape::legacy(&[&image], Pack::Plain);
    let (name, content) =
        archive.0.iter_mut().find(|(name, _)| name.ends_with("layer.tar")).unwrap();
    assert!(!name.is_empty());
    let middle = content.len() / 2;
    content[middle] ^= 1;
    archive.write(&sandbox.path("bad.tar"));
    let page = sandbox.path("page.html");
    let said =
        sandbox.run(&["info", "--html", page.to_str().unwrap(), &sandbox.uri("tar", "bad.tar")]);
    said.exits(0);
    assert!(said.stdout.contains(" 1 error\n"), "{}", said.stdout);
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("<span class=\"error\">1 error</span>"), "{html}");
}

#[test]
fn several_images_share_a_page_and_each_has_its_place() {
    let sandbox = Sandbox::new();
    let (one, other) = (TestImage::new("team/app:1"), TestImage::new("team/other:2"));
    let (said, page) = write(&sandbox, &[&one, &other], &[]);
    said.exits(0);
    let html = std::fs::read_to_string(page).unwrap();
    let ids: Vec<&str> = html
        .match_indices(" id=\"")
        .map(|(at, found)| {
            let rest = &html[at + found.len()..];
            &rest[..rest.find('"').unwrap()]
        })
        .collect();
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
    for (at, _) in html.match_indices("href=\"#") {
        let target = html[at + 7..].split('"').next().unwrap();
        assert!(unique.contains(&target), "{target} is not in the page");
    }
}

#[test]
fn only_a_page_is_replaced_by_a_page() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("notes"), "mine").unwrap();
    let source = format!("tar://{}", hello().display());
    let said = sandbox.run(&["info", "--html", "notes", &source]);
    said.exits(2).says("the file there is not a page");
    assert_eq!(std::fs::read(sandbox.path("notes")).unwrap(), b"mine");
    sandbox.run(&["info", "--html", "no/such/page", &source]).exits(1).says("mkdir -p no/such");
    sandbox.run(&["info", "--html", "x", "--tree", &source]).exits(2);
    let gone = sandbox.run(&["info", "--html", "x", &sandbox.uri("tar", "gone.tar")]);
    gone.exits(1);
    assert!(!sandbox.path("x").exists());
    sandbox.assert_clean();
}

#[test]
fn the_page_fits_every_width_and_its_text_can_be_read() {
    let Some(browser) = Browser::find("the page in a browser") else { return };
    for (image, pictures) in [(image(), true), (hostile(), false)] {
        let sandbox = Sandbox::new();
        let (said, page) = write(&sandbox, &[&image], &[]);
        said.exits(0);
        for dark in [false, true] {
            let widths = [360, 480, 739, 740, 1_024, 1_280, 1_600];
            let measured = browser.measure(&page, &widths, dark);
            assert_eq!(measured.len(), widths.len());
            for found in measured {
                assert_eq!(found["dark"], dark, "{found}");
                for kind in ["wide", "cut", "faint"] {
                    assert_eq!(found[kind], json!([]), "{kind} at {}", found["width"]);
                }
                let (maps, loads) = (&found["maps"], &found["requests"]);
                assert_eq!((maps, loads), (&json!(1), &json!(0)), "{}", found["width"]);
                assert_eq!(found["scripts"], 0);
            }
            if pictures {
                let picture = browser.picture(&page, (1_280, 2_400), dark);
                let bytes = std::fs::read(&picture).unwrap();
                assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 50_000, "{}", bytes.len());
                if let Some(folder) = std::env::var_os("OCCYSTRAP_PICTURES") {
                    let name = picture.file_name().unwrap();
                    std::fs::copy(&picture, PathBuf::from(folder).join(name)).unwrap();
                }
            }
        }
    }
}

/// The layers of a damaged image that could not be read may hold any file, and delete any.
#[test]
fn unknown_sizes_of_a_damaged_image_are_not_zero() {
    let sandbox = Sandbox::new();
    let image = image();
    let mut archive = shape::legacy(&[&image], Pack::Gzip);
    let name = shape::legacy_layer(&image, 1);
    let half = archive.get(&name)[..20_000].to_vec();
    archive.set(&name, half);
    archive.write(&sandbox.path("a.tar"));
    let said = sandbox.run(&["info", "--html", "page.html", "tar://a.tar"]);
    let line = said.exits(0).stdout.lines().next().unwrap();
    assert!(line.contains(": at least ") && line.contains(" of files in 3 layers, "), "{line}");
    assert!(line.contains("wasted bytes not known (layer 2 could not be read)"), "{line}");
    let page = std::fs::read_to_string(sandbox.path("page.html")).unwrap();
    for text in [
        "<dt>Wasted</dt><dd>not known</dd>",
        "<dt>Files</dt><dd>at least ",
        "Not all is known: layer 2 could not be read",
        "<h3>Layer 2: ",
        "could not be read to the end",
    ] {
        assert!(page.contains(text), "{text} is not in the page");
    }
    assert!(!page.contains("No layer deletes or replaces a file"));
    let said = sandbox.run(&["info", "--html", "page.html", "-O", "json", "tar://a.tar"]);
    let shown = &said.exits(0).json()["images"][0];
    assert_eq!((&shown["size"], &shown["wasted"]), (&Value::Null, &Value::Null), "{shown}");
    assert_eq!(shown["unread_layers"], json!([1]), "{shown}");
    // Nothing at all of a layer.
    archive.set(&name, b"\x1f\x8b".to_vec());
    archive.write(&sandbox.path("a.tar"));
    sandbox.run(&["info", "--html", "page.html", "tar://a.tar"]).exits(0);
    let page = std::fs::read_to_string(sandbox.path("page.html")).unwrap();
    assert!(page.contains("<h3>Layer 2: not known</h3>"), "{page}");
}
