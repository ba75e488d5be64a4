//! The built binary, started and ended like any other process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A debug build on a busy machine is slow to start; a server that hangs is found all the same.
const READY_WAIT: Duration = Duration::from_secs(120);

/// A running server, killed on drop.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
    /// Address for events.
    pub listen: SocketAddr,
    /// Address for HTTP.
    pub http: SocketAddr,
    /// The ready line.
    pub ready: String,
}

/// How a server that did not start ended.
#[derive(Debug)]
pub struct Refusal {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Refusal {
    /// Checks code and message: every part must occur.
    #[track_caller]
    pub fn expect(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:?}");
        }
        assert!(!self.stdout.contains("ready "), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }

    /// Checks that it ended in order after all, and what it printed: every part must occur.
    #[track_caller]
    pub fn expect_done(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(0), "{self:?}");
        for part in parts {
            assert!(self.stdout.contains(part), "no {part:?} in {self:?}");
        }
    }
}

/// The binary.
pub fn ringmill() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringmill"))
}

/// `ringmill serve` on free ports, with the smallest segments.
pub fn serve(pipeline: &Path, data: &Path, more: &[&str]) -> Command {
    let mut command = ringmill();
    command
        .arg("serve")
        .arg("--pipeline")
        .arg(pipeline)
        .arg("--data")
        .arg(data);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--segment-mib",
        "4",
    ]);
    if super::skip_uring() && !more.contains(&"--backend") {
        command.args(["--backend", "posix"]);
    }
    command.args(more);
    command
}

/// Runs a command that is to end by itself.
pub fn ended(command: &mut Command) -> Refusal {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Refusal {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Server {
    /// Starts a server on free ports and waits until it is ready.
    #[track_caller]
    pub fn start(pipeline: &Path, data: &Path, more: &[&str]) -> Server {
        Server::run(serve(pipeline, data, more), &log_of(data))
    }

    /// Starts a prepared command, its stderr appended to `log`.
    #[track_caller]
    pub fn run(command: Command, log: &Path) -> Server {
        let stderr = File::options().create(true).append(true).open(log).unwrap();
        Server::run_into(command, stderr.into(), log)
    }

    /// Starts a prepared command with a stderr of its own; `log` is what is shown of a failure.
    #[track_caller]
    pub fn run_into(mut command: Command, stderr: Stdio, log: &Path) -> Server {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (line_in, line_out) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            let _ = lines.read_line(&mut line);
            let _ = line_in.send(line);
            // Nothing more is said; reading on keeps the pipe from closing.
            let _ = lines.read_to_end(&mut Vec::new());
        });
        let ready = line_out.recv_timeout(READY_WAIT).unwrap_or_default();
        if !ready.starts_with("ready ") {
            let _ = child.kill();
            let status = child.wait();
            let said = std::fs::read_to_string(log).unwrap_or_default();
            panic!("the server did not become ready: {ready:?}, {status:?}\n{said}");
        }
        let listen = word(&ready, "listen").parse().unwrap();
        let http = word(&ready, "http").parse().unwrap();
        Server {
            child,
            log: log.to_owned(),
            listen,
            http,
            ready,
        }
    }

    /// The value of a word of the ready line.
    #[track_caller]
    pub fn ready_word(&self, name: &str) -> String {
        word(&self.ready, name)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that was said on stderr, by earlier servers of the same log too.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails if the process has ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        let status = self.child.try_wait().unwrap();
        assert!(
            status.is_none(),
            "the server has ended: {status:?}\n{}",
            self.said()
        );
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(9),
            "it had ended before: {status:?}\n{}",
            self.said()
        );
    }

    /// SIGTERM; the server must end in order.
    #[track_caller]
    pub fn stop(mut self) {
        let status = self.terminate();
        assert!(status.success(), "{status:?}\n{}", self.said());
    }

    fn terminate(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.said());
        }
    }
}

/// Where a server of a data directory logs to: beside it.
pub fn log_of(data: &Path) -> PathBuf {
    data.with_extension("stderr")
}

#[track_caller]
fn word(ready: &str, name: &str) -> String {
    let found = ready
        .split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found
        .unwrap_or_else(|| panic!("no {name}= in {ready:?}"))
        .to_owned()
}
