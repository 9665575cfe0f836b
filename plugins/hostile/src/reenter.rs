//! Calling the host while the host calls: it asks the guest for memory to put an answer in, and the
//! guest's allocator is the guest's own code.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use occystrap_plugin::log;

struct Hooked;

#[global_allocator]
static HOOKED: Hooked = Hooked;

/// Whether the next allocation calls the host.
static ARMED: AtomicBool = AtomicBool::new(false);

// SAFETY: what it does besides is no allocation; the rest is the system's allocator.
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

/// Let the next allocation call the host.
pub fn arm() {
    ARMED.store(true, Ordering::Relaxed);
}
