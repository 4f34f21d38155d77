//! The invariants of ARCHITECTURE.md that a look at the text can enforce.

mod contract;
mod docs;
mod layers;
mod size;
mod tree;

use std::{fmt, path::Path};

use anyhow::Result;

use tree::Source;

/// One broken rule, where and which.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Everything that is broken below `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<Broken>> {
    let tree = tree::read(root)?;
    let mut broken = Vec::new();
    for source in &tree {
        broken.extend(outside_the_tree(source));
        if source.path.ends_with(".rs") {
            broken.extend(layers::check(source));
            broken.extend(size::check(source));
        }
        if source.path.ends_with(".md") {
            broken.extend(docs::links(source, root));
        }
        if source.path == docs::REASONS {
            broken.extend(docs::reasons(source));
        }
        if source.path == contract::RULES {
            broken.extend(contract::check(source, &tree));
        }
    }
    broken.extend(size::stale(&tree));
    Ok(broken)
}

/// The project stands on its own: no file names the folder that was beside it when it was written.
fn outside_the_tree(source: &Source) -> Vec<Broken> {
    let outside = concat!("../", "shared");
    let names_it = |(_, line): &(usize, &str)| line.contains(outside);
    let report = |(line, _)| source.broken(line, format!("names {outside}, outside the tree"));
    source.lines().filter(names_it).map(report).collect()
}
