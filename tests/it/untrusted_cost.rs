//! `verify --untrusted`: a receipt or a plugin that claims or requests too much does not delay the others.

use std::time::Duration;

use occystrap_base::limits::Allowance;
use occystrap_output::plugin::{Catalog, PluginEngine};
use occystrap_verify::untrusted::{BatchLimits, Grants, ReceiptReport, verify_batch};
use serde_json::json;

use crate::support::cli::Sandbox;
use crate::support::context::context;
use crate::support::hostile::component;
use crate::support::receipts::{edit, lines, sandbox, verdict, verify, write};
use crate::support::registry::Registry;

/// The status of each receipt, in their order, with what was said of it.
fn batch(
    sandbox: &Sandbox,
    receipts: &[String],
    allowance: Allowance,
    bounds: BatchLimits,
) -> Vec<(String, String)> {
    let engine = PluginEngine::with(allowance).unwrap();
    let catalog = Catalog::new(engine, &[component()]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = context(&runtime);
    let mut grants = Grants::none();
    grants.root(&sandbox.path("srv")).unwrap();
    let paths: Vec<_> = receipts.iter().map(Into::into).collect();
    let mut told = Vec::new();
    let tell = |line: &ReceiptReport| {
        told.push(serde_json::to_value(line).unwrap());
        Ok(())
    };
    verify_batch(&paths, &catalog, &grants, &bounds, &context, tell).unwrap();
    let of = |receipt: &String| {
        let line = told.iter().find(|line| line["receipt"] == **receipt).unwrap();
        (line["status"].as_str().unwrap().to_owned(), line.to_string())
    };
    receipts.iter().map(of).collect()
}

#[test]
fn claims_about_missing_files_cost_nothing() {
    const CLAIM: u64 = 120 << 30;
    let sandbox = sandbox();
    let mut receipts: Vec<String> = Vec::new();
    for index in 0..9 {
        let receipt = write(&sandbox, "dir", &format!("claims-{index}"), "");
        edit(&receipt, |document| {
            let digest = document["image"]["id"].clone();
            let path = match index % 2 {
                // Its journal is not needed and not read.
                0 => json!("not-there"),
                _ => document["expectations"][0]["place"]["file"]["path"].clone(),
            };
            document["journal"] = json!([{ "path": path, "size": CLAIM,
                "extents": [{ "offset": 0, "size": CLAIM, "digest": digest }] }]);
        });
        receipts.push(receipt);
    }
    for index in 0..4 {
        receipts.push(write(&sandbox, "dir", &format!("honest-{index}"), ""));
    }
    let paths: Vec<&str> = receipts.iter().map(String::as_str).collect();
    let said = verify(&sandbox, &paths, &["-J", "1"]);
    for (index, line) in lines(&said, &paths).iter().enumerate() {
        let claims = index < 9 && index % 2 == 1;
        assert_eq!(line["status"], if claims { "failed" } else { "verified" }, "{line}");
        assert!(!claims || line.to_string().contains("than its journal says"), "{line}");
    }
    // In a file of pieces, where the journal is needed.
    let receipt = write(&sandbox, "tar", "image.tar", "");
    edit(&receipt, |document| {
        let digest = document["image"]["id"].clone();
        document["journal"] = json!([{ "path": "image.tar", "size": CLAIM,
            "extents": [{ "offset": 0, "size": CLAIM, "digest": digest }] }]);
        let all = document["expectations"].as_array_mut().unwrap();
        all.iter_mut().find(|one| one["role"] == "image").unwrap()["size"] = CLAIM.into();
    });
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_eq!(status, "failed", "{line}");
}

#[test]
fn a_blob_that_a_registry_has_not_costs_nothing() {
    let sandbox = sandbox();
    let registry = Registry::start();
    let host = registry.url_host();
    let from = sandbox.uri("tar", "in.tar");
    let mut receipts = Vec::new();
    for index in 0..10 {
        let receipt = sandbox.path(&format!("r{index}")).display().to_string();
        let to = format!("registry://{host}/app:{index}");
        sandbox.process(&from, &to, &["--insecure", "--no-verify", "--receipt", &receipt]).exits(0);
        if index < 9 {
            edit(&receipt, |document| {
                let all = document["expectations"].as_array_mut().unwrap();
                let one = all.iter_mut().find(|one| one["role"]["layer"] == 0).unwrap();
                one["size"] = (120_u64 << 30).into();
            });
        }
        receipts.push(receipt);
    }
    let paths: Vec<&str> = receipts.iter().map(String::as_str).collect();
    let said =
        verify(&sandbox, &paths, &["-J", "1", "--insecure", "--allow-registry", host.as_str()]);
    for (index, line) in lines(&said, &paths).iter().enumerate() {
        assert_eq!(line["status"], if index < 9 { "failed" } else { "verified" }, "{line}");
    }
}

/// Receipts with much to read do not delay those with little.
#[test]
fn each_file_has_a_share_of_what_may_be_read() {
    let sandbox = sandbox();
    let mut receipts: Vec<String> = Vec::new();
    for index in 0..6 {
        let receipt = write(&sandbox, "hostile", &format!("large-{index}"), "");
        std::fs::File::create(sandbox.path(&format!("srv/large-{index}/more")))
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        edit(&receipt, |document| {
            let digest = occystrap_base::oci::Digest::of(&vec![0; 1 << 20]).to_string();
            document["expectations"].as_array_mut().unwrap().push(json!({ "role": "image",
                "place": { "file": { "path": "more" } }, "size": 1 << 20, "digest": digest }));
        });
        receipts.push(receipt);
    }
    receipts.push(write(&sandbox, "dir", "small", ""));
    let bounds = BatchLimits { workers: 1, batch_bytes: 10 << 20, ..BatchLimits::default() };
    let found = batch(&sandbox, &receipts, Allowance::untrusted(), bounds);
    let statuses: Vec<&str> = found.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses[0], "verified", "{found:?}");
    assert_eq!(statuses[5], "unconfirmed", "{found:?}");
    assert!(found[5].1.contains("the receipts of this batch would have"), "{found:?}");
    assert_eq!(statuses[6], "verified", "{found:?}");
    // A single receipt that exceeds the limit of a receipt.
    let bounds = BatchLimits { bytes: 1 << 20, ..BatchLimits::default() };
    let found = batch(&sandbox, &receipts[5..], Allowance::untrusted(), bounds);
    assert!(found[0].1.contains("the receipt would have the host read more"), "{found:?}");
    assert_eq!((found[0].0.as_str(), found[1].0.as_str()), ("unconfirmed", "verified"));
}

/// The real numbers would take hours to try.
#[test]
fn calls_and_bytes_that_a_plugin_asks_for_are_counted() {
    let long = Duration::from_secs(3600);
    let small = Allowance { cpu_time: long, ..Allowance::untrusted() };
    for (behaviour, allowance, why) in [
        ("verify-read", Allowance { host_calls: 1_000, ..small }, "more than 1000 calls"),
        ("verify-digest", Allowance { hashed_bytes: 100_000, ..small }, "100000 bytes hashed"),
    ] {
        let sandbox = sandbox();
        let receipts = [
            write(&sandbox, "hostile", behaviour, &format!("?behaviour={behaviour}")),
            write(&sandbox, "hostile", "good", ""),
        ];
        let bounds = BatchLimits { workers: 1, ..BatchLimits::default() };
        let found = batch(&sandbox, &receipts, allowance, bounds);
        assert_eq!(found[0].0, "unconfirmed", "{found:?}");
        assert!(found[0].1.contains(why), "{found:?}");
        assert_eq!(found[1].0, "verified", "{found:?}");
    }
}
