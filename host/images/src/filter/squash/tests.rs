//! Squashed layers, written by hand and generated: the merged file system stays the same, over any layers below.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::made::{self, ImageOf, link, of};
use super::super::tests::merged::{Tree, leaves, member, merge, sound};
use super::*;
use occystrap_layer::tar::{Member, MemberKind, Sparse};

fn squash(text: &str, image: &ImageOf) -> Result<Image> {
    image.reshaped(&Squash::new(&Spec::parse(text, &|_| None)?)?)
}

#[test]
fn what_later_layers_delete_is_gone_and_the_config_fits() {
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
fn what_cannot_be_squashed_is_said() {
    let image = ImageOf::new(vec![vec![of("a", "")], vec![of("a/b", "")]]);
    let said = |text: &str| squash(text, &image).err().unwrap().to_string();
    assert_eq!(
        said("squash"),
        "'x': cannot be squashed: layer 2 has a member below 'a', a file of layer 1"
    );
    assert_eq!(said("squash:from-layer=3"), "squash:from-layer=3: 'x' has 2 layers");
    assert!(said("squash:from-layer=0").contains("from-layer=0: expected the number of a layer"));
    assert!(said("squash:layers=1").contains("there is no option 'layers'"));
}

/// Returns whether a path is a file, or a directory that has one: a directory that no layer lists goes with its last
/// file.
fn has_something(tree: &Tree, path: &str) -> bool {
    let below = format!("{path}/");
    tree.iter().any(|(name, node)| node.is_some() && (name == path || name.starts_with(&below)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
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
        let lost = |name: &String| !found.contains_key(name) && has_something(&expected, name);
        prop_assert!(!expected.keys().any(lost), "{:?}\n{:?}", layers, made);
        prop_assert!(found.keys().all(|name| expected.contains_key(name)), "{:?}\n{:?}", layers, made);
        prop_assert_eq!(leaves(found), leaves(expected), "{:?}\n{:?}", layers, made);
    }
}
