//! Verifying an earlier write: the members of the archive are listed and compared with the receipt.

use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Error, Expectation, Place, Receipt, Role};
use occystrap_plugin::{check_expectations, finding};
use serde_json::Value;

use crate::Tar;
use occystrap_docker_save::header::{self, BLOCK};

/// The largest number of members that are listed. An image has at most some hundreds of layers, so this output
/// has not written an archive with more.
const MOST_MEMBERS: usize = 10_000;

impl Guest for Tar {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let directory = storage::open()?;
        let path = storage::file_name().ok_or(storage::ErrorCode::AccessDenied)?;
        let mut findings = check_expectations(&directory, &receipt.expectations, level);
        if directory.stat(&path)?.is_none() {
            return Ok(findings);
        }
        let List { members, damaged } = list(&directory, &path)?;
        if let Some(at) = damaged {
            let message =
                format!("the tar header at offset {at} is damaged: what follows is not found");
            findings.push(finding(&path, Problem::Unreadable, None, None, &message));
        }
        for expectation in &receipt.expectations {
            let Place::Part(part) = &expectation.place else { continue };
            let subject = format!("{path}:{}", part.member);
            match members.iter().find(|member| member.0 == part.member) {
                // The member is after the damaged header, which has been reported already.
                None if damaged.is_some_and(|at| part.offset > at) => {}
                None => findings.push(finding(
                    &subject,
                    Problem::Missing,
                    None,
                    None,
                    "is not among the archive's members",
                )),
                Some((_, offset, size)) => {
                    if Some(*size) != expectation.size || *offset != part.offset {
                        let side =
                            |size: u64, offset: u64| Some(format!("{size} bytes at {offset}"));
                        findings.push(finding(
                            &subject,
                            Problem::SizeMismatch,
                            side(expectation.size.unwrap_or_default(), part.offset),
                            side(*size, *offset),
                            "is elsewhere or of another size",
                        ));
                    }
                }
            }
            if matches!(expectation.role, Role::Manifest) {
                let size = expectation.size.unwrap_or_default().min(64 * 1024);
                let bytes = directory.read(&path, part.offset, size as u32).unwrap_or_default();
                if !lists(&bytes, &receipt.expectations) {
                    let message = "does not list the config and layers of this image in order";
                    findings.push(finding(&subject, Problem::Unreadable, None, None, message));
                }
            }
        }
        Ok(findings)
    }
}

/// The members of an archive.
struct List {
    /// The name, the offset of the content, and the size of each member.
    members: Vec<(String, u64, u64)>,
    /// The offset of the first block that is neither a header nor the end of the archive.
    damaged: Option<u64>,
}

fn list(directory: &Directory, path: &str) -> Result<List, Error> {
    let mut members = Vec::new();
    let mut at = 0_u64;
    while members.len() < MOST_MEMBERS {
        let block = directory.read(path, at, BLOCK as u32)?;
        let Some((name, size)) = header::parse(&block) else {
            let ends = block.iter().all(|byte| *byte == 0);
            return Ok(List { members, damaged: (!ends).then_some(at) });
        };
        let offset = at + BLOCK;
        members.push((name, offset, size));
        let blocks = size.div_ceil(BLOCK).saturating_mul(BLOCK);
        at = offset.saturating_add(blocks);
    }
    Ok(List { members, damaged: None })
}

/// Returns whether `manifest.json` lists exactly the config and the layers of the receipt, in order.
fn lists(manifest: &[u8], expectations: &[Expectation]) -> bool {
    let Ok(document) = serde_json::from_slice::<Value>(manifest) else { return false };
    let member = |wanted: fn(&Role) -> bool| {
        expectations.iter().filter(move |expectation| wanted(&expectation.role)).filter_map(
            |expectation| match &expectation.place {
                Place::Part(part) => Some(part.member.as_str()),
                _ => None,
            },
        )
    };
    let Some(image) = document.get(0) else { return false };
    let config = image.get("Config").and_then(Value::as_str);
    let layers = image.get("Layers").and_then(Value::as_array);
    config == member(|role| matches!(role, Role::Config)).next()
        && layers.is_some_and(|layers| {
            layers
                .iter()
                .map(Value::as_str)
                .eq(member(|role| matches!(role, Role::Layer(_))).map(Some))
        })
}
