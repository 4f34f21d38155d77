//! Overlays between nodes that the kernel makes of devices without an Ethernet header.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::address::{self, Family};
use crate::netns;
use crate::scope::Scope;

const WIREGUARD_PORT: u16 = 51_820;

/// A tunnel to each peer for each family: IPv4 and IPv6, both in IPv4.
pub(super) fn ipip(scope: &Scope, n: u8, nodes: u8) -> Result<()> {
    let device = |peer, family| match family {
        Family::V4 => format!("ipip{peer}"),
        Family::V6 => format!("sit0{peer}"),
    };
    let local = address::node(n).v4;
    let mut lines = Vec::new();
    for peer in peers(n, nodes) {
        let remote = address::node(peer).v4;
        for (family, kind) in [(Family::V4, "ipip"), (Family::V6, "sit")] {
            let device = device(peer, family);
            lines.push(format!("link add {device} type {kind} local {local} remote {remote}"));
        }
    }
    netns::ip(&scope.netns(&format!("node{n}")), &lines)?;
    route(scope, n, nodes, device)
}

/// A tunnel to each peer, for both families in IPv6.
pub(super) fn ip6tnl(scope: &Scope, n: u8, nodes: u8) -> Result<()> {
    let local = address::node(n).v6;
    let tunnel = |peer| {
        let remote = address::node(peer).v6;
        format!("link add ip6tnl0{peer} type ip6tnl mode any local {local} remote {remote}")
    };
    let lines: Vec<String> = peers(n, nodes).map(tunnel).collect();
    netns::ip(&scope.netns(&format!("node{n}")), &lines)?;
    route(scope, n, nodes, |peer, _| format!("ip6tnl0{peer}"))
}

/// One device for all peers, which knows by address whose key a packet takes.
pub(super) fn wireguard(scope: &Scope, n: u8, nodes: u8) -> Result<()> {
    let node = scope.netns(&format!("node{n}"));
    netns::ip(&node, &["link add wg0 type wireguard".into()])?;
    let mut text =
        format!("[Interface]\nPrivateKey = {}\nListenPort = {WIREGUARD_PORT}\n", private_key(n));
    for peer in peers(n, nodes) {
        let far = address::node(peer);
        // A peer's own address too: what a pod sends to it in the clear is answered through here.
        text += &format!(
            "[Peer]\nPublicKey = {}\nEndpoint = {}:{WIREGUARD_PORT}\n\
             AllowedIPs = 10.244.{peer}.0/24, fd00:10:244:{peer}::/64, {}/32, {}/128\n",
            wg("pubkey", &[], &private_key(peer))?.trim(),
            far.v4,
            far.v4,
            far.v6,
        );
    }
    netns::within(&node, || wg("setconf", &["wg0", "/proc/self/fd/0"], &text))??;
    route(scope, n, nodes, |_, _| "wg0".to_owned())
}

/// A node's key, the same in every cluster: 32 bytes in base64.
fn private_key(n: u8) -> String {
    char::from(b'A' + n).to_string().repeat(42) + "A="
}

/// Runs `wg`; returns what it printed.
fn wg(command: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("wg")
        .arg(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting wg; install wireguard-tools")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("wg {command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Everybody but node `n`.
fn peers(n: u8, nodes: u8) -> impl Iterator<Item = u8> {
    (1..=nodes).filter(move |peer| *peer != n)
}

/// Leads packets to other nodes' pods into a device for the peer and the family. Each device has
/// the overlay's address: what leaves by it is masqueraded so (A41).
pub(super) fn route(
    scope: &Scope,
    n: u8,
    nodes: u8,
    device: impl Fn(u8, Family) -> String,
) -> Result<()> {
    let own = address::overlay(n);
    let mut lines = Vec::new();
    for family in Family::BOTH {
        let (length, flag) = match family {
            Family::V4 => (32, ""),
            Family::V6 => (128, "nodad"),
        };
        let mut devices: Vec<_> = peers(n, nodes).map(|peer| device(peer, family)).collect();
        devices.dedup();
        for device in devices {
            lines.push(format!("link set {device} mtu {} up", super::TUNNEL_MTU));
            lines.push(format!("addr add {}/{length} dev {device} {flag}", own.ip(family)));
        }
        for peer in peers(n, nodes) {
            let pods = match family {
                Family::V4 => format!("10.244.{peer}.0/24"),
                Family::V6 => format!("fd00:10:244:{peer}::/64"),
            };
            lines.push(format!("route add {pods} dev {}", device(peer, family)));
        }
    }
    netns::ip(&scope.netns(&format!("node{n}")), &lines)
}
