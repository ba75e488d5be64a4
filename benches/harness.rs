//! What every bench here shares: parameters, pinning, repeats, and one way to print.
//!
//! ```no_run
//! use ringmill_benches::{Bench, Better, Sample};
//!
//! let mut bench = Bench::start("copy");
//! let rows = bench.size(10_000_000, 10_000);
//! let mut group = bench.group("row", "ns", Better::Lower);
//! group.baseline("bytewise", || Sample::ns_per_op(rows, || 7));
//! group.row("words", || Sample::ns_per_op(rows, || 7));
//! group.run();
//! bench.finish();
//! ```
//!
//! Rows of a group take turns within each repeat, so that a slow minute of the machine hits all of
//! them. A sample carries a hash of what was computed; repeats that disagree end the bench, so no
//! figure stands for work that was not done.
//!
//! Printed per row: `name median unit ratio-to-baseline [min..max]`. Full size needs `--full` or
//! `cargo bench`; anything else (`cargo test`, `--smoke`, `RINGMILL_BENCH_SMOKE=1`) is a smoke run
//! of a second or two, whose figures mean nothing. A word on the command line keeps only the groups
//! whose `bench/group` name contains it; `--repeats=N` sets the repeats; `--no-pin` leaves threads
//! where the kernel puts them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

mod machine;

/// Repeats of a full run.
const REPEATS_FULL: usize = 10;
/// Repeats of a smoke run: two, so that the hashes are compared.
const REPEATS_SMOKE: usize = 2;

/// Which way a figure is good; printed with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Rates.
    Higher,
    /// Times and sizes.
    Lower,
}

/// One measurement: the figure in the group's unit and a hash of the results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// In the unit of the group.
    pub value: f64,
    /// Equal for every repeat of the row, or the bench ends.
    pub hash: u64,
}

impl Sample {
    /// A figure that was measured elsewhere.
    #[must_use]
    pub fn new(value: f64, hash: u64) -> Self {
        Self { value, hash }
    }

    /// Runs `work`, which does `ops` operations and returns a hash: wall-clock ns per operation.
    pub fn ns_per_op(ops: usize, work: impl FnOnce() -> u64) -> Self {
        let start = Instant::now();
        let hash = work();
        Self::new(start.elapsed().as_nanos() as f64 / ops as f64, hash)
    }

    /// Runs `work`, which does `ops` operations and returns a hash: millions of them per second.
    pub fn millions_per_s(ops: usize, work: impl FnOnce() -> u64) -> Self {
        let start = Instant::now();
        let hash = work();
        Self::new(ops as f64 / start.elapsed().as_secs_f64() / 1e6, hash)
    }
}

/// CPU time of the calling thread so far, user and system.
#[must_use]
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// Folds one more result into a hash; start from any constant.
#[must_use]
#[inline]
pub fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The parameters of a run. Cheap to copy into the threads of a bench.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    smoke: bool,
    pin: bool,
}

impl Setup {
    /// Pins the calling thread to the `nth` CPU that the process may use. False if there is none
    /// or pinning is off: say so in the row's name rather than measure two threads on one CPU.
    pub fn pin(self, nth: usize) -> bool {
        let cpus = core_affinity::get_core_ids().unwrap_or_default();
        self.pin
            && cpus
                .get(nth)
                .is_some_and(|&cpu| core_affinity::set_for_current(cpu))
    }

    /// Whether the process may use at least `count` CPUs.
    #[must_use]
    pub fn has_cpus(self, count: usize) -> bool {
        core_affinity::get_core_ids().unwrap_or_default().len() >= count
    }

    /// `full`, or `smoke` in a smoke run.
    #[must_use]
    pub fn size(self, full: usize, smoke: usize) -> usize {
        if self.smoke { smoke } else { full }
    }
}

/// One bench program.
pub struct Bench {
    name: &'static str,
    setup: Setup,
    repeats: usize,
    repeats_asked: bool,
    filter: Option<String>,
    hash: u64,
}

impl Bench {
    /// Reads the parameters and prints the machine.
    #[must_use]
    pub fn start(name: &'static str) -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let smoke_asked = std::env::var_os("RINGMILL_BENCH_SMOKE").is_some_and(|v| v != "0");
        let bench = Self::with(name, &args, smoke_asked);
        if args.iter().any(|arg| arg == "--list") {
            std::process::exit(0);
        }
        let mode = if bench.setup.smoke {
            "smoke (figures mean nothing)"
        } else {
            "full"
        };
        println!(
            "bench {name}: {mode}, {} repeats, pin {}",
            bench.repeats, bench.setup.pin
        );
        println!("machine {}", machine::line());
        bench
    }

    fn with(name: &'static str, args: &[String], smoke_asked: bool) -> Self {
        let has = |flag: &str| args.iter().any(|arg| arg == flag);
        let asked = args
            .iter()
            .find_map(|arg| arg.strip_prefix("--repeats=")?.parse().ok());
        let smoke = smoke_asked || has("--smoke") || !(has("--full") || has("--bench"));
        Self {
            name,
            setup: Setup {
                smoke,
                pin: !has("--no-pin"),
            },
            repeats: asked.unwrap_or(if smoke { REPEATS_SMOKE } else { REPEATS_FULL }),
            repeats_asked: asked.is_some(),
            filter: args.iter().find(|arg| !arg.starts_with('-')).cloned(),
            hash: 0,
        }
    }

    /// The parameters, to be copied into closures and threads.
    #[must_use]
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// `full`, or `smoke` in a smoke run.
    #[must_use]
    pub fn size(&self, full: usize, smoke: usize) -> usize {
        self.setup.size(full, smoke)
    }

    /// Another number of repeats for a full run, for rows that take long.
    pub fn repeats(&mut self, full: usize) {
        if !self.repeats_asked {
            self.repeats = self.setup.size(full.max(1), REPEATS_SMOKE);
        }
    }

    /// Begins a group of rows that are compared with each other.
    pub fn group<'b>(
        &'b mut self,
        name: &'static str,
        unit: &'static str,
        better: Better,
    ) -> Group<'b> {
        Group {
            bench: self,
            name,
            unit,
            better,
            same_results: false,
            rows: Vec::new(),
        }
    }

    /// Prints the hash of all results, which depends on the sizes but on nothing else.
    pub fn finish(self) {
        println!("results {:016x}", self.hash);
    }
}

struct Row<'b> {
    name: &'static str,
    baseline: bool,
    measure: Box<dyn FnMut() -> Sample + 'b>,
    values: Vec<f64>,
    hash: Option<u64>,
}

/// Rows with one unit and at most one baseline.
pub struct Group<'b> {
    bench: &'b mut Bench,
    name: &'static str,
    unit: &'static str,
    better: Better,
    same_results: bool,
    rows: Vec<Row<'b>>,
}

impl<'b> Group<'b> {
    /// Adds the row that the others are divided by.
    pub fn baseline(&mut self, name: &'static str, measure: impl FnMut() -> Sample + 'b) {
        self.add(name, true, Box::new(measure));
    }

    /// Adds a row.
    pub fn row(&mut self, name: &'static str, measure: impl FnMut() -> Sample + 'b) {
        self.add(name, false, Box::new(measure));
    }

    /// All rows compute the same thing: their hashes have to agree with each other too.
    pub fn same_results(&mut self) {
        self.same_results = true;
    }

    /// Measures and prints. Returns the medians in the order of the rows; none if filtered out.
    ///
    /// # Panics
    /// If repeats of a row, or rows with [`Group::same_results`], computed different things.
    pub fn run(mut self) -> Vec<f64> {
        let title = format!("{}/{}", self.bench.name, self.name);
        if self
            .bench
            .filter
            .as_ref()
            .is_some_and(|wanted| !title.contains(wanted.as_str()))
        {
            return Vec::new();
        }
        for _ in 0..self.bench.repeats {
            for row in &mut self.rows {
                let sample = (row.measure)();
                let first = *row.hash.get_or_insert(sample.hash);
                assert_eq!(first, sample.hash, "{title}/{}: repeats differ", row.name);
                row.values.push(sample.value);
            }
        }
        let hashes: Vec<u64> = self.rows.iter().filter_map(|row| row.hash).collect();
        if self.same_results {
            assert!(
                hashes.windows(2).all(|two| two[0] == two[1]),
                "{title}: rows differ {hashes:x?}"
            );
        }
        self.bench.hash = hashes
            .iter()
            .fold(self.bench.hash, |all, &hash| mix(all, hash));
        print!("{}", self.table(&title));
        self.rows.iter().map(|row| median(&row.values)).collect()
    }

    fn add(
        &mut self,
        name: &'static str,
        baseline: bool,
        measure: Box<dyn FnMut() -> Sample + 'b>,
    ) {
        assert!(
            !(baseline && self.rows.iter().any(|row| row.baseline)),
            "one baseline a group"
        );
        self.rows.push(Row {
            name,
            baseline,
            measure,
            values: Vec::new(),
            hash: None,
        });
    }

    fn table(&self, title: &str) -> String {
        let base = self
            .rows
            .iter()
            .find(|row| row.baseline)
            .map(|row| median(&row.values));
        let better = if self.better == Better::Higher {
            "higher"
        } else {
            "lower"
        };
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0)
            + title.len()
            + 1;
        let mut text = format!("# {title}: {better} is better\n");
        for row in &self.rows {
            let name = format!("{title}/{}", row.name);
            let value = median(&row.values);
            let ratio = base.map_or("-".to_owned(), |base| format!("{:.2}x", value / base));
            let low = row.values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = row.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            writeln!(
                text,
                "{name:<width$} {value:>10} {unit} {ratio:>7} [{low}..{high}]",
                value = figure(value),
                unit = self.unit,
                low = figure(low),
                high = figure(high),
            )
            .expect("a String takes everything");
        }
        text
    }
}

/// The middle value, or the mean of the two middle ones.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Four significant digits are more than any of these figures is worth.
fn figure(value: f64) -> String {
    let digits = if value.abs() >= 1000.0 {
        0
    } else if value.abs() >= 100.0 {
        1
    } else if value.abs() >= 10.0 {
        2
    } else {
        3
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn only_a_full_run_that_is_asked_for_is_full() {
        assert!(Bench::with("x", &args(&[]), false).setup.smoke);
        assert!(
            Bench::with("x", &args(&["--bench", "--smoke"]), false)
                .setup
                .smoke
        );
        assert!(Bench::with("x", &args(&["--bench"]), true).setup.smoke);
        let full = Bench::with("x", &args(&["--bench", "--no-pin", "stream"]), false);
        assert!(!full.setup.smoke && !full.setup.pin);
        assert_eq!(
            (full.filter.as_deref(), full.repeats),
            (Some("stream"), REPEATS_FULL)
        );
        assert!(!Bench::with("x", &args(&["--full"]), false).setup.smoke);
        let mut three = Bench::with("x", &args(&["--full", "--repeats=3"]), false);
        three.repeats(50);
        assert_eq!(
            three.repeats, 3,
            "what is asked for on the command line holds"
        );
    }

    #[test]
    fn the_median_and_the_spread_stand_beside_the_ratio() {
        let mut bench = Bench::with("x", &args(&["--full"]), false);
        bench.repeats(3);
        let (mut slow, mut fast) = ([4.0, 2.0, 3.0].into_iter(), [6.0, 60.0, 5.0].into_iter());
        let mut group = bench.group("g", "ns", Better::Lower);
        group.baseline("slow", move || Sample::new(slow.next().unwrap(), 1));
        group.row("fast", move || Sample::new(fast.next().unwrap(), 1));
        group.same_results();
        assert_eq!(group.run(), [3.0, 6.0]);
        let mut group = bench.group("g", "ns", Better::Lower);
        group.baseline("a", || Sample::new(2.0, 1));
        group.row("b", || Sample::new(1.0, 1));
        group.rows[0].values = vec![2.0, 4.0];
        group.rows[1].values = vec![12.0];
        assert_eq!(
            group.table("x/g"),
            "# x/g: lower is better\n\
             x/g/a      3.000 ns   1.00x [2.000..4.000]\n\
             x/g/b      12.00 ns   4.00x [12.00..12.00]\n"
        );
    }

    #[test]
    #[should_panic(expected = "repeats differ")]
    fn a_row_that_computes_something_else_ends_the_bench() {
        let mut bench = Bench::with("x", &args(&[]), false);
        let mut count = 0;
        let mut group = bench.group("g", "ns", Better::Lower);
        group.row("a", move || {
            count += 1;
            Sample::new(1.0, count)
        });
        group.run();
    }

    #[test]
    #[should_panic(expected = "rows differ")]
    fn rows_that_should_agree_and_do_not_end_the_bench() {
        let mut bench = Bench::with("x", &args(&[]), false);
        let mut group = bench.group("g", "ns", Better::Lower);
        group.row("a", || Sample::new(1.0, 1));
        group.row("b", || Sample::new(1.0, 2));
        group.same_results();
        group.run();
    }

    #[test]
    fn a_filtered_group_is_not_measured() {
        let mut bench = Bench::with("x", &args(&["other"]), false);
        let mut group = bench.group("g", "ns", Better::Lower);
        group.row("a", || unreachable!("not measured"));
        assert!(group.run().is_empty());
    }

    #[test]
    fn the_machine_line_is_one_line() {
        let line = machine::line();
        assert!(line.contains("cpus") && !line.contains('\n'), "{line}");
    }
}
