//! `docs/formats/http.md` names every route and every problem of the HTTP interface, and no others.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    read("src/http.rs") + &sources_in(&dir)
}

fn sources_in(dir: &Path) -> String {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let source = |path: std::path::PathBuf| match path.is_dir() {
        true => sources_in(&path),
        false => fs::read_to_string(path).unwrap(),
    };
    paths.map(source).collect()
}

/// First cells of the rows of all tables whose second cell passes.
fn first_cells(page: &str, second: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (first, next) = (cells.next()?, cells.next()?);
        second(next).then_some(first.trim_matches('`'))
    });
    rows.collect()
}

#[test]
fn problems_of_the_page_are_those_of_the_code() {
    let page = read("../docs/formats/http.md");
    let documented = first_cells(&page, |status| {
        status.len() == 3 && status.parse::<u16>().is_ok()
    });
    let sources = sources();
    // The name stands behind the status wherever a problem is made.
    let made = sources.split("StatusCode::").filter_map(|rest| {
        let (_, rest) = rest.split_once(',')?;
        rest.trim_start()
            .strip_prefix('"')?
            .split_once('"')
            .map(|(name, _)| name)
    });
    let made: BTreeSet<&str> = made.collect();
    assert!(made.len() > 15, "{made:?}");
    assert_eq!(documented, made);
}

#[test]
fn routes_of_the_page_are_those_of_the_code() {
    let page = read("../docs/formats/http.md");
    let routes = page.lines().filter_map(|line| {
        let cell = line.strip_prefix("| `")?.split('`').next()?;
        let path = cell.strip_prefix("GET ").or(cell.strip_prefix("POST "))?;
        path.starts_with('/').then_some(path)
    });
    let documented: BTreeSet<&str> = routes.collect();
    let source = read("src/http.rs");
    let routed = source
        .split(".route(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1));
    let routed: BTreeSet<&str> = routed.collect();
    assert_eq!(documented, routed);
}
