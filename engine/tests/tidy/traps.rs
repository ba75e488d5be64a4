//! The table of traps: all fifty, each with tests that exist or the reason why it concerns nothing
//! here.

use std::collections::BTreeSet;

use crate::tree::{File, code};

const PAGE: &str = "docs/semantics.md";
const TRAPS: usize = 50;
/// What the rule of a trap that concerns nothing here begins with.
const NONE: &str = "none: ";

/// Rows that are missing or out of order, tests that do not exist, traps without any.
pub(crate) fn untested_traps(files: &[File]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is missing")];
    };
    let tests = tests(files);
    let mut problems = Vec::new();
    let mut next = 1;
    for line in page.text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, trap, rule, held_by, _] = cells[..] else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else {
            continue;
        };
        if number != next {
            problems.push(format!("{PAGE}: trap {number} stands where {next} is due"));
        }
        next = number + 1;
        if trap.is_empty() || rule.is_empty() {
            problems.push(format!("{PAGE}: trap {number} is not told"));
        }
        problems.extend(faults_of(number, rule, held_by, &tests));
    }
    if next != TRAPS + 1 {
        problems.push(format!(
            "{PAGE}: the last trap is {}, not {TRAPS}",
            next - 1
        ));
    }
    problems
}

fn faults_of(number: usize, rule: &str, held_by: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let named: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
    let own = format!("trap_{number}_");
    let mut faults = Vec::new();
    for name in &named {
        let exists = match name.strip_suffix('*') {
            Some(head) => tests.iter().any(|test| test.starts_with(head)),
            None => tests.contains(*name),
        };
        if !exists {
            faults.push(format!(
                "{PAGE}: trap {number} names {name}, which is no test"
            ));
        }
    }
    if named.is_empty() != rule.starts_with(NONE) {
        let hint = format!("name its tests, or begin its rule with \"{NONE}\"");
        faults.push(format!("{PAGE}: trap {number}: {hint}"));
    }
    // Whoever adds tests of a trap says so in the table.
    let has_own = tests.iter().any(|test| test.starts_with(&own));
    if has_own && !named.iter().any(|name| name.starts_with(&own)) {
        faults.push(format!("{PAGE}: trap {number} does not name `{own}*`"));
    }
    faults
}

/// The names of all tests.
fn tests(files: &[File]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let text = code(&file.text);
        for (at, _) in text.match_indices("#[test]") {
            let declared = text[at..]
                .split_once("fn ")
                .and_then(|(_, rest)| rest.split_once('('));
            names.extend(declared.map(|(name, _)| name.to_owned()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(rows: &[&str], rust: &str) -> Vec<String> {
        let mut page: Vec<String> = rows.iter().map(|row| (*row).to_owned()).collect();
        for number in rows.len() + 1..=TRAPS {
            page.push(format!("| {number} | a | none: b | |"));
        }
        let files = [
            File::new(PAGE, &page.join("\n")),
            File::new("shard/tests/a.rs", rust),
        ];
        untested_traps(&files)
    }

    #[test]
    fn rows_without_tests_and_tests_without_rows_are_found() {
        let rust = "#[test]\nfn trap_1_x() {}\n#[test]\n#[ignore]\nfn other() {}\nfn helper() {}\n";
        assert_eq!(
            problems(&["| 1 | a | b | `trap_1_*`, `other` |"], rust),
            [""; 0]
        );
        for row in [
            "| 1 | a | b | `trap_1_*`, `helper` |",
            "| 1 | a | b | `trap_1_*`, `trap_2_*` |",
            "| 1 | a | b | `other` |",
            "| 1 | a | b | |",
            "| 1 | a | none: c | `trap_1_*` |",
            "| 2 | a | b | `trap_1_*` |",
            "| 1 |  | b | `trap_1_*` |",
        ] {
            assert!(!problems(&[row], rust).is_empty(), "{row}");
        }
        assert!(
            problems(&["| 1 | a | none: b | |"], rust).len() == 1,
            "a test without its row"
        );
        assert_eq!(untested_traps(&[]).len(), 1);
    }
}
