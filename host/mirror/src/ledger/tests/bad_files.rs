//! Files that are no ledger, or cannot be used: each is an error of its own, and none becomes a new ledger.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use occystrap_base::error::{Error, Kind};
use rusqlite::Connection;

use super::world::{SqliteWorld, World, begin, claim, digest, file, held, items};
use crate::ledger::export::Exports;
use crate::ledger::holding::ItemFilter;
use crate::ledger::lock::{beside, lock_path};
use crate::ledger::record::{
    Ending, FinishedItem, ItemId, Level, Outcome, PlanScope, ProofChange, RunId, Verdict,
};
use crate::ledger::sqlite::{LedgerAccess, Opening, Sqlite};
use crate::ledger::{Accounts, Holdings, LONGEST_PAGE, Ledger, Queue};

/// Makes a ledger with some items, closes it, and returns its world.
fn world() -> SqliteWorld {
    let world = SqliteWorld::new();
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..1_000)).unwrap();
    ledger.end_plan(run, PlanScope::Whole).unwrap();
    for claimed in claim(&ledger, run, 500) {
        let record = FinishedItem {
            proof: ProofChange::Proved(digest(1), Level::Fast),
            receipt: Some("receipt".repeat(20)),
            ..FinishedItem::new(Ending::Done(Outcome::Copied, Verdict::Verified))
        };
        ledger.finish(claimed.lease, &record).unwrap();
    }
    let blobs: Vec<_> = (0..500).map(|n| held("r", n, 1)).collect();
    ledger.note_blobs(&blobs).unwrap();
    drop(ledger);
    world
}

fn open(world: &SqliteWorld, access: LedgerAccess) -> Result<Sqlite, Error> {
    Sqlite::open(&world.opening(&world.path(), access))
}

/// The error of opening for writing, with the folder as `DIR`, and its hint.
fn error(world: &SqliteWorld, access: LedgerAccess) -> String {
    shown(world, &open(world, access).unwrap_err())
}

fn shown(world: &SqliteWorld, error: &Error) -> String {
    let text = format!("{error}\nhint: {}", error.hint_text().unwrap());
    let folder = world.folder.path().canonicalize().unwrap();
    text.replace(folder.to_str().unwrap(), "DIR")
        .replace(world.folder.path().to_str().unwrap(), "DIR")
}

#[test]
fn a_truncated_ledger_is_damaged() {
    let world = world();
    let whole = fs::read(world.path()).unwrap();
    for length in [whole.len() / 2, whole.len() - 4_096, whole.len() - 1, 4_096, 2_000, 99, 1, 0] {
        fs::write(world.path(), &whole[..length]).unwrap();
        for access in [LedgerAccess::Create, LedgerAccess::Write] {
            let error = open(&world, access).unwrap_err();
            assert_eq!(error.kind(), Kind::Destination, "{length}: {error}");
            let text = shown(&world, &error);
            assert!(
                text.starts_with("the ledger 'DIR/mirror.yaml.ledger' is damaged: "),
                "{length}: {text}"
            );
        }
        assert_eq!(fs::metadata(world.path()).unwrap().len(), u64::try_from(length).unwrap());
    }
    insta::assert_snapshot!(error(&world, LedgerAccess::Create));
    fs::write(world.path(), &whole[..whole.len() / 2]).unwrap();
    insta::assert_snapshot!(error(&world, LedgerAccess::Create));
    fs::write(world.path(), &whole).unwrap();
    open(&world, LedgerAccess::Create).unwrap();
}

#[test]
fn random_bytes_are_no_ledger() {
    let world = world();
    let mut random = fastrand::Rng::with_seed(7);
    let bytes: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();
    fs::write(world.path(), &bytes).unwrap();
    insta::assert_snapshot!(error(&world, LedgerAccess::Create));
    // With a right beginning, and with a whole header.
    let mut magic = bytes.clone();
    magic[..16].copy_from_slice(b"SQLite format 3\0");
    fs::write(world.path(), &magic).unwrap();
    insta::assert_snapshot!(error(&world, LedgerAccess::Create));
    magic[68..72].copy_from_slice(b"OCLG");
    fs::write(world.path(), &magic).unwrap();
    assert!(error(&world, LedgerAccess::Create).contains("is damaged"));
    assert_eq!(fs::read(world.path()).unwrap(), magic);
}

/// Calls everything that reads, page by page.
fn read_all(ledger: &impl Ledger) -> Result<(), Error> {
    let mut after: Option<ItemId> = None;
    loop {
        let page = ledger.items(&ItemFilter::default(), after, LONGEST_PAGE)?;
        let Some(last) = page.last() else { break };
        for item in &page {
            ledger.receipt(item.id)?;
            ledger.objects(item.id)?;
        }
        // A damaged index may give numbers in a circle.
        if after.is_some_and(|after| last.id <= after) {
            break;
        }
        after = Some(last.id);
    }
    ledger.totals(RunId(1))?;
    ledger.runs(10)?;
    ledger.coverage(&[60])?;
    ledger.links("mirror.example", "r", None, LONGEST_PAGE)?;
    ledger.hosts()?;
    Ok(())
}

#[test]
fn flipped_bits_are_errors_or_change_one_value() {
    let world = world();
    let whole = fs::read(world.path()).unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let (mut found, mut later, mut silent) = (0, 0, 0);
    for _ in 0..150 {
        let mut bytes = whole.clone();
        let at = random.usize(..bytes.len());
        bytes[at] ^= 1 << random.u8(..8);
        fs::write(world.path(), &bytes).unwrap();
        match open(&world, LedgerAccess::Create) {
            Err(error) => {
                assert!(error.hint_text().is_some(), "byte {at}: {error}");
                found += 1;
            }
            Ok(ledger) => match read_all(&ledger) {
                Err(error) => {
                    assert!(error.to_string().contains("is damaged"), "byte {at}: {error}");
                    later += 1;
                }
                Ok(()) => silent += 1,
            },
        }
    }
    eprintln!(
        "150 flipped bits: {found} found when opened, {later} when read, {silent} in texts and free space"
    );
    assert!(found > 5);
    // In the structure of a page in the middle, each flip is found.
    for page in [3, 10, whole.len() / 4_096 / 2] {
        let mut bytes = whole.clone();
        bytes[page * 4_096] ^= 0xFF;
        fs::write(world.path(), &bytes).unwrap();
        assert!(error(&world, LedgerAccess::Create).contains("is damaged"), "page {page}");
    }
}

#[test]
fn a_ledger_of_a_later_version_is_refused() {
    let world = world();
    open(&world, LedgerAccess::Write).unwrap();
    let raw = Connection::open(world.path()).unwrap();
    let version: i64 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
    raw.pragma_update(None, "user_version", 7).unwrap();
    drop(raw);
    insta::assert_snapshot!(error(&world, LedgerAccess::Write));
    assert_eq!(open(&world, LedgerAccess::Read).unwrap_err().exit_code(), 2);
}

#[test]
fn a_ledger_of_version_one_keeps_what_it_has() {
    let world = world();
    let path = world.path();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(
        "DROP TABLE carried; DROP TABLE exported; DROP TABLE import; ALTER TABLE export DROP COLUMN digest;
        INSERT INTO export (at, run, since, place) VALUES (7, 1, NULL, '/media');",
    )
    .unwrap();
    raw.pragma_update(None, "user_version", 1).unwrap();
    drop(raw);
    assert!(
        error(&world, LedgerAccess::Read).contains("has an older version: expected 2, found 1")
    );
    let ledger = open(&world, LedgerAccess::Write).unwrap();
    let marks = ledger.exports(9).unwrap();
    assert_eq!((marks[0].at, &*marks[0].place, marks[0].digest), (7, "/media", None));
    drop(ledger);
    open(&world, LedgerAccess::Read).unwrap();
}

#[test]
fn an_sqlite_file_of_another_program_is_left_alone() {
    let world = SqliteWorld::new();
    let raw = Connection::open(world.path()).unwrap();
    raw.execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    drop(raw);
    let before = fs::read(world.path()).unwrap();
    insta::assert_snapshot!(error(&world, LedgerAccess::Create));
    assert_eq!(fs::read(world.path()).unwrap(), before);
    assert!(!lock_path(&world.path()).exists());
    fs::remove_file(world.path()).unwrap();
    fs::create_dir(world.path()).unwrap();
    assert!(error(&world, LedgerAccess::Create).contains("is not a regular file"));
}

#[test]
fn a_ledger_of_another_mirror_is_refused_and_a_renamed_one_accepted() {
    let world = world();
    let path = world.path();
    let named = |mirror, n| {
        let opening =
            Opening { mirror, file_digest: file(n), ..world.opening(&path, LedgerAccess::Write) };
        Sqlite::open(&opening)
    };
    insta::assert_snapshot!(shown(&world, &named("other.yaml", 1).unwrap_err()));
    // Renamed and not changed; from then on it has the new name.
    named("other.yaml", 0).unwrap();
    named("other.yaml", 1).unwrap();
    assert!(named("mirror.yaml", 1).is_err());
}

#[test]
fn a_ledger_that_is_gone_does_not_begin_anew() {
    let world = world();
    fs::remove_file(world.path()).unwrap();
    insta::assert_snapshot!(error(&world, LedgerAccess::Create));
    fs::remove_file(lock_path(&world.path())).unwrap();
    insta::assert_snapshot!(error(&world, LedgerAccess::Write));
    assert!(error(&world, LedgerAccess::Read).contains("does not exist"));
    fs::write(beside(&world.path(), "-wal"), b"").unwrap();
    assert!(error(&world, LedgerAccess::Create).contains("mirror.yaml.ledger-wal' says"));
    fs::remove_file(beside(&world.path(), "-wal")).unwrap();
    fs::remove_file(lock_path(&world.path())).unwrap();
    open(&world, LedgerAccess::Create).unwrap();
}

#[test]
fn a_ledger_on_a_network_file_system_is_refused() {
    let world = SqliteWorld::new();
    let path = world.path();
    let kinds: [crate::ledger::place::FileSystemOf; 4] =
        [|_| Ok(0x6969), |_| Ok(0xFF53_4D42), |_| Ok(0x0102_1997), |_| Ok(0x6573_5546)];
    for of in kinds {
        let opening = Opening { file_system: of, ..world.opening(&path, LedgerAccess::Create) };
        let error = Sqlite::open(&opening).unwrap_err();
        assert!(error.hint_text().is_some() && error.exit_code() == 2);
    }
    assert_eq!(fs::read_dir(world.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_second_writer_learns_who_has_it_and_readers_read_meanwhile() {
    let world = world();
    let writer = open(&world, LedgerAccess::Write).unwrap();
    let text = error(&world, LedgerAccess::Create);
    let pid = std::process::id();
    assert!(
        text.starts_with("another run has the ledger 'DIR/mirror.yaml.ledger': process "),
        "{text}"
    );
    assert!(text.contains(&format!("process {pid} on ")), "{text}");
    let reader = open(&world, LedgerAccess::Read).unwrap();
    let run = begin(&writer, 0).id;
    writer.plan(run, &items(1_000..1_500)).unwrap();
    assert_eq!(reader.totals(run).unwrap().items(), 1_500);
    let error = reader.plan(run, &items(0..1)).unwrap_err();
    insta::assert_snapshot!(error, @"cannot plan items: the ledger is open for reading only");
    drop(writer);
    open(&world, LedgerAccess::Create).unwrap();
    assert_eq!(reader.totals(run).unwrap().items(), 1_500);
}

#[test]
fn a_ledger_that_another_program_has_locked_says_so() {
    let world = world();
    let path = world.path();
    let quick = Opening {
        patience: Duration::from_millis(50),
        ..world.opening(&path, LedgerAccess::Write)
    };
    let ledger = Sqlite::open(&quick).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let run = begin_fails(&ledger);
    insta::assert_snapshot!(shown(&world, &run));
    other.execute_batch("ROLLBACK").unwrap();
    begin(&ledger, 0);
    drop(ledger);
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM event")
        .unwrap();
    let text = shown(&world, &Sqlite::open(&quick).unwrap_err());
    assert!(text.contains("another program has locked it for 0 s"), "{text}");
}

fn begin_fails(ledger: &impl Ledger) -> Error {
    let kind = crate::ledger::record::RunKind::Mirror;
    let request = crate::ledger::record::RunRequest {
        kind,
        file_digest: file(0),
        selection: "",
        worker: "w",
    };
    ledger.begin_run(&request).unwrap_err()
}

/// Sets or removes the attribute that keeps even root from changing a file. Returns false where that is not possible.
fn set_immutable(path: &Path, how: &str) -> bool {
    Command::new("chattr").arg(how).arg(path).status().is_ok_and(|status| status.success())
}

#[test]
fn a_ledger_that_cannot_be_written_says_so_and_can_be_read() {
    let world = world();
    if !set_immutable(&world.path(), "+i") {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "chattr +i is needed");
        eprintln!("skipped: a_ledger_that_cannot_be_written: a file cannot be made immutable here");
        return;
    }
    let text = error(&world, LedgerAccess::Write);
    assert!(set_immutable(&world.path(), "-i"));
    insta::assert_snapshot!(text);
    let folder = world.folder.path();
    fs::remove_file(lock_path(&world.path())).unwrap();
    assert!(set_immutable(folder, "+i"));
    let text = error(&world, LedgerAccess::Create);
    let reader = open(&world, LedgerAccess::Read);
    let reads = reader.and_then(|reader| read_all(&reader));
    assert!(set_immutable(folder, "-i"));
    insta::assert_snapshot!(text);
    reads.unwrap();
}

/// A small file system in memory, which is removed when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn grow(&self, size: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]).arg(self.0.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_that_loses_nothing() {
    let Some(disk) = SmallDisk::mount("900k") else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "mounting a tmpfs is needed");
        eprintln!(
            "skipped: a_full_disk_is_an_error_that_loses_nothing: a file system cannot be mounted here"
        );
        return;
    };
    let path = disk.0.path().join("m.ledger");
    let create = || Sqlite::open(&Opening::new(&path, "m.yaml", file(0), LedgerAccess::Create));
    let ledger = create().unwrap();
    let run = begin(&ledger, 0).id;
    let mut planned = 0;
    let error = loop {
        match ledger.plan(run, &items(planned..planned + 50)) {
            Ok(_) => planned += 50,
            Err(error) => break error,
        }
    };
    let text = error.to_string().replace(disk.0.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(text, @"cannot plan items in the ledger 'DIR/m.ledger': no space is left");
    assert!(planned > 0 && error.hint_text().is_some());
    assert_eq!(ledger.totals(run).unwrap().items(), u64::from(planned));
    drop(ledger);
    disk.grow("8m");
    let ledger = create().unwrap();
    let begun = begin(&ledger, 0);
    assert_eq!((begun.id, begun.left), (run, u64::from(planned)));
    ledger.plan(run, &items(planned..planned + 500)).unwrap();
    drop(ledger);
    drop(disk);

    // No room for a new one: nothing is left behind.
    let disk = SmallDisk::mount("20k").unwrap();
    let path = disk.0.path().join("m.ledger");
    let error =
        Sqlite::open(&Opening::new(&path, "m.yaml", file(0), LedgerAccess::Create)).unwrap_err();
    assert!(error.hint_text().is_some(), "{error}");
    let left: Vec<_> =
        fs::read_dir(disk.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["m.ledger.lock"]);
}

#[test]
fn a_log_of_a_killed_process_is_read_and_a_damaged_log_loses_only_its_end() {
    let world = world();
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(1_000..1_100)).unwrap();
    // What a killed process leaves: file and log as they are now.
    let copy = SqliteWorld::new();
    fs::copy(world.path(), copy.path()).unwrap();
    let log = beside(&copy.path(), "-wal");
    fs::copy(beside(&world.path(), "-wal"), &log).unwrap();
    drop(ledger);
    let reopened = open(&copy, LedgerAccess::Write).unwrap();
    assert_eq!(reopened.totals(run).unwrap().items(), 1_100);
    drop(reopened);

    let copy = SqliteWorld::new();
    fs::copy(world.path(), copy.path()).unwrap();
    let ledger = copy.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(2_000..2_010)).unwrap();
    ledger.plan(run, &items(3_000..3_010)).unwrap();
    let third = SqliteWorld::new();
    fs::copy(copy.path(), third.path()).unwrap();
    let log = beside(&third.path(), "-wal");
    fs::copy(beside(&copy.path(), "-wal"), &log).unwrap();
    let length = fs::metadata(&log).unwrap().len();
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(b"damaged", length - 100).unwrap();
    let ledger = open(&third, LedgerAccess::Write).unwrap();
    assert_eq!(ledger.totals(run).unwrap().items(), 1_110);
}
