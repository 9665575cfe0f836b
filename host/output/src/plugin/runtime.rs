//! The WebAssembly engine: one a process, made when the first plugin is used.
//!
//! Built-in components are compiled here; all others are counted first, and compiled in a process of
//! their own where the program has one ([`super::compiler`]).

use std::fs::DirBuilder;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::process::Resource;
use wasmtime::component::Component;
use wasmtime::{
    Cache, CacheConfig, Config, Engine, OptLevel, RegallocAlgorithm, WasmBacktraceDetails,
};

use super::catalog::EMBEDDED;
use super::code_cache::CodeCache;
use super::compiler::{self, Bounds, Failure};
use super::user_limit::UserLimit;
use super::{component_count, component_file, ownership, user_limit};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::{Digest, Hasher};

/// A compiled component.
pub struct Compiled {
    /// The component.
    pub component: Component,
    /// Its machine code, where that is not in the cache.
    pub unkept: Option<Unkept>,
}

/// Machine code of a component that is not in the cache.
pub struct Unkept {
    key: Digest,
    code: File,
}

/// Compiles components and keeps time for them. Cheap to clone.
#[derive(Clone)]
pub struct PluginEngine(Arc<Inner>);

struct Inner {
    engine: Engine,
    ticking: AtomicBool,
    /// Machine code of plugins that were added.
    kept: Option<CodeCache>,
    space: AddressSpace,
    allowance: limits::Allowance,
    /// Ends a compiler that has a process of its own.
    cancel: Cancel,
}

/// Why there is no plugin to run.
#[derive(Debug)]
pub enum NotLoaded {
    /// Compiling it takes more than this command allows. What it imports is there where it was counted.
    TooCostly(Error, Option<Vec<String>>),
    /// It is refused.
    Refused(Error),
}

impl NotLoaded {
    /// What to tell the user.
    #[must_use]
    pub fn into_error(self) -> Error {
        match self {
            Self::TooCostly(error, _) | Self::Refused(error) => error,
        }
    }
}

impl From<Error> for NotLoaded {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl PluginEngine {
    /// An engine whose compiled components are kept in the user's cache folder, where there is
    /// one that nobody else may write.
    pub fn new() -> Result<Self> {
        Self::with(limits::Allowance::default())
    }

    /// With other limits on each session.
    pub fn with(allowance: limits::Allowance) -> Result<Self> {
        Self::cancelled_by(&Cancel::default(), allowance)
    }

    /// With other limits, and compilers that end when the user wants to stop.
    pub fn cancelled_by(cancel: &Cancel, allowance: limits::Allowance) -> Result<Self> {
        Self::reserving(AddressSpace::fitting(), cache(), allowance, cancel)
    }

    fn reserving(
        space: AddressSpace,
        cache: Option<Cache>,
        allowance: limits::Allowance,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut config = config(space);
        let kept = cache.as_ref().map(|cache| CodeCache::beneath(cache.directory()));
        config.cache(cache);
        let engine = Engine::new(&config).map_err(|cause| broken("start", &cause))?;
        let ticking = AtomicBool::new(false);
        let cancel = cancel.clone();
        Ok(Self(Arc::new(Inner { engine, ticking, kept, space, allowance, cancel })))
    }

    /// What a plugin may take in one session.
    #[must_use]
    pub fn allowance(&self) -> limits::Allowance {
        self.0.allowance
    }

    /// The engine itself.
    #[must_use]
    pub fn wasmtime(&self) -> &Engine {
        &self.0.engine
    }

    /// Compiles a component, or takes it from the cache. Errors when it is none, and when that takes
    /// more than [`Self::allowance`] gives.
    ///
    /// Machine code of a component that is not built in is not kept by that: see [`Self::keep`].
    pub fn compile(&self, name: &str, bytes: &[u8]) -> Result<Compiled, NotLoaded> {
        component_file::check(name, bytes)?;
        if EMBEDDED.iter().any(|known| known.component == bytes) {
            let component = self.compile_here(name, bytes, Component::from_binary)?;
            return Ok(Compiled { component, unkept: None });
        }
        let key = self.key(bytes);
        let kept = self.0.kept.as_ref().and_then(|kept| kept.find(key));
        if let Some(component) = kept.and_then(|path| self.deserialize(&path).ok()) {
            return Ok(Compiled { component, unkept: None });
        }
        let imports = component_count::count(name, bytes)?.imports;
        let code = match compiler::is_separate() {
            true => self.compile_apart(name, bytes, imports)?,
            false => self.compile_unkept(name, bytes, imports)?,
        };
        let place = PathBuf::from(format!("/proc/self/fd/{}", code.as_raw_fd()));
        let component = self.deserialize(&place).map_err(|cause| {
            let cause = format!("{cause:#}");
            let error = not_compiled(name, &format!("cannot be loaded: {cause}"));
            NotLoaded::Refused(user_limit::explained(error, &cause))
        })?;
        Ok(Compiled { component, unkept: Some(Unkept { key, code }) })
    }

    /// Keeps machine code for the next time: of a plugin that the user has added, and of no other. Where
    /// that fails, the next time takes longer.
    pub fn keep(&self, unkept: &Unkept) {
        if let Some(kept) = &self.0.kept
            && let Err(cause) = kept.keep(unkept.key, &unkept.code)
        {
            tracing::debug!("compiled plugins are not kept: {cause}");
        }
    }

    /// Compiles in a process of its own.
    fn compile_apart(
        &self,
        name: &str,
        bytes: &[u8],
        imports: Vec<String>,
    ) -> Result<File, NotLoaded> {
        let slow = || self.say_slow(name, bytes, ADDED);
        let (space, cancel) = (self.0.space, &self.0.cancel);
        compiler::compile(bytes, space, self.bounds(), PATIENCE, slow, cancel).map_err(|failure| {
            match failure {
                Failure::TooCostly(why) => {
                    NotLoaded::TooCostly(not_compiled(name, &why).hint(SMALLER), Some(imports))
                }
                Failure::Refused(why) => NotLoaded::Refused(not_compiled(name, &why)),
                Failure::UserLimit(limits) => {
                    let why = format!("cannot be compiled within {}", user_limit::listed(&limits));
                    NotLoaded::Refused(user_limit::hinted(not_compiled(name, &why), &limits))
                }
                Failure::Interrupted => NotLoaded::Refused(Error::interrupted()),
            }
        })
    }

    /// Compiles in this process, past wasmtime's own cache.
    fn compile_unkept(
        &self,
        name: &str,
        bytes: &[u8],
        imports: Vec<String>,
    ) -> Result<File, NotLoaded> {
        let made = self.compile_here(name, bytes, |engine, bytes| {
            let mut code = compiler::memory_file()?;
            code.write_all(&engine.precompile_component(bytes)?)?;
            Ok(code)
        });
        made.map_err(|error| match error {
            NotLoaded::TooCostly(error, _) => NotLoaded::TooCostly(error, Some(imports)),
            refused => refused,
        })
    }

    /// What compiling a component that is not built in may take.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let limits::Allowance { compile_memory, compile_time, .. } = self.0.allowance;
        Bounds { memory: compile_memory, time: compile_time }
    }

    /// Compiles in this process: a built-in component, and every one where the program has no process
    /// for it.
    ///
    /// The compiler cannot be stopped here: a thread that took too long goes on until it is done or the
    /// process ends, and what it made is dropped.
    fn compile_here<T: Send + 'static>(
        &self,
        name: &str,
        bytes: &[u8],
        compile: impl FnOnce(&Engine, &[u8]) -> wasmtime::Result<T> + Send + 'static,
    ) -> Result<T, NotLoaded> {
        let (done, compiled) = mpsc::channel();
        let (engine, own) = (self.0.engine.clone(), bytes.to_vec());
        std::thread::spawn(move || done.send(compile(&engine, &own)));
        let limit = self.0.allowance.compile_time;
        let soon = compiled.recv_timeout(PATIENCE.min(limit)).or_else(|_| {
            self.say_slow(name, bytes, "");
            compiled.recv_timeout(limit.saturating_sub(PATIENCE))
        });
        match soon {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(cause)) => {
                let why = format!("cannot be compiled: {cause:#}");
                Err(NotLoaded::Refused(not_compiled(name, &why)))
            }
            Err(RecvTimeoutError::Timeout) => {
                let error = not_compiled(name, &compiler::too_slow(limit)).hint(SMALLER);
                Err(NotLoaded::TooCostly(error, None))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let why = "cannot be compiled: the compiler crashed";
                Err(NotLoaded::Refused(not_compiled(name, why)))
            }
        }
    }

    fn say_slow(&self, name: &str, bytes: &[u8], remark: &str) {
        let size = occystrap_base::terminal::size::size(bytes.len() as u64);
        let remark = if self.0.kept.is_some() { remark } else { "" };
        tracing::warn!("compiling plugin '{name}' ({size}){remark}");
    }

    fn deserialize(&self, path: &Path) -> wasmtime::Result<Component> {
        // SAFETY: the file holds what this program's own compiler wrote: either this process or one that it
        // has just started, into an unnamed file in memory that no other process has ever held, or an earlier run of the same user, whose cache folder `cache` has found to be
        // writable for that user and root alone. Both are trusted as the binary is. Nothing writes to
        // the file any more: it is whole before it gets a name, and is removed but never changed.
        unsafe { Component::deserialize_file(&self.0.engine, path) }
    }

    /// What machine code is kept under: the component, the compiler and its settings.
    fn key(&self, bytes: &[u8]) -> Digest {
        /// Feeds what implements `Hash` to SHA-256.
        #[derive(Default)]
        struct Key(Hasher);
        impl std::hash::Hasher for Key {
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
            fn finish(&self) -> u64 {
                0
            }
        }
        let mut key = Key::default();
        key.0.update(env!("CARGO_PKG_VERSION").as_bytes());
        std::hash::Hash::hash(&self.0.engine.precompile_compatibility_hash(), &mut key);
        key.0.update(bytes);
        key.0.finish()
    }

    /// Let time pass for guests. Starts one thread, the first time; it ends with the engine.
    pub fn tick(&self) {
        if self.0.ticking.swap(true, Ordering::Relaxed) {
            return;
        }
        let inner: Weak<Inner> = Arc::downgrade(&self.0);
        std::thread::spawn(move || {
            while let Some(inner) = inner.upgrade() {
                inner.engine.increment_epoch();
                drop(inner);
                std::thread::sleep(limits::TICK);
            }
        });
    }
}

/// What a user can do about a compilation that takes long.
const ADDED: &str = "; machine code is kept of plugins that were added ('occystrap plugin add')";

/// What can be done about a component that takes too much to compile.
const SMALLER: &str = "a component with fewer or smaller functions compiles sooner";

fn not_compiled(name: &str, why: &str) -> Error {
    Error::new(Kind::Plugin, format!("plugin '{name}': {why}"))
}

/// The address space that is reserved for each memory of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressSpace {
    /// All that the plugin can address, 4 GiB, so that its machine code checks no bounds. Parsing a catalog
    /// of 100,000 images takes 30 % less time so.
    Whole,
    /// What the plugin may have, [`limits::MEMORY`], and no more: the user limits the address space of this
    /// process (`ulimit -v`). Memories never move, because they cannot grow beyond it.
    Limited,
}

impl AddressSpace {
    /// Returns what fits the limits of this process.
    fn fitting() -> Self {
        match UserLimit::on(Resource::As) {
            Some(_) => Self::Limited,
            None => Self::Whole,
        }
    }
}

/// The settings of every engine: machine code fits one with the same settings only, and the cache keeps
/// it under a digest of them.
pub(super) fn config(space: AddressSpace) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    // By default the environment decides it (WASMTIME_BACKTRACE_DETAILS), which the compiler's process
    // does not have: its machine code would not fit.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // Plugins are plain computation; what they do not use is not there to be attacked.
    config.wasm_relaxed_simd(false).wasm_memory64(false);
    // Plugins frame and decide, the host does the work: what counts is how soon they start.
    config.cranelift_opt_level(OptLevel::None);
    config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    if space == AddressSpace::Limited {
        config.memory_reservation(limits::MEMORY as u64);
        config.memory_reservation_for_growth(0);
        config.memory_may_move(false);
    }
    // A memory whose initial content has holes is not written out with them, beyond this size.
    config.memory_guaranteed_dense_image_size(limits::SPARSE_IMAGE);
    config
}

/// After that long it is said what takes so long, as an interpreter of 18 MB does with some ten
/// seconds the first time. A wait of which nobody is told why looks like a fault.
const PATIENCE: Duration = Duration::from_secs(1);

/// zstd's default level.
const COMPRESSION: i32 = 3;

/// Machine code out of the cache runs unchecked: whoever may write it decides what runs. So a folder
/// that others may write is not used, and said to be so.
fn cache() -> Option<Cache> {
    let folder = cache_folder()?;
    // Nobody else has to look into it. Where it cannot be made, there is no cache, which is no fault.
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    if let Err(shared) = ownership::check_tree(&folder).ok()? {
        let (what, why, kept) = (shared.path.display(), shared.why, folder.display());
        let is_above = folder.canonicalize().is_ok_and(|own| !shared.path.starts_with(own));
        let mend = if is_above { format!("{}; ", shared.mend) } else { String::new() };
        tracing::warn!(
            "'{what}' {why}, so that the compiled plugins in '{kept}' are not used, and each is compiled again; \
             to mend it: {mend}rm -r '{kept}'"
        );
        return None;
    }
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    // By default a component that was used 256 times is compressed again, with zstd's level 20 and
    // 170 MB of memory, for a file that is 30 KB smaller.
    config.with_optimized_compression_level(COMPRESSION);
    config.with_baseline_compression_level(COMPRESSION);
    // Without a cache everything works, only slower: no reason to fail.
    Cache::new(config).ok()
}

fn cache_folder() -> Option<PathBuf> {
    let absolute =
        |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("occystrap").join("components"))
}

fn broken(what: &str, cause: &wasmtime::Error) -> Error {
    Error::new(Kind::Plugin, format!("cannot {what} the WebAssembly engine: {cause:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_of_other_settings_has_another_key() {
        let key = |space| {
            let engine = PluginEngine::reserving(
                space,
                None,
                limits::Allowance::default(),
                &Cancel::default(),
            );
            engine.unwrap().key(b"component")
        };
        assert_ne!(key(AddressSpace::Whole), key(AddressSpace::Limited));
        assert_eq!(key(AddressSpace::Whole), key(AddressSpace::Whole));
    }
}
