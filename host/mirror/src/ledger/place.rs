//! The file system that a ledger may be in: one of this machine.
//!
//! The write-ahead log of SQLite needs memory that all processes share and locks that hold. Network file systems have
//! neither, and a ledger there is damaged without an error (sqlite.org/wal.html, "All processes using a database must be
//! on the same host computer").

use std::io;
use std::path::Path;

use occystrap_base::error::{Error, Kind, Result};

/// Function that returns the number of the type of the file system of a path (`f_type` of statfs(2)).
pub type FileSystemOf = fn(&Path) -> io::Result<u32>;

/// Types of file systems that are refused, from statfs(2) and linux/magic.h.
const REFUSED: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x0102_1997, "9p"),
    // Drivers of FUSE decide what they promise; sshfs, those of object stores and virtiofs promise too little.
    (0x6573_5546, "FUSE"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x786F_4256, "a folder of VirtualBox"),
    (0xBACB_ACBC, "a folder of VMware"),
];

/// Returns the type of the file system of a path.
pub fn file_system(path: &Path) -> io::Result<u32> {
    let found = rustix::fs::statfs(path)?;
    // The kernel's numbers have 32 bits; the field is wider on most machines, and signed.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
    Ok(found.f_type as u32)
}

/// Errors when a ledger in a folder would be on a file system of another machine.
pub fn refuse_network(ledger: &Path, folder: &Path, of: FileSystemOf) -> Result<()> {
    let failed =
        |cause| Error::io(Kind::Destination, "find the ledger's folder", folder.display(), &cause);
    let found = of(folder).map_err(failed)?;
    let Some((_, name)) = REFUSED.iter().find(|(number, _)| *number == found) else {
        return Ok(());
    };
    let message = format!(
        "the ledger '{}' would be on {name}: a local file system is expected, because locks and shared memory do not work there",
        ledger.display()
    );
    Err(Error::usage(message).hint("name a path on a local disk with --ledger PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_test_is_accepted() {
        refuse_network(Path::new("m.ledger"), &std::env::temp_dir(), file_system).unwrap();
    }

    #[test]
    fn network_file_systems_are_refused() {
        let nfs = |_: &Path| Ok(0x6969);
        let error = refuse_network(Path::new("m.ledger"), Path::new("."), nfs).unwrap_err();
        insta::assert_snapshot!(error, @"the ledger 'm.ledger' would be on NFS: a local file system is expected, because locks and shared memory do not work there");
        assert_eq!(error.exit_code(), 2);
        assert!(refuse_network(Path::new("m"), Path::new("."), |_| Ok(0xFF53_4D42)).is_err());
        assert!(refuse_network(Path::new("m"), Path::new("."), |_| Ok(0x0102_1997)).is_err());
        let ext4 = |_: &Path| Ok(0xEF53);
        refuse_network(Path::new("m"), Path::new("."), ext4).unwrap();
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error() {
        let missing = Path::new("/no/such/folder");
        assert_eq!(
            refuse_network(missing, missing, file_system).unwrap_err().kind(),
            Kind::NotFound
        );
    }
}
