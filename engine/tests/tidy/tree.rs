//! The files of the repository, and Rust text without its comments and literals.

use std::path::{Path, PathBuf};

/// What the repository holds beside the files of its root.
const FOLDERS: [&str; 7] = [
    ".ci", "benches", "docs", "engine", "loadgen", "shard", "storage",
];

/// A text file.
pub(crate) struct File {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_page(&self) -> bool {
        self.path.ends_with(".md")
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR"));
    engine
        .parent()
        .expect("invariant: a member lies in its workspace")
        .to_owned()
}

/// Every text file of the repository, in the order of their paths. Needs no git: what a build or a
/// run leaves behind lies outside [`FOLDERS`] or in `target`.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&root).expect("the root can be listed") {
        let path = entry.expect("the root can be listed").path();
        // In a linked work tree `.git` is a file that names another place of the machine.
        if path.is_file() && !path.ends_with(".git") {
            paths.push(path);
        }
    }
    for folder in FOLDERS {
        walk(&root.join(folder), &mut paths);
    }
    paths.sort();
    paths
        .iter()
        .filter_map(|path| {
            let text = String::from_utf8(std::fs::read(path).ok()?).ok()?;
            let path = path.strip_prefix(&root).expect("invariant: found below it");
            let path = path.to_str().expect("paths are UTF-8").to_owned();
            Some(File { path, text })
        })
        .collect()
}

fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a folder can be listed").path();
        if path.is_file() {
            into.push(path);
        } else if path.is_dir() && !path.ends_with("target") {
            walk(&path, into);
        }
    }
}

/// The same text with comments and the insides of literals blanked, line by line, so that what is
/// left is code. Knows line and nested block comments, strings, raw strings and characters.
pub(crate) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(next) = rest.chars().next() {
        let blank = blank_bytes(rest, in_word);
        let taken = if blank > 0 { blank } else { next.len_utf8() };
        for character in rest[..taken].chars() {
            let kept = blank == 0 || character == '\n';
            out.push(if kept { character } else { ' ' });
        }
        in_word = blank == 0 && (next.is_alphanumeric() || next == '_');
        rest = &rest[taken..];
    }
    out
}

/// Length of the comment or literal that `rest` begins with, 0 if it begins with none. `in_word`
/// says that the character before belongs to a word, so that `for"` is no raw string.
fn blank_bytes(rest: &str, in_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_bytes(rest);
    }
    if rest.starts_with('"') {
        return string_bytes(rest);
    }
    if rest.starts_with('\'') {
        return character_bytes(rest);
    }
    if in_word {
        return 0;
    }
    raw_string_bytes(rest)
}

fn block_comment_bytes(rest: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string_bytes(rest: &str) -> usize {
    let mut escaped = true; // The opening quote is not the end.
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// A lifetime is no literal: a character ends with a quote right behind it.
fn character_bytes(rest: &str) -> usize {
    let inside = &rest[1..];
    if let Some(escape) = inside.strip_prefix('\\') {
        let after = escape.chars().next().map_or(0, char::len_utf8);
        return escape[after..]
            .find('\'')
            .map_or(0, |end| 2 + after + end + 1);
    }
    let bytes = inside.chars().next().map_or(0, char::len_utf8);
    if bytes > 0 && inside[bytes..].starts_with('\'') {
        return 1 + bytes + 1;
    }
    0
}

fn raw_string_bytes(rest: &str) -> usize {
    let head = rest.strip_prefix('b').unwrap_or(rest);
    let Some(fence) = head.strip_prefix('r') else {
        return 0;
    };
    let marks = fence.bytes().take_while(|&byte| byte == b'#').count();
    if !fence[marks..].starts_with('"') {
        return 0;
    }
    let begin = rest.len() - fence.len() + marks + 1;
    let end = format!("\"{}", "#".repeat(marks));
    rest[begin..]
        .find(&end)
        .map_or(rest.len(), |at| begin + at + end.len())
}

/// Whether `word` stands in `text` with no letter, digit or underscore beside it.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(part_of_word) && !text[at + word.len()..].starts_with(part_of_word)
    })
}

#[test]
fn code_is_what_is_left() {
    let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" i '\\'' j '\"' k r#\"l \" m\"# n<'o> p\n";
    let words: Vec<String> = code(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "e", "i", "j", "k", "n<'o>", "p"]);
    assert_eq!(code(text).lines().count(), 2);
    let code = code("for x in br\"y\" { 'z'; b'\\\\'; '\\u{41}'; }");
    assert_eq!(
        code.split_whitespace().collect::<String>(),
        "forxin{;b;;}",
        "{code}"
    );
}

#[test]
fn words_end_where_they_end() {
    assert!(has_word("x = unsafe {", "unsafe"));
    assert!(!has_word("unsafe_code, not_unsafe", "unsafe"));
}
