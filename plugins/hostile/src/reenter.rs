//! A call of the host from within a call of the host: to return a result, the host calls the plugin's allocator,
//! which is code of the plugin.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use occystrap_plugin::log;

struct Hooked;

#[global_allocator]
static HOOKED: Hooked = Hooked;

/// Whether the next allocation is to call the host.
static ARMED: AtomicBool = AtomicBool::new(false);

// SAFETY: every allocation is done by the system's allocator. The additional call does not allocate.
unsafe impl GlobalAlloc for Hooked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ARMED.swap(false, Ordering::Relaxed) {
            log::log(log::Level::Warn, "out of the middle of a call");
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Makes the next allocation call the host.
pub fn arm() {
    ARMED.store(true, Ordering::Relaxed);
}
