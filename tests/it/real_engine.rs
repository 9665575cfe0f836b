//! Images in Debian's dockerd and Podman: what we load, and what we export again.

use bytes::Bytes;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::landed::{assert_in_archive, assert_in_directory};
use crate::support::real_engine;
use crate::support::shape::legacy;
use crate::support::user::run;

const FULL: &[&str] = &["--verify=full"];

/// Writes an image with the output `tar`.
fn archive(sandbox: &Sandbox, image: &TestImage) -> std::path::PathBuf {
    legacy(&[image], Pack::Gzip).write(&sandbox.path("source.tar"));
    let source = sandbox.uri("tar", "source.tar");
    sandbox.process(&source, &sandbox.uri("tar", "ours.tar"), FULL).verified();
    sandbox.path("ours.tar")
}

#[test]
fn a_loaded_image_comes_back() {
    let once = TestImage::new("real/once:1");
    // The engines link the second to the first, and hold no bytes for an empty one.
    let layer = tar(&[("same", &noise(1, 300_000))]);
    let between = tar(&[("between", b"")]);
    let twice = TestImage::with_layers("real/twice:1", vec![layer.clone(), between, layer]);
    for engine in real_engine::all("a_loaded_image_comes_back") {
        for image in [&once, &twice] {
            let sandbox = Sandbox::new();
            let ours = archive(&sandbox, image);
            let names = run(engine.load(&ours)).unwrap().names;
            assert!(names[0].ends_with(&image.name), "{}: {names:?}", engine.name);

            let found = run(engine.client().inspect(&image.name)).unwrap().unwrap();
            assert_eq!((found.id, &found.diff_ids), (image.id(), &image.diff_ids()));

            let source = engine.uri(&image.name);
            sandbox.process(&source, &sandbox.uri("dir", "new/out"), FULL).verified();
            assert_in_directory(&sandbox.path("new/out"), image);
            sandbox.process(&source, &sandbox.uri("tar", "out.tar"), FULL).verified();
            assert_in_archive(&sandbox.path("out.tar"), image);
            let read = |name| std::fs::read(sandbox.path(name)).unwrap();
            assert!(read("out.tar") == read("ours.tar"), "{}: the same archive", engine.name);
            sandbox.assert_clean();
        }
    }
}

#[test]
fn an_image_by_its_id() {
    for engine in real_engine::all("an_image_by_its_id") {
        let sandbox = Sandbox::new();
        let image = TestImage::new("real/by-id:1");
        run(engine.load(&archive(&sandbox, &image))).unwrap();
        for (index, id) in
            [image.id().to_string(), image.id().hex(), image.id().hex()[..12].to_owned()]
                .iter()
                .enumerate()
        {
            let folder = format!("{index}");
            sandbox.process(&engine.uri(id), &sandbox.uri("dir", &folder), FULL).verified();
            // Podman calls what it was given without a registry `localhost/...`.
            let catalog = sandbox.path(&folder).join("catalog.json");
            let catalog = std::fs::read_to_string(catalog).unwrap();
            assert!(catalog.contains("real/by-id"), "{}: {catalog}", engine.name);
        }
        let said = sandbox.process(&engine.uri("real/none"), &sandbox.uri("dir", "none"), FULL);
        said.exits(1).says("has no image 'real/none:latest'");
        assert!(!sandbox.path("none").exists());
        sandbox.assert_clean();
    }
}

#[test]
fn engines_say_what_they_are() {
    for engine in real_engine::all("engines_say_what_they_are") {
        let about = run(engine.client().about()).unwrap();
        assert_eq!(about.podman, engine.name == "podman", "{about:?}");
        assert!(!about.containerd_store && !about.api_version.is_empty(), "{about:?}");
    }
}

#[test]
fn cut_or_damaged_images_are_not_loaded() {
    for engine in real_engine::all("cut_or_damaged_images_are_not_loaded") {
        let sandbox = Sandbox::new();
        let image = TestImage::new("real/cut:1");
        let ours = std::fs::read(archive(&sandbox, &image)).unwrap();
        run(async {
            // All of it was written before the user pressed Ctrl-C.
            let mut load = engine.client().load(&tokio::runtime::Handle::current());
            for piece in ours.chunks(10_000) {
                load.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            drop(load);
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        });
        assert_eq!(run(engine.client().inspect("real/cut:1")).unwrap(), None, "{}", engine.name);

        std::fs::write(sandbox.path("damaged.tar"), &ours[..ours.len() / 2]).unwrap();
        let error = run(engine.load(&sandbox.path("damaged.tar"))).unwrap_err();
        assert!(error.to_string().contains("load"), "{}: {error}", engine.name);
        assert!(!error.to_string().contains('?'), "no line ends in a message: {error}");
        assert_eq!(run(engine.client().inspect("real/cut:1")).unwrap(), None, "{}", engine.name);
    }
}

#[test]
fn names_in_real_engines() {
    for engine in real_engine::all("names_in_real_engines") {
        let (sandbox, client) = (Sandbox::new(), engine.client());
        let image = TestImage::tiny("real/names:1");
        run(engine.load(&archive(&sandbox, &image))).unwrap();
        let other = occystrap_base::oci::ImageName::parse("registry.example/real/other:2").unwrap();
        run(client.tag("real/names:1", &other)).unwrap();
        let found = run(client.inspect(&other.to_string())).unwrap().unwrap();
        assert_eq!(found.id, image.id());
        assert!(found.tags.contains(&other.to_string()), "{}: {found:?}", engine.name);
        assert!(run(client.untag(&other.to_string())).unwrap());
        assert!(!run(client.untag(&other.to_string())).unwrap());
        assert!(run(client.inspect("real/names:1")).unwrap().is_some());
        let error = run(client.tag("real/absent:1", &other)).unwrap_err();
        assert_eq!(error.kind(), occystrap_base::error::Kind::NotFound, "{error}");
    }
}
