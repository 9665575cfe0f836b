//! Random images that engines accept, and the file system that results: a walk that applies one member after another.
//!
//!     let RandomImage { image, walked, size } = random_image::image(7);
//!
//! Every kind of member is in them: files, sparse files, links of both kinds, also to lower layers, devices, FIFOs, extended
//! attributes, whiteouts, opaque directories, and directories that become files.

use std::collections::BTreeMap;

use super::image::{TestImage, noise};
use super::raw_tar::{Raw, tar};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `d`, `f`, `l`, `c`, `b` or `p`.
    pub kind: char,
    pub mode: u32,
    pub owner: (u32, u32),
    /// In seconds.
    pub mtime: i64,
    pub content: Vec<u8>,
    /// Target of a symbolic link.
    pub link: String,
    pub device: (u32, u32),
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Names with the same number are one file.
    pub inode: usize,
}

/// A file system by path, without the root.
pub type Walked = BTreeMap<String, Entry>;

/// A sequence of numbers from a seed: a 64-bit LCG (Knuth's constants).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The layer that is being made.
struct Maker {
    dice: Dice,
    walked: Walked,
    members: Vec<Raw>,
    /// Paths that this layer has.
    own: Vec<String>,
    inodes: usize,
    /// Bytes of all files in all layers so far.
    size: u64,
}

/// Bytes of the smallest sparse file. Other files are smaller.
const SPARSE: usize = 40_000;

const NAMES: [&str; 6] = ["a", "b", "lib", "a name with spaces", "ä-ü", ".hidden"];

impl Maker {
    /// Returns a new path in a directory.
    fn path(&mut self) -> String {
        let folders: Vec<String> = self
            .walked
            .iter()
            .filter(|(_, e)| e.kind == 'd')
            .map(|(path, _)| path.clone())
            .collect();
        let folder = if folders.is_empty() || self.dice.roll(5) == 0 {
            "data".to_owned()
        } else {
            self.dice.pick(&folders)
        };
        let mut name = self.dice.pick(&NAMES).to_owned();
        if self.dice.roll(20) == 0 {
            // Longer than the field of a header.
            name = "long-".repeat(24) + &name;
        }
        format!("{folder}/{name}")
    }

    /// Puts a member, if the layer can have it there.
    fn put(&mut self, path: &str, raw: Raw, mut entry: Entry) {
        if self.own.iter().any(|own| own == path || is_below(own, path)) || !self.has_folder(path) {
            return;
        }
        let is_directory = entry.kind == 'd';
        let known = self.walked.get(path);
        if !(is_directory && known.is_some_and(|known| known.kind == 'd')) {
            self.walked.retain(|known, _| known != path && !is_below(known, path));
        }
        let (mode, uid, gid) = (entry.mode, entry.owner.0, entry.owner.1);
        let mut raw =
            raw.mode(mode.into()).owner(uid.into(), gid.into()).number(136, 11, entry.mtime as u64);
        for (name, value) in &entry.xattrs {
            raw = raw.pax(&format!("SCHILY.xattr.{name}"), value);
        }
        if path.len() > 100 || !path.is_ascii() {
            let slash = if is_directory { "/" } else { "" };
            raw = raw.pax("path", format!("{path}{slash}"));
        }
        if entry.inode == 0 {
            self.inodes += 1;
            entry.inode = self.inodes;
            self.size += stored(&entry);
        }
        self.walked.insert(path.to_owned(), entry);
        self.own.push(path.to_owned());
        self.members.push(raw);
    }

    fn has_folder(&self, path: &str) -> bool {
        let folder = parent(path);
        folder.is_empty() || self.walked.get(folder).is_some_and(|entry| entry.kind == 'd')
    }

    fn entry(&mut self, kind: char) -> Entry {
        let mode = match kind {
            'd' => self.dice.pick(&[0o755, 0o700, 0o1777, 0o2755]),
            'l' => 0o777,
            _ => self.dice.pick(&[0o644, 0o600, 0o755, 0o4755, 0o2711, 0o400]),
        };
        Entry {
            kind,
            mode,
            owner: self.dice.pick(&[(0, 0), (1000, 1000), (33, 8), (100_000, 70_000)]),
            mtime: 1_600_000_000 + self.dice.roll(10_000_000) as i64,
            content: Vec::new(),
            link: String::new(),
            device: (0, 0),
            xattrs: BTreeMap::new(),
            inode: 0,
        }
    }

    fn attributes(&mut self, entry: &mut Entry) {
        if self.dice.roll(5) == 0 {
            entry.xattrs.insert("user.comment".to_owned(), b"of \xff\n bytes".to_vec());
        }
    }

    fn member(&mut self) {
        let path = self.path();
        // Raw cuts a name that is too long for the header; its PAX record has the whole.
        match self.dice.roll(16) {
            0..=4 => {
                let mut entry = self.entry('f');
                let (seed, length) = (self.dice.roll(9) as u64, self.dice.roll(1_500));
                entry.content = noise(seed, length);
                self.attributes(&mut entry);
                self.put(&path, Raw::file(&path, &entry.content.clone()), entry);
            }
            5 => {
                let mut entry = self.entry('f');
                let size = (SPARSE + self.dice.roll(9)) as u64;
                let data = noise(3, 512);
                let mut content = vec![0; size as usize];
                content[8_192..8_704].copy_from_slice(&data);
                entry.content = content;
                let map = [(8_192, 512), (size, 0)];
                self.put(&path, Raw::pax_sparse(&path, &map, size, &data), entry);
            }
            6..=8 => {
                let mut entry = self.entry('d');
                self.attributes(&mut entry);
                self.put(&path, Raw::dir(&path), entry);
            }
            9 => {
                let mut entry = self.entry('l');
                entry.link = self.dice.pick(&["a", "../b", "/data/lib", "nowhere"]).to_owned();
                self.put(&path, Raw::link(b'2', &path, &entry.link), entry);
            }
            10 | 11 => self.hard_link(&path),
            12 => {
                let kind = self.dice.pick(&['c', 'b', 'p']);
                let mut entry = self.entry(kind);
                let flag = match kind {
                    'c' => b'3',
                    'b' => b'4',
                    _ => b'6',
                };
                if kind != 'p' {
                    entry.device = (1 + self.dice.roll(9) as u32, self.dice.roll(9) as u32);
                }
                let (major, minor) = entry.device;
                let raw = Raw::new(flag, &path, b"").device(major.into(), minor.into());
                self.put(&path, raw, entry);
            }
            _ => self.replace(),
        }
    }

    /// Makes a hard link to a file of this layer or of a lower one.
    fn hard_link(&mut self, path: &str) {
        let files: Vec<String> = (self.walked.iter())
            .filter(|(known, entry)| entry.kind == 'f' && known.len() < 90 && known.is_ascii())
            .map(|(known, _)| known.clone())
            .collect();
        if files.is_empty() {
            return;
        }
        let target = self.dice.pick(&files);
        if target == path || is_below(&target, path) {
            return;
        }
        let entry = self.walked[&target].clone();
        self.put(path, Raw::link(b'1', path, &target), entry);
    }

    /// Makes a file of a path that is something else.
    fn replace(&mut self) {
        let paths: Vec<String> =
            self.walked.keys().filter(|path| *path != "data").cloned().collect();
        if paths.is_empty() {
            return;
        }
        let path = self.dice.pick(&paths);
        let mut entry = self.entry('f');
        entry.content = b"replaced".to_vec();
        self.put(&path, Raw::file(&path, b"replaced"), entry);
    }

    /// Makes the whiteouts of a layer, which are about the layers below.
    fn whiteouts(&mut self) {
        for _ in 0..self.dice.roll(4) {
            let paths: Vec<String> =
                self.walked.keys().filter(|path| *path != "data").cloned().collect();
            if paths.is_empty() {
                return;
            }
            let path = self.dice.pick(&paths);
            let is_directory = self.walked[&path].kind == 'd';
            let name = if is_directory && self.dice.roll(2) == 0 {
                self.walked.retain(|known, _| !is_below(known, &path));
                format!("{path}/.wh..wh..opq")
            } else {
                self.walked.retain(|known, _| *known != path && !is_below(known, &path));
                let folder = parent(&path);
                format!("{folder}/.wh.{}", &path[folder.len() + 1..])
            };
            let mut raw = Raw::file(&name, b"");
            if name.len() > 100 || !name.is_ascii() {
                raw = raw.pax("path", &name);
            }
            self.members.push(raw);
        }
    }
}

/// Returns the bytes of a file that its layer stores: of a sparse file, 512.
fn stored(entry: &Entry) -> u64 {
    if entry.content.len() < SPARSE { entry.content.len() as u64 } else { 512 }
}

/// Returns the bytes of the content that has a name in a file system.
pub fn kept(walked: &Walked) -> u64 {
    let contents: BTreeMap<usize, u64> =
        walked.values().map(|entry| (entry.inode, stored(entry))).collect();
    contents.values().sum()
}

/// A random image.
pub struct RandomImage {
    pub image: TestImage,
    /// Its file system.
    pub walked: Walked,
    /// Bytes of all files in all layers, without holes.
    pub size: u64,
}

/// Returns an image of one to five layers.
pub fn image(seed: u64) -> RandomImage {
    let mut maker = Maker {
        dice: Dice(seed.wrapping_mul(7_919).wrapping_add(1)),
        walked: Walked::new(),
        members: Vec::new(),
        own: Vec::new(),
        inodes: 0,
        size: 0,
    };
    let layers = 1 + maker.dice.roll(5);
    let mut made = Vec::new();
    for layer in 0..layers {
        if layer == 0 {
            let entry = maker.entry('d');
            maker.put("data", Raw::dir("data"), entry);
        } else {
            maker.whiteouts();
        }
        for _ in 0..5 + maker.dice.roll(25) {
            maker.member();
        }
        maker.own.clear();
        made.push(tar(&std::mem::take(&mut maker.members)));
    }
    let image = TestImage::with_layers(&format!("test/random-{seed}:1"), made);
    RandomImage { image, walked: maker.walked, size: maker.size }
}
