//! Why a ring could not be made, and what the person at the keyboard can do about it.
//!
//! The kernel answers with a bare number that has several causes; [`diagnose`] takes everything
//! that tells them apart as plain values, so that each case has a test.

use std::io;

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;

/// Oldest kernel whose io_uring has everything the hot plane is built on.
pub const KERNEL_FLOOR: (u32, u32) = (6, 1);

/// What the ring needs and the kernel release that brought it.
const NEEDS: [((u32, u32), &str); 5] = [
    ((5, 11), "io_uring wait timeouts (IORING_FEAT_EXT_ARG)"),
    ((5, 18), "IORING_SETUP_SUBMIT_ALL"),
    (
        (5, 19),
        "IORING_SETUP_COOP_TASKRUN, IORING_SETUP_TASKRUN_FLAG and sparse tables",
    ),
    ((6, 0), "IORING_SETUP_SINGLE_ISSUER"),
    ((6, 1), "IORING_SETUP_DEFER_TASKRUN"),
];

/// Why a ring could not be made. Every text names the cause and the way out.
#[derive(Debug, Error)]
pub enum RingError {
    /// `io_uring_setup` does not exist here.
    #[error(
        "io_uring is not available on kernel {release} (ENOSYS): {cause}; \
         or start with --backend posix"
    )]
    NotAvailable {
        /// Kernel release as reported by `uname`.
        release: String,
        /// What explains it on that release, with the fix.
        cause: &'static str,
    },
    /// The administrator switched io_uring off.
    #[error(
        "io_uring is switched off by the sysctl kernel.io_uring_disabled={value}: {fix}; \
         or start with --backend posix"
    )]
    Disabled {
        /// Value of the sysctl: 1 (members of a group only) or 2 (nobody).
        value: u32,
        /// What to change.
        fix: &'static str,
    },
    /// A filter refused the call although the kernel would allow it.
    #[error(
        "io_uring is refused (EPERM) although kernel.io_uring_disabled does not forbid it: a \
         seccomp filter or a security module stands in the way (Docker's default profile does \
         this); allow io_uring_setup, io_uring_enter and io_uring_register, for example with \
         `docker run --security-opt seccomp=PROFILE.json`, or start with --backend posix"
    )]
    Forbidden,
    /// io_uring exists but lacks what is needed.
    #[error(
        "kernel {release} is older than {}.{}: it lacks {missing}; upgrade the kernel or start \
         with --backend posix", KERNEL_FLOOR.0, KERNEL_FLOOR.1
    )]
    KernelTooOld {
        /// Kernel release as reported by `uname`.
        release: String,
        /// The missing features, comma separated.
        missing: String,
    },
    /// No memory for the queues.
    #[error(
        "no memory for a ring of {entries} entries (ENOMEM): the memory limit of the cgroup or \
         RLIMIT_MEMLOCK ({memlock}) is too small; raise the limit (`ulimit -l unlimited`, \
         LimitMEMLOCK=infinity in a unit) or start fewer shards"
    )]
    OutOfMemory {
        /// Entries that were asked for.
        entries: u32,
        /// The limit as text.
        memlock: String,
    },
    /// No file descriptor left.
    #[error(
        "no file descriptor left for the ring: raise the limit (`ulimit -n 65536`, \
         LimitNOFILE=65536 in a unit)"
    )]
    TooManyFiles(#[source] io::Error),
    /// The options of the ring itself make no sense.
    #[error("a ring needs between 8 and 16384 entries, not {entries}")]
    Entries {
        /// Entries that were asked for.
        entries: u32,
    },
    /// Anything else, with the step that failed.
    #[error("{step} failed on kernel {release}: {source}; try --backend posix and report this")]
    Setup {
        /// The call that failed.
        step: &'static str,
        /// Kernel release as reported by `uname`.
        release: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Everything besides the error number that tells one cause from another.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) release: String,
    /// Value of `kernel.io_uring_disabled`; `None` before 6.6, which has no such sysctl.
    pub(crate) io_uring_disabled: Option<u32>,
    pub(crate) memlock_bytes: Option<u64>,
    pub(crate) entries: u32,
}

impl Surroundings {
    /// Reads them from the running system.
    pub(crate) fn read(entries: u32) -> Surroundings {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        Surroundings {
            release: kernel_release(),
            io_uring_disabled: disabled.ok().and_then(|text| text.trim().parse().ok()),
            memlock_bytes: memlock_limit_bytes(),
            entries,
        }
    }
}

/// Names the cause of a failed step of ring creation.
pub(crate) fn diagnose(step: &'static str, source: io::Error, around: &Surroundings) -> RingError {
    let release = around.release.clone();
    let missing = missing_features(&release);
    match source.raw_os_error() {
        Some(libc::ENOSYS) => {
            let cause = match parse_release(&release) {
                Some(version) if version < (5, 1) => "upgrade to Linux 6.1 or newer",
                _ => {
                    "the kernel was built without CONFIG_IO_URING, or a seccomp filter or sandbox \
                     hides the call; use another kernel or allow the io_uring calls"
                }
            };
            RingError::NotAvailable { release, cause }
        }
        Some(libc::EPERM | libc::EACCES) => match around.io_uring_disabled {
            Some(2) => RingError::Disabled {
                value: 2,
                fix: "run `sysctl -w kernel.io_uring_disabled=0`",
            },
            Some(1) => RingError::Disabled {
                value: 1,
                fix: "run `sysctl -w kernel.io_uring_disabled=0`, or put the process into the \
                      group named by kernel.io_uring_group",
            },
            _ => RingError::Forbidden,
        },
        Some(libc::EINVAL) if !missing.is_empty() => RingError::KernelTooOld {
            release,
            missing: missing.join(", "),
        },
        Some(libc::ENOMEM) => RingError::OutOfMemory {
            entries: around.entries,
            memlock: memlock_text(around.memlock_bytes),
        },
        Some(libc::EMFILE | libc::ENFILE) => RingError::TooManyFiles(source),
        _ => RingError::Setup {
            step,
            release,
            source,
        },
    }
}

/// The needs that a kernel of this release does not meet; empty when the release is unreadable,
/// because then the kernel's own answer is the better witness.
pub(crate) fn missing_features(release: &str) -> Vec<&'static str> {
    let Some(version) = parse_release(release) else {
        return Vec::new();
    };
    NEEDS
        .iter()
        .filter(|(since, _)| version < *since)
        .map(|(_, need)| *need)
        .collect()
}

/// Major and minor number of a kernel release such as `6.18.44-generic`.
#[must_use]
pub fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Kernel release as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Memory that this process may lock, in bytes; `None` means unlimited, by the limit itself or
/// because the calling thread holds CAP_IPC_LOCK.
#[must_use]
pub fn memlock_limit_bytes() -> Option<u64> {
    let above =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if above {
        None
    } else {
        getrlimit(Resource::Memlock).current
    }
}

/// Memlock that `shards` shards need for their two registered log buffers each, in bytes, with a
/// little for the kernel's own accounting.
#[must_use]
pub fn memlock_needed_bytes(shards: usize) -> u64 {
    const LOG_BUFFERS_BYTES: u64 = 2 << 20;
    const SLACK_BYTES: u64 = 64 << 10;
    (LOG_BUFFERS_BYTES + SLACK_BYTES) * shards as u64
}

pub(crate) fn memlock_text(limit_bytes: Option<u64>) -> String {
    match limit_bytes {
        Some(bytes) => format!("{} KiB", bytes / 1024),
        None => "unlimited".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(release: &str, io_uring_disabled: Option<u32>) -> Surroundings {
        let memlock_bytes = Some(64 * 1024);
        Surroundings {
            release: release.into(),
            io_uring_disabled,
            memlock_bytes,
            entries: 256,
        }
    }

    fn text(errno: i32, release: &str, disabled: Option<u32>) -> String {
        let source = io::Error::from_raw_os_error(errno);
        diagnose("io_uring_setup", source, &around(release, disabled)).to_string()
    }

    fn assert_names(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{text:?} does not name {part:?}");
        }
    }

    #[test]
    fn every_cause_has_its_own_text_with_a_way_out() {
        let old = text(libc::ENOSYS, "4.19.0", None);
        assert_names(&old, &["4.19.0", "upgrade to Linux 6.1", "--backend posix"]);
        let hidden = text(libc::ENOSYS, "6.8.0", Some(0));
        assert_names(&hidden, &["CONFIG_IO_URING", "seccomp", "--backend posix"]);
        let off = text(libc::EPERM, "6.8.0", Some(2));
        assert_names(
            &off,
            &["io_uring_disabled=2", "sysctl -w", "--backend posix"],
        );
        let group = text(libc::EPERM, "6.8.0", Some(1));
        assert_names(&group, &["io_uring_disabled=1", "kernel.io_uring_group"]);
        let filter = text(libc::EPERM, "6.8.0", Some(0));
        assert_names(
            &filter,
            &["seccomp", "Docker", "io_uring_enter", "--backend posix"],
        );
        let filter_before_sysctl = text(libc::EPERM, "6.1.0", None);
        assert_names(&filter_before_sysctl, &["seccomp"]);
        let memory = text(libc::ENOMEM, "6.8.0", Some(0));
        assert_names(
            &memory,
            &["256 entries", "64 KiB", "ulimit -l", "LimitMEMLOCK"],
        );
        let files = text(libc::EMFILE, "6.8.0", Some(0));
        assert_names(&files, &["ulimit -n"]);
        let other = text(libc::EINVAL, "6.8.0", Some(0));
        assert_names(&other, &["io_uring_setup failed", "6.8.0"]);
    }

    #[test]
    fn an_old_kernel_is_told_exactly_what_it_lacks() {
        let text_6_0 = text(libc::EINVAL, "6.0.12-arch1", None);
        assert_names(
            &text_6_0,
            &["6.0.12-arch1", "older than 6.1", "DEFER_TASKRUN"],
        );
        assert!(!text_6_0.contains("SINGLE_ISSUER"), "{text_6_0}");
        let text_5_15 = text(libc::EINVAL, "5.15.0-91-generic", None);
        assert_names(
            &text_5_15,
            &["SUBMIT_ALL", "COOP_TASKRUN", "SINGLE_ISSUER", "DEFER"],
        );
        assert!(!text_5_15.contains("EXT_ARG"), "{text_5_15}");
        assert_eq!(missing_features("6.1.0"), Vec::<&str>::new());
        assert_eq!(missing_features("7.0.0-rc1"), Vec::<&str>::new());
        assert_eq!(missing_features("strange"), Vec::<&str>::new());
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(parse_release("6.18.44-fc"), Some((6, 18)));
        assert_eq!(parse_release("5.10"), Some((5, 10)));
        assert_eq!(parse_release("next"), None);
        assert!(parse_release("6.10.1") > parse_release("6.9.9"));
    }
}
