//! Extended headers, which come before the header of a member: GNU's long names, and PAX records.
//!
//! They are read as Go's `archive/tar` reads them, with which Docker, containerd and Podman unpack layers. What it
//! refuses: extended headers on which readers differ, because a filter would see another member than the engine.

use super::member::{Member, MemberKind, Records};
use super::pax;
use super::sparse;

/// The extended headers of one member.
#[derive(Default)]
pub struct ExtendedHeader {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<Records>,
}

/// The reason why a header is damaged. It follows "the tar header ... is damaged: ".
pub type Why = &'static str;

/// The reason for a member with two extended headers of one kind.
pub const TWICE: Why =
    "it says twice what belongs to one member, and readers differ on what counts";

impl ExtendedHeader {
    /// Adds a GNU long name (`L`).
    pub fn name(&mut self, name: Vec<u8>) -> Result<(), Why> {
        once(&mut self.name, name)
    }

    /// Adds a GNU long link target (`K`).
    pub fn link(&mut self, link: Vec<u8>) -> Result<(), Why> {
        once(&mut self.link, link)
    }

    /// Adds PAX records (`x`).
    pub fn records(&mut self, bytes: &[u8]) -> Result<(), Why> {
        once(&mut self.records, parse(bytes)?)
    }

    /// Checks PAX records for all members that follow (`g`). Go and the engines ignore them, GNU tar and Python do not,
    /// so they may contain comments, but no property of a member.
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

    /// Sets the fields of a member. Records without a field stay with the member.
    pub fn apply(self, member: &mut Member) -> Result<(), Why> {
        let records = self.records.unwrap_or_default();
        let has = |keyword: &[u8]| records.contains_key(keyword);
        if self.name.is_some() && (has(b"path") || has(b"GNU.sparse.name"))
            || self.link.is_some() && has(b"linkpath")
        {
            return Err(TWICE);
        }
        // Go ignores an empty one.
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

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Why> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    }
}

fn set_link(member: &mut Member, link: Vec<u8>) {
    if matches!(member.kind, MemberKind::HardLink | MemberKind::Symlink) {
        member.link = link;
    }
}

/// Sets the field of a record, or keeps the record with the member.
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
        // Go's reader parses these two as well, and refuses the archive if it cannot.
        b"atime" | b"ctime" => {
            pax::time(&value).ok_or("its time of access or change makes no sense")?;
            member.records.insert(keyword, value);
        }
        // The encoding of names. Names are bytes here.
        b"hdrcharset" => {}
        _ => {
            member.records.insert(keyword, value);
        }
    }
    Ok(())
}

/// Parses records by keyword. Form 0.0 of sparse files has two records for each piece; they become one record as in
/// form 0.1.
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
