//! Squashed layers, written by hand and generated: the merged file system stays the same, over any layers below.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::made::{self, ImageOf, link, of};
use super::super::tests::merged::{member, merge, sound};
use super::*;
use occystrap_layer::tar::{Member, MemberKind, Sparse};

fn squash(text: &str, image: &ImageOf) -> Result<Image> {
    image.reshaped(&Squash::new(&Spec::parse(text, &|_| None)?)?)
}

#[test]
fn deleted_files_are_gone_and_the_config_fits() {
    let image = ImageOf::new(vec![
        vec![of("a/", ""), of("a/x", "one"), of("a/y", "two")],
        vec![of("a/.wh.x", ""), of("b", "three")],
        vec![of("a/y", "four"), link(MemberKind::HardLink, "c", "a/y")],
    ]);
    let made = squash("squash", &image).unwrap();
    let layers = made::layers(&made);
    let names: Vec<String> = layers[0]
        .iter()
        .map(|(member, content)| {
            format!(
                "{} {}",
                String::from_utf8_lossy(&member.path),
                String::from_utf8_lossy(content)
            )
        })
        .collect();
    assert_eq!(names, ["a/y four", "c ", "b three", "a "]);
    assert_eq!((layers.len(), made.layers.len()), (1, 1));
    let config: serde_json::Value = serde_json::from_slice(&made.config).unwrap();
    assert_eq!(
        config["rootfs"]["diff_ids"],
        serde_json::json!([made.layers[0].diff_id.to_string()])
    );
    let steps: Vec<bool> = config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["empty_layer"].as_bool().unwrap_or_default())
        .collect();
    assert_eq!(steps, [true, true, true, false]);
    // The same input gives the same bytes, and one layer stays as it is.
    assert_eq!(squash("squash", &image).unwrap().id, made.id);
    assert_eq!(squash("squash:from-layer=3", &image).unwrap().id, image.image().id);
}

#[test]
fn metadata_of_every_kind_stays() {
    let full = |kind, path: &str| {
        let mut member =
            Member { mode: 0o4751, uid: 70_000, gid: 1 << 21, ..Member::new(kind, path) };
        member.mtime = occystrap_layer::tar::Time { seconds: -7, nanos: 500 };
        member
            .records
            .insert(b"SCHILY.xattr.security.capability".to_vec(), b"\x01\n\x00=".to_vec());
        (member, Vec::new())
    };
    let mut sparse = full(MemberKind::File, "sparse");
    sparse.0.sparse = Sparse::new(vec![(4_096, 3), (9_000, 1)], 1 << 20, 4);
    (sparse.0.size, sparse.1) = (1 << 20, b"abcd".to_vec());
    let mut device = full(MemberKind::CharDevice, "dev/null");
    device.0.device = (1, 3);
    let lower =
        vec![full(MemberKind::Directory, "dev"), device, full(MemberKind::Fifo, "fifo"), sparse];
    let image = ImageOf::new(vec![lower.clone(), vec![of("new", "1")]]);
    let made = made::layers(&squash("squash", &image).unwrap());
    assert_eq!(made[0][1..], lower[..]);
}

#[test]
fn layers_that_cannot_be_squashed_are_named() {
    let image = ImageOf::new(vec![vec![of("a", "")], vec![of("a/b", "")]]);
    let said = |text: &str| squash(text, &image).err().unwrap().to_string();
    assert_eq!(
        said("squash"),
        "'x': cannot be squashed: layer 2 has a member below 'a', a file of layer 1"
    );
    assert_eq!(said("squash:from-layer=3"), "squash:from-layer=3: 'x' has 2 layers");
    let bin = vec![of("usr/", ""), of("usr/x", "1"), link(MemberKind::Symlink, "bin", "usr")];
    for upper in [
        vec![of("bin/x", "2")],
        vec![of("bin/.wh.x", "")],
        vec![link(MemberKind::HardLink, "c", "bin/x")],
    ] {
        let image = ImageOf::new(vec![bin.clone(), upper, vec![of("b", "")]]);
        let error = squash("squash:from-layer=2", &image).err().unwrap().to_string();
        assert_eq!(
            error,
            "'x': cannot be squashed: layer 2 writes through 'bin', a symbolic link of layer 1, \
             which some engines follow and others replace"
        );
    }
    let listed = vec![of("bin/", ""), of("bin/x", "2")];
    let image = ImageOf::new(vec![bin, listed, vec![of("b", "")]]);
    assert!(squash("squash:from-layer=2", &image).is_ok());
    assert!(said("squash:from-layer=0").contains("from-layer=0: expected the number of a layer"));
    assert!(said("squash:layers=1").contains("there is no option 'layers'"));
}

#[test]
fn a_directory_of_which_every_member_is_gone_stays() {
    let layers = [vec![of("a/b/c", "1")], vec![of("a/b/.wh.c", "")], vec![of("x", "")]];
    let names = |image: &ImageOf, text: &str| {
        let made = made::layers(&squash(text, image).unwrap());
        let last = made.last().unwrap();
        let names =
            last.iter().map(|(member, _)| String::from_utf8_lossy(&member.path).into_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&ImageOf::new(layers.to_vec()), "squash"), ["a", "a/b", "x"]);
    // A directory of the layers below keeps its metadata.
    let base = vec![of("a/", "")];
    let image = ImageOf::new([&[base][..], &layers].concat());
    assert_eq!(names(&image, "squash:from-layer=2"), ["a/b", "a/b/.wh.c", "x"]);
}

#[test]
fn an_emptied_directory_stays_also_where_the_directory_below_is_hidden() {
    let layers = vec![
        vec![of("b/", ""), of("b/a", "1")],
        vec![of(".wh..wh..opq", ""), of("b/a", "2")],
        vec![of("b/.wh..wh..opq", "")],
    ];
    for text in ["squash", "squash:from-layer=2"] {
        let made = made::layers(&squash(text, &ImageOf::new(layers.clone())).unwrap());
        assert_eq!(merge(&made), merge(&layers), "{text}");
    }
}

#[test]
fn all_names_of_a_file_have_the_metadata_of_the_last_one() {
    let mut last = link(MemberKind::HardLink, "b", "a");
    (last.0.mode, last.0.uid) = (0o600, 7);
    last.0.records.insert(b"SCHILY.xattr.user.k".to_vec(), b"v".to_vec());
    let upper = [vec![of("x", "")], vec![of(".wh.a", "")], vec![of(".wh.b", "")]];
    for (upper, names) in upper.into_iter().zip([&["x", "a", "b"][..], &["b"], &["a"]]) {
        let image = ImageOf::new(vec![vec![of("a", "1"), last.clone()], upper]);
        let made = made::layers(&squash("squash", &image).unwrap()).remove(0);
        let found: Vec<_> = made
            .iter()
            .map(|(member, _)| String::from_utf8_lossy(&member.path).into_owned())
            .collect();
        assert_eq!(found, names);
        for (member, _) in made.iter().filter(|(member, _)| member.path != b"x") {
            assert_eq!((member.mode, member.uid, member.records.len()), (0o600, 7, 1));
        }
    }
}

#[test]
fn layers_of_zstd_are_squashed_into_one_of_zstd() {
    let image = ImageOf::new(vec![vec![of("a", "1")], vec![of("b", "2")]]);
    let zstd = image.in_zstd();
    let made = zstd.reshaped(&Squash::new(&Spec::parse("squash", &|_| None).unwrap()).unwrap());
    let made = made.unwrap();
    assert!(made.layers[0].media_type.ends_with("zstd"), "{}", made.layers[0].media_type);
    assert_eq!(made.layers[0].diff_id, squash("squash", &image).unwrap().layers[0].diff_id);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2_000)
    })]

    #[test]
    fn the_merged_file_system_stays_the_same(
        layers in vec(vec(member(), 1..12), 2..5),
        first in 1_usize..4,
    ) {
        let layers = sound(&layers);
        let image = ImageOf::new(layers.clone());
        let made = match squash(&format!("squash:from-layer={first}"), &image) {
            Ok(made) => made::layers(&made),
            // What engines do not agree on is refused.
            Err(error) => {
                let said = error.to_string();
                let known = ["below", "through", "as a directory and as", "hard link", "has 2 layers", "has 3 layers", "root is not"];
                prop_assert!(known.iter().any(|part| said.contains(part)), "{}", said);
                return Ok(());
            }
        };
        prop_assert!(made.len() == first || layers.len() == first);
        prop_assert_eq!(&made[..first - 1], &layers[..first - 1]);
        let (expected, found) = (merge(&layers).unwrap(), merge(&made));
        prop_assert!(found.is_some(), "{:?}\n{:?}", layers, made);
        let found = found.unwrap();
        prop_assert_eq!(found, expected, "{:?}\n{:?}", layers, made);
    }
}
