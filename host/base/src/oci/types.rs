//! Types of the fields of an image's documents, as its clients read them.
//!
//! Docker, Podman and skopeo parse a document into Go structs. A field of another type than in the struct makes
//! them reject the whole document, and so does an illegal base64 text. What it refuses: such a field, in any spelling
//! of its key, because Go takes a key in upper and in lower case. `null` stands for an absent field in Go. A field
//! that no struct has may be of any type.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{json, reading, time};
use crate::error::{Error, printable};

/// Type of a field.
#[derive(Clone, Copy)]
enum MediaKind {
    /// Any type: no client reads it, or another module checks it.
    Any,
    /// `string`.
    Text,
    /// `bool`.
    Flag,
    /// `int64`: a number without a fraction and without an exponent.
    Integer,
    /// `time.Time`.
    Time,
    /// `[]byte`: base64, or a list of numbers.
    Data,
    /// `strslice.StrSlice`: a string, or a list of strings.
    Words,
    /// A slice.
    List(&'static MediaKind),
    /// A map with string keys.
    Map(&'static MediaKind),
    /// A struct.
    Object(&'static [(&'static str, MediaKind)]),
}

const TEXTS: MediaKind = MediaKind::List(&MediaKind::Text);

/// `struct{}`, of which Go reads no field.
const EMPTY: MediaKind = MediaKind::Object(&[]);

/// `image.Image` of Docker, and `Schema2Image` of Podman.
const CONFIG: MediaKind = MediaKind::Object(&[
    ("id", MediaKind::Text),
    ("parent", MediaKind::Text),
    ("comment", MediaKind::Text),
    ("container", MediaKind::Text),
    ("container_config", CONTAINER),
    ("docker_version", MediaKind::Text),
    ("author", MediaKind::Text),
    ("created", MediaKind::Time),
    ("config", CONTAINER),
    ("architecture", MediaKind::Text),
    ("variant", MediaKind::Text),
    ("os", MediaKind::Text),
    ("os.version", MediaKind::Text),
    ("os.features", TEXTS),
    ("Size", MediaKind::Integer),
    ("history", MediaKind::List(&HISTORY)),
    ("rootfs", MediaKind::Object(&[("type", MediaKind::Text), ("diff_ids", TEXTS)])),
]);

const HISTORY: MediaKind = MediaKind::Object(&[
    ("created", MediaKind::Time),
    ("author", MediaKind::Text),
    ("created_by", MediaKind::Text),
    ("comment", MediaKind::Text),
    ("empty_layer", MediaKind::Flag),
]);

/// `container.Config` of Docker, and `Schema2Config` of Podman.
const CONTAINER: MediaKind = MediaKind::Object(&[
    ("Hostname", MediaKind::Text),
    ("Domainname", MediaKind::Text),
    ("User", MediaKind::Text),
    ("AttachStdin", MediaKind::Flag),
    ("AttachStdout", MediaKind::Flag),
    ("AttachStderr", MediaKind::Flag),
    ("ExposedPorts", MediaKind::Map(&EMPTY)),
    ("Tty", MediaKind::Flag),
    ("OpenStdin", MediaKind::Flag),
    ("StdinOnce", MediaKind::Flag),
    ("Env", TEXTS),
    ("Cmd", MediaKind::Words),
    ("Healthcheck", HEALTHCHECK),
    ("ArgsEscaped", MediaKind::Flag),
    ("Image", MediaKind::Text),
    ("Volumes", MediaKind::Map(&EMPTY)),
    ("WorkingDir", MediaKind::Text),
    ("Entrypoint", MediaKind::Words),
    ("NetworkDisabled", MediaKind::Flag),
    ("MacAddress", MediaKind::Text),
    ("OnBuild", TEXTS),
    ("Labels", MediaKind::Map(&MediaKind::Text)),
    ("StopSignal", MediaKind::Text),
    ("StopTimeout", MediaKind::Integer),
    ("Shell", MediaKind::Words),
]);

/// `container.HealthConfig`; a `time.Duration` is a number of nanoseconds.
const HEALTHCHECK: MediaKind = MediaKind::Object(&[
    ("Test", TEXTS),
    ("Interval", MediaKind::Integer),
    ("Timeout", MediaKind::Integer),
    ("StartPeriod", MediaKind::Integer),
    ("Retries", MediaKind::Integer),
]);

/// A manifest and an index. Clients read `artifactType` of a descriptor, and not that of a manifest.
const MANIFEST: MediaKind = MediaKind::Object(&[
    ("schemaVersion", MediaKind::Integer),
    ("mediaType", MediaKind::Text),
    ("config", DESCRIPTOR),
    ("layers", MediaKind::List(&DESCRIPTOR)),
    ("manifests", MediaKind::List(&DESCRIPTOR)),
    ("subject", DESCRIPTOR),
    ("annotations", MediaKind::Map(&MediaKind::Text)),
]);

const DESCRIPTOR: MediaKind = MediaKind::Object(&[
    ("mediaType", MediaKind::Text),
    ("artifactType", MediaKind::Text),
    ("digest", MediaKind::Text),
    ("size", MediaKind::Integer),
    ("urls", TEXTS),
    ("data", MediaKind::Data),
    ("annotations", MediaKind::Map(&MediaKind::Text)),
    ("platform", PLATFORM),
]);

const PLATFORM: MediaKind = MediaKind::Object(&[
    ("architecture", MediaKind::Text),
    ("os", MediaKind::Text),
    ("os.version", MediaKind::Text),
    ("os.features", TEXTS),
    ("variant", MediaKind::Text),
]);

/// `manifest.json` of `docker save`.
const SAVED: MediaKind = MediaKind::List(&MediaKind::Object(&[
    ("Config", MediaKind::Text),
    ("RepoTags", TEXTS),
    ("Layers", TEXTS),
    ("Parent", MediaKind::Text),
    ("LayerSources", MediaKind::Map(&SOURCE)),
]));

/// A descriptor in `LayerSources`: the fields that Docker and Podman both have.
const SOURCE: MediaKind = MediaKind::Object(&[
    ("mediaType", MediaKind::Text),
    ("digest", MediaKind::Text),
    ("size", MediaKind::Integer),
    ("urls", TEXTS),
]);

/// Go's `base64.StdEncoding`, which ignores the last bits of a text that has some to spare.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Field whose type makes clients reject the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistyped {
    /// Path of the field, such as `config.Env[]`.
    pub field: String,
    /// Type that the field must have.
    pub expected: &'static str,
    /// Type that the field has.
    pub found: Cow<'static, str>,
}

impl Mistyped {
    /// Returns the error for a source with such a field. `place` is the location of the document, `what` is its name in
    /// the message.
    #[must_use]
    pub fn refused(&self, place: &str, what: &str) -> Error {
        let field = format!("{place}: the field '{}' of {what}", self.field);
        Error::mismatch(field, self.expected, &self.found)
    }
}

impl fmt::Display for Mistyped {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { field, expected, found } = self;
        write!(f, "the field '{field}': expected {expected}, found {found}")
    }
}

/// Looks for a mistyped field in an image config. Text that is not JSON has none, here and below.
pub fn config(bytes: &[u8]) -> Result<(), Mistyped> {
    check(CONFIG, bytes)
}

/// Looks for a mistyped field in a manifest or an index.
pub fn manifest(bytes: &[u8]) -> Result<(), Mistyped> {
    check(MANIFEST, bytes)
}

/// Looks for a mistyped field in the list of images of an archive.
pub fn saved(bytes: &[u8]) -> Result<(), Mistyped> {
    check(SAVED, bytes)
}

fn check(kind: MediaKind, bytes: &[u8]) -> Result<(), Mistyped> {
    let Ok(bytes) = json::simplified(bytes) else { return Ok(()) };
    let wrong = Cell::new(None);
    let check = TypeCheck { kind, path: String::new(), wrong: &wrong };
    let _ = check.deserialize(&mut serde_json::Deserializer::from_slice(&bytes));
    wrong.take().map_or(Ok(()), Err)
}

impl MediaKind {
    fn expected(self) -> &'static str {
        match self {
            Self::Any => "any type",
            Self::Text => "a string",
            Self::Flag => "true or false",
            Self::Integer => "a whole number of 64 bits",
            Self::Time => "a time of RFC 3339",
            Self::Data => "base64",
            Self::Words => "a string or a list of strings",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Object(_) => "an object",
        }
    }
}

/// Check of one value.
struct TypeCheck<'a> {
    kind: MediaKind,
    path: String,
    /// First field that is wrong.
    wrong: &'a Cell<Option<Mistyped>>,
}

impl TypeCheck<'_> {
    fn require<E: serde::de::Error>(
        self,
        is_right: bool,
        found: impl Into<Cow<'static, str>>,
    ) -> Result<(), E> {
        if is_right {
            return Ok(());
        }
        let field = if self.path.is_empty() { "(the document)".to_owned() } else { self.path };
        self.wrong.set(Some(Mistyped {
            field,
            expected: self.kind.expected(),
            found: found.into(),
        }));
        Err(E::custom("a field of another type"))
    }

    fn under(&self, key: &str) -> Self {
        let kind = match self.kind {
            MediaKind::Map(kind) => *kind,
            MediaKind::Object(keys) => {
                let folded = reading::folded(key);
                let known = keys.iter().find(|(known, _)| reading::folded(known) == folded);
                known.map_or(MediaKind::Any, |(_, kind)| *kind)
            }
            _ => MediaKind::Any,
        };
        let path = match (kind, self.path.as_str()) {
            (MediaKind::Any, _) => String::new(),
            (_, "") => printable(key),
            (_, path) => format!("{path}.{}", printable(key)),
        };
        Self { kind, path, wrong: self.wrong }
    }
}

impl<'de> DeserializeSeed<'de> for TypeCheck<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self.kind {
            MediaKind::Any => from.deserialize_ignored_any(IgnoredAny).map(|_| ()),
            _ => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for TypeCheck<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.kind.expected())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        let is_right = matches!(self.kind, MediaKind::Flag);
        self.require(is_right, "true or false")
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        let is_right = matches!(self.kind, MediaKind::Integer);
        self.require(is_right, "a number")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        let is_right = matches!(self.kind, MediaKind::Integer) && i64::try_from(value).is_ok();
        self.require(is_right, "a number")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        // serde_json reads `-0` so; Go reads it as a whole number.
        let is_zero = value == 0.0 && value.is_sign_negative();
        match self.kind {
            MediaKind::Integer => {
                self.require(is_zero, "a number that is larger, or has a fraction or an exponent")
            }
            _ => self.require(false, "a number"),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match self.kind {
            MediaKind::Data => {
                // Go skips line ends.
                let text = text.replace(['\r', '\n'], "");
                self.require(BASE64.decode(text).is_ok(), "another string")
            }
            MediaKind::Time => {
                let found = format!("'{}'", printable(text));
                self.require(time::is_readable(text), found)
            }
            kind => self.require(matches!(kind, MediaKind::Text | MediaKind::Words), "a string"),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let kind = match self.kind {
            MediaKind::List(kind) => *kind,
            MediaKind::Words => MediaKind::Text,
            MediaKind::Data => MediaKind::Any,
            _ => return self.require(false, "a list"),
        };
        let path = format!("{}[]", self.path);
        while list
            .next_element_seed(TypeCheck { kind, path: path.clone(), wrong: self.wrong })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if !matches!(self.kind, MediaKind::Map(_) | MediaKind::Object(_)) {
            return self.require(false, "an object");
        }
        while let Some(key) = map.next_key::<String>().map_err(A::Error::custom)? {
            map.next_value_seed(self.under(&key))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documents were given to `docker load` 20.10, `podman load` 4.3 and `skopeo copy` 1.9.
    #[track_caller]
    fn said(read: fn(&[u8]) -> Result<(), Mistyped>, text: &str, expected: &str) {
        let found = read(text.as_bytes()).map_or_else(|wrong| wrong.field, |()| "right".to_owned());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_config_with_a_field_that_clients_reject_is_wrong() {
        for (fields, field) in [
            (r#""StopTimeout":"x""#, "StopTimeout"),
            (r#""StopTimeout":1e1"#, "StopTimeout"),
            (r#""StopTimeout":9223372036854775808"#, "StopTimeout"),
            (r#""stoptimeout":"x""#, "stoptimeout"),
            (r#""StopTimeout":"x","StopTimeout":5"#, "StopTimeout"),
            (r#""Healthcheck":"x""#, "Healthcheck"),
            (r#""Healthcheck":{"Interval":"10s"}"#, "Healthcheck.Interval"),
            (r#""Healthcheck":{"Interval":1000000000.0}"#, "Healthcheck.Interval"),
            (r#""Healthcheck":{"Interval":1.5}"#, "Healthcheck.Interval"),
            (r#""Healthcheck":{"Test":"x"}"#, "Healthcheck.Test"),
            (r#""OnBuild":"x""#, "OnBuild"),
            (r#""Tty":"x""#, "Tty"),
            (r#""OpenStdin":1"#, "OpenStdin"),
            (r#""Hostname":5"#, "Hostname"),
            (r#""ArgsEscaped":"x""#, "ArgsEscaped"),
            (r#""Image":5"#, "Image"),
            (r#""MacAddress":5"#, "MacAddress"),
            (r#""Env":"x""#, "Env"),
            (r#""Env":[5]"#, "Env[]"),
            (r#""Cmd":[5]"#, "Cmd[]"),
            (r#""Volumes":{"/a":1}"#, "Volumes./a"),
        ] {
            for part in ["config", "container_config"] {
                said(config, &format!(r#"{{"{part}":{{{fields}}}}}"#), &format!("{part}.{field}"));
            }
        }
        for (text, field) in [
            (r#"{"docker_version":5}"#, "docker_version"),
            (r#"{"container":5}"#, "container"),
            (r#"{"container_config":"x"}"#, "container_config"),
            (r#"{"Size":"x"}"#, "Size"),
            (r#"{"id":5}"#, "id"),
            (r#"{"parent":5}"#, "parent"),
            (r#"{"comment":5}"#, "comment"),
            (r#"{"history":[{"comment":5}]}"#, "history[].comment"),
            (r#"{"history":[{"created":"yesterday"}]}"#, "history[].created"),
            (r#"{"created":5}"#, "created"),
            (r#"{"created":""}"#, "created"),
            (r#"{"rootfs":7}"#, "rootfs"),
            (r#"{"rootfs":{"type":7}}"#, "rootfs.type"),
            (r#"{"rootfs":{"diff_ids":"x"}}"#, "rootfs.diff_ids"),
            (r#"{"rootfs":{"diff_ids":[7]}}"#, "rootfs.diff_ids[]"),
            ("[]", "(the document)"),
        ] {
            said(config, text, field);
        }
    }

    #[test]
    fn a_config_that_clients_take_is_right() {
        for fields in [
            r#""Shell":"x","Cmd":"x","Entrypoint":["x"]"#,
            r#""Memory":"x","Unknown":{"Tty":"x"}"#,
            r#""StopTimeout":null,"Healthcheck":null,"OnBuild":null,"Tty":null,"Hostname":null"#,
            r#""Env":[null],"Labels":{"a":null},"Volumes":{"/a":null,"/b":{},"/c":{"x":1}}"#,
            r#""StopTimeout":-5,"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000}"#,
            r#""StopTimeout":-0"#,
        ] {
            for part in ["config", "container_config"] {
                said(config, &format!(r#"{{"{part}":{{{fields}}}}}"#), "right");
            }
        }
        for text in [
            r#"{"Size":-1,"created":null,"rootfs":{"type":null,"diff_ids":[null]}}"#,
            r#"{"rootfs":null,"created":"2020-01-02T3:04:05,5Z","history":[{"created":null}]}"#,
            r#"{"config":null,"container_config":null,"id":null,"Size":null,"history":[null]}"#,
            "null",
            "{",
            r#"{"x":1e400}"#,
        ] {
            said(config, text, "right");
        }
    }

    #[test]
    fn a_manifest_and_an_index_with_a_field_that_clients_reject_are_wrong() {
        for (descriptor, field) in [
            (r#"{"data":"%"}"#, "data"),
            (r#"{"data":"aGVsbG8"}"#, "data"),
            (r#"{"data":5}"#, "data"),
            (r#"{"urls":"x"}"#, "urls"),
            (r#"{"size":"1"}"#, "size"),
            (r#"{"size":1.0}"#, "size"),
            (r#"{"artifactType":5}"#, "artifactType"),
            (r#"{"annotations":{"a":5}}"#, "annotations.a"),
            (r#"{"platform":"x"}"#, "platform"),
            (r#"{"platform":{"os":5}}"#, "platform.os"),
            (r#"{"platform":{"os.version":5}}"#, "platform.os.version"),
            (r#"{"platform":{"os.features":"x"}}"#, "platform.os.features"),
        ] {
            for part in ["config", "subject"] {
                let text = format!(r#"{{"{part}":{descriptor}}}"#);
                said(manifest, &text, &format!("{part}.{field}"));
            }
            for part in ["layers", "manifests"] {
                let text = format!(r#"{{"{part}":[{{}},{descriptor}]}}"#);
                said(manifest, &text, &format!("{part}[].{field}"));
            }
        }
        said(manifest, r#"{"subject":"x"}"#, "subject");
        said(manifest, r#"{"annotations":{"a":5}}"#, "annotations.a");
    }

    #[test]
    fn a_manifest_and_an_index_that_clients_take_are_right() {
        for descriptor in [
            r#"{"data":"","size":-1,"urls":null}"#,
            r#"{"data":"aGVsbG8=","size":null,"urls":[null]}"#,
            r#"{"data":"aGVs\nbG9=","annotations":{"a":null}}"#,
            r#"{"data":null,"platform":null,"annotations":null}"#,
            r#"{"platform":{"features":"x","os.features":null,"variant":null}}"#,
        ] {
            let text = format!(r#"{{"config":{descriptor},"layers":[{descriptor}],"name":5}}"#);
            said(manifest, &text, "right");
        }
        said(manifest, r#"{"artifactType":5,"schemaVersion":3,"subject":null}"#, "right");
    }

    #[test]
    fn a_list_of_docker_s_has_the_types_that_its_readers_take() {
        for (fields, field) in [
            (r#""LayerSources":"x""#, "[].LayerSources"),
            (r#""LayerSources":{"x":5}"#, "[].LayerSources.x"),
            (r#""LayerSources":{"x":{"size":"1"}}"#, "[].LayerSources.x.size"),
            (r#""Parent":5"#, "[].Parent"),
            (r#""LayerSources":null,"Parent":null,"Foo":5"#, "right"),
            (r#""LayerSources":{"x":{"mediaType":"a","size":1,"digest":"b"}}"#, "right"),
        ] {
            said(saved, &format!("[{{{fields}}}]"), field);
        }
        said(saved, "[null]", "right");
    }

    #[test]
    fn an_error_names_the_field_and_both_types() {
        let wrong = config(br#"{"config":{"StopTimeout":"x"}}"#).unwrap_err();
        assert_eq!(
            wrong.refused("'a.tar'", "the image config").to_string(),
            "'a.tar': the field 'config.StopTimeout' of the image config: expected a whole number of 64 \
             bits, found a string"
        );
    }
}
