//! Layers that we compress on their way to a file: their digests are checked as in any other copy.

use std::io::Read;
use std::os::unix::fs::FileExt;

use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind};
use occystrap_base::files::Hashed;
use occystrap_base::files::Section;
use occystrap_base::oci::{Compression, Digest};
use occystrap_layer::blob::{Stored, encoded};
use occystrap_layer::image::{Content, Layer};

use crate::support::image::{Pack, noise};

/// Offset of the layer in the file that it is written to.
const OFFSET: u64 = 512;

/// Returns content that is larger than all buffers together.
fn plain() -> Vec<u8> {
    noise(3, 300_000).repeat(20)
}

/// A layer in a file, with its digest promised.
fn layer(plain: &[u8], stored: &[u8]) -> Layer {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(stored, 0).unwrap();
    let section = Section::new(file.into(), 0, stored.len() as u64);
    let how = Compression::detect(stored);
    let digest = Some(Digest::of(stored));
    Layer::in_file(section, Digest::of(plain), digest, how, "layer 1 of 1".to_owned())
}

fn open(layer: &Layer, cancel: &Cancel) -> Stored {
    match &layer.content {
        Content::File(section) => Stored::file(layer, section, cancel),
        Content::Registry(_) | Content::Elsewhere(_) => unreachable!(),
    }
}

fn encode(layer: &Layer, how: Compression, cancel: &Cancel) -> Result<(Vec<u8>, Hashed), Error> {
    let file = tempfile::tempfile().unwrap();
    let stored = open(layer, cancel);
    let moved = encoded(layer, stored, &file, OFFSET, how, 2)?;
    let mut bytes = vec![0; moved.size as usize];
    file.read_exact_at(&mut bytes, OFFSET).unwrap();
    assert_eq!(file.metadata().unwrap().len(), OFFSET + moved.size);
    Ok((bytes, moved))
}

#[track_caller]
fn refused(layer: &Layer, expected: &str) {
    for how in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let error = encode(layer, how, &Cancel::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Source);
        let text = error.to_string();
        assert!(text.starts_with("layer 1 of 1: ") && text.contains(expected), "{how}: {text}");
    }
}

#[test]
fn whatever_the_source_has_the_result_is_the_same() {
    let plain = plain();
    for how in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let results = Pack::ALL.map(|pack| {
            let source = layer(&plain, &pack.pack(&plain));
            let (bytes, moved) = encode(&source, how, &Cancel::default()).unwrap();
            assert_eq!(moved.digest, Digest::of(&bytes));
            bytes
        });
        assert!(results.windows(2).all(|two| two[0] == two[1]), "{how}");
        let mut back = Vec::new();
        match how {
            Compression::None => back.clone_from(&results[0]),
            Compression::Gzip => {
                flate2::read::GzDecoder::new(&results[0][..])
                    .read_to_end(&mut back)
                    .map(drop)
                    .unwrap();
            }
            Compression::Zstd => back = zstd::decode_all(&results[0][..]).unwrap(),
            other => panic!("layers are not compressed with {other}"),
        }
        assert!(back == plain, "{how}");
    }
}

#[test]
fn damage_is_found_and_blamed_on_the_source() {
    let plain = plain();
    for pack in [Pack::Gzip, Pack::Zstd] {
        let whole = pack.pack(&plain);
        let good = layer(&plain, &whole);

        let mut wrong = good.clone();
        wrong.diff_id = Digest::of(b"something else");
        refused(&wrong, "digest of the uncompressed layer (its diff-id)");

        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let mut damaged = layer(&plain, &flipped);
        damaged.digest = good.digest;
        refused(&damaged, "digest of the compressed layer");

        let mut cut = layer(&plain, &whole[..whole.len() - 9]);
        cut.digest = None;
        refused(&cut, "ends too early");

        let Content::File(section) = &mut cut.content else { unreachable!() };
        section.size += 9;
        refused(&cut, "size in bytes");

        let mut longer = layer(&plain, &[&whole[..], b"more"].concat());
        longer.digest = None;
        let runs = encode(&longer, Compression::Gzip, &Cancel::default());
        assert_eq!(runs.unwrap_err().kind(), Kind::Source);
    }
    let mut flipped = plain.clone();
    flipped[5_000_000] ^= 1;
    let mut damaged = layer(&plain, &flipped);
    damaged.digest = None;
    refused(&damaged, "digest of the uncompressed layer (its diff-id)");
}

#[test]
fn a_full_disk_and_a_wish_to_stop_end_it() {
    let layer = layer(&plain(), &plain());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for how in [Compression::Gzip, Compression::Zstd] {
        let stored = open(&layer, &Cancel::default());
        let error = encoded(&layer, stored, &full, 0, how, 2).unwrap_err();
        assert_eq!(error.kind(), Kind::Destination);
        assert!(error.to_string().contains("no space left on device"), "{error}");

        let cancel = Cancel::default();
        cancel.cancel();
        assert_eq!(encode(&layer, how, &cancel).unwrap_err().kind(), Kind::Interrupted);
    }
}
