//! Taking something away from a server before it starts.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes every `io_uring_setup` of the process fail with EPERM, as container runtimes do.
pub fn without_io_uring(command: &mut Command) {
    let instruction = |code: u32, jump_true: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: jump_true,
        jf: 0,
        k: value,
    };
    let compare = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    // The number of the system call is the first word of what a filter sees.
    let filter = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(compare, 1, libc::SYS_io_uring_setup as u32),
        instruction(answer, 0, libc::SECCOMP_RET_ALLOW),
        instruction(answer, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: a flag of this process, no memory involved.
        let locked = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: the program and its instructions live until the call is over.
        let set = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        };
        match (locked, set) {
            (0, 0) => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it makes two system calls and touches only its own copy of the
    // filter.
    unsafe { command.pre_exec(install) };
}

/// The same command with at most `kib` of locked memory, also for the superuser; `None` without
/// the tools or the right to do that.
pub fn with_memlock(command: &Command, kib: u64) -> Option<Command> {
    let bytes = kib * 1024;
    let mut confined = Command::new("prlimit");
    confined.arg(format!("--memlock={bytes}:{bytes}"));
    confined.args([
        "setpriv",
        "--bounding-set=-ipc_lock",
        "--inh-caps=-ipc_lock",
    ]);
    let mut trial = Command::new(confined.get_program());
    trial.args(confined.get_args()).arg("true");
    if !trial.output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    confined.arg(command.get_program()).args(command.get_args());
    Some(confined)
}
