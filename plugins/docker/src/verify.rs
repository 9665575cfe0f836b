//! Verifying an earlier write: what the engine reports about the image, and at the level `full` the digests
//! of what it exports.

use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Error, Expectation, Place, Receipt};
use occystrap_plugin::{engine, finding};

use crate::Docker;

impl Guest for Docker {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let engine = engine::open()?;
        let named = receipt.expectations.iter().find_map(|expectation| match &expectation.place {
            Place::Image(name) => Some(name.clone()),
            _ => None,
        });
        let Some(name) = named else {
            return Err(Error::Other("the receipt names no image".to_owned()));
        };
        let Some(image) = engine.inspect_image(&name)? else {
            let message = "the engine has no image of that name";
            return Ok(vec![finding(&name, Problem::Missing, None, None, message)]);
        };
        // If the ID is the digest of a manifest, the digest of the config is unknown.
        let id = (!image.id_is_manifest).then_some(image.id);
        let mut findings = compare(&receipt.expectations, id.as_ref(), &image.diff_ids);
        if level == Level::Full && findings.is_empty() {
            match engine.hash_image(&name)? {
                Some(read) => {
                    findings = compare(&receipt.expectations, Some(&read.config), &read.layers);
                }
                None => {
                    let message = "the engine does not export it";
                    findings.push(finding(&name, Problem::Missing, None, None, message));
                }
            }
        }
        Ok(findings)
    }
}

/// Compares the digests of the config and the layers with the receipt. `config` is `None` if its digest is
/// unknown.
fn compare(
    expectations: &[Expectation],
    config: Option<&String>,
    layers: &[String],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_layer = |expectation: &&Expectation| matches!(expectation.place, Place::ImageLayer(_));
    let expected = expectations.iter().filter(is_layer).count();
    for expectation in expectations {
        let (subject, found) = match &expectation.place {
            // An unknown digest is not a difference.
            Place::Image(name) => (name.clone(), config.or(expectation.digest.as_ref())),
            Place::ImageLayer(layer) => {
                let subject = format!("{} layer {}", layer.image, u64::from(layer.index) + 1);
                (subject, layers.get(layer.index as usize))
            }
            _ => continue,
        };
        let is_image = matches!(expectation.place, Place::Image(_));
        if is_image && layers.len() > expected {
            let side = |layers: usize| Some(format!("{layers} layers"));
            let (expected, found) = (side(expected), side(layers.len()));
            let problem = Problem::DigestMismatch;
            findings.push(finding(&subject, problem, expected, found, "has more layers"));
        } else if found != expectation.digest.as_ref() {
            let (expected, found) = (expectation.digest.clone(), found.cloned());
            let problem = match found {
                Some(_) => Problem::DigestMismatch,
                None => Problem::Missing,
            };
            findings.push(finding(&subject, problem, expected, found, "is another one"));
        }
    }
    findings
}
