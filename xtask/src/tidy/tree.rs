//! The text files of the tree.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::Broken;

/// Folders that hold nothing we wrote.
const SKIPPED: [&str; 4] = [".git", ".tools", "target", "fixtures"];
/// What we read: the rest has no rules.
const KINDS: [&str; 5] = ["rs", "md", "toml", "yaml", "sh"];

/// One file.
pub(super) struct Source {
    /// From the root, with forward slashes.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// The lines, numbered as editors number them.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// A broken rule in this file.
    pub(super) fn broken(&self, line: usize, what: String) -> Broken {
        Broken { path: self.path.clone(), line, what }
    }
}

/// Reads every file of ours, in the order of their paths.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    walk(root, root, &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn walk(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().with_context(|| format!("reading {}", path.display()))?;
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            walk(root, &path, sources)?;
        } else if kind.is_file()
            && path.extension().is_some_and(|e| KINDS.iter().any(|kind| e == *kind))
        {
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            sources.push(Source { path, text });
        }
    }
    Ok(())
}
