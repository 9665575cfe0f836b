//! Tests of sources, lists and destinations.

use super::*;

fn document(text: &str) -> Document {
    Document::parse("mirror.yaml", text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn messages(errors: Vec<Error>) -> Vec<String> {
    errors.iter().map(Error::to_string).collect()
}

/// Returns the items of a document without rules that need a list of tags.
fn items<'d>(document: &'d Document, lists: &[(&str, &str)]) -> Vec<MirrorItem<'d>> {
    let read = &mut |path: &str| {
        let found = lists.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| Error::usage("no such list"))
    };
    let sources = document.sources(read).unwrap();
    sources.iter().map(|source| source.item(None).unwrap()).collect()
}

fn pairs(items: &[MirrorItem<'_>]) -> Vec<String> {
    items
        .iter()
        .map(|item| format!("{} {} -> {}", item.place, item.source, item.destination.name))
        .collect()
}

#[test]
fn every_source_becomes_an_item_with_its_place() {
    let hex = "ab".repeat(32);
    let document = document(
        "version: 1\nimages:\n- from: quay.io/p/{a,b}:1\n  to: m.example/q/{name}\n- from: busybox\n  tags: {also: [1.36, latest]}\n  to: m.example/hub/{repository}\n- list: images.txt\n  to: m.example/{registry}/{repository}\n",
    );
    let list = format!("# ours\n\n  quay.io/x:1 # pinned\r\nghcr.io/y@sha256:{hex}\n");
    let found = items(&document, &[("images.txt", &list)]);
    assert_eq!(
        pairs(&found),
        [
            "mirror.yaml:3:9 quay.io/p/a:1 -> registry://m.example/q/a:1".to_owned(),
            "mirror.yaml:3:9 quay.io/p/b:1 -> registry://m.example/q/b:1".to_owned(),
            "mirror.yaml:5:9 docker.io/library/busybox:1.36 -> registry://m.example/hub/library/busybox:1.36".to_owned(),
            "mirror.yaml:5:9 docker.io/library/busybox:latest -> registry://m.example/hub/library/busybox:latest".to_owned(),
            "images.txt:3:3 quay.io/x:1 -> registry://m.example/quay.io/x:1".to_owned(),
            format!("images.txt:4:1 ghcr.io/y@sha256:{hex} -> registry://m.example/ghcr.io/y@sha256:{hex}"),
        ]
    );
    assert!(found[5].is_immutable() && !found[4].is_immutable());
    assert_eq!(distinct(found).unwrap().len(), 6);
}

#[test]
fn tags_that_rules_select_become_items() {
    let document = document(
        "version: 1\nimages:\n- from: busybox\n  to: m.example/b\n  tags: {semver: '>=1.36', latest: 1}\n  immutable: ['[0-9]*']\n",
    );
    let sources = document.sources(&mut |_| panic!()).unwrap();
    let rules = sources[0].rules.unwrap();
    let tags = ["1.36", "1.37", "latest"].map(str::to_owned);
    let now = time::OffsetDateTime::UNIX_EPOCH;
    let selected = rules.select(&tags, now, &mut |_| Ok::<_, ()>(None)).unwrap();
    let item = sources[0].item(Some(&selected.tags[0])).unwrap();
    assert_eq!(item.destination.uri, "registry://m.example/b:1.37");
    assert!(item.is_immutable() && !sources[0].item(Some("latest")).unwrap().is_immutable());
    let none = rules.select(&[], now, &mut |_| Ok::<_, ()>(None)).unwrap();
    assert_eq!(
        sources[0].no_tag(&none.counts).to_string(),
        "mirror.yaml:3:9: 'docker.io/library/busybox': no tag is left by the repository, which lists no tags (0 tags, 0 matched, 0 after 'not', 0 after 'newer-than', 0 after 'latest')"
    );
}

#[test]
fn two_sources_for_one_destination_are_an_error_with_both_lines() {
    let document = document(
        "version: 1\nimages:\n- {from: 'quay.io/a/x:1', to: m.example/x}\n- {from: 'quay.io/b/x:1', to: m.example/x}\n- {from: 'quay.io/a/x:1', to: m.example/x}\n- {from: 'quay.io/a/x:1', to: m.example/x, verify: full}\n",
    );
    let found = items(&document, &[]);
    assert_eq!(
        messages(distinct(found.clone()).unwrap_err()),
        [
            "mirror.yaml:4:10: 'quay.io/b/x:1' goes to 'registry://m.example/x:1', where 'quay.io/a/x:1' of mirror.yaml:3:10 goes",
            "mirror.yaml:6:10: 'quay.io/a/x:1' goes to 'registry://m.example/x:1' with other settings than in mirror.yaml:3:10",
        ]
    );
    let same = [found[0].clone(), found[2].clone()].to_vec();
    assert_eq!(pairs(&distinct(same).unwrap()), pairs(&found[..1]));
}

#[test]
fn lines_of_a_list_that_are_wrong_are_reported_together() {
    let text = "busybox\nquay.io/UPPER:1\nok:1\n me:secret@quay.io/x:1\n";
    assert_eq!(
        messages(list("l.txt", text).unwrap_err()),
        [
            "l.txt:1:1: 'busybox' has neither a tag nor a digest",
            "l.txt:2:1: 'UPPER' is not a repository name (in 'quay.io/UPPER:1')",
            "l.txt:4:2: a source has no login",
        ]
    );
    assert_eq!(
        messages(list("l.txt", "# none\n").unwrap_err()),
        ["l.txt:1:1: the list names no image"]
    );
    let many = messages(list("l.txt", &"UPPER\n".repeat(200)).unwrap_err());
    assert_eq!(
        (many.len(), many.last().unwrap().as_str()),
        (51, "l.txt: 150 more lines are wrong")
    );
}

#[test]
fn a_list_that_cannot_be_read_is_named_with_its_line() {
    let document =
        document("version: 1\nimages:\n- list: none.txt\n  to: m.example/{repository}\n");
    let errors = document
        .sources(&mut |path| Err(Error::usage(format!("cannot open '{path}'"))))
        .unwrap_err();
    assert_eq!(messages(errors), ["mirror.yaml:3:9: cannot open 'none.txt'"]);
}

#[test]
fn a_hundred_thousand_references_are_read_in_seconds() {
    let document =
        document("version: 1\nimages:\n- list: l.txt\n  to: m.example/{registry}/{repository}\n");
    let text: String = (0..100_000).map(|n| format!("quay.io/team/app-{n}:1.{n}\n")).collect();
    let started = std::time::Instant::now();
    let found = items(&document, &[("l.txt", &text)]);
    assert_eq!(distinct(found).unwrap().len(), 100_000);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
