//! What the maps of a cluster's nodes hold, compared with what they should.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use sluice::cli::service::{Row, rows};
use testbed::{
    Cluster, Node,
    address::{Family, SERVER_PORT},
};

use crate::world::{node_port, vip};

/// Backends by protocol and frontend.
type Table = BTreeMap<(String, String), BTreeSet<String>>;

/// Whether every node's maps hold exactly these Services, by number and pods.
pub(crate) fn holds(cluster: &Cluster, services: &[(u8, &[usize])]) -> Result<()> {
    let expected = expected(cluster, services)?;
    for node in cluster.nodes() {
        let found = table(node)?;
        let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        let mut wrong = keys.into_iter().filter(|key| expected.get(*key) != found.get(*key));
        if let Some(key) = wrong.next() {
            let (wanted, more) = (expected.get(key), wrong.count());
            ensure!(
                false,
                "{}: {key:?} is {:?}, not {wanted:?}, and {more} more",
                node.name(),
                found.get(key)
            );
        }
    }
    Ok(())
}

fn expected(cluster: &Cluster, services: &[(u8, &[usize])]) -> Result<Table> {
    let mut table = Table::new();
    for (number, pods) in services {
        for family in Family::BOTH {
            let pods = pods.iter().map(|pod| {
                let address = cluster.pod(*pod)?.address();
                Ok(address.port(family, SERVER_PORT).to_string())
            });
            let pods = pods.collect::<Result<BTreeSet<_>>>()?;
            let any = match family {
                Family::V4 => format!("0.0.0.0:{}", node_port(*number)),
                Family::V6 => format!("[::]:{}", node_port(*number)),
            };
            for protocol in ["TCP", "UDP"] {
                for at in [vip(*number, family).to_string(), any.clone()] {
                    table.insert((protocol.to_owned(), at), pods.clone());
                }
            }
        }
    }
    Ok(table)
}

/// What a node's maps hold, by way of the command line's own view.
fn table(node: &Node) -> Result<Table> {
    let rows = rows(node.bpf_root()).with_context(|| format!("reading {}", node.name()))?;
    let entry = |row: Row| ((row.protocol, row.frontend), row.backends.into_iter().collect());
    Ok(rows.into_iter().map(entry).collect())
}
