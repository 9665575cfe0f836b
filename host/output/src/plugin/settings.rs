//! Settings of the WebAssembly engine. The compiler's process uses the same ones: machine code fits an engine with
//! the same settings only.

use rustix::process::Resource;
use wasmtime::{Config, OptLevel, RegallocAlgorithm, WasmBacktraceDetails};

use super::user_limit::UserLimit;
use occystrap_base::limits;

/// The address space that is reserved for each memory of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressSpace {
    /// All of the memory that the plugin can address, 4 GiB, so that its machine code checks no bounds. Parsing
    /// a catalog of 100,000 images is 30 % faster this way.
    Whole,
    /// Only the memory that the plugin may have, [`limits::MEMORY`]: the user limits the address space of this
    /// process (`ulimit -v`). Memories never move, because they cannot grow beyond it.
    Limited,
}

impl AddressSpace {
    /// Returns the one that fits the limits of this process.
    pub(super) fn fitting() -> Self {
        match UserLimit::on(Resource::As) {
            Some(_) => Self::Limited,
            None => Self::Whole,
        }
    }
}

/// Returns the settings of every engine. Machine code fits only an engine with the same settings, and the cache
/// stores it under a digest of them.
pub(super) fn config(space: AddressSpace) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    // By default an environment variable decides this (WASMTIME_BACKTRACE_DETAILS), which the compiler's
    // process does not have: its machine code would not fit.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // Plugins need plain computation only: unused features would be attack surface.
    config.wasm_relaxed_simd(false).wasm_memory64(false);
    // Plugins frame and decide, and the host does the work: a fast start matters more than fast code.
    config.cranelift_opt_level(OptLevel::None);
    config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    if space == AddressSpace::Limited {
        config.memory_reservation(limits::MEMORY as u64);
        config.memory_reservation_for_growth(0);
        config.memory_may_move(false);
    }
    // Beyond this size, the holes in the initial content of a memory are not written out.
    config.memory_guaranteed_dense_image_size(limits::SPARSE_IMAGE);
    config
}
