//! Entry points of the fuzzers of this repository (`fuzz/`): each parses foreign data and checks rules that must hold
//! for everything that it accepts. A broken rule is a panic.
//!
//! It exists with the feature `fuzzing`, and in tests, which run the seeds through it. It is not part of the public API
//! and may change with every version.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::MemfdFlags;
use serde_json::Value;

use crate::mirror::exported::document::{ExportDocument, ExportReceipt};
use crate::mirror::exported::sums;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::Section;
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, Manifest, OCI_INDEX, OCI_MANIFEST,
};
use occystrap_base::oci::{
    Descriptor, Digest, ImageName, MOST_LAYERS, Platform, json, reading, types,
};
use occystrap_base::terminal::progress::Progress;
use occystrap_base::terminal::results::Results;
use occystrap_images::filter::{FilterInputs, Filters, Spec};
use occystrap_images::source::members::ArchiveMembers;
use occystrap_images::source::tar_index::TarIndex;
use occystrap_images::source::{Choice, archive, content_store, docker_save, oci_layout};
use occystrap_layer::glob::Globs;
use occystrap_layer::tar::member::plain;
use occystrap_layer::tar::{Expanded, Member, TarReader, Writer};
use occystrap_mirror::convert;
use occystrap_mirror::document::Document;
use occystrap_mirror::expand;
use occystrap_net::http::Proxies;
use occystrap_net::registry;
use occystrap_net::uri::Uri;
use occystrap_net::web::netrc::Netrc;
use occystrap_net::web::{Allow, Folder};
use occystrap_output::layer_cache;
use occystrap_output::plugin::installed::Record;
use occystrap_output::receipt::{Bundle, listed};

/// Name of the input in errors.
const PLACE: &str = "'fuzzed'";

/// Largest number of bytes that are read of a file with holes: a header of half a kilobyte may claim exabytes.
const HOLES: u64 = 1024 * 1024;

/// Name of a target, and its function.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// Every target, with the name of its folder of seeds. Each returns whether it accepted the bytes.
pub const TARGETS: [Target; 15] = [
    ("archive", archive),
    ("auth_file", auth_file),
    ("challenge", challenge),
    ("config", config),
    ("document", document),
    ("export", export),
    ("filter", filter),
    ("layer", layer),
    ("layer_cache", layer_cache),
    ("manifest", manifest),
    ("mirror_file", mirror_file),
    ("no_proxy", no_proxy),
    ("plugins_toml", plugins_toml),
    ("receipt", receipt),
    ("uri", uri),
];

/// Parses a source or destination URI. A password that it contains once is not shown.
pub fn uri(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text, "a digest has one spelling");
    }
    let named = ImageName::parse(text).map(|name| name.to_string());
    web(text);
    let hidden = Uri::hide(text);
    let Ok(uri) = Uri::parse(text) else { return named.is_ok() };
    let shown = uri.display();
    if let Some(password) = uri.credentials.as_ref().map(|(_, password)| password.expose())
        // Escapes could spell it elsewhere, and separators of options are written again.
        && !text.contains('%')
        && password.len() > 1
        && text.matches(password).count() == 1
        && !format!("{}://", uri.scheme).contains(password)
    {
        for shown in [&shown, &hidden, &format!("{uri:?}")] {
            assert!(!shown.contains(password), "the password is shown: {shown:?}");
        }
    }
    true
}

/// Parses a file with logins, or the output of a credential helper.
pub fn auth_file(data: &[u8]) -> bool {
    registry::fuzzed::auth_file(data)
}

/// Parses the header by which a registry requests a login.
pub fn challenge(data: &[u8]) -> bool {
    registry::fuzzed::challenge(data)
}

/// Parses a proxy, a value of `NO_PROXY` and a URL, each on its own line. The login of the proxy is not shown. This
/// machine is reached directly, and so is a host that `NO_PROXY` names.
pub fn no_proxy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut lines = text.splitn(3, '\n');
    let (Some(proxy), Some(list), Some(url)) = (lines.next(), lines.next(), lines.next()) else {
        return false;
    };
    let Ok(url) = url.trim().parse::<url::Url>() else { return false };
    let with = |list: &str| {
        Proxies::new(|name| match name {
            "HTTP_PROXY" | "HTTPS_PROXY" => Some(proxy.to_owned()),
            "NO_PROXY" => Some(list.to_owned()),
            _ => None,
        })
    };
    let proxies = with(list);
    for local in ["http://localhost:5000/", "https://127.0.0.1/", "http://[::1]:1/"] {
        assert!(local.parse().is_ok_and(|local| proxies.of(&local).is_none()), "{local}");
    }
    assert!(with(&format!("{list},*")).of(&url).is_none(), "everything is reached directly");
    // A URL may have a comma in its host, where an entry ends.
    let is_name =
        |host: &&str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
    if let Some(host) = url.host_str().filter(is_name) {
        let bare = host.trim_matches(['[', ']']);
        assert!(with(&format!("{list},{bare}")).of(&url).is_none(), "{host} was named");
    }
    let Some(proxy) = proxies.of(&url) else { return false };
    let shown = format!("{proxy} {proxy:?}");
    assert!(!shown.contains('@'), "a login is shown: {shown}");
    true
}

/// Parses a web address as a destination and as `--allow-net`: what is named is permitted, and nothing above it.
fn web(text: &str) {
    let _ = Netrc::parse(text).header(text);
    let mut allow = Allow::default();
    let _ = allow.name(text);
    let Ok(folder) = Folder::parse(text) else { return };
    let url = folder.url(&Allow::default()).clone();
    let mut allow = Allow::default();
    allow.place(url.clone());
    assert!(allow.permits(&url), "a folder that was named is not permitted: {url}");
    let above = url.join("..").unwrap_or_else(|_| url.clone());
    assert!(above == url || !allow.permits(&above), "{above} is above {url}");
}

/// Parses a filter, and matches the name in the lines after it with the text of the filter as a pattern.
pub fn filter(data: &[u8]) -> bool {
    let (typed, name) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, b"etc/passwd".as_slice()),
    };
    let Ok(typed) = std::str::from_utf8(typed) else { return false };
    if let Ok(globs) = Globs::new([typed]) {
        let matches = !globs.matches(name).is_empty();
        let literal = !typed.contains(['*', '?', '[', '{', '}', ',']);
        let itself = typed.as_bytes() == name && plain(name) == name;
        assert!(matches || !literal || !itself, "a name does not match itself");
    }
    if let Ok(spec) = Spec::parse(typed, &|_| None) {
        let _ = spec.only(&[]);
    }
    let results = Results::printed(&Progress::hidden());
    let source = |_: &str| Err(Error::usage("no source"));
    let inputs = FilterInputs { environment: &|_| None, results: &results, source: &source };
    Filters::parse(&[typed.to_owned()], &inputs).is_ok()
}

/// Parses the documents of a source about an image: manifest, index, config and Docker's list of images.
pub fn manifest(data: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(data);
    let mut taken = [false; 2];
    for media_type in [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST] {
        let (digest, size) = (Digest::of(data), data.len() as u64);
        let what = Descriptor { media_type: media_type.to_owned(), digest, size };
        let Ok(kept) = Manifest::kept(&what, bytes.clone(), PLACE) else { continue };
        taken[usize::from(kept.is_index())] = true;
        if kept.is_index() {
            let _ = content_store::parse_index(&kept.bytes, PLACE);
        } else if let Ok(parsed) = content_store::parse(&kept, PLACE) {
            for layer in parsed.layers() {
                let _ = layer.promised(PLACE);
            }
        }
        let _ = listed::check(Some(media_type), data, &[]);
    }
    let said = serde_json::from_slice::<serde_json::Value>(data).ok();
    let typed = said.as_ref().is_some_and(|said| said.get("mediaType").is_some());
    assert!(!(typed && taken == [true; 2]), "a manifest and an index at once");
    let _ = (reading::manifest(data), reading::config(data), reading::distinct(data));
    let _ = (types::manifest(data), types::config(data), types::saved(data));
    let _ = docker_save::is_rewritten(data);
    let lists = docker_save::read(&OneFile(bytes), "manifest.json");
    let parsed = occystrap_base::oci::config::parse(data, PLACE);
    taken.contains(&true) || lists.is_ok() || parsed.is_ok()
}

/// Parses the file of a mirror, a list of references, and files of other tools. A conversion is a file that is accepted. A
/// destination that is made of an accepted file is a URI.
pub fn mirror_file(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let listed = expand::list("list", text).is_ok();
    let converted = convert::from("fuzzed", text, None);
    if let Ok(converted) = &converted {
        let parsed = Document::parse("converted", &converted.file);
        assert!(parsed.is_ok(), "a conversion is refused: {parsed:?}");
    }
    let Ok(document) = Document::parse("fuzzed", text) else {
        return listed || converted.is_ok();
    };
    let read = &mut |_: &str| Ok("quay.io/a/b:1\n".to_owned());
    let Ok(sources) = document.sources(read) else { return true };
    let items: Vec<_> = sources.iter().filter_map(|source| source.item(Some("1.0")).ok()).collect();
    for item in &items {
        let uri = &item.destination.uri;
        assert!(Uri::parse(uri).is_ok(), "a destination is no URI: {uri}");
    }
    let _ = expand::distinct(items);
    true
}

/// Parses the document of an export, a receipt of it, and its list of digests. What was read, written and read again is the
/// same.
pub fn export(data: &[u8]) -> bool {
    let document = ExportDocument::parse(data, PLACE);
    if let Ok(document) = &document {
        let again = ExportDocument::parse(&document.bytes(), PLACE);
        assert_eq!(again.as_ref().ok(), Some(document));
    }
    let receipt = serde_json::from_slice::<ExportReceipt>(data);
    if let Ok(receipt) = &receipt {
        let line = serde_json::to_vec(receipt).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<ExportReceipt>(&line).ok().as_ref(), Some(receipt));
    }
    let list = sums::parse(&String::from_utf8_lossy(data), PLACE);
    if let Ok(list) = &list {
        let text: String = list.iter().map(sums::Sum::line).collect();
        assert_eq!(sums::parse(&text, PLACE).ok().as_ref(), Some(list));
    }
    document.is_ok() || receipt.is_ok() || list.is_ok()
}

/// Parses an image config. A config that clients read is not rejected, and `null` counts as an absent field.
pub fn config(data: &[u8]) -> bool {
    let summary = |bytes: &[u8]| {
        occystrap_base::oci::config::parse(bytes, PLACE)
            .map(|config| (config.diff_ids, config.platform))
            .ok()
    };
    let parsed = summary(data);
    let Some(document) = read_by_clients(data, types::config, reading::config) else {
        return parsed.is_some();
    };
    let listed = match (document.get("rootfs"), document.pointer("/rootfs/diff_ids")) {
        (Some(Value::Object(_)), None | Some(Value::Null)) => Some(0),
        (Some(Value::Object(_)), Some(Value::Array(listed))) => {
            let is_digest =
                |id: &Value| id.as_str().is_some_and(|text| text.parse::<Digest>().is_ok());
            let is_right = listed.len() <= MOST_LAYERS && listed.iter().all(is_digest);
            is_right.then_some(listed.len())
        }
        _ => None,
    };
    let found = parsed.as_ref().map(|(diff_ids, _)| diff_ids.len());
    assert_eq!(found, listed, "a config that clients read");
    let bare = without_nulls(document).to_string();
    assert_eq!(summary(bare.as_bytes()), parsed, "null and an absent field are two things");
    parsed.is_some()
}

/// Parses a manifest and an index as moving an image does. A document that clients read is not rejected, and `null`
/// counts as an absent field.
pub fn document(data: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(data);
    let mut taken = false;
    for media_type in [OCI_MANIFEST, OCI_INDEX] {
        let Ok(manifest) = Manifest::read(PLACE, Some(media_type), bytes.clone()) else { continue };
        let read = descriptors(&manifest);
        taken |= read.is_some();
        let Some(document) = read_by_clients(data, types::manifest, reading::manifest) else {
            continue;
        };
        let listed = |key: &str| document.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        if listed("layers") <= MOST_LAYERS {
            assert!(read.is_some(), "a manifest that clients read is refused");
        }
        let bare = without_nulls(document).to_string();
        if let Ok(bare) = Manifest::read(PLACE, Some(media_type), bare.into()) {
            assert_eq!(descriptors(&bare), read, "null and an absent field are two things");
        }
    }
    taken
}

/// Returns the descriptors of a manifest or an index; `None` for a descriptor without digest or size.
fn descriptors(manifest: &Manifest) -> Option<Vec<Option<Descriptor>>> {
    let promised = |raw: &RawDescriptor| {
        let platform = raw.platform();
        assert!(platform.is_none_or(|platform| !platform.is_unknown()), "a platform of nothing");
        raw.promised(PLACE).ok()
    };
    if manifest.is_index() {
        let index = content_store::parse_index(&manifest.bytes, PLACE).ok()?;
        return Some(index.manifests.iter().map(promised).collect());
    }
    let parsed = content_store::parse(manifest, PLACE).ok()?;
    let config = parsed.config(PLACE).ok().into_iter();
    Some(config.chain(parsed.layers()).map(promised).collect())
}

/// Returns a document if it is an object, Go's clients can read it, and it has only one reading.
fn read_by_clients<E, F>(
    data: &[u8],
    typed: impl FnOnce(&[u8]) -> std::result::Result<(), E>,
    one_reading: impl FnOnce(&[u8]) -> std::result::Result<(), F>,
) -> Option<Value> {
    let document = json::parse::<Value>(data).ok().filter(Value::is_object)?;
    let is_read =
        typed(data).is_ok() && one_reading(data).is_ok() && reading::distinct(data).is_ok();
    is_read.then_some(document)
}

/// Returns the same document without keys that have the value `null`.
fn without_nulls(document: Value) -> Value {
    match document {
        Value::Object(map) => {
            let present = map.into_iter().filter(|(_, value)| !value.is_null());
            present.map(|(key, value)| (key, without_nulls(value))).collect()
        }
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// Set of files in which every name leads to the same document.
struct OneFile(Bytes);

impl ArchiveMembers for OneFile {
    fn section(&self, _name: &str) -> Result<Option<Section>> {
        Ok(None)
    }

    fn place(&self) -> &str {
        PLACE
    }

    fn document(&self, _name: &str) -> Result<Option<Bytes>> {
        Ok(Some(self.0.clone()))
    }
}

/// Parses the tar of a layer. What was read, written and read again is the same.
pub fn layer(data: &[u8]) -> bool {
    let as_it_is = read_and_write(data);
    read_and_write(&summed(data)) || as_it_is
}

fn read_and_write(tar: &[u8]) -> bool {
    let Ok(listed) = read_layer(tar) else { return false };
    // Filters reject a layer with an empty name: tar cannot write it.
    if listed.iter().any(|(member, _)| member.path.is_empty()) {
        return true;
    }
    let mut writer = Writer::new(Vec::new());
    for (member, content) in &listed {
        if writer.append(member, &mut content.as_slice()).is_err() {
            return true;
        }
    }
    let Ok(written) = writer.finish() else { return true };
    match read_layer(&written) {
        Ok(again) => assert_eq!(again, listed, "what was written is read as something else"),
        Err(error) => panic!("what was written cannot be read: {error}"),
    }
    true
}

fn read_layer(tar: &[u8]) -> Result<Vec<(Member, Vec<u8>)>> {
    let fail = |cause: io::Error| occystrap_layer::blob::from_io(cause, PLACE);
    let mut reader = TarReader::new(tar, PLACE);
    let mut listed = Vec::new();
    let mut end = 0;
    while let Some(member) = reader.next_member()? {
        let (from, to) = reader.span();
        assert!(end <= from && from < to, "members overlap: {end}, {from}..{to}");
        end = to;
        let mut content = Vec::new();
        reader.content().read_to_end(&mut content).map_err(fail)?;
        assert_eq!(content.len() as u64, member.stored(), "content of another length");
        if let Some(sparse) = &member.sparse {
            let expanded = Expanded::new(content.as_slice(), sparse, member.size);
            let read = io::copy(&mut expanded.take(HOLES), &mut io::sink()).map_err(fail)?;
            assert_eq!(read, member.size.min(HOLES), "a file with holes of another length");
        }
        listed.push((member, content));
    }
    reader.finish()?;
    Ok(listed)
}

/// Opens an archive with images.
pub fn archive(data: &[u8]) -> bool {
    let as_it_is = open_archive(data);
    open_archive(&summed(data)) || as_it_is
}

fn open_archive(tar: &[u8]) -> bool {
    let Ok(file) = in_memory(tar) else { return false };
    let Ok(index) = TarIndex::read(Arc::new(file), PLACE.to_owned()) else { return false };
    let _ = oci_layout::wholes(&index, None, Choice::all("x"));
    let _ = oci_layout::flaws(&index);
    let Ok(images) = archive::images(&index, &Platform::default(), Choice::all("x")) else {
        return false;
    };
    for layer in images.iter().flat_map(|image| &image.layers) {
        let occystrap_layer::image::Content::File(section) = &layer.content else { continue };
        let end = section.offset.checked_add(section.size);
        assert!(end.is_some_and(|end| end <= tar.len() as u64), "a layer leads out of the file");
    }
    true
}

fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("fuzzed", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Returns the same bytes with a right checksum in every block that looks like a header: a fuzzer does not find a right
/// checksum by chance and would never get behind it.
fn summed(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    for block in tar.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    tar
}

/// Parses one or several receipts. What was read, written and read again is the same.
pub fn receipt(data: &[u8]) -> bool {
    let Ok(receipts) = Bundle::parse(data, PLACE) else { return false };
    for receipt in &receipts {
        let _ = receipt.for_guest();
        for expectation in &receipt.expectations {
            let _ = expectation.place.subject();
        }
        match serde_json::to_vec(receipt).map(|bytes| Bundle::parse(&bytes, PLACE)) {
            Ok(Ok(again)) => assert_eq!(again, std::slice::from_ref(receipt)),
            _ => panic!("a receipt that was read cannot be written and read"),
        }
    }
    true
}

/// Parses the record of plugins. What was read, written and read again is the same.
pub fn plugins_toml(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(record) = Record::parse(text, PLACE) else { return false };
    match record.render().map(|text| Record::parse(&text, PLACE)) {
        Ok(Ok(again)) => assert_eq!(again, record),
        _ => panic!("a record that was read cannot be written and read"),
    }
    true
}

/// Parses the file of a layer cache, or only its entries.
pub fn layer_cache(data: &[u8]) -> bool {
    layer_cache::takes(data)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A seed that is rejected shows the fuzzer only the way to an error.
    #[test]
    fn seeds_are_what_they_are_called() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        for (name, target) in TARGETS {
            let source = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs")));
            assert!(source.unwrap().contains(&format!("fuzzing::{name}(")), "{name}");
            let mut good = 0;
            for seed in std::fs::read_dir(fuzz.join("seeds").join(name)).unwrap() {
                let path = seed.unwrap().path();
                let expected = path.file_name().unwrap().to_str().unwrap().starts_with("good");
                let bytes = std::fs::read(&path).unwrap();
                assert!(bytes.len() <= 20_480, "{}: seeds are small", path.display());
                assert_eq!(target(&bytes), expected, "{}", path.display());
                good += usize::from(expected);
            }
            assert!(good > 0, "{name}");
        }
    }
}
