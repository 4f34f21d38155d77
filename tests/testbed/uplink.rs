//! How a node is plugged into the switch. Its uplink is called `eth0`, whatever it is.

use anyhow::Result;

use crate::fabric::{MTU, SWITCH};
use crate::netns;
use crate::scope::Scope;

/// What carries a node's own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uplink {
    /// The cable itself.
    Cable,
    /// A vlan on the cable.
    Vlan,
    /// A bond of two cables, of which one is in use.
    Bond,
}

impl Uplink {
    /// Leads `eth0` of a namespace into the switch.
    pub(crate) fn plug(self, scope: &Scope, name: &str) -> Result<()> {
        match self {
            Self::Cable => cable(scope, name, name, "eth0").and_then(|()| join(scope, name)),
            Self::Vlan => vlan(scope, name),
            Self::Bond => bond(scope, name),
        }
    }
}

/// A cable from a port of the switch to a device.
fn cable(scope: &Scope, port: &str, name: &str, device: &str) -> Result<()> {
    netns::veth((&scope.netns(SWITCH), port), (&scope.netns(name), device), MTU)
}

fn join(scope: &Scope, port: &str) -> Result<()> {
    netns::ip(&scope.netns(SWITCH), &[format!("link set {port} master br0")])
}

/// Tagged on the cable only: the switch takes the tags off.
fn vlan(scope: &Scope, name: &str) -> Result<()> {
    cable(scope, name, name, "cable0")?;
    let tagged = |below: &str, above: &str| {
        vec![
            format!("link add link {below} name {above} type vlan id 7"),
            format!("link set {above} up"),
        ]
    };
    netns::ip(&scope.netns(SWITCH), &tagged(name, &format!("{name}.7")))?;
    netns::ip(&scope.netns(name), &tagged("cable0", "eth0"))?;
    join(scope, &format!("{name}.7"))
}

fn bond(scope: &Scope, name: &str) -> Result<()> {
    let bond = "link add eth0 type bond mode active-backup miimon 100";
    netns::ip(&scope.netns(name), &[bond.into(), "link set eth0 up".into()])?;
    for i in 0..2 {
        let (port, device) = (format!("{name}-{i}"), format!("cable{i}"));
        cable(scope, &port, name, &device)?;
        // A device that is up is no bond's.
        let enslave = [format!("link set {device} down"), format!("link set {device} master eth0")];
        netns::ip(&scope.netns(name), &enslave)?;
        join(scope, &port)?;
    }
    Ok(())
}
