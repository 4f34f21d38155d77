//! docs/contract.md keeps up: it has every rule, and a test cites each one that is not open.

use std::collections::BTreeSet;

use super::{Broken, tree::Source};

/// The document that says where each rule is decided and tested.
pub(super) const RULES: &str = "docs/contract.md";

/// The rules it has to have: those of groups 1 to 6, and A97.
const GROUPS: [std::ops::RangeInclusive<u16>; 5] = [1..=38, 40..=54, 60..=63, 70..=77, 97..=97];

/// Rules without a row, and rows that are neither open nor cited by a test.
pub(super) fn check(document: &Source, tree: &[Source]) -> Vec<Broken> {
    let cited: BTreeSet<u16> = tree.iter().flat_map(|source| cited(tests(source))).collect();
    let mut missing: BTreeSet<u16> = GROUPS.into_iter().flatten().collect();
    let mut broken = Vec::new();
    for (number, line) in document.lines() {
        let Some(row) = line.strip_prefix("| A") else { continue };
        let Some(rule) = row.split(' ').next().and_then(|rule| rule.parse().ok()) else {
            broken.push(document.broken(number, "does not begin with a rule's number".to_owned()));
            continue;
        };
        missing.remove(&rule);
        let is_open = line.contains("open (#");
        if !is_open && !cited.contains(&rule) {
            let remedy = "cite it in the test, or say `open (#issue)` in the last column";
            broken.push(document.broken(number, format!("no test cites A{rule}: {remedy}")));
        }
    }
    let row = |rule| document.broken(1, format!("has no row for A{rule}"));
    broken.extend(missing.into_iter().map(row));
    broken
}

/// What a file has of tests: all of it, or what follows its first `#[cfg(test)]`, or its name.
fn tests(source: &Source) -> &str {
    let path = &source.path;
    if path.contains("tests/scenarios/") {
        return path;
    }
    if !path.ends_with(".rs") || path.starts_with("xtask/") {
        return "";
    }
    if path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("_tests.rs") {
        return &source.text;
    }
    source.text.find("#[cfg(test)]").map_or("", |start| &source.text[start..])
}

/// The rules that a text names: `A40`, `a40_` at the beginning of a test's name, `A42–A44`.
fn cited(text: &str) -> BTreeSet<u16> {
    let mut cited = BTreeSet::new();
    let mut before = ' ';
    let mut last = None;
    for (at, c) in text.char_indices() {
        let begins = matches!(c, 'A' | 'a') && !before.is_ascii_alphanumeric();
        before = c;
        let rest = &text[at + c.len_utf8()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Some(rule) = rest[..digits].parse::<u16>().ok().filter(|_| begins) else { continue };
        // `A17b` is a part of A17; `a1ff` is something else.
        let tail = rest[digits..].chars().take_while(char::is_ascii_alphanumeric).count();
        if tail > 1 {
            continue;
        }
        if let Some((end, first)) = last
            && [" to ", "–"].contains(&&text[end..at])
        {
            cited.extend(first..rule);
        }
        cited.insert(rule);
        last = Some((at + c.len_utf8() + digits, rule));
    }
    cited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn citations_are_found() {
        let text =
            "// A1, A17b and A42–A44, A20 to A22; not 0xa5, a6ff or fda7\nfn a40_a_name() {}";
        assert_eq!(cited(text), [1, 17, 20, 21, 22, 40, 42, 43, 44].into());
    }

    #[test]
    fn only_tests_count() {
        let text = "// A1\n#[cfg(test)]\nmod tests {} // A2\n";
        assert_eq!(cited(tests(&source("proxy-userspace/src/a.rs", text))), [2].into());
        assert_eq!(cited(tests(&source("tests/packets/a.rs", text))), [1, 2].into());
        assert_eq!(cited(tests(&source("docs/a.md", text))), [].into());
        assert_eq!(cited(tests(&source("a/tests/scenarios/A9-x.yaml", text))), [9].into());
    }

    #[test]
    fn rules_that_nobody_tests_are_reported() {
        let rows: String =
            GROUPS.into_iter().flatten().map(|rule| format!("| A{rule} | x | y | z |\n")).collect();
        let open = rows.replace("| A54 | x | y | z |", "| A54 | x | y | open (#3) |");
        let document = source(RULES, &open.replace("| A60 |", "| A600 |"));
        let test = source("tests/a.rs", "// A1 to A53, A60 to A77, A97, A600");
        let broken = check(&document, &[test]);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert_eq!(broken[0].to_string(), "docs/contract.md:1: has no row for A60");
        assert_eq!(check(&source(RULES, &rows), &[]).len(), rows.lines().count());
    }
}
