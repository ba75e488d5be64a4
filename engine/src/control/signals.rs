//! Signals of the process: stop, and dump.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGUSR1.
    Dump,
}

/// The signals that the control plane handles; without any, [`Signals::next`] waits for ever.
pub(super) struct Signals(Option<[Signal; 3]>);

impl Signals {
    /// Takes the signals over from their default actions.
    pub(super) fn install() -> io::Result<Signals> {
        Ok(Signals(Some([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::user_defined1())?,
        ])))
    }

    /// Leaves every signal alone.
    pub(super) fn ignored() -> Signals {
        Signals(None)
    }

    pub(super) async fn next(&mut self) -> Asked {
        let Some([terminate, interrupt, user]) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => Asked::Stop,
            _ = interrupt.recv() => Asked::Stop,
            _ = user.recv() => Asked::Dump,
        }
    }
}
