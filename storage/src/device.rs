//! Facts about the place where the logs lie: filesystem, mount options, block device, alignment,
//! kernel. They decide how fast a flush is and whether level `commit` can be promised at all, so
//! `ringmill doctor` prints them and the flush probe keeps them beside its verdict.
//!
//! Everything is read from `/proc` and `/sys`; whatever cannot be read is `None`, never a guess.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

use crate::aligned::ALIGNMENT_BYTES;
use crate::ring::kernel_release;

/// Filesystems on which preallocated blocks are overwritten in place, so that a flushed write
/// touches no metadata.
const IN_PLACE: [&str; 3] = ["ext4", "xfs", "ext3"];

/// What is known about the directory of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceFacts {
    /// Kernel release, as `uname -r` prints it.
    pub kernel_release: String,
    /// Filesystem type, for example `ext4`.
    pub filesystem: String,
    /// Where that filesystem is mounted.
    pub mount_point: Option<PathBuf>,
    /// Mount options of the mount and of the filesystem, comma separated.
    pub mount_options: String,
    /// Device number of the filesystem, major and minor.
    pub device: (u32, u32),
    /// Facts of the block device; `None` where the filesystem has none of its own.
    pub block: Option<BlockFacts>,
    /// Alignment that direct I/O needs; `None` where the filesystem does not tell (or refuses
    /// direct I/O).
    pub direct_io: Option<DirectIoFacts>,
    /// Bytes free for new files.
    pub free_bytes: u64,
}

/// Queue attributes of a block device, from `/sys/block/*/queue`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockFacts {
    /// Name of the whole device, for example `nvme0n1`.
    pub name: String,
    /// Where completions run: 0 anywhere, 1 in the submitting CPU's group, 2 on that very CPU.
    pub rq_affinity: Option<u32>,
    /// `write back` (volatile cache, needs flushes) or `write through`.
    pub write_cache: Option<String>,
    /// Whether a write can carry its own flush.
    pub fua: Option<bool>,
    /// Smallest unit of direct I/O, in bytes.
    pub logical_block_bytes: Option<u32>,
    /// Unit that the device writes without reading first, in bytes.
    pub physical_block_bytes: Option<u32>,
    /// Whether the device has spinning platters.
    pub rotational: Option<bool>,
    /// I/O scheduler in use.
    pub scheduler: Option<String>,
}

/// Alignment demanded by direct I/O, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectIoFacts {
    /// Of addresses in memory.
    pub memory_bytes: u32,
    /// Of offsets and lengths in the file.
    pub offset_bytes: u32,
}

impl DeviceFacts {
    /// Reads the facts about the filesystem that holds `dir`.
    ///
    /// # Errors
    /// If `dir` does not exist or may not be looked at.
    pub fn of(dir: &Path) -> io::Result<DeviceFacts> {
        let stat = rustix::fs::stat(dir)?;
        let device = (
            rustix::fs::major(stat.st_dev),
            rustix::fs::minor(stat.st_dev),
        );
        let mount = mount_of(dir, device);
        let space = rustix::fs::statvfs(dir)?;
        Ok(DeviceFacts {
            kernel_release: kernel_release(),
            filesystem: mount
                .as_ref()
                .map_or_else(|| "unknown".into(), |m| m.filesystem.clone()),
            mount_point: mount.as_ref().map(|mount| mount.point.clone()),
            mount_options: mount.map(|mount| mount.options).unwrap_or_default(),
            device,
            block: BlockFacts::of(Path::new("/sys/dev/block"), device),
            direct_io: direct_io_of(dir),
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }

    /// One line that changes whenever the way to the device changes in a manner that a flush can
    /// feel. Free space and the like do not belong here.
    #[must_use]
    pub fn identity(&self) -> String {
        let (major, minor) = self.device;
        let mut text = format!("{major}:{minor} {} {}", self.filesystem, self.mount_options);
        if let Some(block) = &self.block {
            text.push_str(&format!(
                " {} rq_affinity={} write_cache={} fua={} scheduler={}",
                block.name,
                shown(block.rq_affinity.as_ref()),
                shown(block.write_cache.as_ref()).replace(' ', "-"),
                shown(block.fua.as_ref()),
                shown(block.scheduler.as_ref()),
            ));
        }
        // A mount option may hold anything; the identity is one line of a text file.
        text.replace(|c: char| c.is_control(), "?")
    }

    /// Reasons why acknowledged events on this place may be slower or less safe than they could
    /// be, each with what to do. Empty when there is nothing to say.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        if !IN_PLACE.contains(&self.filesystem.as_str()) {
            advice.push(format!(
                "the filesystem is {}: overwriting in place is what the log relies on for speed, \
                 and only ext4 and XFS are known to do it; put the data directory on one of them",
                self.filesystem
            ));
        }
        let options: Vec<&str> = self.mount_options.split(',').collect();
        if options.contains(&"nobarrier") || options.contains(&"barrier=0") {
            advice.push(
                "the filesystem is mounted without write barriers: a flush does not reach the \
                 device and a power loss can take acknowledged events; mount it with barriers"
                    .to_string(),
            );
        }
        if options.contains(&"ro") {
            advice.push("the filesystem is mounted read-only; mount it read-write".to_string());
        }
        match self.direct_io {
            None => advice.push(
                "the filesystem does not tell whether it can do direct I/O; the start will show"
                    .to_string(),
            ),
            Some(needs) if needs.offset_bytes as usize > ALIGNMENT_BYTES => advice.push(format!(
                "direct I/O needs an alignment of {} bytes, more than the log's block of {}; use \
                 a device with smaller sectors",
                needs.offset_bytes, ALIGNMENT_BYTES
            )),
            Some(_) => {}
        }
        if let Some(block) = &self.block {
            block.advise(&mut advice);
        }
        advice
    }
}

impl BlockFacts {
    /// Reads the facts of a device below `/sys/dev/block` (a parameter, for tests). A partition
    /// has no queue of its own: its whole device is looked at.
    fn of(root: &Path, (major, minor): (u32, u32)) -> Option<BlockFacts> {
        let path = fs::canonicalize(root.join(format!("{major}:{minor}"))).ok()?;
        let whole = if path.join("queue").is_dir() {
            path
        } else {
            path.parent()?.to_path_buf()
        };
        let queue = whole.join("queue");
        if !queue.is_dir() {
            return None;
        }
        let text = |name: &str| {
            fs::read_to_string(queue.join(name))
                .ok()
                .map(|text| text.trim().to_string())
        };
        let number = |name: &str| text(name).and_then(|text| text.parse::<u32>().ok());
        Some(BlockFacts {
            name: whole.file_name()?.to_string_lossy().into_owned(),
            rq_affinity: number("rq_affinity"),
            write_cache: text("write_cache"),
            fua: number("fua").map(|flag| flag != 0),
            logical_block_bytes: number("logical_block_size"),
            physical_block_bytes: number("physical_block_size"),
            rotational: number("rotational").map(|flag| flag != 0),
            scheduler: text("scheduler").map(|text| chosen_scheduler(&text)),
        })
    }

    fn advise(&self, advice: &mut Vec<String>) {
        let cached = self.write_cache.as_deref() == Some("write back");
        if cached && self.fua == Some(false) && self.rq_affinity != Some(2) {
            advice.push(format!(
                "{0} has a write cache and no FUA, so a flushed write ends in a kernel worker on \
                 the CPU that took the interrupt, and waits there if that CPU is busy: run `echo \
                 2 > /sys/block/{0}/queue/rq_affinity`",
                self.name
            ));
        }
        if self.rotational == Some(true) {
            advice.push(format!(
                "{} reports itself as rotational: a flush costs a turn of the platter, unless a \
                 hypervisor merely says so",
                self.name
            ));
        }
    }
}

impl fmt::Display for DeviceFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.device;
        writeln!(f, "kernel          {}", self.kernel_release)?;
        let mount = self
            .mount_point
            .as_ref()
            .map(|point| point.display().to_string());
        writeln!(
            f,
            "filesystem      {} on {} ({})",
            self.filesystem,
            shown(mount.as_ref()),
            self.mount_options
        )?;
        writeln!(f, "free            {} MiB", self.free_bytes >> 20)?;
        match self.direct_io {
            Some(needs) => writeln!(
                f,
                "direct I/O      memory {} B, offset {} B",
                needs.memory_bytes, needs.offset_bytes
            )?,
            None => writeln!(f, "direct I/O      alignment not reported")?,
        }
        let Some(block) = &self.block else {
            return write!(f, "block device    none ({major}:{minor})");
        };
        writeln!(f, "block device    {} ({major}:{minor})", block.name)?;
        write!(
            f,
            "block queue     rq_affinity {}, cache {}, fua {}, blocks {}/{} B, scheduler {}",
            shown(block.rq_affinity.as_ref()),
            shown(block.write_cache.as_ref()),
            shown(block.fua.as_ref()),
            shown(block.logical_block_bytes.as_ref()),
            shown(block.physical_block_bytes.as_ref()),
            shown(block.scheduler.as_ref()),
        )
    }
}

/// Type of the filesystem that holds `dir`, or `unknown`.
pub(crate) fn filesystem_type(dir: &Path) -> String {
    let mount = rustix::fs::stat(dir).ok().and_then(|stat| {
        let device = (
            rustix::fs::major(stat.st_dev),
            rustix::fs::minor(stat.st_dev),
        );
        mount_of(dir, device)
    });
    mount.map_or_else(|| "unknown".to_string(), |mount| mount.filesystem)
}

struct Mount {
    point: PathBuf,
    filesystem: String,
    options: String,
}

fn mount_of(dir: &Path, device: (u32, u32)) -> Option<Mount> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let dir = fs::canonicalize(dir).ok()?;
    find_mount(&table, &dir, device)
}

/// The mount that holds `dir`: the longest mount point above it on that device; among equals the
/// last one, which hides the others. Some filesystems show another device number to `stat` than
/// to the table, so without a match the number is left aside.
fn find_mount(table: &str, dir: &Path, device: (u32, u32)) -> Option<Mount> {
    let above: Vec<((u32, u32), Mount)> = table
        .lines()
        .filter_map(parse_mount)
        .filter(|(_, m)| dir.starts_with(&m.point))
        .collect();
    let on_device = above.iter().any(|(number, _)| *number == device);
    above
        .into_iter()
        .filter(|(number, _)| !on_device || *number == device)
        .max_by_key(|(_, mount)| mount.point.as_os_str().len())
        .map(|(_, mount)| mount)
}

/// One line of mountinfo: `id parent major:minor root point options [tags] - type source options`.
fn parse_mount(line: &str) -> Option<((u32, u32), Mount)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (major, minor) = left.next()?.split_once(':')?;
    let point = unescape(left.nth(1)?);
    let of_mount = left.next()?;
    let mut right = right.split(' ');
    let filesystem = right.next()?.to_string();
    let of_filesystem = right.nth(1).unwrap_or_default();
    let mut options: Vec<&str> = of_mount.split(',').collect();
    for option in of_filesystem.split(',') {
        if !option.is_empty() && !options.contains(&option) {
            options.push(option);
        }
    }
    let mount = Mount {
        point: PathBuf::from(point),
        filesystem,
        options: options.join(","),
    };
    Some(((major.parse().ok()?, minor.parse().ok()?), mount))
}

/// mountinfo writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// `[none] mq-deadline` has the one in use in brackets.
fn chosen_scheduler(text: &str) -> String {
    let chosen = text
        .split(' ')
        .find_map(|name| name.strip_prefix('[')?.strip_suffix(']'));
    chosen.unwrap_or(text).to_string()
}

/// Only regular files know their alignment, so a nameless one is made for the question.
fn direct_io_of(dir: &Path) -> Option<DirectIoFacts> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR).ok()?;
    let stat = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 || stat.stx_dio_offset_align == 0 {
        return None;
    }
    Some(DirectIoFacts {
        memory_bytes: stat.stx_dio_mem_align,
        offset_bytes: stat.stx_dio_offset_align,
    })
}

fn shown<T: fmt::Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "unknown".to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests;
