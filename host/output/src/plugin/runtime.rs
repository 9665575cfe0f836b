//! The WebAssembly engine: one for each process, made when the first plugin is used.
//!
//! Built-in components are compiled here. All others are counted first ([`super::component_count`]), and
//! compiled in a process of their own where the program has one ([`super::compiler`]).

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

use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Engine};

use super::code_cache::CodeCache;
use super::compiler::{self, CompileError, CompileLimits};
use super::embedded::EMBEDDED;
use super::settings::{AddressSpace, config};
use super::{component_count, component_file, ownership, user_limit};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::{Digest, Hasher};

/// A compiled component.
pub struct Compiled {
    /// The component.
    pub component: Component,
    /// Its machine code, if that is not in the cache.
    pub unkept: Option<Unkept>,
}

/// Machine code of a component that is not in the cache.
pub struct Unkept {
    key: Digest,
    code: File,
}

/// The engine: it compiles components and counts time for them. Cheap to clone.
#[derive(Clone)]
pub struct PluginEngine(Arc<Inner>);

struct Inner {
    engine: Engine,
    ticking: AtomicBool,
    /// Machine code of plugins that were added.
    kept: Option<CodeCache>,
    space: AddressSpace,
    allowance: limits::Allowance,
    /// Ends the compiler's process.
    cancel: Cancel,
}

/// The reason why a plugin cannot be run.
#[derive(Debug)]
pub enum NotLoaded {
    /// Compiling it takes more than this command allows. The imports are known if the component was counted
    /// before.
    TooCostly(Error, Option<Vec<String>>),
    /// The component is refused.
    Refused(Error),
}

impl NotLoaded {
    /// Returns the error for the user.
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
    /// Returns an engine that keeps compiled components in the user's cache folder, if no other user may write
    /// there.
    pub fn new() -> Result<Self> {
        Self::with(limits::Allowance::default())
    }

    /// Returns an engine with other limits on each session.
    pub fn with(allowance: limits::Allowance) -> Result<Self> {
        Self::cancelled_by(&Cancel::default(), allowance)
    }

    /// Returns an engine with other limits, whose compilers end when the user wants to stop.
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

    /// Returns the limits on one session.
    #[must_use]
    pub fn allowance(&self) -> limits::Allowance {
        self.0.allowance
    }

    /// Returns wasmtime's engine.
    #[must_use]
    pub fn wasmtime(&self) -> &Engine {
        &self.0.engine
    }

    /// Compiles a component, or takes it from the cache. Errors when it is no component, and when compiling
    /// takes more than [`Self::allowance`] allows.
    ///
    /// This does not keep the machine code of a component that is not built in: see [`Self::keep`].
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

    /// Keeps machine code for later runs: only of a plugin that the user has added. If this fails, a later run
    /// takes longer.
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
                CompileError::TooCostly(why) => {
                    NotLoaded::TooCostly(not_compiled(name, &why).hint(SMALLER), Some(imports))
                }
                CompileError::Refused(why) => NotLoaded::Refused(not_compiled(name, &why)),
                CompileError::UserLimit(limits) => {
                    let why = format!("cannot be compiled within {}", user_limit::listed(&limits));
                    NotLoaded::Refused(user_limit::hinted(not_compiled(name, &why), &limits))
                }
                CompileError::Interrupted => NotLoaded::Refused(Error::interrupted()),
            }
        })
    }

    /// Compiles in this process, without wasmtime's own cache.
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

    /// Returns the limits on compiling a component that is not built in.
    #[must_use]
    pub fn bounds(&self) -> CompileLimits {
        let limits::Allowance { compile_memory, compile_time, .. } = self.0.allowance;
        CompileLimits { memory: compile_memory, time: compile_time }
    }

    /// Compiles in this process: a built-in component, or any component if the program has no process for it.
    ///
    /// The compiler cannot be stopped here: a thread that takes too long continues until it is done or the
    /// process ends, and its result is dropped.
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
        // SAFETY: the file holds machine code of this program's own compiler. Either this process, or one that
        // it has just started, wrote it into an unnamed file in memory that no other process has ever held; or
        // an earlier run of the same user wrote it into the cache folder, and `cache` has checked that only
        // that user and root may write there. Both are trusted as the binary is. No process writes to the file
        // any more: it is whole before it gets a name, and is removed but never changed.
        unsafe { Component::deserialize_file(&self.0.engine, path) }
    }

    /// Returns the key of machine code: a digest of the component, the compiler and its settings.
    fn key(&self, bytes: &[u8]) -> Digest {
        /// Feeds values that implement `Hash` to SHA-256.
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

    /// Starts the ticks of the engine, by which guests are stopped. The first call starts one thread, which
    /// ends with the engine.
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

/// The remark on a compilation that takes long.
const ADDED: &str = "; machine code is kept of plugins that were added ('occystrap plugin add')";

/// The hint for a component that takes too much to compile.
const SMALLER: &str = "a component with fewer or smaller functions compiles sooner";

fn not_compiled(name: &str, why: &str) -> Error {
    Error::new(Kind::Plugin, format!("plugin '{name}': {why}"))
}

/// Time after which a message says that a plugin is being compiled: an interpreter of 18 MB takes some ten
/// seconds the first time, and a wait without a message looks like a fault.
const PATIENCE: Duration = Duration::from_secs(1);

/// zstd's default level.
const COMPRESSION: i32 = 3;

/// Opens wasmtime's cache. Machine code from it runs unchecked, so that a user who may write there decides
/// which code runs: a folder that other users may write is not used, with a warning.
fn cache() -> Option<Cache> {
    let folder = cache_folder()?;
    // No other user needs access. If the folder cannot be made, there is no cache, which is not an error.
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    if let Err(shared) = ownership::check_tree(&folder).ok()? {
        let (what, why, kept) = (shared.path.display(), shared.why, folder.display());
        let is_above = folder.canonicalize().is_ok_and(|own| !shared.path.starts_with(own));
        let mend = if is_above { format!("{}; ", shared.mend) } else { String::new() };
        tracing::warn!(
            "'{what}' {why}, so that the compiled plugins in '{kept}' are not used, and each is compiled again; \
             to fix it: {mend}rm -r '{kept}'"
        );
        return None;
    }
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    // By default wasmtime compresses a component again after 256 uses, with zstd's level 20 and 170 MB of
    // memory, for a file that is 30 KB smaller.
    config.with_optimized_compression_level(COMPRESSION);
    config.with_baseline_compression_level(COMPRESSION);
    // A missing cache is not an error: everything works, only slower.
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
