//! The predecessor's `recreate-image` reads the directories that we write.

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::python::{Python, config, layer_files};
use crate::support::shape;

#[test]
fn recreate_image_reads_what_we_write() {
    let Some(python) = Python::find("recreate_image_reads_what_we_write") else { return };
    let sandbox = Sandbox::new();
    let images = [TestImage::new("team/app:1"), TestImage::tiny("team/app:2")];
    shape::legacy(&images.each_ref(), Pack::Gzip).write(&sandbox.path("in.tar"));
    for (folder, options) in [("one", ""), ("shared", "?unique_names=true")] {
        for image in &images {
            let (name, tag) = image.name.rsplit_once(':').unwrap();
            let from = format!("tar://in.tar?image={}", image.name);
            sandbox.process(&from, &format!("dir://{folder}{options}"), &[]).verified();
            let [directory, archive] =
                [folder, "python.tar"].map(|path| sandbox.path(path).display().to_string());
            let words = ["recreate-image", &directory, name, tag, &archive];
            python.run(&sandbox, &words).exits(0);
            let back = sandbox.path(&format!("{folder}-{tag}"));
            let to = format!("dir://{}", back.display());
            sandbox.process("tar://python.tar", &to, &["--verify=full"]).verified();
            let contents: Vec<_> =
                layer_files(&back).iter().map(|path| std::fs::read(path).unwrap()).collect();
            assert!(contents == image.layers, "{folder}: {}", image.name);
            let expected: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
            assert_eq!(config(&back).0, expected);
        }
    }
}
