//! Tests of the order of rules.

use std::convert::Infallible;

use super::*;

fn tags(listed: &[&str]) -> Vec<String> {
    listed.iter().map(|tag| (*tag).to_owned()).collect()
}

fn expressions(texts: &[&str]) -> Vec<Expression> {
    texts.iter().map(|text| Expression::parse(text).unwrap()).collect()
}

fn ranges(text: &str) -> Vec<Range> {
    vec![Range::parse(text).unwrap()]
}

fn selected(rules: &Rules, listed: &[&str]) -> Vec<String> {
    let never = &mut |tag: &str| -> Result<_, Infallible> { panic!("the date of {tag}") };
    rules.select(&tags(listed), OffsetDateTime::UNIX_EPOCH, never).unwrap().tags
}

const LISTED: [&str; 8] =
    ["1.36.0", "latest", "1.35.1", "1.37.0-rc1", "1.36.1", "1.37.0", "1.34.0", "musl"];

#[test]
fn latest_takes_the_highest_of_what_the_other_rules_leave() {
    let mut rules = Rules { semver: ranges(">=1.35"), latest: Some(2), ..Rules::default() };
    assert_eq!(selected(&rules, &LISTED), ["1.36.1", "1.37.0"]);
    rules.also = tags(&["latest", "1.37.0", "latest"]);
    assert_eq!(selected(&rules, &LISTED), ["1.36.1", "1.37.0", "latest"]);
    rules.not = expressions(&[r"1\.37.*"]);
    assert_eq!(selected(&rules, &LISTED), ["1.36.0", "1.36.1", "latest", "1.37.0"]);
}

#[test]
fn without_semver_or_regex_the_rules_begin_with_all_tags() {
    let rules = Rules { not: expressions(&[".*-rc.*"]), ..Rules::default() };
    assert_eq!(
        selected(&rules, &LISTED),
        ["latest", "musl", "1.34.0", "1.35.1", "1.36.0", "1.36.1", "1.37.0"]
    );
    let rules = Rules { latest: Some(1), ..Rules::default() };
    assert_eq!(selected(&rules, &LISTED), ["1.37.0"]);
}

#[test]
fn also_alone_needs_no_list() {
    let rules = Rules { also: tags(&["latest"]), ..Rules::default() };
    assert!(!rules.need_list() && !rules.are_empty());
    let never = &mut |_: &str| -> Result<_, Infallible> { panic!() };
    let found = rules.select(&[], OffsetDateTime::UNIX_EPOCH, never).unwrap();
    assert_eq!((found.tags, found.not_listed), (tags(&["latest"]), vec![]));
}

#[test]
fn a_tag_of_also_that_is_not_listed_is_named() {
    let rules = Rules { semver: ranges("1"), also: tags(&["edge", "musl"]), ..Rules::default() };
    let never = &mut |_: &str| -> Result<_, Infallible> { panic!() };
    let found = rules.select(&tags(&LISTED), OffsetDateTime::UNIX_EPOCH, never).unwrap();
    assert_eq!(found.not_listed, ["edge"]);
    assert!(found.tags.ends_with(&tags(&["edge", "musl"])));
}

#[test]
fn an_expression_matches_whole_tags_and_picks_the_suffix_of_a_range() {
    let regex = expressions(&["1[.]3", ".*-rc[0-9]+", "m.*|x"]);
    let rules = Rules { regex: regex.clone(), ..Rules::default() };
    assert_eq!(selected(&rules, &LISTED), ["musl", "1.37.0-rc1"]);
    let rules = Rules { regex, semver: ranges(">=1.37"), ..Rules::default() };
    assert_eq!(selected(&rules, &LISTED), ["1.37.0-rc1"]);
}

#[test]
fn newer_than_asks_for_the_dates_of_candidates_and_comes_before_latest() {
    let day = Duration::from_secs(86_400);
    let rules = Rules {
        semver: ranges(">=1.35"),
        newer_than: Some(10 * day),
        latest: Some(1),
        ..Rules::default()
    };
    let now = OffsetDateTime::UNIX_EPOCH + 100 * day;
    let mut asked = Vec::new();
    let date_of = &mut |tag: &str| -> Result<_, Infallible> {
        asked.push(tag.to_owned());
        Ok(match tag {
            "1.36.0" => Some(now - 10 * day),
            "1.36.1" => None,
            _ => Some(now - 11 * day),
        })
    };
    let found = rules.select(&tags(&LISTED), now, date_of).unwrap();
    assert_eq!(found.tags, ["1.36.0"]);
    assert_eq!(
        found.counts,
        RuleCounts { listed: 8, matched: 4, not_refused: 4, new_enough: 1, latest: 1 }
    );
    assert_eq!(asked, rules.candidates(&tags(&LISTED)));
    let failed = rules.select(&tags(&LISTED), now, &mut |_| Err("no config"));
    assert_eq!(failed.unwrap_err(), "no config");
    let all = Rules { newer_than: Some(Duration::MAX), ..Rules::default() };
    let found = all.select(&tags(&LISTED), now, &mut |_| Ok::<_, ()>(Some(now))).unwrap();
    assert_eq!(found.tags.len(), LISTED.len());
}

#[test]
fn the_rule_that_left_nothing_is_named() {
    let old = &mut |_: &str| Ok::<_, Infallible>(None);
    let day = Some(Duration::from_secs(86_400));
    for (rules, listed, by) in [
        (Rules { semver: ranges("9"), ..Rules::default() }, &LISTED[..], "'semver' or 'regex'"),
        (Rules { not: expressions(&[".*"]), ..Rules::default() }, &LISTED[..], "'not'"),
        (Rules { newer_than: day, ..Rules::default() }, &LISTED[..], "'newer-than'"),
        (
            Rules { latest: Some(1), ..Rules::default() },
            &[][..],
            "the repository, which lists no tags",
        ),
    ] {
        let found = rules.select(&tags(listed), OffsetDateTime::UNIX_EPOCH, old).unwrap();
        assert_eq!((found.tags.len(), found.counts.emptied_by()), (0, Some(by)));
    }
}

#[test]
fn tags_of_signatures_are_never_selected_by_a_rule() {
    let hex = "ab".repeat(32);
    let listed = [
        format!("sha256-{hex}"),
        format!("sha256-{hex}.sig"),
        "sha256-1".to_owned(),
        "1".to_owned(),
    ];
    let rules = Rules { regex: expressions(&[".*"]), ..Rules::default() };
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(selected(&rules, &listed), ["sha256-1", "1"]);
}

#[test]
fn an_expression_that_is_wrong_is_said_in_one_line() {
    for (text, expected) in [
        ("(", "unclosed group"),
        ("a)(b", "unopened group"),
        ("[z-a]", "invalid character class range, the start must be <= the end"),
        ("(?:a{1000}){1000}", "it is too large"),
        ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
    ] {
        assert_eq!(Expression::parse(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn a_hundred_thousand_tags_are_selected_soon() {
    let listed: Vec<String> =
        (0..100_000).map(|n| format!("1.{}.{}-alpine", n % 300, n / 300)).collect();
    let rules = Rules {
        semver: ranges(">=1.100"),
        regex: expressions(&[".*-alpine"]),
        latest: Some(50),
        ..Rules::default()
    };
    let started = std::time::Instant::now();
    let found =
        rules.select(&listed, OffsetDateTime::UNIX_EPOCH, &mut |_| Ok::<_, ()>(None)).unwrap();
    assert_eq!(found.tags.len(), 50);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
