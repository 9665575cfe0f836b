//! A `catalog.json` with entries of other tools: it is written to, read and verified like one without them.

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

#[test]
fn entries_of_other_tools_in_a_catalog_are_kept_and_change_no_verdict() {
    let sandbox = Sandbox::new();
    let [app, old] = ["app:1", "old:1"].map(TestImage::tiny);
    shape::legacy(&[&app], Pack::Gzip).write(&sandbox.path("app.tar"));
    shape::legacy(&[&old], Pack::Gzip).write(&sandbox.path("old.tar"));
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let others: [(&str, String); 12] = [
        ("a number", "5".to_owned()),
        ("null", "null".to_owned()),
        ("a text", "\"x\"".to_owned()),
        ("a list", "[]".to_owned()),
        ("an object", r#"{"y":{}}"#.to_owned()),
        ("beyond f64", "1e400".to_owned()),
        ("beyond f64, negative", "-1e400".to_owned()),
        ("400 digits", "9".repeat(400)),
        ("beyond f64, in a list", "[[1e400]]".to_owned()),
        ("65 levels", nested(65)),
        ("900 levels", nested(900)),
        ("half a surrogate pair", r#"{"\ud800":["\ud800"]}"#.to_owned()),
    ];
    for (at, (what, other)) in others.iter().enumerate() {
        let folder = format!("{at}");
        let to = format!("dir://{folder}?unique_names=true");
        sandbox.process("tar://old.tar", &to, &[]).verified();
        let path = sandbox.path(&format!("{folder}/catalog.json"));
        // Before the images, and beside the tag of one.
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replacen('{', &format!("{{\"_tool\":{other},"), 1);
        // A text there would be a manifest file.
        let beside = if other.starts_with('"') { "null" } else { other };
        let text = text.replacen("\"old\": {", &format!("\"old\": {{\"_tool\":{beside},"), 1);
        std::fs::write(&path, &text).unwrap();

        let receipt = format!("{at}.json");
        let words = ["--verify=full", "--receipt", &receipt];
        sandbox.process("tar://app.tar", &to, &words).verified();
        let written = std::fs::read_to_string(&path).unwrap();
        for kept in [other, beside] {
            assert!(written.contains(&format!("\"_tool\": {kept}")), "{what}: {written}");
        }

        let from = format!("dir://{folder}");
        for words in [["verify", &receipt], ["verify", &from], ["check", &from], ["info", &from]] {
            let said = sandbox.run(&words);
            assert_eq!(said.code, 0, "{what}: {words:?}: {}", said.stderr);
        }
        let back = format!("tar://{at}.tar");
        sandbox.process(&format!("{from}?image=old:1"), &back, &[]).verified();
    }
}
