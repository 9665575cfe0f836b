//! The bytes of a component, before they are compiled.
//!
//! What it refuses: more bytes than the limit, core modules, text, and machine code that another program
//! compiled: wasmtime loads a `.cwasm` file without checking it, so that such a file could do anything.

use std::io::Read as _;
use std::path::Path;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::regular;
use occystrap_base::limits::COMPONENT_SIZE;
use occystrap_net::uri::Uri;

/// The first bytes of a binary component (component model, `Binary.md`: magic, version 0x0d, layer 1).
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// The first bytes of a core module (WebAssembly specification, 5.5.16).
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The first bytes of wasmtime's compiled components, which are ELF files, as all machine code on Linux.
const MACHINE_CODE: &[u8] = b"\x7fELF";

/// The hint when the file of a plugin does not exist.
const NO_PLUGIN: &str = "name the file of a component (.wasm); 'occystrap plugin list' shows the plugins that are there, and 'occystrap plugin new NAME' makes one of your own";

/// Reads a component from a file. Errors when it cannot be read, or is larger than [`COMPONENT_SIZE`]: no byte
/// beyond that is read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    // A user may type a URI with a login in it.
    let place = Uri::hide(&path.to_string_lossy());
    let fail = |cause| {
        let error = Error::io(Kind::Plugin, "read the plugin", &place, &cause);
        match error.kind() {
            Kind::NotFound => error.hint(NO_PLUGIN),
            _ => error,
        }
    };
    let mut bytes = Vec::new();
    let limit = COMPONENT_SIZE as u64 + 1;
    regular::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() > COMPONENT_SIZE {
        return Err(too_large(&place, "more"));
    }
    Ok(bytes)
}

/// Checks whether bytes may be compiled. `name` is the plugin's name in errors.
pub fn check(name: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() > COMPONENT_SIZE {
        return Err(too_large(name, bytes.len()));
    }
    if bytes.starts_with(COMPONENT) {
        return Ok(());
    }
    if bytes.starts_with(MACHINE_CODE) {
        let message = format!("plugin '{name}': is machine code, which is never loaded");
        return Err(Error::new(Kind::Plugin, message)
            .hint("use the component (.wasm) that it was compiled from"));
    }
    let error =
        Error::new(Kind::Plugin, format!("plugin '{name}': is not a WebAssembly component"));
    Err(match bytes.starts_with(MODULE) {
        true => error.hint(
            "this is a core module: wrap it as a component, with wasm-tools or wit-component",
        ),
        false => {
            error.hint("a plugin is a component in its binary form, a file that ends in .wasm")
        }
    })
}

fn too_large(name: &str, found: impl std::fmt::Display) -> Error {
    Error::new(
        Kind::Plugin,
        format!(
            "plugin '{name}': size of the component: expected at most {COMPONENT_SIZE} bytes, \
             found {found}"
        ),
    )
}
