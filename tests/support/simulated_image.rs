//! The images of a simulated registry, made from their numbers.

use occystrap_base::oci::Digest;

/// Media type of the manifests.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Layers that several repositories have.
const SHARED: u32 = 12;

/// An image, by its numbers.
#[derive(Clone, Copy)]
pub struct Image {
    pub repository: u32,
    pub tag: u32,
    /// How often its content was changed.
    pub version: u32,
}

impl Image {
    /// Returns the layers, uncompressed: one that many repositories have, and the image's own.
    fn plain(self) -> [Vec<u8>; 2] {
        let Self { repository, tag, version } = self;
        let shared = format!("layer {} of many repositories\n", repository % SHARED);
        let own = format!("layer of image {tag} of repository {repository}, {version}\n");
        [shared, own].map(|line| line.repeat(4).into_bytes())
    }

    pub fn layers(self) -> [Vec<u8>; 2] {
        self.plain().map(|plain| stored(&plain))
    }

    pub fn config(self) -> Vec<u8> {
        let Self { repository, tag, version } = self;
        let [shared, own] = self.plain().map(|plain| digest(&plain));
        format!(
            "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{\"Env\":[\"I={repository}/{tag}/{version}\"]}},\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{shared}\",\"{own}\"]}}}}"
        )
        .into_bytes()
    }

    pub fn manifest(self) -> Vec<u8> {
        let described = |kind: &str, bytes: &[u8]| {
            format!(
                "{{\"mediaType\":\"application/vnd.oci.image.{kind}\",\"digest\":\"{}\",\"size\":{}}}",
                digest(bytes),
                bytes.len()
            )
        };
        let config = described("config.v1+json", &self.config());
        let layers = self.layers().map(|bytes| described("layer.v1.tar+gzip", &bytes)).join(",");
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{config},\"layers\":[{layers}]}}"
        )
        .into_bytes()
    }
}

/// Returns a gzip member with one block that is not compressed (RFC 1951, 3.2.4; RFC 1952, 2.3).
fn stored(plain: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(plain);
    let length = plain.len() as u16;
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    bytes.extend(length.to_le_bytes());
    bytes.extend((!length).to_le_bytes());
    bytes.extend(plain);
    bytes.extend(crc.sum().to_le_bytes());
    bytes.extend(crc.amount().to_le_bytes());
    bytes
}

pub fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}
