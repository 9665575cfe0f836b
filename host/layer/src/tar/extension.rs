//! What is told about a member in front of its header: GNU's long names, and PAX records.
//!
//! Where readers differ on what counts, a layer would be one thing for a filter and another for the
//! engine: that is refused. Everything else is read as Go's `archive/tar` reads it, with which
//! Docker, containerd and Podman unpack layers.

use super::member::{Member, MemberKind, Records};
use super::pax;
use super::sparse;

/// What stands in front of one header.
#[derive(Default)]
pub struct ExtendedHeader {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<Records>,
}

/// What is damaged, to follow "its header is damaged: ".
pub type Why = &'static str;

pub const TWICE: Why =
    "it says twice what belongs to one member, and readers differ on what counts";

impl ExtendedHeader {
    /// GNU's long name (`L`).
    pub fn name(&mut self, name: Vec<u8>) -> Result<(), Why> {
        once(&mut self.name, name)
    }

    /// GNU's long name of what a link leads to (`K`).
    pub fn link(&mut self, link: Vec<u8>) -> Result<(), Why> {
        once(&mut self.link, link)
    }

    /// PAX records (`x`).
    pub fn records(&mut self, bytes: &[u8]) -> Result<(), Why> {
        once(&mut self.records, parse(bytes)?)
    }

    /// PAX records for all members that follow (`g`). Go and the engines ignore them, GNU tar and
    /// Python do not: they may comment, and say nothing of what a member is.
    pub fn global(&self, bytes: &[u8]) -> Result<(), Why> {
        if self.name.is_some() || self.link.is_some() || self.records.is_some() {
            return Err("it stands between a member and what is said of it");
        }
        let says_much = |keyword: &Vec<u8>| {
            matches!(keyword.as_slice(), b"path" | b"linkpath" | b"size" | b"uid" | b"gid")
                || keyword.starts_with(sparse::PREFIX)
        };
        match parse(bytes)?.keys().any(says_much) {
            true => Err("its records are for all members that follow, and engines ignore them"),
            false => Ok(()),
        }
    }

    /// Let what was told stand in for fields; records that no field stands for stay with the member.
    pub fn apply(self, member: &mut Member) -> Result<(), Why> {
        let records = self.records.unwrap_or_default();
        let has = |keyword: &[u8]| records.contains_key(keyword);
        if self.name.is_some() && (has(b"path") || has(b"GNU.sparse.name"))
            || self.link.is_some() && has(b"linkpath")
        {
            return Err(TWICE);
        }
        // An empty one is none, as for Go.
        if let Some(name) = self.name.filter(|name| !name.is_empty()) {
            member.path = name;
        }
        if let Some(link) = self.link.filter(|link| !link.is_empty()) {
            set_link(member, link);
        }
        for (keyword, value) in records {
            record(member, keyword, value)?;
        }
        Ok(())
    }
}

fn once<T>(place: &mut Option<T>, told: T) -> Result<(), Why> {
    match place.replace(told) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    }
}

fn set_link(member: &mut Member, link: Vec<u8>) {
    if matches!(member.kind, MemberKind::HardLink | MemberKind::Symlink) {
        member.link = link;
    }
}

/// One record, which stands in for a field, or stays with the member.
fn record(member: &mut Member, keyword: Vec<u8>, value: Vec<u8>) -> Result<(), Why> {
    let number = |why| pax::number(&value).ok_or(why);
    match keyword.as_slice() {
        b"path" => member.path = value,
        b"linkpath" => set_link(member, value),
        b"size" => {
            let why = "its size makes no sense";
            let size = u64::try_from(number(why)?).map_err(|_| why)?;
            member.size = if member.kind.has_content() { size } else { 0 };
        }
        b"uid" => member.uid = number("its owner's number makes no sense")?,
        b"gid" => member.gid = number("its group's number makes no sense")?,
        b"uname" => member.owner = value,
        b"gname" => member.group = value,
        b"mtime" => member.mtime = pax::time(&value).ok_or("its time makes no sense")?,
        // How names were encoded; they are bytes here.
        b"hdrcharset" => {}
        _ => {
            member.records.insert(keyword, value);
        }
    }
    Ok(())
}

/// Records by keyword. The pieces of a sparse file in form 0.0, which repeats two records for each,
/// become one record as form 0.1 has it.
fn parse(bytes: &[u8]) -> Result<Records, Why> {
    let mut records = Records::new();
    let mut map = Vec::new();
    let mut pieces = 0;
    let mut in_order = true;
    pax::parse_each(bytes, |keyword, value| match keyword.strip_prefix(sparse::PREFIX) {
        Some(what @ (b"offset" | b"numbytes")) => {
            in_order &= (what == b"offset") == (pieces % 2 == 0) && !value.contains(&b',');
            if pieces > 0 {
                map.push(b',');
            }
            map.extend_from_slice(value);
            pieces += 1;
        }
        _ => pax::set(&mut records, keyword, value),
    })
    .ok_or("its PAX records make no sense")?;
    if pieces > 0 {
        in_order &= records.insert([sparse::PREFIX, b"map"].concat(), map).is_none();
    }
    if in_order { Ok(records) } else { Err("its sparse map makes no sense") }
}
