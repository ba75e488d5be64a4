//! What the pages have to say, and that they say it of what is there.

use std::collections::BTreeSet;

use crate::tree::{File, has_word};

/// Where a reader starts; every page can be reached from there.
const START: &str = "docs/architecture.md";
const README: &str = "README.md";
const TESTING: &str = "docs/testing.md";
const DEPENDENCIES: &str = "docs/dependencies.md";

/// What a fresh machine needs to be told.
const COMMANDS: [&str; 2] = ["make demo", "make test"];

/// Links to files that are not there.
pub(crate) fn broken_links(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for page in files.iter().filter(|file| file.is_page()) {
        for link in links(&page.text) {
            let Some(target) = local_target(&page.path, link) else {
                continue;
            };
            let below = format!("{target}/");
            let there = files
                .iter()
                .any(|file| file.path == target || file.path.starts_with(&below));
            // Compressed data is no text file.
            if !there && !crate::tree::root().join(&target).exists() {
                problems.push(format!("{}: {link} leads nowhere", page.path));
                continue;
            }
            if let Some((_, anchor)) = link.split_once('#')
                && let Some(text) = page_at(files, &target)
                && !headings(&text.text).any(|heading| anchor_of(heading) == anchor)
            {
                problems.push(format!("{}: {link} names no heading", page.path));
            }
        }
    }
    problems
}

/// Pages below `docs/` that no path of links leads to.
pub(crate) fn lost_pages(files: &[File]) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![START.to_owned()];
    while let Some(target) = next.pop() {
        let Some(page) = page_at(files, &target) else {
            continue;
        };
        if !reached.insert(&page.path) {
            continue;
        }
        next.extend(links(&page.text).filter_map(|link| local_target(&page.path, link)));
    }
    files
        .iter()
        .filter(|file| file.is_page() && file.path.starts_with("docs/"))
        .filter(|file| !reached.contains(&file.path))
        .map(|file| format!("{}: no link from {START} leads here", file.path))
        .collect()
}

/// Commands that the README does not show.
pub(crate) fn missing_commands(files: &[File]) -> Vec<String> {
    let readme = page_at(files, README).map_or("", |page| &page.text);
    COMMANDS
        .iter()
        .filter(|command| !readme.contains(*command))
        .map(|command| format!("{README}: does not show `{command}`"))
        .collect()
}

/// Variables that are read but not explained, or explained but not read.
pub(crate) fn variables(files: &[File]) -> Vec<String> {
    let explained = page_at(files, TESTING)
        .map(|page| variables_in(&page.text).collect::<BTreeSet<_>>())
        .unwrap_or_default();
    let reads = |file: &&File| !file.is_page() && !file.path.starts_with("engine/tests/tidy/");
    let read: BTreeSet<&str> = files
        .iter()
        .filter(reads)
        .flat_map(|file| variables_in(&file.text))
        .collect();
    let unexplained = read.difference(&explained);
    let unread = explained.difference(&read);
    unexplained
        .map(|name| format!("{TESTING}: does not explain {name}"))
        .chain(unread.map(|name| format!("{TESTING}: nothing reads {name}")))
        .collect()
}

/// Direct dependencies without a line of reasons, and lines of reasons without a dependency.
pub(crate) fn dependencies(files: &[File]) -> Vec<String> {
    let used: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .flat_map(|manifest| dependencies_in(&manifest.text))
        .filter(|name| !name.starts_with("ringmill-"))
        .collect();
    let table = page_at(files, DEPENDENCIES).map_or("", |page| &page.text);
    let listed: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let unlisted = used.difference(&listed);
    let unused = listed.difference(&used);
    unlisted
        .map(|name| format!("{DEPENDENCIES}: does not list {name}"))
        .chain(unused.map(|name| format!("{DEPENDENCIES}: no crate uses {name}")))
        .collect()
}

/// The page at `target`, or the one that a folder is shown with.
fn page_at<'f>(files: &'f [File], target: &str) -> Option<&'f File> {
    let target = target.trim_end_matches('/');
    let index = format!("{target}/README.md");
    files
        .iter()
        .find(|file| file.is_page() && (file.path == target || file.path == index))
}

/// Targets of the links of a page, code left out.
fn links(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| {
        let targets = line.split("](").skip(1);
        targets.filter_map(|rest| rest.split(')').next())
    })
}

/// Lines outside of code fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn headings(text: &str) -> impl Iterator<Item = &str> {
    prose(text).filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| heading.trim())
    })
}

/// The anchor that is made of a heading.
fn anchor_of(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Where a link of `page` leads inside the repository; none if it leads out of it.
fn local_target(page: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() {
        return Some(page.to_owned());
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn variables_in(text: &str) -> impl Iterator<Item = &str> {
    let prefix = concat!("RING", "MILL_");
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let name = &text[at..];
        let end = name.find(|c: char| !c.is_ascii_uppercase() && c != '_');
        let name = &name[..end.unwrap_or(name.len())];
        (name.len() > prefix.len()).then_some(name)
    })
}

/// Names in the dependency tables of a manifest.
fn dependencies_in(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            inside = has_word(line, "dependencies") || line.ends_with("-dependencies]");
            return None;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        (inside && !name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(pages: &[(&str, &str)]) -> Vec<File> {
        pages
            .iter()
            .map(|&(path, text)| File::new(path, text))
            .collect()
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let good = "[a](b/c.md#one-two) [d](b/) [e](#top) [f](https://x.y/z)\n# Top\n";
        let files = tree(&[
            ("docs/a.md", good),
            ("docs/b/c.md", "## One, two\n[up](../a.md)\n"),
        ]);
        assert_eq!(broken_links(&files), [""; 0]);
        for bad in ["no.md", "b/c.md#three", "../b/c.md", "#one"] {
            let files = tree(&[
                (
                    "docs/a.md",
                    &format!("# Top\n[x]({bad})\n```\n[y](z.md)\n```\n"),
                ),
                ("docs/b/c.md", "## One, two\n"),
            ]);
            assert_eq!(broken_links(&files).len(), 1, "{bad}");
        }
    }

    #[test]
    fn pages_without_a_way_to_them_are_found() {
        let mut pages = vec![
            (START, "[b](b/)\n"),
            ("docs/b/README.md", "[c](c.md)\n"),
            ("docs/b/c.md", "[back](../architecture.md)\n"),
        ];
        assert_eq!(lost_pages(&tree(&pages)), [""; 0]);
        pages.push(("docs/lost.md", "[a](architecture.md)\n"));
        assert_eq!(lost_pages(&tree(&pages)).len(), 1);
    }

    #[test]
    fn a_readme_without_its_commands_is_found() {
        assert_eq!(missing_commands(&tree(&[(README, "make test")])).len(), 1);
        assert!(missing_commands(&tree(&[(README, "make demo\nmake test")])).is_empty());
    }

    #[test]
    fn variables_and_dependencies_are_compared_both_ways() {
        let prefix = concat!("RING", "MILL_");
        let source = format!("\"{prefix}A\" {prefix}B_C {prefix}*");
        let page = format!("`{prefix}A` and {prefix}D");
        let files = tree(&[("shard/tests/x.rs", &source), (TESTING, &page)]);
        assert_eq!(variables(&files).len(), 2, "{:?}", variables(&files));
        let manifest = "[package]\nname = 1\n[dependencies]\na.workspace = true\n# b\n\
            ringmill-x = 1\n[target.'cfg(c)'.dependencies]\nd = { e = 1 }\n[dev-dependencies]\nf = 1\n\
            [features]\ng = []\n";
        let page = "| `a` | why |\n| `f` | why |\n| `h` | why |\n";
        let files = tree(&[("x/Cargo.toml", manifest), (DEPENDENCIES, page)]);
        let found = dependencies(&files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("list d") && found[1].ends_with("uses h"));
    }
}
