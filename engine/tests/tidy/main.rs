//! The taste of the repository, as far as a program can check it. Each rule is a function from the
//! files to a list of what breaks it, and has a test of its own that it finds something.

mod code;
mod pages;
mod traps;
mod tree;

use tree::{File, files};

fn check(rule: impl Fn(&[File]) -> Vec<String>) {
    let files = files();
    assert!(files.len() > 100, "the whole repository was found");
    let problems = rule(&files);
    assert!(problems.is_empty(), "\n  {}\n", problems.join("\n  "));
}

#[test]
fn unsafe_code_stays_in_its_homes() {
    check(code::stray_unsafe);
}

#[test]
fn files_and_functions_stay_short() {
    check(code::too_long);
}

#[test]
fn nothing_was_left_for_later() {
    check(code::leftover_markers);
}

#[test]
fn no_line_of_output_can_panic() {
    check(code::panicking_output);
}

#[test]
fn everything_is_ascii() {
    check(code::not_ascii);
}

#[test]
fn nothing_names_one_machine_or_registry() {
    check(code::foreign_names);
}

#[test]
fn each_package_stays_in_its_home() {
    check(code::strayed_packages);
}

#[test]
fn every_link_leads_somewhere() {
    check(pages::broken_links);
}

#[test]
fn every_page_can_be_found() {
    check(pages::lost_pages);
}

#[test]
fn the_readme_shows_both_commands() {
    check(pages::missing_commands);
}

#[test]
fn every_variable_is_explained() {
    check(pages::variables);
}

#[test]
fn every_dependency_has_its_reason() {
    check(pages::dependencies);
}

#[test]
fn every_trap_has_its_tests() {
    check(traps::untested_traps);
}
