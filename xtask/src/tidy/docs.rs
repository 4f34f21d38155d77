//! Documents that keep up: links that resolve, and every reason explained.

use std::path::Path;

use sluice_common::reason::Reason;

use super::{Broken, tree::Source};

/// The document that explains every reason.
pub(super) const REASONS: &str = "docs/dataplane.md";

/// Reasons that the document does not name.
pub(super) fn reasons(source: &Source) -> Vec<Broken> {
    let named = |reason: &&Reason| source.text.contains(&format!("`{}`", reason.label()));
    let missing = Reason::ALL.iter().filter(|reason| !named(reason));
    missing
        .map(|reason| source.broken(1, format!("does not explain the reason `{}`", reason.label())))
        .collect()
}

/// Links to files that do not exist.
pub(super) fn links(source: &Source, root: &Path) -> Vec<Broken> {
    let file = root.join(&source.path);
    let folder = file.parent().unwrap_or(root);
    let mut fenced = false;
    let mut broken = Vec::new();
    for (number, line) in source.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let lost = |target: &&str| !resolves(target, folder);
        let report = |target| source.broken(number, format!("the link {target} leads nowhere"));
        broken.extend(targets(line).into_iter().filter(lost).map(report));
    }
    broken
}

/// The targets of the inline links in a line.
fn targets(line: &str) -> Vec<&str> {
    let after_text = line.split("](").skip(1);
    after_text.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

fn resolves(target: &str, folder: &Path) -> bool {
    let outside = ["https://", "http://", "mailto:", "#"];
    if outside.iter().any(|scheme| target.starts_with(scheme)) {
        return true;
    }
    let path = target.split_once('#').map_or(target, |(path, _)| path);
    folder.join(path).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("there.md"), "").unwrap();
        let text =
            "[a](there.md#part) [b](https://example.org)\n```\n[c](in-code)\n```\n[d](gone.md)";
        let source = Source { path: "README.md".to_owned(), text: text.to_owned() };
        let broken = links(&source, folder.path());
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].to_string(), "README.md:5: the link gone.md leads nowhere");
    }

    #[test]
    fn a_reason_without_an_explanation_is_reported() {
        let source = Source { path: REASONS.to_owned(), text: "`new-flow` begins".to_owned() };
        assert_eq!(reasons(&source).len(), Reason::ALL.len() - 1);
    }
}
