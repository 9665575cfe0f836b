//! `tests/fixtures/hello.tar`, a small image that can be run. It is made from this file only.
//!
//! It has three layers, in the layout of `docker save` in Docker 24 and earlier: a folder for each layer, with the
//! files VERSION, json and layer.tar. The program has 201 bytes, is for 64-bit Linux on x86, and is written by hand
//! below. The keys of JSON objects are in alphabetical order here, because it depends on the features that other
//! crates enable in serde_json whether it sorts them.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::inputs::sha256;
use crate::plugins::root;
use crate::ustar::{Archive, Entry};

const PATH: &str = "tests/fixtures/hello.tar";
const TAG: &str = "occystrap/hello:1.0";
const GREETING: &str = "Hello! Moved by occystrap, and proved to be here.\n";
const CREATED: &str = "2026-01-01T00:00:00Z";

/// Writes the image.
pub fn write() -> Result<()> {
    let path = root()?.join(PATH);
    std::fs::create_dir_all(path.parent().context("no folder")?)?;
    let archive = archive()?;
    println!("{PATH}  {} bytes  {}", archive.len(), sha256(&archive));
    Ok(std::fs::write(path, archive)?)
}

/// Makes the image and compares it with the committed file.
pub fn check() -> Result<()> {
    let committed = std::fs::read(root()?.join(PATH)).context(PATH)?;
    ensure!(committed == archive()?, "'{PATH}' is out of date; run 'cargo xtask fixture'");
    println!("{PATH} is up to date");
    Ok(())
}

fn archive() -> Result<Vec<u8>> {
    let layers = [
        (base()?, "a root file system"),
        (program()?, "the program"),
        (documents()?, "its documents; the message of the day goes"),
    ];
    let diff_ids: Vec<String> = layers.iter().map(|(layer, _)| sha256(layer)).collect();
    let history = layers.iter().map(|(_, what)| json!({"created": CREATED, "created_by": what}));
    let config = json!({
        "architecture": "amd64",
        "config": {
            "Cmd": ["/bin/hello"],
            "Env": ["PATH=/bin"],
            "Labels": {"org.opencontainers.image.title": "hello"},
        },
        "created": CREATED,
        "history": history.collect::<Vec<_>>(),
        "os": "linux",
        "rootfs": {
            "diff_ids": diff_ids.iter().map(|id| format!("sha256:{id}")).collect::<Vec<_>>(),
            "type": "layers",
        },
    });
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", sha256(&config));

    let mut archive = Archive::default();
    let mut parent = None;
    let mut names = Vec::new();
    for ((layer, _), diff_id) in layers.iter().zip(&diff_ids) {
        // Docker's own names were digests over a chain of layers. Readers must not rely on their values.
        let id = sha256(format!("{} {diff_id}", parent.as_deref().unwrap_or("")).as_bytes());
        let description = json!({"created": CREATED, "id": id, "os": "linux", "parent": parent});
        archive.entry(&format!("{id}/"), Entry::Folder { mode: 0o755 })?;
        archive.file(&format!("{id}/VERSION"), 0o644, b"1.0")?;
        archive.file(&format!("{id}/json"), 0o644, &serde_json::to_vec(&description)?)?;
        archive.file(&format!("{id}/layer.tar"), 0o644, layer)?;
        names.push(format!("{id}/layer.tar"));
        parent = Some(id);
    }
    archive.file(&config_name, 0o644, &config)?;
    let manifest = json!([{"Config": config_name, "Layers": names, "RepoTags": [TAG]}]);
    archive.file("manifest.json", 0o644, &serde_json::to_vec(&manifest)?)?;
    let (repository, tag) = TAG.split_once(':').context("no tag")?;
    let repositories = json!({repository: {tag: parent}});
    archive.file("repositories", 0o644, &serde_json::to_vec(&repositories)?)?;
    archive.finish()
}

fn base() -> Result<Vec<u8>> {
    let mut layer = Archive::default();
    for folder in ["bin/", "etc/", "proc/", "root/", "usr/", "usr/share/"] {
        layer.entry(folder, Entry::Folder { mode: 0o755 })?;
    }
    layer.entry("tmp/", Entry::Folder { mode: 0o1777 })?;
    layer.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/hello\n")?;
    layer.file("etc/group", 0o644, b"root:x:0:\n")?;
    layer.file("etc/motd", 0o644, b"Gone in a later layer.\n")?;
    layer.file("etc/os-release", 0o644, b"NAME=hello\nID=hello\nVERSION_ID=1.0\n")?;
    layer.finish()
}

fn program() -> Result<Vec<u8>> {
    let mut layer = Archive::default();
    layer.entry("bin/", Entry::Folder { mode: 0o755 })?;
    layer.file("bin/hello", 0o755, &elf())?;
    layer.entry("bin/hi", Entry::Symlink { to: "hello" })?;
    layer.entry("bin/greet", Entry::Hardlink { to: "bin/hello", mode: 0o755 })?;
    layer.finish()
}

fn documents() -> Result<Vec<u8>> {
    let mut layer = Archive::default();
    layer.entry("etc/", Entry::Folder { mode: 0o755 })?;
    layer.file("etc/.wh.motd", 0o644, b"")?;
    layer.entry("usr/share/doc/", Entry::Folder { mode: 0o755 })?;
    for table in 1..=12_u32 {
        let line = |factor: u32| format!("{factor:>4} x {table:>2} = {:>5}\n", factor * table);
        let text: String = (1..=300).map(line).collect();
        layer.file(&format!("usr/share/doc/table-{table:02}.txt"), 0o644, text.as_bytes())?;
    }
    layer.finish()
}

/// Returns an ELF executable of one segment (System V gABI, chapters 4 and 5): write(1, GREETING), exit(0).
fn elf() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let code = |text: u32| {
        let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xbe];
        code.extend(text.to_le_bytes()); // mov eax, 1 (write); mov edi, 1; mov esi, text
        code.push(0xba);
        code.extend((GREETING.len() as u32).to_le_bytes()); // mov edx, length
        code.extend([0x0f, 0x05]); // syscall
        code.extend([0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]); // mov eax, 60 (exit); xor edi, edi
        code
    };
    let start = BASE + HEADERS;
    let code = code((start + code(0).len() as u64) as u32);
    let size = HEADERS + (code.len() + GREETING.len()) as u64;

    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version 1
    for word in [start, 64, 0] {
        elf.extend(word.to_le_bytes()); // entry, program headers, no section headers
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]); // sizes and counts
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // a loadable segment, readable and executable
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(word.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    elf.extend(code);
    elf.extend(GREETING.as_bytes());
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn the_program_runs() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("xtask-hello-{}", std::process::id()));
        std::fs::write(&path, elf()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = std::process::Command::new(&path).output().unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), GREETING);
        assert!(output.status.success());
    }
}
