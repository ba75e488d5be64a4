//! ringmill: a thread-per-core event engine on io_uring.
//!
//! Every core runs one [`core_loop`] over the keys that it owns:
//!
//! ```text
//!  socket -> frame -> rows -> route -> lane -> apply -> log append -> durable -> ack
//!  net       shard    shard   engine   ring    shard    storage       storage    commit
//! ```
//!
//! Modules in the order of that flow: [`net`], [`connection`], [`core_loop`], [`ring`], [`mesh`],
//! [`wake`], [`message`], [`commit`]. Around it: [`serve`] starts everything, [`placement`] chooses
//! the CPUs, [`recovery`] brings state back, [`clock`] tells the time, [`background`] prepares files,
//! [`control`] and [`http`] answer the world, [`latency`], [`metrics`] and [`dump`] measure. [`cli`] is
//! the command line; [`inspect`], [`doctor`], [`check`], [`plan`], [`testrun`], [`sim`] and [`verify`]
//! are the commands beside `serve`. [`simulated`] is the whole of it in one thread, over parts that
//! only seem to be there; `stage` adds its routes. `say` writes to the terminal, `stored` keeps the
//! pipeline of a store, `sync` holds the atomics of the ring.
#![deny(unsafe_code)]

#[macro_use]
mod say;

pub mod background;
pub mod check;
pub mod cli;
pub mod clock;
pub mod commit;
pub mod connection;
pub mod control;
pub mod core_loop;
pub mod correct;
pub mod doctor;
pub mod dump;
pub mod http;
pub mod inspect;
pub mod latency;
pub mod mesh;
pub mod message;
pub mod metrics;
pub mod net;
pub mod placement;
pub mod plan;
pub mod recovery;
pub mod ring;
pub mod serve;
pub mod sim;
pub mod simulated;
mod stage;
mod stored;
mod sync;
pub mod testrun;
pub mod verify;
pub mod wake;
