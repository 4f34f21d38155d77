//! Cases about the kernel's connection tracking, which somebody else has turned on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, bail, ensure};
use etherparse::PacketBuilder;
use socket2::{Domain, Protocol, Socket, Type};
use testbed::{
    Node,
    address::{self, Family, SERVER_PORT},
    wire::{Ask, Transport},
};

use crate::{
    bed::Bed,
    endpoint::pods,
    expect::{serves, soon},
    suite::Disruptive,
};

/// The port of the server that closes too early.
const CLOSING_PORT: u16 = 11_302;
/// Segments that no connection expects.
const FORGED: u64 = 10;
/// A raw socket that takes headers as they are: IPPROTO_RAW.
const RAW: i32 = 255;

pub(crate) const KUBE_PROXY: Disruptive = Disruptive {
    title: "KubeProxy",
    cases: &[("should set TCP CLOSE_WAIT timeout [Privileged]", close_wait)],
};

pub(crate) const CONNTRACK: Disruptive = Disruptive {
    title: "Conntrack",
    cases: &[(
        "proxy implementation should not be vulnerable to the invalid conntrack state bug [Privileged]",
        invalid,
    )],
};

/// Turns connection tracking on for as long as it lives: a rule that asks is enough.
struct Tracking<'a>(&'a Node);

impl<'a> Tracking<'a> {
    fn on(node: &'a Node) -> Result<Self> {
        let chain = "chain c { type filter hook forward priority 0; ct state new accept; }";
        node.shell(&format!("nft 'table inet e2e {{\n{chain}\n}}'"))?;
        Ok(Self(node))
    }
}

impl Drop for Tracking<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.shell("nft delete table inet e2e") {
            eprintln!("turning connection tracking off again: {error:#}");
        }
    }
}

/// A server says that it is done, its client does not: the client's node waits for an hour, which
/// is kube-proxy's default.
fn close_wait(bed: &mut Bed) -> Result<()> {
    for node in bed.cluster.nodes() {
        let path = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait";
        let value = node.shell(&format!("cat {path}"))?;
        ensure!(value.trim() == "3600", "{}: {value}", node.name());
    }
    let (node, at) = (bed.node(1), address::node(2).port(Family::V4, CLOSING_PORT));
    let _tracking = Tracking::on(node)?;
    let listener = bed.node(2).run(|| TcpListener::bind(at))??;
    let mut client = bed.pod(2).run(|| TcpStream::connect(at))??;
    let (mut server, _peer) = listener.accept()?;
    client.write_all(b"x")?;
    server.read_exact(&mut [0])?;
    server.shutdown(std::net::Shutdown::Write)?;
    ensure!(client.read(&mut [0])? == 0, "the server closes");
    let left = soon(|| {
        let list = node.shell(&format!("conntrack -L -p tcp -d {} 2>&1", at.ip()))?;
        let is_ours = |line: &&str| line.contains(&format!("dport={CLOSING_PORT}"));
        let line = list.lines().find(is_ours).context("the connection is not tracked")?;
        ensure!(line.contains(" CLOSE_WAIT "), "{line}");
        Ok(line.split_whitespace().nth(2).context("no timeout")?.parse::<u32>()?)
    })?;
    ensure!((3_540..=3_600).contains(&left), "ends in {left} s");
    Ok(())
}

/// Segments out of any window, which conntrack calls invalid and takes no part in, come from the
/// endpoint. The client has to get them as the Service's, or it would reset the connection (A77).
fn invalid(bed: &mut Bed) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[3]))?;
    serves(bed.pod(2), |f| service.vip(f), "pod3")?;
    let _tracking = (Tracking::on(bed.node(1))?, Tracking::on(bed.node(2))?);
    let pod = bed.pod(2);
    let held = pod.open(Ask::new(Transport::Tcp, service.vip(Family::V4)))?;
    let reply = held.echo()?;
    let server = bed.pod(3).address().port(Family::V4, SERVER_PORT);
    let before = segments(bed)?;
    bed.pod(3).run(|| forge(server, reply.seen_source))??;
    soon(|| {
        let now = segments(bed)?;
        ensure!(now.received >= before.received + FORGED, "{now:?} after {before:?}");
        Ok(())
    })?;
    let again = held.echo()?;
    ensure!(again.who == "pod3" && again.seen_source == reply.seen_source, "{again:?}");
    let after = segments(bed)?;
    ensure!(after.resets == before.resets, "{after:?} after {before:?}");
    Ok(())
}

/// Sends segments that belong to no connection's window.
fn forge(from: SocketAddr, to: SocketAddr) -> Result<()> {
    let (SocketAddr::V4(source), SocketAddr::V4(target)) = (from, to) else {
        bail!("{from} and {to} are not both of IPv4");
    };
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?;
    for n in 0..FORGED {
        let sequence = 0x4000_0000_u32.wrapping_mul(n as u32);
        let packet = PacketBuilder::ipv4(source.ip().octets(), target.ip().octets(), 64)
            .tcp(source.port(), target.port(), sequence, 1_000)
            .ack(0x2000_0000_u32.wrapping_add(sequence));
        let mut bytes = Vec::new();
        packet.write(&mut bytes, b"boom")?;
        socket.send_to(&bytes, &to.into())?;
    }
    Ok(())
}

/// What pod 2 counted of TCP.
#[derive(Debug)]
struct Segments {
    received: u64,
    resets: u64,
}

fn segments(bed: &Bed) -> Result<Segments> {
    let table = bed.pod(2).shell("cat /proc/net/snmp")?;
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (rows.next().context("names")?, rows.next().context("values")?);
    let value = |wanted: &str| -> Result<u64> {
        let mut pairs = names.split(' ').zip(values.split(' '));
        let (_name, value) = pairs.find(|(name, _)| *name == wanted).context("a counter")?;
        Ok(value.parse()?)
    };
    Ok(Segments { received: value("InSegs")?, resets: value("OutRsts")? })
}
