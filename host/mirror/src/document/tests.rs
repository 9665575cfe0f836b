//! Tests of the whole file.

use super::*;

const DESIGN: &str = "\
version: 1
hosts:
  docker.io:          {requests-per-second: 5, connections: 4, pulls-left: 20}
  mirror.example.com: {requests-per-second: 0.5, connections: 16}
defaults: {platforms: all, referrers: true, verify: fast}
images:
- from: docker.io/library/busybox
  to: mirror.example.com/hub/busybox
  tags: {semver: '>=1.36', latest: 5, also: [latest, 1.10]}
  immutable: ['[0-9]*']
- from: quay.io/prometheus/{prometheus,alertmanager}
  to: mirror.example.com/quay/{repository}
  tags: {regex: 'v[0-9.]+', not: '.*-rc.*', newer-than: 90d}
  platforms: [linux/amd64, linux/arm64]
  index: rewrite
  filters: [normalize-timestamps, 'exclude:pattern=*.pyc']
  referrers: [application/spdx+json]
  verify: full
- list: images.txt
  to: mirror.example.com/{registry}/{repository}
  on-conflict: keep
  referrers: false
prune: {extra: delete}
";

fn parsed(text: &str) -> Document {
    Document::parse("m.yaml", text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Returns the errors of a file, each with its hint in the next line.
fn errors(text: &str) -> String {
    let errors = Document::parse("m.yaml", text).unwrap_err();
    let shown = |error: &Error| match error.hint_text() {
        Some(hint) => format!("{error}\n    hint: {hint}\n"),
        None => format!("{error}\n"),
    };
    errors.iter().map(shown).collect()
}

/// Returns the errors of a file with one entry, which has these lines.
fn of_entry(lines: &str) -> String {
    errors(&format!("version: 1\nimages:\n- {}\n", lines.replace('\n', "\n  ")))
}

#[test]
fn all_keys_are_read() {
    let document = parsed(DESIGN);
    let hub = document.limits_of("docker.io").unwrap();
    assert_eq!(
        (hub.requests_per_second, hub.connections.map(NonZeroU32::get), hub.pulls_left),
        (Some(5.0), Some(4), Some(20))
    );
    assert_eq!(document.limits_of("mirror.example.com").unwrap().requests_per_second, Some(0.5));
    assert_eq!(document.prune.extra, Extra::Delete);
    let [busybox, prometheus, list] = &document.entries[..] else { panic!("{document:?}") };
    let Origin::Repositories { repositories, rules, place } = &busybox.origin else { panic!() };
    assert_eq!(
        (repositories[0].to_string().as_str(), place.to_string().as_str()),
        ("docker.io/library/busybox", "m.yaml:7:9")
    );
    assert_eq!(
        (rules.latest, &rules.also[..], rules.semver[0].text()),
        (Some(5), &["latest".to_owned(), "1.10".to_owned()][..], ">=1.36")
    );
    assert_eq!(busybox.settings.referrers, Referrers::All);
    assert!(
        busybox.settings.immutable.match_tag("1.36")
            && !busybox.settings.immutable.match_tag("latest")
    );
    let Origin::Repositories { repositories, rules, .. } = &prometheus.origin else { panic!() };
    assert_eq!(repositories.len(), 2);
    assert_eq!(rules.newer_than, Some(std::time::Duration::from_secs(90 * 86_400)));
    assert_eq!((rules.regex[0].text(), rules.not[0].text()), ("v[0-9.]+", ".*-rc.*"));
    let settings = &prometheus.settings;
    assert!(matches!(&settings.platforms, Platforms::Listed(listed) if listed.len() == 2));
    assert_eq!((settings.index, settings.verify), (IndexMode::Rewrite, VerifyMode::Full));
    assert_eq!(settings.referrers, Referrers::OfTypes(vec!["application/spdx+json".to_owned()]));
    assert_eq!(settings.filters[1].place.to_string(), "m.yaml:16:35");
    assert!(matches!(&list.origin, Origin::List { path, .. } if path == "images.txt"));
    assert_eq!(
        (list.settings.on_conflict, &list.settings.referrers),
        (OnConflict::Keep, &Referrers::Without)
    );
}

#[test]
fn defaults_hold_every_key_that_makes_sense() {
    let document = parsed(
        "x-plain: &plain {verify: none}\nversion: 1\ndefaults:\n  to: m.example/{registry}/{repository}\n  tags: {latest: 3}\n  filters: [canonical]\n  immutable: ['v*']\nimages:\n- from: busybox\n- from: quay.io/a/b:1\n- {from: x, to: m.example/x, tags: {also: [a]}, filters: [], immutable: [], <<: *plain}\n",
    );
    let [busybox, pinned, own] = &document.entries[..] else { panic!() };
    assert!(
        matches!(&busybox.origin, Origin::Repositories { rules, .. } if rules.latest == Some(3))
    );
    assert!(
        matches!(&pinned.origin, Origin::Images { images, .. } if images[0].tag.as_deref() == Some("1"))
    );
    assert_eq!(busybox.to_place.line(), 4);
    assert_eq!(pinned.settings.filters[0].text, "canonical");
    assert_eq!(
        (own.to.text(), own.settings.filters.len(), own.settings.verify),
        ("m.example/x", 0, VerifyMode::None)
    );
    assert!(own.settings.immutable.texts().is_empty());
}

#[test]
fn all_errors_of_a_file_are_reported_with_line_and_column() {
    insta::assert_snapshot!(errors(
        "version: 2
hosts:
  docker.io: {requests-per-second: fast, conections: 4}
  index.docker.io: {connections: 0}
  quay.io: {}
  'a b': {connections: 1}
default: {}
defaults: {from: x, verify: quick}
images:
- from: busybox
- from: quay.io/prometheus/{prometheus
  to: mirror.example.com/quay
  tag: {}
- from: docker.io/library/busybox:1.36
  list: images.txt
  to: m.example/x
- from: docker.io/library/busybox:1.36
  to: m.example/x
  tags: {latest: 0, semver: newest, regex: '(', not: ['[z-a]'], newer-than: 3 months, also: [a b]}
  platforms: [linux, linux/amd64, linux/amd64]
  index: none
  filters: squash
  referrers: yes
  immutable: '[a'
  on-conflict: fail
- from: oci-layout:///srv/x
  to: registry://me:secret@m.example/x
- just text
prune: {extra: true}
"
    ));
}

#[test]
fn what_is_empty_is_an_error() {
    let mut found = String::new();
    for text in [
        "",
        "# nothing\n",
        "version: 1\n",
        "version: 1\nimages: []\n",
        "version: 1\nimages:\n",
        "version: 1\nimages: {}\n",
        "- a\n",
        "images: [{from: 'a:1', to: m.example/a}]\n",
        "version: 1.0\nimages: [{from: 'a:1', to: m.example/a}]\n",
        "version: 1\nhosts: {}\ndefaults: {}\nprune: {}\nimages: [{from: 'a:1', to: m.example/a}]\n",
    ] {
        found.push_str(&format!("{text:?}\n{}\n", errors(text)));
    }
    for lines in [
        "{}",
        "from: a\nto: m.example/a\ntags: {}",
        "from: a\nto: m.example/a\ntags:",
        "from: a\nto: m.example/a\ntags: [latest]",
        "from: a\nto: m.example/a\ntags: {regex: []}",
        "from: a\nto: m.example/a\ntags: {also: ['']}",
        "from: ''\nto: m.example/a",
        "from: a:1\nto:",
        "from: a:1\nto: m.example/a\nplatforms: []",
        "from: a:1\nto: m.example/a\nreferrers: []",
        "list: a\nto: m.example/a\ntags: {latest: 1}",
        "from: '{a,b:1}'\nto: m.example/{name}",
        "from: '{a,b}:1'\nto: m.example/x:1",
    ] {
        found.push_str(&format!("{lines:?}\n{}\n", of_entry(lines)));
    }
    insta::assert_snapshot!(found);
}

#[test]
fn a_filter_is_checked_by_the_function_that_is_given() {
    let document = parsed(
        "version: 1\ndefaults: {filters: [canonical, none]}\nimages:\n- {from: 'a:1', to: m.example/a}\n- {from: 'b:1', to: m.example/b}\n",
    );
    let mut asked = Vec::new();
    let errors = document.check_filters(&mut |filter| {
        asked.push(filter.to_owned());
        if filter == "none" {
            Err(Error::usage("there is no filter 'none'").hint("h"))
        } else {
            Ok(())
        }
    });
    assert_eq!(asked, ["canonical", "none"]);
    assert_eq!(errors[0].to_string(), "m.yaml:2:33: there is no filter 'none'");
    assert_eq!(errors[0].hint_text(), Some("h"));
}

#[test]
fn large_and_hostile_files_end_soon() {
    let started = std::time::Instant::now();
    assert!(errors(&" ".repeat(LARGEST_FILE + 1)).contains("at most 16777216 are read"));
    let entries: String = (0..20_000).map(|n| format!("- from: quay.io/team/app-{n}\n  to: m.example/app-{n}\n  tags: {{regex: 'v[0-9.]+', latest: 2}}\n")).collect();
    assert_eq!(parsed(&format!("version: 1\nimages:\n{entries}")).entries.len(), 20_000);
    let expressions: String = (0..3_000).map(|n| format!("'(a{n}){{500}}',")).collect();
    let text = format!(
        "version: 1\nimages:\n- from: a\n  to: m.example/a\n  tags: {{regex: [{expressions}]}}\n"
    );
    assert!(errors(&text).contains("more than 2000 different expressions"));
    let bombs = "- from: 'h.example/{a,b,c,d,e,f,g,h,i,j}{a,b,c,d,e,f,g,h,i,j}{a,b,c,d,e,f,g,h,i,j}{a,b,c,d,e,f,g,h,i,j}:1'\n  to: m.example/{name}\n";
    assert_eq!(parsed(&format!("version: 1\nimages:\n{}", bombs.repeat(10))).entries.len(), 10);
    assert!(
        errors(&format!("version: 1\nimages:\n{}", bombs.repeat(11)))
            .contains("more than 100000 names")
    );
    assert_eq!(
        errors(&format!("version: 1\nimages:\n{}", "- x\n".repeat(100_000))).lines().count(),
        101
    );
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

proptest::proptest! {
    #[test]
    fn nothing_typed_makes_it_panic(at in 0..DESIGN.len(), length in 0..8_usize, put in "[-:{}\\[\\],'a1 \n*&]{0,4}") {
        let end = (at + length).min(DESIGN.len());
        if DESIGN.is_char_boundary(at) && DESIGN.is_char_boundary(end) {
            let text = format!("{}{put}{}", &DESIGN[..at], &DESIGN[end..]);
            if let Err(errors) = Document::parse("m.yaml", &text) {
                assert!(!errors.is_empty());
            }
        }
    }
}
