//! After the warm-up a generator thread allocates nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Parser;
use ringmill_loadgen::args::{Cli, Command};
use ringmill_loadgen::echo::{Echo, EchoOptions};
use ringmill_loadgen::plan::RunPlan;
use ringmill_loadgen::progress::Live;
use ringmill_loadgen::run::execute;
use ringmill_loadgen::tally::{IntervalSet, Phase};

/// Allocations of generator threads, which are told by their name.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is a generator: unknown until it has been looked at once.
    static IS_GENERATOR: Cell<Option<bool>> = const { Cell::new(None) };
}

struct Counting;

fn count() {
    let known = IS_GENERATOR.try_with(|known| {
        known.get().unwrap_or_else(|| {
            // Looking at the name may allocate: what is asked meanwhile is not counted.
            known.set(Some(false));
            let name = std::thread::current()
                .name()
                .map(|name| name.starts_with("load-"));
            known.set(name);
            name.unwrap_or(false)
        })
    });
    if known == Ok(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Notes the allocations at the ends of measured intervals.
#[derive(Default)]
struct AtIntervals(Vec<u64>);

impl Live for AtIntervals {
    fn interval(&mut self, set: &IntervalSet, _since_start_ns: u64) {
        if set.phase != Phase::Drain {
            self.0.push(ALLOCATIONS.load(Ordering::Relaxed));
        }
    }
}

#[test]
fn a_warm_generator_thread_allocates_nothing() {
    let echo = Echo::start("127.0.0.1:0", EchoOptions::default()).unwrap();
    let addr = echo.addr().to_string();
    for load in [
        &["-r", "20k", "--batch", "10", "--key-dist", "zipf"][..],
        &["-r", "max"],
    ] {
        let mut args = vec!["loadgen", "run", "-a", &addr, "-w", "200ms", "-d", "500ms"];
        args.extend(["-i", "100ms", "--keys", "1000", "-c", "4"]);
        args.extend(load);
        let Some(Command::Run(run)) = Cli::parse_from(args).command else {
            panic!()
        };
        let plan = RunPlan::of_run(&run).unwrap();
        let stop: Arc<AtomicBool> = Arc::default();
        let mut seen = AtIntervals::default();
        let outcome = execute(&plan, &mut seen, &stop).unwrap();
        assert!(outcome.counts.acked > 1_000, "{:?}", outcome.counts);
        let counts = &seen.0;
        assert!(
            counts[0] > 0,
            "the counter counts: a thread allocates while it starts"
        );
        assert!(counts.len() >= 5, "{counts:?}");
        // The first intervals may hold the start; a late collector may cost one set at a boundary.
        let (warm, last) = (counts[2], counts[counts.len() - 1]);
        assert!(last - warm <= 8, "allocations by interval: {counts:?}");
    }
}
