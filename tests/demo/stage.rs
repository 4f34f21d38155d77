//! The node, its pods, the client, and a copy of the manifests for `sluice` to follow.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testbed::{Cluster, Node, Place, Sluice, Source, Topology};

use crate::interrupt;

/// How many pods answer.
pub(crate) const PODS: usize = 3;

/// Everything the demo plays with, but the controller.
#[derive(Debug)]
pub(crate) struct Stage {
    manifests: PathBuf,
    cluster: Cluster,
}

impl Stage {
    /// Builds it.
    pub(crate) fn build() -> Result<Self> {
        let _undisturbed = interrupt::hands();
        let cluster = Cluster::builder(Topology::Bridge).nodes(1).pods_per_node(3).build()?;
        let manifests = cluster.dir("manifests")?;
        copy(&original(), &manifests)?;
        Ok(Self { manifests, cluster })
    }

    /// Starts the controller and waits until the datapath is programmed.
    pub(crate) fn start_sluice(&self) -> Result<Sluice> {
        let hands = interrupt::hands();
        let mut sluice = Sluice::start(self.node()?, Source::Manifests(&self.manifests))?;
        drop(hands);
        sluice.wait_ready()?;
        Ok(sluice)
    }

    /// The only node.
    pub(crate) fn node(&self) -> Result<&Node> {
        self.cluster.node(1)
    }

    /// The pod that asks; it is also one of those that answer.
    pub(crate) fn pod(&self) -> Result<&Place> {
        Ok(self.cluster.pod(1)?)
    }

    /// Who asks from outside.
    pub(crate) fn client(&self) -> &Place {
        self.cluster.client()
    }

    /// Leaves only the last pod in the slices of `web`.
    pub(crate) fn keep_last_endpoint(&self) -> Result<()> {
        for name in ["web-endpoints-ipv4.yaml", "web-endpoints-ipv6.yaml"] {
            let path = self.manifests.join(name);
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let mut slice: Value = serde_saphyr::from_str(&text)
                .with_context(|| format!("reading {} as YAML", path.display()))?;
            let Some(endpoints) = slice["endpoints"].as_array_mut() else {
                bail!("{} has no endpoints", path.display())
            };
            ensure!(endpoints.len() == PODS, "{} has not {PODS} endpoints", path.display());
            endpoints.drain(..PODS - 1);
            replace(&path, &serde_saphyr::to_string(&slice)?)?;
        }
        Ok(())
    }

    /// Runs a subcommand of `sluice` on the node and returns what it printed.
    pub(crate) fn inspect(&self, arguments: &[&str]) -> Result<String> {
        let _undisturbed = interrupt::hands();
        let output = Sluice::inspect(self.node()?, arguments)?;
        let error = String::from_utf8_lossy(&output.stderr);
        let command = arguments.join(" ");
        ensure!(output.status.success(), "sluice {command} failed: {}", error.trim());
        String::from_utf8(output.stdout).with_context(|| format!("reading sluice {command}"))
    }

    /// Runs a shell line on the node and returns what it printed.
    pub(crate) fn shell(&self, line: &str) -> Result<String> {
        let _undisturbed = interrupt::hands();
        self.node()?.shell(line)
    }
}

/// The manifests in the source tree.
fn original() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/demo")).to_owned()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))
            .with_context(|| format!("copying {}", entry.path().display()))?;
    }
    Ok(())
}

/// In one step, so that the controller never reads half a manifest.
fn replace(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).with_context(|| format!("writing {}", draft.display()))?;
    fs::rename(&draft, path).with_context(|| format!("writing {}", path.display()))
}
