//! Half a frame may not wait for its other half for ever, and nobody else is taken for slow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::client::Client;
use common::readings::{Healthy, check_after_restart, good_row, start};
use ringmill_shard::wire::{ErrorCode, ErrorReply};
use rustix::process::{Pid, Signal, kill_process};

/// How long a frame may take.
const LIMIT: [&str; 2] = ["--frame-timeout", "3s"];

#[track_caller]
fn says_limit(error: &ErrorReply) {
    for part in ["not finished within 3000 ms", "connect again and retry"] {
        assert!(error.message.contains(part), "no {part:?} in {error:?}");
    }
}

#[test]
fn slow_senders_are_ended_and_slow_starters_are_not() {
    let dir = common::scratch();
    let mut server = start(dir.path(), &LIMIT);
    let healthy = Healthy::start(&server);
    let timeout = Duration::from_secs(3);
    let mut idle = Client::hello(server.listen, "idle", 0);
    let mut half = Client::hello(server.listen, "half", 0);
    let mut drip = Client::hello(server.listen, "drip", 0);
    let row = good_row(idle.schema(), 1);
    let frame = idle.frame(1, &row);
    half.wire.send(&frame[..frame.len() / 2]).unwrap();
    // A byte now and then does not buy time.
    let begun = Instant::now();
    let dripping = std::thread::spawn(move || {
        for byte in &frame {
            if drip.wire.send(std::slice::from_ref(byte)).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        says_limit(&drip.wire.expect_end(ErrorCode::SlowSender));
    });
    says_limit(&half.wire.expect_end(ErrorCode::SlowSender));
    assert!(begun.elapsed() >= timeout, "it was given its time");
    dripping.join().unwrap();
    // The silent connection may be silent, and its frame has all the time from its own first byte:
    // this pause contains a look at half frames and is well below the limit.
    let frame = idle.frame(1, &row);
    let (first, second) = frame.split_at(frame.len() / 2);
    idle.wire.send(first).unwrap();
    std::thread::sleep(Duration::from_millis(1_300));
    idle.wire.send(second).unwrap();
    assert_eq!(idle.wire.expect_ack().sequence, 1);
    server.assert_running();
    let acked = healthy.stop();
    check_after_restart(server, dir.path(), &LIMIT, acked);
}

/// The server is stopped for longer than the limit between the two halves of a frame.
#[test]
fn a_server_that_was_held_up_blames_nobody() {
    let dir = common::scratch();
    let mut server = start(dir.path(), &LIMIT);
    let mut client = Client::hello(server.listen, "held-up", 0);
    let frame = client.frame(1, &good_row(client.schema(), 1));
    let (first, second) = frame.split_at(frame.len() / 2);
    client.wire.send(first).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let pid = Pid::from_raw(server.pid() as i32).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    client.wire.send(second).unwrap();
    std::thread::sleep(Duration::from_millis(4_200));
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(client.wire.expect_ack().sequence, 1);
    server.assert_running();
    server.stop();
}
