//! The rungs of the ladder, and which of them a command names.

use anyhow::{Context, Result, bail};

use crate::cargo;

/// The order of the privileged rungs, cheapest first; others come after these, by name.
const ORDER: [&str; 9] =
    ["source", "testbed", "node", "packets", "fuzz", "verifier", "dropin", "e2e", "cluster"];

/// One rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// `cargo xtask check`.
    Check,
    /// Unit and property tests of every crate; no privileges.
    Unit,
    /// A test target of the package `sluice-tests`; root.
    Privileged(String),
    /// Some of those in guests with other kernels; root.
    Vm,
}

impl Rung {
    /// What the command line calls it.
    pub(super) fn name(&self) -> &str {
        match self {
            Rung::Check => "check",
            Rung::Unit => "unit",
            Rung::Privileged(target) => target,
            Rung::Vm => "vm",
        }
    }

    /// Whether it needs root.
    pub(super) fn is_privileged(&self) -> bool {
        matches!(self, Rung::Privileged(_) | Rung::Vm)
    }
}

/// All rungs, in order. The privileged ones are what `tests/Cargo.toml` declares, so that a new
/// target cannot be forgotten here.
pub(super) fn all() -> Result<Vec<Rung>> {
    let output = cargo::cargo("metadata")
        .args(["--locked", "--no-deps", "--format-version", "1"])
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("reading the workspace failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut targets = test_targets(&output.stdout)?;
    let place = |name: &String| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len());
    targets.sort_by_key(|name| (place(name), name.clone()));
    let fixed = [Rung::Check, Rung::Unit].into_iter();
    Ok(fixed.chain(targets.into_iter().map(Rung::Privileged)).chain([Rung::Vm]).collect())
}

fn test_targets(metadata: &[u8]) -> Result<Vec<String>> {
    let metadata: serde_json::Value =
        serde_json::from_slice(metadata).context("reading the answer of cargo metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let tests = packages.filter(|package| package["name"] == "sluice-tests");
    let targets = tests.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let is_test = |target: &&serde_json::Value| target["kind"][0] == "test";
    Ok(targets.filter(is_test).filter_map(|t| t["name"].as_str().map(str::to_owned)).collect())
}

/// The named rungs, in the ladder's order; all when none is named.
pub(super) fn select(all: &[Rung], names: &[String]) -> Result<Vec<Rung>> {
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|r| r.name() == **name)) {
        let known: Vec<_> = all.iter().map(Rung::name).collect();
        bail!("there is no rung {unknown}; the rungs are {}", known.join(", "));
    }
    let named = |rung: &&Rung| names.is_empty() || names.iter().any(|name| name == rung.name());
    Ok(all.iter().filter(named).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_targets_are_those_of_the_tests_package() {
        let metadata = br#"{"packages": [
            {"name": "sluice", "targets": [{"kind": ["test"], "name": "other"}]},
            {"name": "sluice-tests", "targets": [
                {"kind": ["lib"], "name": "testbed"}, {"kind": ["test"], "name": "packets"}]}]}"#;
        assert_eq!(test_targets(metadata).unwrap(), ["packets"]);
    }

    #[test]
    fn rungs_keep_their_order_and_unknown_names_are_refused() {
        let all = [Rung::Check, Rung::Unit, Rung::Privileged("packets".to_owned())];
        let names = ["packets".to_owned(), "check".to_owned()];
        assert_eq!(select(&all, &names).unwrap(), [all[0].clone(), all[2].clone()]);
        assert_eq!(select(&all, &[]).unwrap(), all);
        assert!(select(&all, &["moon".to_owned()]).is_err());
    }
}
