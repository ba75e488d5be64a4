//! A full disk: new events are refused with a reason, nothing acknowledged is lost, and the server
//! goes on as soon as there is space. On a small filesystem of its own, for which the test needs
//! the right to mount.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::client::{Client, Reply};
use common::eventually;
use common::http::Http;
use common::hunt::{self, Expected};
use common::server::Server;
use ringmill_shard::wire::ErrorCode;

const IMAGE_MIB: u64 = 64;

/// A mounted image, unmounted on drop.
struct SmallDisk {
    mount: PathBuf,
}

impl SmallDisk {
    /// `Err` says what the machine does not permit.
    fn new(dir: &Path) -> Result<SmallDisk, String> {
        let image = dir.join("image");
        File::create(&image)
            .unwrap()
            .set_len(IMAGE_MIB << 20)
            .unwrap();
        let mount = dir.join("mount");
        std::fs::create_dir(&mount).unwrap();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", path(&image)])?;
        run("mount", &["-o", "loop", path(&image), path(&mount)])?;
        Ok(SmallDisk { mount })
    }

    /// Takes up to so many bytes away.
    fn take(&self, name: &str, bytes: u64) {
        let file = File::create(self.mount.join(name)).unwrap();
        let (mut piece, mut offset) = (vec![7; 1 << 20], 0);
        while !piece.is_empty() && offset < bytes {
            match file.write_at(&piece, offset) {
                Ok(written) if written > 0 => offset += written as u64,
                _ => piece.truncate(piece.len() / 2),
            }
        }
    }

    fn give_back(&self, name: &str) {
        std::fs::remove_file(self.mount.join(name)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = eventually(|| run("umount", &[path(&self.mount)]).ok());
        assert!(
            unmounted.is_some() || std::thread::panicking(),
            "cannot unmount"
        );
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output();
    match output {
        Err(error) => Err(format!("{program}: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Publishes batches of 100 until one is refused; returns the last acknowledged sequence.
fn publish_until_full(client: &mut Client, mut next: u64) -> u64 {
    loop {
        let rows = hunt::rows(client.schema(), 1, next, 100);
        client.wire.send(&client.frame(next, &rows)).unwrap();
        match client.wire.next() {
            Reply::Ack(ack) => {
                assert_eq!(ack.sequence, next + 99, "{ack:?}");
                next += 100;
            }
            Reply::Error(error) => {
                assert_eq!(error.code, ErrorCode::DiskFull, "{error:?}");
                assert!(!error.fatal, "the connection goes on: {error:?}");
                for part in ["no space left", "free space, then retry"] {
                    assert!(error.message.contains(part), "no {part:?} in {error:?}");
                }
                return next - 1;
            }
            other => panic!("neither ack nor error but {other:?}"),
        }
    }
}

const LINE: &[u8] = b"{\"player\":1,\"at\":1767225600000,\"hunt\":1,\"points\":0,\"device\":2,\
    \"region\":\"north\",\"kind\":\"chest\"}";

#[track_caller]
fn check_refused(server: &Server) {
    let http = Http::new(server.http);
    let problem = http
        .post("/v1/streams/finds/events", &[], LINE)
        .problem(507, "disk-full");
    assert!(
        problem["detail"].as_str().unwrap().contains("free some"),
        "{problem}"
    );
    assert!(
        problem["needed_bytes"].as_u64() > problem["free_bytes"].as_u64(),
        "{problem}"
    );
    http.get("/readyz").problem(507, "disk-full");
    assert_eq!(
        http.get("/healthz").status,
        200,
        "what is stored can be read"
    );
}

#[track_caller]
fn check_stored(server: &Server, through: u64, context: &str) {
    let http = Http::new(server.http);
    let body = http.get("/v1/producers/full").ok();
    assert_eq!(body["accepted"], through, "{context}: {body}");
    assert_eq!(body["last_sequence"], through, "{context}: {body}");
    let mut expected = Expected::default();
    expected.extend(1, through);
    expected.check(&http, context);
}

/// Space is looked at every now and then: the refusal ends some moments after there is some.
fn publish_when_freed(client: &mut Client, next: u64) -> u64 {
    let rows = hunt::rows(client.schema(), 1, next, 100);
    let frame = client.frame(next, &rows);
    let acked = eventually(|| {
        client.wire.send(&frame).unwrap();
        match client.wire.next() {
            Reply::Ack(ack) => Some(ack.sequence),
            Reply::Error(error) if error.code == ErrorCode::DiskFull => None,
            other => panic!("neither ack nor error but {other:?}"),
        }
    });
    acked.expect("events are taken again once there is space")
}

#[test]
fn a_full_disk_refuses_new_events_and_loses_none() {
    let dir = common::scratch();
    let disk = match SmallDisk::new(dir.path()) {
        Ok(disk) => disk,
        Err(why) => {
            println!("not checked: no small filesystem can be made here: {why}");
            return;
        }
    };
    let pipeline = hunt::pipeline_file(dir.path());
    let data = disk.mount.join("data");
    let log = dir.path().join("server.stderr");
    let start = || Server::run(common::server::serve(&pipeline, &data, &[]), &log);

    // The log itself fills what is left of the disk.
    disk.take("ballast", 24 << 20);
    let mut server = start();
    let mut client = Client::hello(server.listen, "full", 0);
    let acked = publish_until_full(&mut client, 1);
    assert!(acked > 50_000, "only {acked} events were taken");
    check_refused(&server);
    check_stored(&server, acked, "while the disk is full");

    // Not a byte left, and the process is killed on top.
    disk.take("rest", u64::MAX);
    server.assert_running();
    assert_eq!(
        publish_until_full(&mut client, acked + 1),
        acked,
        "no space, no ack"
    );
    server.kill();
    let mut server = start();
    check_stored(&server, acked, "after a restart on the full disk");
    let mut client = Client::hello(server.listen, "full", 0);
    assert_eq!(client.hello.highest_seen, acked);
    assert_eq!(
        publish_until_full(&mut client, acked + 1),
        acked,
        "no space, no ack"
    );
    check_refused(&server);

    disk.give_back("rest");
    disk.give_back("ballast");
    let through = publish_when_freed(&mut client, acked + 1);
    assert_eq!(through, acked + 100);
    check_stored(&server, through, "with space again");
    server.assert_running();
    let failures = server.said().matches("cannot prepare").count();
    assert!(
        failures <= 2,
        "{failures} lines about one full disk:\n{}",
        server.said()
    );
    drop(client);
    server.stop();
    let server = start();
    check_stored(&server, through, "after an ordered restart");
    server.stop();
}
