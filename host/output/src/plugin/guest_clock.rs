//! Measures processor time: of a guest between its calls to the host, and of the host in these calls.

use std::thread::ThreadId;
use std::time::{Duration, Instant};

use rustix::time::ClockId;
use wasmtime::CallHook;

/// The clock of one guest.
#[derive(Debug, Default)]
pub struct GuestClock {
    running_since: Option<Instant>,
    spent: Duration,
    calls: u64,
    computed: Duration,
    /// Processor time of the host's calls.
    served: Duration,
    /// Processor time since the last tick in which the host moved or hashed content.
    moving: Duration,
    at_last_tick: Option<Tick>,
}

/// The readings at a tick of the engine.
#[derive(Debug, Clone, Copy)]
struct Tick {
    guest_time: Duration,
    thread: ThreadId,
    thread_time: Duration,
}

/// The reading when the host began to move content.
#[derive(Debug, Clone, Copy)]
pub struct Moving {
    thread: ThreadId,
    thread_time: Duration,
}

impl GuestClock {
    /// Records a border crossing. wasmtime calls this.
    pub fn cross(&mut self, border: CallHook) {
        match border {
            CallHook::CallingWasm | CallHook::ReturningFromHost => {
                self.running_since = Some(Instant::now());
            }
            CallHook::CallingHost | CallHook::ReturningFromWasm => {
                self.spent = self.guest_time();
                self.running_since = None;
                self.calls += 1;
            }
        }
    }

    /// Records a tick of the engine. Since the last tick the guest computed as long as its thread had a
    /// processor: on a busy machine no guest is stopped because of other processes.
    pub fn tick(&mut self) {
        self.tick_at(Tick {
            guest_time: self.guest_time(),
            thread: std::thread::current().id(),
            thread_time: thread_time(),
        });
    }

    fn tick_at(&mut self, now: Tick) {
        let passed = |then: Tick| {
            let passed = now.guest_time.saturating_sub(then.guest_time);
            match now.thread == then.thread {
                // The thread's time includes the host's part, so that this is never less than what the guest
                // computed.
                true => passed.min(now.thread_time.saturating_sub(then.thread_time)),
                false => passed,
            }
        };
        self.computed += self.at_last_tick.map_or(now.guest_time, passed);
        self.served +=
            self.at_last_tick.map_or(Duration::ZERO, |then| match now.thread == then.thread {
                true => (now.thread_time.saturating_sub(then.thread_time))
                    .saturating_sub(now.guest_time.saturating_sub(then.guest_time))
                    .saturating_sub(self.moving),
                false => Duration::ZERO,
            });
        self.moving = Duration::ZERO;
        self.at_last_tick = Some(now);
    }

    /// Returns the guest's time so far, without its calls.
    #[must_use]
    pub fn guest_time(&self) -> Duration {
        self.spent + self.running_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Returns the guest's processor time, up to the last tick.
    #[must_use]
    pub fn computed(&self) -> Duration {
        self.computed
    }

    /// Returns the processor time of host calls that move no content, up to the last tick. Waiting for a disk
    /// or a network takes none.
    #[must_use]
    pub fn served(&self) -> Duration {
        self.served
    }

    /// Records that the host begins to move content.
    #[must_use]
    pub fn begin(&self) -> Moving {
        Moving { thread: std::thread::current().id(), thread_time: thread_time() }
    }

    /// Records that the host has ended moving content: the time since `began` is not counted, up to `most`.
    pub fn end(&mut self, began: Moving, most: Duration) {
        if began.thread == std::thread::current().id() {
            self.moving += thread_time().saturating_sub(began.thread_time).min(most);
        }
    }

    /// Returns the number of calls to the host.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

/// Returns the processor time of this thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tick(guest_time: u32, thread: ThreadId, thread_time: u32) -> Tick {
        Tick { guest_time: guest_time * SECOND, thread, thread_time: thread_time * SECOND }
    }

    #[test]
    fn waiting_for_a_processor_is_not_computing() {
        let here = std::thread::current().id();
        let mut clock = GuestClock::default();
        clock.tick_at(tick(0, here, 100));
        clock.tick_at(tick(50, here, 101));
        assert_eq!(clock.computed(), SECOND);
        clock.tick_at(tick(53, here, 120));
        assert_eq!(clock.computed(), 4 * SECOND, "what the host did is not the guest's");
    }

    #[test]
    fn a_change_of_the_thread_gains_no_time() {
        let here = std::thread::current().id();
        let other = std::thread::spawn(|| std::thread::current().id()).join().unwrap();
        let mut clock = GuestClock::default();
        clock.tick_at(tick(1, here, 100));
        clock.tick_at(tick(4, other, 0));
        assert_eq!(clock.computed(), 4 * SECOND);
    }

    #[test]
    fn the_time_of_the_host_counts_unless_it_moves_content() {
        let here = std::thread::current().id();
        let mut clock = GuestClock::default();
        clock.tick_at(tick(1, here, 100));
        clock.tick_at(tick(2, here, 111));
        assert_eq!((clock.computed(), clock.served()), (2 * SECOND, 10 * SECOND));
        // Of nine seconds, seven moved content; waiting takes no processor time.
        clock.moving = 7 * SECOND;
        clock.tick_at(tick(2, here, 120));
        assert_eq!(clock.served(), 12 * SECOND);
        clock.tick_at(tick(2, here, 120));
        assert_eq!(clock.served(), 12 * SECOND);
    }

    #[test]
    fn moving_content_takes_no_more_time_than_its_bytes() {
        let mut clock = GuestClock::default();
        for most in [Duration::from_millis(5), Duration::MAX] {
            let before = clock.moving;
            let began = clock.begin();
            let end = thread_time() + Duration::from_millis(20);
            while thread_time() < end {}
            clock.end(began, most);
            assert_eq!(clock.moving - before < Duration::from_millis(20), most != Duration::MAX);
        }
    }

    #[test]
    fn few_ticks_in_much_work_count_as_much() {
        let mut clock = GuestClock::default();
        clock.cross(CallHook::CallingWasm);
        clock.tick();
        let end = thread_time() + Duration::from_millis(50);
        while thread_time() < end {}
        clock.tick();
        assert!(clock.computed() > Duration::from_millis(10));
    }
}
