//! Interrupts: the first one asks the run to end and write what it has, the second one ends the
//! process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::LoadError;

/// Exit code of an interrupted command.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Sets the returned flag when the process is interrupted.
pub fn on_interrupt() -> Result<Arc<AtomicBool>, LoadError> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(LoadError::system("start the signal thread"))?;
    // Registered before the thread starts, so that no interrupt falls between.
    let interrupts = {
        let _guard = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
            .map_err(LoadError::system("watch for interrupts"))?
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut interrupts = interrupts;
            runtime.block_on(async {
                while interrupts.recv().await.is_some() {
                    // Ordering: a flag that only ever rises.
                    if set.swap(true, Ordering::Relaxed) {
                        std::process::exit(i32::from(EXIT_INTERRUPTED));
                    }
                    say!("interrupted: ending the run; once more to end at once");
                }
            });
        })
        .map_err(LoadError::system("start the signal thread"))?;
    Ok(flag)
}
