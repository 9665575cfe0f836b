//! The WebAssembly engine: one a process, made when the first plugin is used.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Config, Engine, OptLevel, RegallocAlgorithm};

use super::{component_file, ownership};
use crate::error::{Error, Kind, Result};
use crate::limits;

/// Compiles components and keeps time for them. Cheap to clone.
#[derive(Clone)]
pub struct PluginEngine(Arc<Inner>);

struct Inner {
    engine: Engine,
    ticking: AtomicBool,
    /// Whether what was compiled is there the next time.
    keeps: bool,
    allowance: limits::Allowance,
}

impl PluginEngine {
    /// An engine whose compiled components are kept in the user's cache folder, where there is
    /// one that nobody else may write.
    pub fn new() -> Result<Self> {
        Self::with(limits::Allowance::default())
    }

    /// With other limits on each session.
    pub fn with(allowance: limits::Allowance) -> Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        // Plugins are plain computation; what they do not use is not there to be attacked.
        config.wasm_relaxed_simd(false).wasm_memory64(false);
        // Plugins frame and decide, the host does the work: what counts is how soon they start.
        config.cranelift_opt_level(OptLevel::None);
        config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
        let cache = cache();
        let keeps = cache.is_some();
        config.cache(cache);
        let engine = Engine::new(&config).map_err(|cause| broken("start", &cause))?;
        Ok(Self(Arc::new(Inner { engine, ticking: AtomicBool::new(false), keeps, allowance })))
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

    /// Compile a component, or take it from the cache. Errors when it is none, and when that takes
    /// longer than [`limits::COMPILE_TIME`].
    ///
    /// Nobody can stop the compiler: a thread that took too long goes on until it is done or the
    /// process ends, and nobody looks at what it made.
    pub fn compile(&self, name: &str, bytes: &[u8]) -> Result<Component> {
        component_file::check(name, bytes)?;
        let (done, compiled) = mpsc::channel();
        let (engine, own) = (self.0.engine.clone(), bytes.to_vec());
        std::thread::spawn(move || done.send(Component::from_binary(&engine, &own)));
        let limit = self.0.allowance.compile_time;
        let soon = compiled.recv_timeout(PATIENCE.min(limit)).or_else(|_| {
            let size = crate::size::size(bytes.len() as u64);
            let kept = if self.0.keeps { "; it is kept for the next time" } else { "" };
            tracing::warn!("compiling plugin '{name}' ({size}){kept}");
            compiled.recv_timeout(limit.saturating_sub(PATIENCE))
        });
        let fail = |why: String| Error::new(Kind::Plugin, format!("plugin '{name}': {why}"));
        match soon {
            Ok(Ok(component)) => Ok(component),
            Ok(Err(cause)) => Err(fail(format!("cannot be compiled: {cause:#}"))),
            Err(RecvTimeoutError::Timeout) => {
                Err(fail(format!("took longer than {limit:?} to compile, and was given up"))
                    .hint("a component with fewer or smaller functions compiles sooner"))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(fail("cannot be compiled: the compiler crashed".to_owned()))
            }
        }
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
