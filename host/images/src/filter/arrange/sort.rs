//! Records in the order of their keys, on the disk: runs that fit in memory are sorted and written, then merged.
//!
//! What it refuses: more memory than [`MEMORY`] and [`MOST_AT_ONCE`] times [`BUFFER`], whatever the number of records. No
//! crate is used for that: `extsort` and its like bound the number of records in memory, not their bytes, and members may
//! have names of a mebibyte.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use occystrap_base::error::{Error, Result};
use occystrap_base::files::scratch;

/// Bytes of records in memory. The records of a million members, about 150 bytes each, make twenty runs.
const MEMORY: usize = 8 * 1024 * 1024;

/// Bytes that a record takes in memory besides its own.
const OVERHEAD: usize = size_of::<Entry>();

/// Bytes of a run that are read at once.
const BUFFER: usize = 32 * 1024;

/// Most runs that are merged at once.
const MOST_AT_ONCE: usize = 64;

/// A record: its key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// Takes records in any order.
pub struct Sorter {
    folder: PathBuf,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    runs: Runs,
    /// Bytes of records in memory, at most.
    memory: usize,
}

/// Where a record is in memory.
struct Entry {
    at: usize,
    key: usize,
    value: usize,
}

/// Sorted runs in one file.
#[derive(Default)]
struct Runs {
    file: Option<Arc<File>>,
    end: u64,
    /// Start and end of each.
    spans: Vec<(u64, u64)>,
}

impl Sorter {
    /// Returns a sorter whose file, if it needs one, is in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self::with_memory(folder, MEMORY)
    }

    fn with_memory(folder: &Path, memory: usize) -> Self {
        let (bytes, entries, runs) = (Vec::new(), Vec::new(), Runs::default());
        Self { folder: folder.to_owned(), bytes, entries, runs, memory }
    }

    /// Adds a record. Errors when the file cannot be written.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let new = key.len() + value.len() + OVERHEAD;
        if self.bytes.len() + self.entries.len() * OVERHEAD + new > self.memory {
            self.spill()?;
        }
        self.entries.push(Entry { at: self.bytes.len(), key: key.len(), value: value.len() });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    /// Ends the adding. Errors when the file cannot be written or read.
    pub fn finish(mut self) -> Result<Sorted> {
        if self.runs.spans.is_empty() {
            self.sort();
            let Self { bytes, entries, folder, .. } = self;
            return Ok(Sorted { bytes, entries, runs: Runs::default(), folder });
        }
        self.spill()?;
        let Self { mut runs, folder, .. } = self;
        while runs.spans.len() > MOST_AT_ONCE {
            let spans = std::mem::take(&mut runs.spans);
            for some in spans.chunks(MOST_AT_ONCE) {
                let mut merge = Merge::of_runs(runs.file.as_ref(), some, &folder)?;
                runs.write(&folder, || merge.next())?;
            }
        }
        Ok(Sorted { bytes: Vec::new(), entries: Vec::new(), runs, folder })
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |entry: &Entry| &bytes[entry.at..entry.at + entry.key];
        self.entries.sort_unstable_by(|one, other| key(one).cmp(key(other)));
    }

    fn spill(&mut self) -> Result<()> {
        self.sort();
        let bytes = &self.bytes;
        let mut entries = self.entries.iter();
        self.runs.write(&self.folder, || Ok(entries.next().map(|entry| entry.record(bytes))))?;
        self.bytes.clear();
        self.entries.clear();
        Ok(())
    }
}

impl Entry {
    fn record(&self, bytes: &[u8]) -> Record {
        let value = self.at + self.key;
        (bytes[self.at..value].to_vec(), bytes[value..value + self.value].to_vec())
    }
}

impl Runs {
    /// Appends a run of sorted records.
    fn write(
        &mut self,
        folder: &Path,
        mut next: impl FnMut() -> Result<Option<Record>>,
    ) -> Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = tempfile::tempfile_in(folder).map_err(|cause| failed(folder, &cause))?;
                Arc::clone(self.file.insert(Arc::new(file)))
            }
        };
        let start = self.end;
        let mut to = BufWriter::with_capacity(4 * BUFFER, At { file: &file, at: start });
        while let Some((key, value)) = next()? {
            let lengths = [(key.len() as u64).to_le_bytes(), (value.len() as u64).to_le_bytes()];
            let written = to.write_all(lengths.as_flattened());
            let written = written.and_then(|()| to.write_all(&key));
            written.and_then(|()| to.write_all(&value)).map_err(|cause| failed(folder, &cause))?;
        }
        let at = to.into_inner().map_err(|cause| failed(folder, cause.error()))?.at;
        self.spans.push((start, at));
        self.end = at;
        Ok(())
    }
}

/// All records, which can be read several times.
pub struct Sorted {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    runs: Runs,
    folder: PathBuf,
}

impl Sorted {
    /// Returns a reader of the records in their order. Errors when the file cannot be read.
    pub fn read(&self) -> Result<Merge<'_>> {
        if self.runs.spans.is_empty() {
            let memory = Some((self.bytes.as_slice(), self.entries.iter()));
            return Ok(Merge { memory, runs: Vec::new(), heap: BinaryHeap::new(), peeked: None });
        }
        Merge::of_runs(self.runs.file.as_ref(), &self.runs.spans, &self.folder)
    }
}

/// A reader of records in their order.
pub struct Merge<'a> {
    memory: Option<(&'a [u8], std::slice::Iter<'a, Entry>)>,
    runs: Vec<Run>,
    /// The next record of each run.
    heap: BinaryHeap<Reverse<(Record, usize)>>,
    peeked: Option<Record>,
}

impl Merge<'_> {
    fn of_runs(file: Option<&Arc<File>>, spans: &[(u64, u64)], folder: &Path) -> Result<Self> {
        let run = |(start, end): &(u64, u64)| {
            let slice = Slice { file: Arc::clone(file?), at: *start, end: *end };
            Some(Run { from: BufReader::with_capacity(BUFFER, slice), folder: folder.to_owned() })
        };
        let runs = spans.iter().filter_map(run).collect();
        let mut merge = Self { memory: None, runs, heap: BinaryHeap::new(), peeked: None };
        for index in 0..merge.runs.len() {
            merge.refill(index)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, index: usize) -> Result<()> {
        let run = self.runs.get_mut(index);
        if let Some(record) = run.map_or(Ok(None), Run::next)? {
            self.heap.push(Reverse((record, index)));
        }
        Ok(())
    }

    /// Returns the next record; `None` after the last. Errors when the file cannot be read.
    pub fn next(&mut self) -> Result<Option<Record>> {
        if let Some(record) = self.peeked.take() {
            return Ok(Some(record));
        }
        if let Some((bytes, entries)) = &mut self.memory {
            return Ok(entries.next().map(|entry| entry.record(bytes)));
        }
        let Some(Reverse((record, index))) = self.heap.pop() else { return Ok(None) };
        self.refill(index)?;
        Ok(Some(record))
    }

    /// Returns the key of the next record, which stays the next.
    pub fn peek(&mut self) -> Result<Option<&[u8]>> {
        if self.peeked.is_none() {
            self.peeked = self.next()?;
        }
        Ok(self.peeked.as_ref().map(|(key, _)| key.as_slice()))
    }
}

/// A run that is being read.
struct Run {
    from: BufReader<Slice>,
    folder: PathBuf,
}

impl Run {
    fn next(&mut self) -> Result<Option<Record>> {
        let failed = |cause: io::Error| failed(&self.folder, &cause);
        if self.from.buffer().is_empty() && self.from.get_ref().is_at_end() {
            return Ok(None);
        }
        let mut lengths = [[0; 8]; 2];
        self.from.read_exact(lengths.as_flattened_mut()).map_err(failed)?;
        let [mut key, mut value] =
            lengths.map(|length| vec![0; u64::from_le_bytes(length) as usize]);
        self.from.read_exact(&mut key).map_err(failed)?;
        self.from.read_exact(&mut value).map_err(failed)?;
        Ok(Some((key, value)))
    }
}

/// Part of a file, as a reader of its own.
pub struct Slice {
    /// The file.
    pub file: Arc<File>,
    /// Offset of the next byte.
    pub at: u64,
    /// Offset after the last byte.
    pub end: u64,
}

impl Slice {
    /// Returns whether all was read.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.end
    }
}

impl Read for Slice {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = most.min(into.len());
        let read = self.file.read_at(&mut into[..most], self.at)?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

/// A writer to a place of a file.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Write for At<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.at)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(folder: &Path, cause: &io::Error) -> Error {
    scratch::failed("write", folder, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_in_the_order_of_their_keys_however_little_memory_there_is() {
        let folder = std::env::temp_dir();
        for memory in [400, 10_000, MEMORY] {
            let mut sorter = Sorter::with_memory(&folder, memory);
            // 7919 is prime to 5000, so that each number comes once.
            for number in (0_u32..5000).map(|number| number * 7919 % 5000) {
                sorter.push(&number.to_be_bytes(), &vec![7; number as usize % 40]).unwrap();
            }
            let sorted = sorter.finish().unwrap();
            assert!(sorted.runs.spans.len() <= MOST_AT_ONCE);
            for _ in 0..2 {
                let mut read = sorted.read().unwrap();
                for number in 0_u32..5000 {
                    assert_eq!(read.peek().unwrap(), Some(number.to_be_bytes().as_slice()));
                    let (key, value) = read.next().unwrap().unwrap();
                    assert_eq!(
                        (key, value.len()),
                        (number.to_be_bytes().to_vec(), number as usize % 40)
                    );
                }
                assert!(read.next().unwrap().is_none() && read.peek().unwrap().is_none());
            }
        }
    }
}
