//! Which CPUs the process may use, and who runs where.

use core_affinity::CoreId;
use rustix::thread::{CpuSet, sched_setaffinity};

/// CPUs that this process may use, in order.
pub fn allowed_cpus() -> Vec<usize> {
    let mut cpus: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    cpus.sort_unstable();
    cpus
}

/// Pins the calling thread to one CPU. False if the system refuses.
pub fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: cpu })
}

/// Confines the calling thread to a set of CPUs; an empty set leaves it alone. Best effort: what
/// runs in the background runs anywhere if it must.
pub fn confine(cpus: &[usize]) {
    if cpus.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    if let Err(error) = sched_setaffinity(None, &set) {
        say!("background threads run on any CPU: {error}");
    }
}

/// The CPUs for everything that is not a shard: all but the shards', or all if none is left.
pub fn background_cpus(allowed: &[usize], shards: &[usize]) -> Vec<usize> {
    let rest: Vec<usize> = allowed
        .iter()
        .copied()
        .filter(|cpu| !shards.contains(cpu))
        .collect();
    if rest.is_empty() {
        allowed.to_vec()
    } else {
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_background_leaves_the_shards_cpus_alone_where_it_can() {
        assert_eq!(background_cpus(&[0, 1, 2], &[1]), [0, 2]);
        assert_eq!(background_cpus(&[0, 1], &[0, 1]), [0, 1]);
    }

    #[test]
    fn this_process_may_use_some_cpu() {
        assert!(!allowed_cpus().is_empty());
    }
}
