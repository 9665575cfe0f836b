//! Cases about what a plugin must be able to write.

use std::collections::BTreeSet;

use super::specimen::{self, Sample, small};
use super::stand::{self, Stand};
use super::{Stop, Verdict, fail};
use occystrap_base::error::Kind;
use occystrap_base::oci::{Compression, ImageName, PlatformPart};
use occystrap_output::plugin::description::DestinationKind as Destination;
use occystrap_output::receipt::ImageIdentity;
use occystrap_output::write::item::Item;

/// Number of layers of the large image: more than any engine can mount (Docker stops at 127).
const MANY: usize = 200;

/// Value that no option accepts.
const NONSENSE: &str = "no such value \u{1f980}";

/// Image name with every part that a name can have: a registry with a port, folders, a tag of the greatest length.
const LONG_NAME: &str = "registry.example.com:5000/team/a/b-c__d.e/app:Tag_1.";

pub fn describes(stand: &Stand<'_>) -> Verdict {
    let again = stand.plugin.describe_again()?;
    if again != *stand.plugin.description() {
        return fail("a second 'describe' says something else");
    }
    Ok(())
}

pub fn permissions(stand: &Stand<'_>) -> Verdict {
    let needed: &[&str] = match stand.plugin.description().destination {
        Destination::Directory | Destination::File | Destination::TaggedDirectory => {
            &["storage", "storage-edit"]
        }
        Destination::Repository => &["registry", "registry-push"],
        Destination::Engine => &["engine", "engine-load"],
        Destination::Web => &["http-in", "http-out"],
    };
    let imports: Vec<&str> =
        stand.plugin.permissions().iter().map(|known| known.interface).collect();
    match needed.iter().find(|needed| !imports.contains(needed)) {
        Some(missing) => fail(format!("it never calls '{missing}', so it cannot write or verify")),
        None => Ok(()),
    }
}

pub fn options(stand: &Stand<'_>) -> Verdict {
    let description = stand.plugin.description();
    let scheme = stand.plugin.schemes().first().map_or("", String::as_str);
    let defaults = description.options(&[], scheme)?;
    stand.plugin.check_options(&defaults, scheme, &stand.context.cancel)?;
    for option in description.options.iter().filter(|option| !option.boolean) {
        let given = [(option.name.clone(), NONSENSE.to_owned())];
        let options = description.options(&given, scheme)?;
        // The plugin may accept any text, but must not crash.
        match stand.plugin.try_open(&options, &stand.context.cancel) {
            Ok(Some(refused)) if refused != option.name => {
                return fail(format!("{}={NONSENSE}: it blames '{refused}'", option.name));
            }
            Ok(_) => {}
            Err(error) => return fail(format!("{}={NONSENSE}: {error}", option.name)),
        }
    }
    Ok(())
}

pub fn switches(stand: &Stand<'_>) -> Verdict {
    let switches = stand.plugin.description().options.iter().filter(|option| option.boolean);
    let image = stand.image("app:1", &small())?;
    let mut tried = false;
    for option in switches {
        for value in ["true", "false"] {
            let given = [(option.name.clone(), value.to_owned())];
            let target = stand.place_with("out", &given)?;
            stand.lands(&image, &target).map_err(|stop| match stop {
                Stop::Failed(why) => Stop::Failed(format!("{}={value}: {why}", option.name)),
                skipped @ Stop::Skipped(_) => skipped,
            })?;
            tried = true;
        }
    }
    if tried { Ok(()) } else { Err(Stop::Skipped("it has no switches".to_owned())) }
}

fn lands(stand: &Stand<'_>, samples: &[Sample]) -> Verdict {
    stand.lands(&stand.image("app:1", samples)?, &stand.place()?).map(drop)
}

pub fn small_image(stand: &Stand<'_>) -> Verdict {
    lands(stand, &small())
}

pub fn many_layers(stand: &Stand<'_>) -> Verdict {
    let layer = |number| Sample::file(&format!("file-{number}"), format!("{number}").as_bytes());
    lands(stand, &(0..MANY).map(layer).collect::<Vec<_>>())
}

pub fn no_layers(stand: &Stand<'_>) -> Verdict {
    lands(stand, &[])
}

pub fn empty_layers(stand: &Stand<'_>) -> Verdict {
    // Docker's empty layer is two zero blocks; other tools write no block at all.
    let empty = || Sample::bytes(vec![0; 1024]);
    let between = Sample::file("between", b"them");
    lands(stand, &[empty(), Sample::bytes(Vec::new()), between, empty().stored(Compression::Gzip)])
}

pub fn layer_twice(stand: &Stand<'_>) -> Verdict {
    let twice = || Sample::file("twice", b"the same");
    lands(stand, &[twice(), Sample::file("between", b"them"), twice(), twice()])
}

pub fn compressions(stand: &Stand<'_>) -> Verdict {
    let [first, second, third] = small().try_into().map_err(|_| Stop::Failed(String::new()))?;
    lands(stand, &[first.stored(Compression::Gzip), second.stored(Compression::Zstd), third])
}

pub fn names(stand: &Stand<'_>) -> Verdict {
    let tag = "x".repeat(128 - "Tag_1.".len());
    let mut image = stand.image(&format!("{LONG_NAME}{tag}"), &small())?;
    let target = stand.place_with("\u{e4} \u{753b}\u{50cf} 'out' \u{1f980}.x", &[])?;
    stand.lands(&image, &target)?;
    // 'docker save' of an ID leaves the image without a name.
    image.name = ImageName { repository: "unknown".to_owned(), tag: None };
    stand.lands(&image, &stand.place()?).map(drop)
}

pub fn again(stand: &Stand<'_>) -> Verdict {
    let (image, target) = (stand.image("app:1", &small())?, stand.place()?);
    stand.lands(&image, &target)?;
    let before = stand.tree(&target)?;
    stand.lands(&image, &target)?;
    match stand::difference(&before, &stand.tree(&target)?) {
        Some(paths) => fail(format!("the second write changed {paths}")),
        None => Ok(()),
    }
}

pub fn another(stand: &Stand<'_>) -> Verdict {
    let target = stand.place()?;
    stand.lands(&stand.image("app:1", &small())?, &target)?;
    // One layer less, one common layer, and another config.
    let mut layers = small();
    layers.remove(1);
    layers[0] = Sample::file("etc/hostname", b"other\n");
    stand.lands(&stand.image("other:2", &layers)?, &target).map(drop)
}

pub fn determinism(stand: &Stand<'_>) -> Verdict {
    let image = stand.image("app:1", &small())?;
    let (first, second) = (stand.place()?, stand.place()?);
    let (one, two) = (stand.lands(&image, &first)?, stand.lands(&image, &second)?);
    if let Some(paths) = stand::difference(&stand.tree(&first)?, &stand.tree(&second)?) {
        return fail(format!("two writes differ in {paths}"));
    }
    if one.expectations != two.expectations || one.state != two.state {
        return fail("two writes of the same bytes have receipts that differ");
    }
    Ok(())
}

pub fn restart(stand: &Stand<'_>) -> Verdict {
    let image = stand.image("app:1", &small())?;
    let broken = specimen::broken(image.clone(), stand.home())?;
    let target = stand.place()?;
    match stand.write(Item::Image(&broken), &broken, &target) {
        Ok(_) => return fail("a layer could not be fetched, and it was written all the same"),
        Err(error) if error.kind() == Kind::Plugin => return Err(error.into()),
        Err(_) => {}
    }
    let left = stand::difference(&stand::Tree::new(), &stand.tree(&target)?);
    if let Some(paths) = left.filter(|_| !stand.keeps_traces()) {
        return fail(format!("a write that failed left {paths}"));
    }
    let receipt = stand.lands(&image, &target)?;
    let before = stand.tree(&target)?;
    if stand.write(Item::Image(&broken), &broken, &target).is_ok() {
        // An object that exists with the right digest need not be fetched.
        return stand.lands(&image, &target).map(drop);
    }
    // Everything that existed must still exist, whatever was added.
    stand.is_there(&receipt, &target)?;
    match stand::difference(&before, &stand.tree(&target)?).filter(|_| !stand.keeps_traces()) {
        Some(paths) => fail(format!("a write that failed changed {paths}")),
        None => stand.lands(&image, &target).map(drop),
    }
}

pub fn index(stand: &Stand<'_>) -> Verdict {
    if !stand.plugin.description().oci_manifests {
        return Err(Stop::Skipped("its manifests are of its own form".to_owned()));
    }
    let target = stand.place()?;
    let gzip = || small().into_iter().map(|sample| sample.stored(Compression::Gzip));
    let mut images = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let samples: Vec<Sample> = gzip().collect();
        images.push(specimen::image_of(stand.home(), "app:1", &samples, architecture)?);
    }
    let mut receipts = Vec::new();
    let mut landed = BTreeSet::new();
    for image in &images {
        receipts.push(stand.write(Item::Listed(image), image, &target)?);
        landed.extend(image.manifest.as_ref().map(|manifest| manifest.digest));
    }
    let index = specimen::index(&images);
    let identity = ImageIdentity {
        name: "app".to_owned(),
        tag: Some("1".to_owned()),
        id: index.manifest.digest,
        part: PlatformPart::Index,
        artifact: false,
        left_out: Vec::new(),
    };
    let handed = Item::Index { index: &index, named: true, landed: &landed };
    receipts.push(stand.write_as(handed, &identity, &target)?);
    receipts.iter().try_for_each(|receipt| stand.is_there(receipt, &target))
}
