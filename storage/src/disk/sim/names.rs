//! The simulated namespace: names as reads see them, names as a power loss leaves them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::rng::SimRng;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File(usize),
}

/// A change of names that its directory has not been flushed for.
#[derive(Clone, Debug)]
enum Change {
    Add(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn directory(&self) -> Option<&Path> {
        match self {
            Change::Add(path, _) | Change::Rename(path, _) | Change::Remove(path) => path.parent(),
        }
    }

    /// Applies the change if what it stands on is there.
    fn apply(self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Change::Add(path, node) => {
                names.insert(path, node);
            }
            Change::Rename(from, to) => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
            Change::Remove(path) => {
                names.remove(&path);
            }
        }
    }
}

/// Two views of the names and the changes between them, in order.
#[derive(Default)]
pub(super) struct Names {
    seen: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    changes: Vec<Change>,
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        self.seen.get(path).copied()
    }

    pub(super) fn add(&mut self, path: &Path, node: Node) {
        self.change(Change::Add(path.to_path_buf(), node));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        assert_eq!(
            from.parent(),
            to.parent(),
            "a rename stays in its directory"
        );
        self.change(Change::Rename(from.to_path_buf(), to.to_path_buf()));
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.change(Change::Remove(path.to_path_buf()));
    }

    pub(super) fn sync(&mut self, directory: &Path) {
        for change in std::mem::take(&mut self.changes) {
            if change.directory() == Some(directory) {
                change.apply(&mut self.durable);
            } else {
                self.changes.push(change);
            }
        }
    }

    /// Each change that was not flushed survives with probability `rate`, on its own. A file whose
    /// directory did not survive is gone with it.
    pub(super) fn lose_power(&mut self, rate: u32, rng: &mut SimRng) {
        for change in std::mem::take(&mut self.changes) {
            if rng.chance(rate) {
                change.apply(&mut self.durable);
            }
        }
        let parents: Vec<PathBuf> = self.durable.keys().cloned().collect();
        for path in parents {
            let orphaned = path.parent().is_some_and(|parent| {
                parent.parent().is_some()
                    && !parent.as_os_str().is_empty()
                    && self.durable.get(parent) != Some(&Node::Directory)
            });
            if orphaned {
                self.durable.remove(&path);
            }
        }
        self.seen.clone_from(&self.durable);
    }

    /// Everything seen becomes durable.
    pub(super) fn settle(&mut self) {
        self.changes.clear();
        self.durable.clone_from(&self.seen);
    }

    /// Every file, in the order of paths.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, usize)> {
        self.seen.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.as_path(), *inode)),
            Node::Directory => None,
        })
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.seen);
        self.changes.push(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_on_their_own_until_their_directory_is_flushed() {
        let (dir, old, new) = (Path::new("/d"), Path::new("/d/old"), Path::new("/d/new"));
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut names = Names::default();
            names.add(dir, Node::Directory);
            names.sync(Path::new("/"));
            names.add(old, Node::File(1));
            names.rename(old, new);
            names.lose_power(32_768, &mut SimRng::new(seed));
            outcomes.insert((names.get(old).is_some(), names.get(new).is_some()));
        }
        assert_eq!(outcomes.len(), 3, "gone, old name, new name; never both");

        let mut names = Names::default();
        names.add(dir, Node::Directory);
        names.add(old, Node::File(1));
        names.sync(dir);
        names.lose_power(0, &mut SimRng::new(1));
        assert_eq!(names.get(old), None, "the directory itself was not durable");
    }
}
