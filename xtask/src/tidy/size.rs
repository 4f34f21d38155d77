//! A file that needs scrolling needs a reason.

use super::{Broken, tree::Source};

/// Lines a file may have without a reason.
const LIMIT: usize = 300;

/// Files that are longer, and why that is better than splitting them.
const LONGER: [(&str, &str); 0] = [];

/// Whether the file is too long.
pub(super) fn check(source: &Source) -> Option<Broken> {
    let lines = source.text.lines().count();
    let excused = LONGER.iter().any(|(path, _)| *path == source.path);
    (lines > LIMIT && !excused).then(|| {
        let remedy = "split it, or give a reason in xtask/src/tidy/size.rs";
        source.broken(lines, format!("{lines} lines, more than {LIMIT}: {remedy}"))
    })
}

/// Entries of [`LONGER`] that excuse nothing any more.
pub(super) fn stale(tree: &[Source]) -> Vec<Broken> {
    let long = |path: &str| tree.iter().any(|s| s.path == path && s.text.lines().count() > LIMIT);
    let stale = LONGER.iter().filter(|(path, _)| !long(path));
    stale
        .map(|(path, _)| Broken {
            path: "xtask/src/tidy/size.rs".to_owned(),
            line: 1,
            what: format!("{path} is not longer than {LIMIT} lines: remove its entry"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_reported() {
        let file = |lines| Source { path: "a.rs".to_owned(), text: "x\n".repeat(lines) };
        assert!(check(&file(LIMIT)).is_none());
        assert!(check(&file(LIMIT + 1)).is_some());
    }
}
