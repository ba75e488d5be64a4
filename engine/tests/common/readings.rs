//! Sensor readings with a field of every kind, and a client that must never notice anything.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringmill_shard::schema::Schema;
use ringmill_shard::value::Value;

use super::client::Client;
use super::http::Http;
use super::server::Server;

const PIPELINE: &str = r#"ringmill = 1

[stream.readings]
key = "sensor"
time = { field = "at", disorder = "1d", max_future = "1d", idle = "3650d" }
durability = "commit"

[stream.readings.fields]
sensor = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
value = { id = 3, type = "f64" }
label = { id = 4, type = "text(8)" }
good = { id = 5, type = "bool" }
note = { id = 6, type = "text(4)", optional = true }

[view.by_label]
from = "readings"
group = ["label"]
window = { kind = "tumbling", size = "1h", late = "0s", keep = "2d" }

[view.by_label.columns]
readings = "count()"
total = "sum(value)"

[board.sensors]
from = "readings"
member = "sensor"
score = "best(value) desc"
ties = "first-to-reach"
"#;

const AT_MS: i64 = 1_767_225_600_000;
/// A server of readings in `dir`.
pub fn start(dir: &Path, more: &[&str]) -> Server {
    let pipeline = dir.join("readings.toml");
    std::fs::write(&pipeline, PIPELINE).unwrap();
    Server::start(&pipeline, &dir.join("data"), more)
}

/// A row that breaks no rule.
pub fn good_row(schema: &Schema, sensor: u64) -> Vec<u8> {
    let mut row = vec![0; schema.row_len()];
    let cells = [
        ("sensor", Value::U64(sensor)),
        ("at", Value::Time(AT_MS)),
        ("value", Value::F64(1.5)),
        ("label", Value::Text("indoor")),
        ("good", Value::Bool(true)),
        ("note", Value::Null),
    ];
    for (name, value) in cells {
        schema
            .set(&mut row, schema.field(name).unwrap(), &value)
            .unwrap();
    }
    row
}

/// A client that publishes all the while and must never notice anything.
pub struct Healthy {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Healthy {
    pub fn start(server: &Server) -> Healthy {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let address = server.listen;
        let thread = std::thread::spawn(move || {
            let mut client = Client::hello(address, "healthy", 0);
            let mut acked = 0;
            while !stopped.load(Ordering::SeqCst) {
                let row = good_row(client.schema(), acked % 50);
                let ack = client.publish(acked + 1, &row.repeat(3));
                assert_eq!(ack.rejected, 0, "{ack:?}");
                acked = ack.sequence;
                std::thread::sleep(Duration::from_millis(1));
            }
            acked
        });
        Healthy { stop, thread }
    }

    /// Ends it; returns its acknowledged events.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// What is acknowledged is there after a restart, as many times as it was acknowledged: once.
pub fn check_after_restart(server: Server, dir: &Path, more: &[&str], acked: u64) {
    server.stop();
    let server = start(dir, more);
    let body = Http::new(server.http).get("/v1/producers/healthy").ok();
    assert!(acked > 0);
    assert_eq!(body["accepted"], acked, "{body}");
    assert_eq!(body["last_sequence"], acked, "{body}");
    server.stop();
}
