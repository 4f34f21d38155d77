//! The service path beside the direct path, beside netfilter's, beside nothing at all: four
//! clusters of one shape, measured in turns.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, SocketAddrV4},
    process::{Child, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use testbed::{
    Cluster, Manifests, Place, Service, Slice, Sluice, Source, Topology,
    address::{self, Family},
};

use crate::{
    report::Table,
    rulesets::{self, Rule},
    worker::{OTHER_PORT, PORT, Work},
};

/// Rounds; in each, every path is measured once, the order turning.
const ROUNDS: usize = 9;
/// Time of one measurement.
const MILLISECONDS: &str = "400";
/// The service's ports: requests, and the stream.
const SERVICE_PORT: u16 = 80;

/// What is measured against everything else.
const PROXY: &str = "sluice";

/// A cluster with something that makes services work, or with nothing.
struct Setup {
    name: &'static str,
    cluster: Cluster,
    serves: bool,
    _sluice: Option<Sluice>,
    _servers: Vec<Server>,
}

/// A server that ends with the bench.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; nobody waits for what it would say.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One column of the comparison.
struct Path<'a> {
    name: String,
    from: &'a Place,
    requests: SocketAddr,
    stream: SocketAddr,
}

/// Measures and reports.
pub(crate) fn run(works: &[Work]) -> Result<Vec<Table>> {
    let setups = [plain()?, sluice()?, nftables()?, iptables()?];
    let mut tables = Vec::new();
    for (who, from_host) in [("pods on two nodes", false), ("a host process to a pod", true)] {
        let mut paths = Vec::new();
        for setup in &setups {
            paths.extend(setup.paths(from_host)?);
        }
        tables.push(compare(who, works, &paths)?);
    }
    Ok(tables)
}

impl Setup {
    fn new(name: &'static str) -> Result<Self> {
        let cluster = Cluster::builder(Topology::Bridge).build()?;
        let servers = vec![start_server(cluster.pod(4)?)?];
        Ok(Self { name, cluster, serves: true, _sluice: None, _servers: servers })
    }

    /// Pod 4 on the second node, directly, and through the service where there is one.
    fn paths(&self, from_host: bool) -> Result<Vec<Path<'_>>> {
        let from: &Place = if from_host { self.cluster.node(1)? } else { self.cluster.pod(1)? };
        let pod = self.cluster.pod(4)?.address();
        let path = |kind: &str, address: address::Pair, port: u16| Path {
            name: format!("{} {kind}", self.name),
            from,
            requests: address.port(Family::V4, port),
            stream: address.port(Family::V4, port + 1),
        };
        let mut paths = vec![path("direct", pod, PORT)];
        if self.name == PROXY {
            paths.push(path("no service", pod, OTHER_PORT));
        }
        if self.serves {
            paths.push(path("service", address::service(10), SERVICE_PORT));
        }
        Ok(paths)
    }

    fn rules(&self) -> Result<[Rule; 3]> {
        let (SocketAddr::V4(vip), SocketAddr::V4(backend)) = (
            address::service(10).port(Family::V4, SERVICE_PORT),
            self.cluster.pod(4)?.address().port(Family::V4, PORT),
        ) else {
            bail!("IPv4 was asked for")
        };
        let next = |a: SocketAddrV4| SocketAddrV4::new(*a.ip(), a.port() + 1);
        Ok([
            Rule { vip, proto: "tcp", backend },
            Rule { vip, proto: "udp", backend },
            Rule { vip: next(vip), proto: "tcp", backend: next(backend) },
        ])
    }
}

fn plain() -> Result<Setup> {
    Ok(Setup { serves: false, ..Setup::new("nothing")? })
}

fn nftables() -> Result<Setup> {
    let setup = Setup::new("nftables")?;
    rulesets::nftables(setup.cluster.node(1)?, &setup.rules()?)?;
    Ok(setup)
}

fn iptables() -> Result<Setup> {
    let setup = Setup::new("iptables")?;
    rulesets::iptables(setup.cluster.node(1)?, &setup.rules()?)?;
    Ok(setup)
}

fn sluice() -> Result<Setup> {
    let mut setup = Setup::new(PROXY)?;
    let manifests = Manifests::new(setup.cluster.dir("manifests")?);
    let service = Service::new("bench", address::service(10));
    manifests.service(&service.tcp(SERVICE_PORT, None).udp(SERVICE_PORT, None))?;
    manifests.slice(&Slice::new("bench").port(PORT).pod(setup.cluster.pod(4)?))?;
    let stream = Service::new("stream", address::service(10)).tcp(SERVICE_PORT + 1, None);
    manifests.service(&stream)?;
    manifests.slice(&Slice::new("stream").port(PORT + 1).pod(setup.cluster.pod(4)?))?;
    for node in 1..=setup.cluster.nodes().len() {
        let source = Source::Manifests(manifests.dir());
        let mut sluice = Sluice::start(setup.cluster.node(node)?, source)?;
        sluice.wait_ready()?;
        // The datapath stays; the controller would only be noise.
        sluice.stop()?;
        setup._sluice = Some(sluice);
    }
    Ok(setup)
}

fn start_server(place: &Place) -> Result<Server> {
    let mut child =
        place.command(std::env::current_exe()?)?.arg("serve").stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("a piped output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    ensure!(line.trim() == "ready", "the bench's server did not start");
    Ok(Server(child))
}

/// Measures every path in turns.
fn compare(who: &str, works: &[Work], paths: &[Path<'_>]) -> Result<Table> {
    let mut columns = vec!["work"];
    columns.extend(paths.iter().map(|path| path.name.as_str()));
    let title = format!(
        "{who}: median of {ROUNDS} rounds (spread), and the ratio to \"{}\" of the same round",
        paths[0].name
    );
    let mut table = Table::new(&title, &columns);
    for &work in works {
        let mut rates = vec![Vec::new(); paths.len()];
        for round in 0..ROUNDS {
            for i in order(paths.len(), round) {
                rates[i].push(paths[i].measure(work)?);
            }
        }
        let cells = rates.iter().map(|own| cell(work, own, &rates[0]));
        table.row(std::iter::once(work.name().to_owned()).chain(cells).collect());
        eprintln!("{who}: {} done", work.name());
    }
    Ok(table)
}

/// Every path once. Who follows whom changes with the round: a server that was busy a moment ago
/// is on another processor, and warmer, than one that was not.
fn order(count: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|turn| (turn + round) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn cell(work: Work, own: &[f64], first: &[f64]) -> String {
    let ratios: Vec<f64> = std::iter::zip(own, first).map(|(a, b)| a / b).collect();
    let (median, low, high) = spread(own);
    let (ratio, ..) = spread(&ratios);
    match work {
        Work::Stream => {
            let gigabits = |bytes: f64| bytes * 8.0 / 1e9;
            let (median, low, high) = (gigabits(median), gigabits(low), gigabits(high));
            format!("{median:.1} Gbit/s ({low:.1}–{high:.1}) ×{ratio:.3}")
        }
        _ => format!("{median:.0}/s ({low:.0}–{high:.0}) ×{ratio:.3}"),
    }
}

/// Median, lowest and highest.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
}

impl Path<'_> {
    fn measure(&self, work: Work) -> Result<f64> {
        let target = if work == Work::Stream { self.stream } else { self.requests };
        let output = self
            .from
            .command(std::env::current_exe()?)?
            .args(["ask", work.word(), &target.to_string(), MILLISECONDS])
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = || {
            format!("{}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim().to_owned())
        };
        said.trim().parse().with_context(failed)
    }
}
