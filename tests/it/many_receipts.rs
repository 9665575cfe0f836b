//! `verify` of very many receipts: each is read when its turn comes, and is not kept in memory.

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::measured::peak;
use crate::support::shape;

/// A thousand receipts took 825 MB when each had a plugin of its own. The program itself has some 25 MB.
const MOST_MEMORY: u64 = 64 << 10;

fn receipt(sandbox: &Sandbox, name: &str) -> String {
    shape::legacy(&[&TestImage::tiny(&format!("{name}:1"))], Pack::Plain)
        .write(&sandbox.path("in.tar"));
    let receipt = sandbox.path(&format!("{name}.json")).display().to_string();
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("dir", name));
    sandbox.process(&from, &to, &["--receipt", &receipt]).verified();
    receipt
}

#[test]
fn a_thousand_receipts_take_the_memory_of_one() {
    let sandbox = Sandbox::new();
    let receipt = receipt(&sandbox, "app");
    let names: Vec<String> = (0..1_000).map(|index| format!("r{index}.json")).collect();
    for name in &names {
        std::fs::hard_link(&receipt, sandbox.path(name)).unwrap();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for format in ["text", "json"] {
        let options = ["verify", "--fast", "-J", "4", "-O", format];
        let (peak, well) = peak(&mut sandbox.command(&[&options[..], &names].concat()));
        assert!(well && peak > 0, "{format}");
        assert!(peak < MOST_MEMORY, "{format}: {peak} KiB");
    }
}

#[test]
fn many_results_come_in_the_order_of_the_receipts() {
    let sandbox = Sandbox::new();
    let (a, b) = (receipt(&sandbox, "a"), receipt(&sandbox, "b"));
    std::fs::write(sandbox.path("none"), "no receipt").unwrap();
    let targets: Vec<&str> = (0..40).map(|index| ["none", &a, &b, &b][index % 4]).collect();
    for workers in ["1", "4"] {
        let options = ["verify", "--fast", "-J", workers];
        let said = sandbox.run(&[&options[..], &["-O", "json"], &targets].concat());
        let document = said.exits(1).json();
        let images = document["images"].as_array().unwrap();
        let found: Vec<&str> = images
            .iter()
            .map(|image| match image["image"].as_str().unwrap() {
                "" => image["source"].as_str().unwrap(),
                name => name,
            })
            .collect();
        let expected: Vec<&str> = (0..40).map(|index| ["none", "a", "b", "b"][index % 4]).collect();
        assert_eq!(found, expected);
        let summary = &document["summary"];
        assert_eq!(
            (summary["images"].as_u64(), summary["verified"].as_u64()),
            (Some(40), Some(30))
        );
        let said = sandbox.run(&[&options[..], &targets].concat());
        said.exits(1).says("30/40 verified, 10 FAILED");
        assert_eq!(said.stderr.matches("error: ").count(), 10, "{}", said.stderr);
    }
}

#[test]
fn a_wrong_command_line_is_no_verdict_whatever_stands_before_it() {
    let sandbox = Sandbox::new();
    let receipt = receipt(&sandbox, "app");
    for format in ["text", "json"] {
        let said = sandbox.run(&["verify", "-O", format, &receipt, "dir://x?no=option", &receipt]);
        said.exits(2);
        assert!(!said.stderr.contains("Summary"), "{}", said.stderr);
    }
}
