//! Opening a log: lock, read, decide, repair, and only then write.

use std::collections::VecDeque;
use std::path::Path;

use super::batch::Batch;
use super::marker::Marker;
use super::{Log, LogIdentity, LogOptions, Segment};
use crate::aligned::AlignedBuf;
use crate::disk::{Disk, FileId};
use crate::error::StorageError;
use crate::layout::{BLOCK_BYTES, SEGMENT_BLOCKS_RESERVED};
use crate::mark::{MARK_NAME, Mark, mark_path};
use crate::planted::{PlantedBug, planted};
use crate::recovery::repair::{adopt, raise_mark};
use crate::recovery::scan::{Access, Begun, Scan};
use crate::recovery::{RecoveryReport, Replay};
use crate::segment::{
    SegmentHeader, parse_segment_name, prepare_segment, segment_path, write_whole,
};
use crate::slots::{Newest, create_slots, read_slots};

impl<D: Disk> Log<D> {
    /// Opens the log in `dir`, or creates it, and recovers it. `replay` gets every entry of every
    /// valid frame in order: its LSN, its kind and its bytes, 16-aligned, valid during the call.
    ///
    /// Nothing is written before the end of the log has been decided, and nothing is believed
    /// before it has been made durable. On an error the replayed entries mean nothing.
    pub fn open(
        mut disk: D,
        dir: &Path,
        identity: LogIdentity,
        options: LogOptions,
        replay: Replay<'_>,
    ) -> Result<(Log<D>, RecoveryReport), StorageError> {
        options.check()?;
        let access = Access::Exclusive {
            tries: options.lock_tries,
            wait: options.lock_wait,
        };
        ensure_mark(&mut disk, dir, identity, &options)?;
        let path = mark_path(dir);
        let file = access
            .open(&mut disk, &path)?
            .ok_or_else(|| StorageError::Missing {
                path: path.clone(),
                why: "it was there a moment ago",
            })?;
        disk.datasync(file)
            .map_err(StorageError::io("flush", &path))?;
        let Newest {
            slot: found,
            invalid,
        } = read_slots::<D, Mark>(&mut disk, file, &path)?;
        check_identity(&path, identity, &found)?;

        let names = disk.list(dir).map_err(StorageError::io("list", dir))?;
        let (required, piece) = (options.required_lsn, options.replay_piece_bytes);
        let mut scan = Scan::new(dir, found, access, required, &names, piece);
        scan.report.mark_slots_invalid = invalid;
        scan.run(&mut disk, replay)?;
        remove_unfinished(&mut disk, dir, &names);
        adopt(&mut scan, &mut disk)?;

        let raise = u64::from(!planted(PlantedBug::IncarnationNotRaised));
        scan.report.incarnation += raise;
        let (active, chain) = ensure_begun(&mut scan, &mut disk, access, &options)?;
        let mark = Mark {
            clean: false,
            generation: found.generation + 1,
            incarnation: scan.report.incarnation,
            incarnation_first_sequence: scan.position.sequence + 1,
            last_segment: active.segment_sequence,
            durable_sequence: scan.position.sequence,
            durable_lsn: scan.position.lsn,
            durable_link: scan.position.link,
            ..found
        };
        raise_mark(&mut disk, file, &path, &found, &mark)?;
        let marker = |buffer| Marker::new(file, path, mark, buffer);
        let mut log = Log::assemble(disk, dir, identity, options, &scan, active, chain, marker);
        log.adopt_prepared(&names)?;
        Ok((log, scan.report))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a log, each named once"
    )]
    fn assemble(
        mut disk: D,
        dir: &Path,
        identity: LogIdentity,
        options: LogOptions,
        scan: &Scan<'_>,
        active: Segment,
        chain: u128,
        marker: impl FnOnce(AlignedBuf) -> Marker,
    ) -> Log<D> {
        let mut buffers = [
            AlignedBuf::zeroed(options.frame_bytes),
            AlignedBuf::zeroed(options.frame_bytes),
            AlignedBuf::zeroed(BLOCK_BYTES),
            AlignedBuf::zeroed(BLOCK_BYTES),
        ];
        disk.register_buffers(&mut buffers);
        let [filling, spare, control, mark] = buffers;
        Log {
            disk,
            dir: dir.to_path_buf(),
            identity,
            options,
            incarnation: scan.report.incarnation,
            last_segment: active.segment_sequence,
            active,
            ready: VecDeque::with_capacity(options.segments_ready + 1),
            filling: Some(Batch::new(filling)),
            spare: Some(spare),
            control: Some(control),
            staged: None,
            flight: None,
            starved: false,
            appended_lsn: scan.position.lsn,
            written: scan.position,
            durable: scan.position,
            chain,
            marker: marker(mark),
            mark_due: false,
            failure: None,
            completions: Vec::with_capacity(8),
        }
    }

    /// Takes the prepared segments that an earlier run left behind, as far as they follow.
    fn adopt_prepared(&mut self, names: &[String]) -> Result<(), StorageError> {
        let access = self.access();
        loop {
            let next = self.last_segment + 1;
            if !names
                .iter()
                .any(|name| parse_segment_name(name) == Some(next))
            {
                return Ok(());
            }
            let path = segment_path(&self.dir, next);
            let Some(segment) = self.open_prepared(access, &path, next)? else {
                return Ok(());
            };
            self.last_segment = next;
            self.ready.push_back(segment);
        }
    }

    /// Opens and locks a prepared segment. `None` if it is not there or has no usable length: then
    /// it is prepared once more.
    pub(super) fn open_prepared(
        &mut self,
        access: Access,
        path: &Path,
        segment_sequence: u64,
    ) -> Result<Option<Segment>, StorageError> {
        open_prepared(
            &mut self.disk,
            access,
            &self.options,
            path,
            segment_sequence,
        )
    }
}

fn open_prepared<D: Disk>(
    disk: &mut D,
    access: Access,
    options: &LogOptions,
    path: &Path,
    segment_sequence: u64,
) -> Result<Option<Segment>, StorageError> {
    let Some(file) = access.open(disk, path)? else {
        return Ok(None);
    };
    let bytes = disk
        .len(file)
        .map_err(StorageError::io("read length of", path))?;
    let least =
        options.frame_bytes as u64 + u64::from(SEGMENT_BLOCKS_RESERVED) * BLOCK_BYTES as u64;
    let usable =
        bytes.is_multiple_of(BLOCK_BYTES as u64) && (least..=u64::from(u32::MAX)).contains(&bytes);
    if !usable {
        disk.close(file);
        return Ok(None);
    }
    let blocks = (bytes / BLOCK_BYTES as u64) as u32;
    Ok(Some(Segment {
        segment_sequence,
        file,
        path: path.to_path_buf(),
        blocks,
        next_block: 1,
    }))
}

/// Creates directory and mark if there is no log yet.
fn ensure_mark<D: Disk>(
    disk: &mut D,
    dir: &Path,
    identity: LogIdentity,
    options: &LogOptions,
) -> Result<(), StorageError> {
    disk.create_dir(dir)
        .map_err(StorageError::io("create directory", dir))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent)
            .map_err(StorageError::io("flush directory", parent))?;
    }
    // A killed process may have changed names that a power loss could still undo one by one.
    if !planted(PlantedBug::LeftoverNotFlushed) {
        disk.sync_dir(dir)
            .map_err(StorageError::io("flush directory", dir))?;
    }
    let names = disk.list(dir).map_err(StorageError::io("list", dir))?;
    if names.iter().any(|name| name == MARK_NAME) {
        return Ok(());
    }
    let why = if names.iter().any(|name| parse_segment_name(name).is_some()) {
        "segments of this log are there"
    } else if options.must_exist || options.required_lsn > 0 {
        "the store says that this log was created"
    } else {
        let mark = Mark::fresh(identity.log_id, identity.stream);
        return create_slots(disk, dir, &mark_path(dir), &mark);
    };
    Err(StorageError::Missing {
        path: mark_path(dir),
        why,
    })
}

/// Refuses the mark of another log.
pub(crate) fn check_identity(
    path: &Path,
    identity: LogIdentity,
    mark: &Mark,
) -> Result<(), StorageError> {
    let found = LogIdentity {
        log_id: mark.log_id,
        stream: mark.stream,
    };
    if found == identity {
        return Ok(());
    }
    let print =
        |identity: LogIdentity| format!("log {:032x} stream {}", identity.log_id, identity.stream);
    let path = path.to_path_buf();
    Err(StorageError::Identity {
        path,
        found: print(found),
        expected: print(identity),
    })
}

/// The segment to continue in: the last one, or the next if that is sealed or there is none.
fn ensure_begun<D: Disk>(
    scan: &mut Scan<'_>,
    disk: &mut D,
    access: Access,
    options: &LogOptions,
) -> Result<(Segment, u128), StorageError> {
    if !scan.sealed
        && let Some(begun) = scan.begun.clone()
    {
        let Begun {
            segment_sequence,
            file,
            path,
            blocks,
            next_block,
            ..
        } = begun;
        let chain = scan.chain();
        return Ok((
            Segment {
                segment_sequence,
                file,
                path,
                blocks,
                next_block,
            },
            chain,
        ));
    }
    let segment_sequence = scan.next_segment();
    let path = segment_path(scan.dir(), segment_sequence);
    let segment = match open_prepared(disk, access, options, &path, segment_sequence)? {
        Some(segment) => segment,
        None => {
            prepare_segment(disk, scan.dir(), segment_sequence, options.segment_bytes)?;
            open_prepared(disk, access, options, &path, segment_sequence)?.ok_or_else(|| {
                StorageError::Missing {
                    path: path.clone(),
                    why: "it was just prepared",
                }
            })?
        }
    };
    let chain = begin(scan, disk, &segment)?;
    if let Some(sealed) = scan.begun.take() {
        disk.close(sealed.file);
    }
    scan.report.segments += 1;
    Ok((segment, chain))
}

/// Writes block 0 with blocking calls; returns the link for the first frame.
fn begin<D: Disk>(scan: &Scan<'_>, disk: &mut D, segment: &Segment) -> Result<u128, StorageError> {
    let mut block = AlignedBuf::zeroed(BLOCK_BYTES);
    let mark = scan.mark();
    let header = SegmentHeader {
        log_id: mark.log_id,
        stream: mark.stream,
        segment_sequence: segment.segment_sequence,
        segment_bytes: segment.bytes(),
        first_lsn: scan.position.lsn + 1,
        first_frame_sequence: scan.position.sequence + 1,
        incarnation: scan.report.incarnation,
        previous_link: scan.position.link,
    };
    let link = header.encode(&mut block);
    write_whole(disk, segment.file, &segment.path, 0, &block)?;
    disk.datasync(segment.file)
        .map_err(StorageError::io("flush", &segment.path))?;
    Ok(link)
}

/// Removes what an interrupted preparation left. Harmless if it stays. The directory is flushed
/// next, by `adopt`.
fn remove_unfinished<D: Disk>(disk: &mut D, dir: &Path, names: &[String]) {
    for name in names.iter().filter(|name| name.ends_with(".new")) {
        let _ = disk.remove(&dir.join(name));
    }
}

/// Opens the mark for a reader that does not own the log.
pub(crate) fn read_mark<D: Disk>(disk: &mut D, dir: &Path) -> Result<Newest<Mark>, StorageError> {
    let path = mark_path(dir);
    let file: FileId =
        Access::ReadOnly
            .open(disk, &path)?
            .ok_or_else(|| StorageError::Missing {
                path: path.clone(),
                why: "every log has one",
            })?;
    let newest = read_slots(disk, file, &path);
    disk.close(file);
    newest
}
