//! An archive whose layers are written in parallel, at offsets that are computed from hints about their sizes.

use std::time::Duration;

use occystrap_base::oci::PlatformRequest;
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_images::source::Source;
use occystrap_net::http::Settings;
use occystrap_net::registry::RegistryClient;
use occystrap_net::uri::Uri;
use occystrap_output::destination::planned_layer::{PlannedLayer, RequestedForm};
use occystrap_output::destination::size_hint::SizeHints;

use crate::support::cli::Sandbox;
use crate::support::context::context;
use crate::support::image::{Pack, TestImage, gzip, noise};
use crate::support::push::push;
use crate::support::registry::{Fault, Registry};
use crate::support::shape::legacy;

/// Two layers above the size from which on it is worth while to ask, and a small one between.
fn image(name: &str) -> TestImage {
    let large = |seed: u64| [noise(seed, 17 << 20), vec![0; 1 << 20]].concat();
    TestImage::with_layers(name, vec![large(1), vec![7; 300_000], large(2)])
}

#[test]
fn the_archive_is_the_same_with_hints_and_without() {
    let (sandbox, registry, image) = (Sandbox::new(), Registry::start(), image("app:1"));
    let mut archives = Vec::new();
    for (name, pack) in [("gzip", Pack::Gzip), ("plain", Pack::Plain)] {
        legacy(&[&image], pack).write(&sandbox.path("in.tar"));
        let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("tar", name));
        let said = sandbox.process(&from, &to, &["--verify=full", "--debug"]);
        said.verified().says("sizes of layers, as their sources state them sizes=Some(");
        archives.push(std::fs::read(sandbox.path(name)).unwrap());
    }
    // A registry with a limit of requests is not asked for hints.
    let source = push(&registry, &image, Pack::Gzip);
    let to = sandbox.uri("tar", "none");
    sandbox.process(&source, &to, &["--rate-limit", "1000"]).verified();
    archives.push(std::fs::read(sandbox.path("none")).unwrap());
    assert!(
        registry.requests_of("GET", "/blobs/").iter().all(|asked| asked.header("range").is_empty())
    );
    // The name is another one in a registry, and stands in the manifest.
    let end = archives.iter().map(Vec::len).min().unwrap() - 4096;
    assert!(archives.iter().all(|archive| archive[..end] == archives[0][..end]));
    sandbox.assert_clean();
}

#[test]
fn a_wrong_hint_costs_a_second_try_and_nothing_else() {
    let (sandbox, image) = (Sandbox::new(), image("app:1"));
    let mut archive = legacy(&[&image], Pack::Gzip);
    // Two members, of which the last says what it is, and not what both are.
    let (first, last) = image.layers[1].split_at(1_000);
    let layer = gzip(&image.layers[1]);
    let member = archive.0.iter_mut().find(|(_, content)| *content == layer).unwrap();
    member.1 = [gzip(first), gzip(last)].concat();
    archive.write(&sandbox.path("in.tar"));
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("tar", "out.tar"));
    let said = sandbox.process(&from, &to, &["--verify=full", "-v"]);
    said.verified().says("writing anew, without size hints").says("expected 299000, found 300000");
    sandbox.run(&["verify", &to]).verified();
    sandbox.assert_clean();
}

/// The sizes that a registry announces for the layers of an image.
fn asked(source: &str, settings: &Settings) -> Option<Vec<u64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let context = context(&runtime).with_parallel(2);
    let client = |_: &Uri| RegistryClient::new(settings, context.cancel.clone());
    let source =
        Source::parse(&Uri::parse(source).unwrap(), &PlatformRequest::default(), client).unwrap();
    let image = source.open(&context).unwrap().remove(0);
    let taken: Vec<PlannedLayer> = (image.layers.into_iter().enumerate())
        .map(|(index, layer)| {
            let progress = LayerProgress::hidden();
            PlannedLayer { index, layer, form: RequestedForm::Uncompressed, stays: false, progress }
        })
        .collect();
    SizeHints::within(Duration::from_secs(20)).of(&taken, &context)
}

#[test]
fn a_registry_is_asked_for_the_end_of_each_layer() {
    let (registry, image) = (Registry::start(), image("app:1"));
    let source = push(&registry, &image, Pack::Gzip);
    let settings = Settings { insecure: true, retries: 0, ..Settings::default() };
    let sizes: Vec<u64> = image.layers.iter().map(|layer| layer.len() as u64).collect();
    assert_eq!(asked(&source, &settings), Some(sizes));
    let ends = registry.requests_of("GET", "/blobs/");
    let ends = ends.iter().filter(|request| request.header("range").ends_with('-')).count();
    assert_eq!(ends, 3);
    // All or nothing.
    for fault in [Fault::IgnoreRange, Fault::status(500), Fault::CutAfter(1), Fault::Html] {
        registry.fault("GET", "/blobs/", Fault::Delay(Duration::ZERO), 2);
        registry.fault("GET", "/blobs/", fault.clone(), 1);
        assert_eq!(asked(&source, &settings), None, "{fault:?}");
    }
}
