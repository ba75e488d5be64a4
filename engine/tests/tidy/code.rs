//! What the sources have to look like.

use crate::tree::{File, code, has_word};

/// Files that may hold `unsafe`: the kernel's boundary, aligned memory, the ring, the prefetch, and
/// of the tests allocators that count and limits set in a child. Folders end with a slash.
const UNSAFE_HOMES: [&str; 15] = [
    "storage/src/aligned.rs",
    "storage/src/ring.rs",
    "storage/src/ring/",
    "storage/src/disk/uring.rs",
    "storage/src/disk/uring/",
    "engine/src/ring.rs",
    "engine/src/ring/",
    "engine/src/net/uring.rs",
    "engine/src/net/uring/",
    "engine/src/core_loop/lanes.rs",
    "shard/src/prefetch.rs",
    "engine/tests/allocations.rs",
    "engine/tests/common/confine.rs",
    "loadgen/tests/allocations.rs",
    "shard/tests/wire_fuzz.rs",
];

/// A file above this asks to be split.
const FILE_LINES_MAX: usize = 500;

/// Files above it, and the length that they must not pass. Numbers here only ever fall.
const LONG_FILES: [(&str, usize); 4] = [
    ("engine/tests/sim/client.rs", 577),
    ("shard/tests/model_traps.rs", 606),
    ("storage/src/layout.rs", 501),
    ("storage/src/ring.rs", 575),
];

/// A function above this asks to be split.
const FUNCTION_LINES_MAX: usize = 70;

/// Functions above it, and the length that they must not pass. Numbers here only ever fall.
const LONG_FUNCTIONS: [(&str, &str, usize); 5] = [
    ("engine/src/control.rs", "serve", 72),
    ("engine/src/control/driver/send.rs", "send_read", 77),
    ("engine/src/serve.rs", "spawn", 73),
    ("loadgen/src/report/document.rs", "of", 72),
    ("shard/tests/model_cost.rs", "cost_of_a_batch", 91),
];

/// What was left for later stays out of the tree. In two parts, so that this file is clean.
const MARKERS: [(&str, &str); 4] = [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")];
const LATER_MACROS: [(&str, &str); 2] = [("to", "do!"), ("unimple", "mented!")];

/// Paths of one machine and hosts of one registry, in two parts as well.
const FOREIGN: [(&str, &str); 6] = [
    ("/wor", "k/"),
    ("/roo", "t/"),
    ("/far", "m/"),
    ("crates", ".io"),
    ("npm", "js."),
    ("pypi", ".org"),
];

/// The lock file names the registry of every Rust project, once per package.
const LOCK_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates";

/// Each package has a home, so that it can be replaced or contained there. So has the oracle, on
/// which nothing that serves may depend. Paths are prefixes.
const PACKAGE_HOMES: [(&str, &[&str]); 13] = [
    ("io_uring", &["storage/", "engine/"]),
    (
        "core_affinity",
        &["engine/src/placement.rs", "loadgen/", "benches/"],
    ),
    (
        "crossbeam",
        &["engine/src/ring.rs", "engine/src/wake.rs", "benches/"],
    ),
    ("rkyv", &["shard/"]),
    ("sqlparser", &["shard/src/expression/"]),
    (
        "hdrhistogram",
        &[
            "engine/src/dump",
            "engine/src/inspect",
            "engine/src/latency.rs",
            "engine/tests/",
            "loadgen/",
        ],
    ),
    ("glommio", &["engine/src/background", "benches/"]),
    (
        "axum",
        &[
            "engine/src/http",
            "engine/src/control",
            "engine/src/sim.rs",
            "engine/src/sim/",
            "engine/src/stage",
            "engine/src/testrun",
        ],
    ),
    (
        "tokio",
        &[
            "engine/src/http",
            "engine/src/control",
            "engine/src/sim.rs",
            "engine/src/sim/",
            "engine/src/stage",
            "engine/src/testrun",
            "loadgen/",
        ],
    ),
    ("hashbrown", &["shard/", "benches/"]),
    (
        "oracle",
        &[
            "shard/src/oracle",
            "shard/tests/",
            "engine/src/sim/",
            "engine/tests/sim/",
            "storage/tests/",
        ],
    ),
    ("crc32c", &["storage/src/checksum.rs"]),
    (
        "loom",
        &["engine/src/sync.rs", "engine/src/wake.rs", "engine/tests/"],
    ),
];

/// Whether `path` is one of `homes`, or below one that ends with a slash.
fn at_home(path: &str, homes: &[&str]) -> bool {
    homes
        .iter()
        .any(|home| path == *home || home.ends_with('/') && path.starts_with(home))
}

/// `unsafe` outside of its homes.
pub(crate) fn stray_unsafe(files: &[File]) -> Vec<String> {
    rust(files)
        .filter(|file| !at_home(&file.path, &UNSAFE_HOMES))
        .filter(|file| has_word(&code(&file.text), "unsafe"))
        .map(|file| format!("{}: unsafe code has its homes; this is none", file.path))
        .collect()
}

/// Macros that panic when their line cannot be written, in what ships.
pub(crate) fn panicking_output(files: &[File]) -> Vec<String> {
    let macros = ["print!", "println!", "eprint!", "eprintln!"];
    let ships = |path: &str| path.contains("/src/") && !path.ends_with("tests.rs");
    let mut problems = Vec::new();
    for file in rust(files).filter(|file| ships(&file.path)) {
        let text = code(&file.text);
        for name in macros {
            if text
                .split(|c: char| c != '!' && !c.is_ascii_alphanumeric() && c != '_')
                .any(|word| word == name)
            {
                problems.push(format!(
                    "{}: {name} panics when nobody reads; see the module `say`",
                    file.path
                ));
            }
        }
    }
    problems
}

/// Files and functions that are too long, and allowances that are not needed any more.
pub(crate) fn too_long(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in rust(files) {
        let lines = file.text.lines().count();
        let allowed = LONG_FILES.iter().find(|(path, _)| *path == file.path);
        let limit = allowed.map_or(FILE_LINES_MAX, |&(_, limit)| limit);
        if lines > limit {
            problems.push(format!("{}: {lines} lines, at most {limit}", file.path));
        }
        if allowed.is_some() && lines <= FILE_LINES_MAX {
            problems.push(format!("{}: needs no allowance any more", file.path));
        }
        long_functions(file, &mut problems);
    }
    problems
}

/// Relies on the formatter: a function ends with a brace below the start of its first line.
fn long_functions(file: &File, problems: &mut Vec<String>) {
    let text = code(&file.text);
    let lines: Vec<&str> = text.lines().collect();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let declared_only = lines[first..]
            .iter()
            .position(|line| line.ends_with(';') || line.ends_with('{'))
            .is_none_or(|at| lines[first + at].ends_with(';'));
        if declared_only || line.ends_with('}') {
            continue;
        }
        let length = lines[first..].iter().position(|line| *line == end);
        let length = length.map_or(lines.len() - first, |last| last + 1);
        let allowed = LONG_FUNCTIONS
            .iter()
            .find(|(path, function, _)| *path == file.path && *function == name);
        let limit = allowed.map_or(FUNCTION_LINES_MAX, |&(_, _, limit)| limit);
        if length > limit {
            let at = first + 1;
            let path = &file.path;
            problems.push(format!(
                "{path}:{at}: {name} has {length} lines, at most {limit}"
            ));
        }
    }
}

/// The name of the function that is declared on this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let modifiers = ["const", "async", "unsafe", "extern"];
    before
        .split_whitespace()
        .all(|word| modifiers.contains(&word) || word.starts_with("pub"))
        .then(|| after.split(['(', '<']).next().unwrap_or_default())
}

/// Notes to oneself.
pub(crate) fn leftover_markers(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        for (number, line) in numbered(&file.text) {
            for (head, tail) in MARKERS {
                let marker = [head, tail].concat();
                if has_word(line, &marker) {
                    problems.push(format!("{}:{number}: leftover {marker}", file.path));
                }
            }
        }
        if !file.is_rust() {
            continue;
        }
        for (number, line) in numbered(&code(&file.text)) {
            for (head, tail) in LATER_MACROS {
                let name = [head, tail].concat();
                if line.contains(&name) {
                    problems.push(format!("{}:{number}: leftover {name}", file.path));
                }
            }
        }
    }
    problems
}

/// Characters that some editor, terminal or diff shows differently.
pub(crate) fn not_ascii(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        for (number, line) in numbered(&file.text) {
            if let Some(odd) = line.chars().find(|c| !c.is_ascii()) {
                problems.push(format!("{}:{number}: {odd:?} is not ASCII", file.path));
            }
        }
    }
    problems
}

/// What only holds on one machine.
pub(crate) fn foreign_names(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let lock = file.path == "Cargo.lock";
        for (number, line) in numbered(&file.text) {
            if lock && line.starts_with(LOCK_SOURCE) {
                continue;
            }
            for (head, tail) in FOREIGN {
                let name = [head, tail].concat();
                if line.contains(&name) {
                    problems.push(format!("{}:{number}: names {name}", file.path));
                }
            }
        }
    }
    problems
}

/// Packages that are used away from home.
pub(crate) fn strayed_packages(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in rust(files) {
        let text = code(&file.text);
        for (package, homes) in PACKAGE_HOMES {
            let paths = [format!("{package}::"), format!("use {package}")];
            let used = has_word(&text, package) && paths.iter().any(|path| text.contains(path));
            if used && !homes.iter().any(|home| file.path.starts_with(home)) {
                problems.push(format!("{}: {package} lives in {homes:?}", file.path));
            }
        }
    }
    problems
}

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.is_rust())
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(path: &str, text: &str) -> Vec<File> {
        vec![File::new(path, text)]
    }

    #[test]
    fn unsafe_is_found_in_code_alone() {
        let block = "fn f() { unsafe { g() } }";
        assert_eq!(stray_unsafe(&only("engine/src/mesh.rs", block)).len(), 1);
        assert!(stray_unsafe(&only("engine/src/ring/slots.rs", block)).is_empty());
        let words = "#![forbid(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";";
        assert!(stray_unsafe(&only("engine/src/mesh.rs", words)).is_empty());
    }

    #[test]
    fn output_that_panics_is_found_where_it_ships() {
        let line = "fn f() { eprintln!(\"x\"); }";
        assert_eq!(panicking_output(&only("engine/src/a.rs", line)).len(), 1);
        assert!(panicking_output(&only("engine/tests/a.rs", line)).is_empty());
        let own = "fn f() { say!(\"println!\"); writeln!(out); } // eprintln!";
        assert!(panicking_output(&only("engine/src/a.rs", own)).is_empty());
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let lines = "//\n".repeat(FILE_LINES_MAX);
        assert!(too_long(&only("shard/src/a.rs", &lines)).is_empty());
        let one_more = lines + "//\n";
        assert_eq!(too_long(&only("shard/src/a.rs", &one_more)).len(), 1);
        let function = |body: usize| {
            let body = "        x();\n".repeat(body);
            format!(
                "impl A {{\n    pub(crate) const fn f<T>(\n        a: T,\n    ) {{\n{body}    }}\n}}\n"
            )
        };
        let fits = FUNCTION_LINES_MAX - 4;
        assert!(too_long(&only("shard/src/a.rs", &function(fits))).is_empty());
        let problems = too_long(&only("shard/src/a.rs", &function(fits + 1)));
        assert_eq!(
            problems,
            ["shard/src/a.rs:2: f has 71 lines, at most 70"],
            "the line of the declaration and the name"
        );
    }

    #[test]
    fn declarations_and_one_liners_have_no_length() {
        let text = "trait A {\n    fn a(\n        &self,\n    ) -> u8;\n    fn b() {}\n";
        let text = text.to_owned() + &"    const C: u8 = 1;\n".repeat(100) + "}\n";
        assert!(too_long(&only("shard/src/a.rs", &text)).is_empty());
    }

    #[test]
    fn markers_odd_characters_and_foreign_names_are_found() {
        for (head, tail) in MARKERS {
            let text = format!("// {head}{tail}: later\n");
            assert_eq!(leftover_markers(&only("docs/a.md", &text)).len(), 1);
        }
        for (head, tail) in LATER_MACROS {
            let text = format!("fn f() {{ {head}{tail}() }}\n");
            assert_eq!(leftover_markers(&only("shard/src/a.rs", &text)).len(), 1);
        }
        assert_eq!(not_ascii(&only("README.md", "a \u{2192} b\n")).len(), 1);
        for (head, tail) in FOREIGN {
            let text = format!("see {head}{tail}x\n");
            assert_eq!(foreign_names(&only("docs/a.md", &text)).len(), 1);
        }
        let lock = format!("{LOCK_SOURCE}.io-index\"\n");
        assert!(foreign_names(&only("Cargo.lock", &lock)).is_empty());
        assert_eq!(foreign_names(&only("docs/a.md", &lock)).len(), 1);
    }

    #[test]
    fn packages_away_from_home_are_found() {
        let text = "use glommio::LocalExecutor;\n";
        let problems = strayed_packages(&only("engine/src/core_loop.rs", text));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(strayed_packages(&only("engine/src/background/prepare.rs", text)).is_empty());
        assert!(strayed_packages(&only("engine/src/a.rs", "// glommio::x\n")).is_empty());
    }
}
