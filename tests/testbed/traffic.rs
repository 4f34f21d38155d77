//! What a place can send, and what it learns from the answers.

use std::net::SocketAddr;
use std::time::Duration;

use crate::place::Place;
use crate::wire::{Ask, Failure, FailureKind, Op, Outcome, Reply, Tally, Transport};

/// How long one exchange may take.
const TIMEOUT_MS: u64 = 2_000;
/// How much longer than all its exchanges a call to the agent may take.
const SLACK: Duration = Duration::from_secs(10);

/// Something that names an address and a port.
pub trait IntoTarget {
    /// The socket address.
    ///
    /// # Panics
    /// When a text is no address with a port: tests write these by hand.
    fn into_target(self) -> SocketAddr;
}

impl IntoTarget for SocketAddr {
    fn into_target(self) -> SocketAddr {
        self
    }
}

impl IntoTarget for &str {
    fn into_target(self) -> SocketAddr {
        self.parse().unwrap_or_else(|_| panic!("{self:?} is no address with a port"))
    }
}

impl Ask {
    /// One exchange, from any port, with the usual patience.
    pub fn new(transport: Transport, target: impl IntoTarget) -> Self {
        let target = target.into_target();
        let timeout_ms = TIMEOUT_MS;
        Self { target, transport, from_port: None, count: 1, timeout_ms, padding: 0 }
    }

    /// From this source port.
    pub fn from_port(self, port: u16) -> Self {
        Self { from_port: Some(port), ..self }
    }

    /// That many, one after another.
    pub fn times(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// With other patience.
    pub fn timeout_ms(self, timeout_ms: u64) -> Self {
        Self { timeout_ms, ..self }
    }

    /// With that many bytes more in each datagram; more than the link's unit makes fragments.
    pub fn padding(self, padding: u16) -> Self {
        Self { padding, ..self }
    }

    fn patience(self) -> Duration {
        SLACK + Duration::from_millis(self.timeout_ms * u64::from(self.count))
    }
}

impl Place {
    /// Answers under a name on TCP and UDP addresses for as long as the place lives.
    pub fn serve(&self, name: &str, addresses: &[SocketAddr]) -> Result<(), Failure> {
        let (tcp, udp) = (addresses.to_vec(), addresses.to_vec());
        self.call(Op::Serve { name: name.to_owned(), tcp, udp, sctp: vec![] }, SLACK).map(drop)
    }

    /// The same on SCTP addresses.
    pub fn serve_sctp(&self, name: &str, addresses: &[SocketAddr]) -> Result<(), Failure> {
        let sctp = addresses.to_vec();
        let op = Op::Serve { name: name.to_owned(), tcp: vec![], udp: vec![], sctp };
        self.call(op, SLACK).map(drop)
    }

    /// One TCP exchange on a new connection.
    pub fn tcp(&self, target: impl IntoTarget) -> Result<Reply, Failure> {
        self.once(Ask::new(Transport::Tcp, target))
    }

    /// The same from a source port of choice.
    pub fn tcp_from_port(&self, target: impl IntoTarget, port: u16) -> Result<Reply, Failure> {
        self.once(Ask::new(Transport::Tcp, target).from_port(port))
    }

    /// One UDP exchange on a connected socket.
    pub fn udp(&self, target: impl IntoTarget) -> Result<Reply, Failure> {
        self.once(Ask::new(Transport::Udp, target))
    }

    /// One UDP exchange on a socket that is not connected.
    pub fn udp_unconnected(&self, target: impl IntoTarget) -> Result<Reply, Failure> {
        self.once(Ask::new(Transport::UdpUnconnected, target))
    }

    /// One exchange.
    pub fn once(&self, ask: Ask) -> Result<Reply, Failure> {
        let nothing = || Err(Failure::new(FailureKind::Other, "the agent sent no reply"));
        self.many(ask.times(1))?.pop().unwrap_or_else(nothing)
    }

    /// `count` exchanges one after another, each on a new socket.
    pub fn many(&self, ask: Ask) -> Result<Vec<Result<Reply, Failure>>, Failure> {
        match self.call(Op::Exchange(ask), ask.patience())? {
            Outcome::Replies(replies) => Ok(replies),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends bytes, has them echoed, and compares them all.
    pub fn bulk(&self, target: impl IntoTarget, bytes: u64) -> Result<(), Failure> {
        self.bulk_by(Transport::Tcp, target, bytes)
    }

    /// The same by TCP or SCTP.
    pub fn bulk_by(
        &self,
        transport: Transport,
        target: impl IntoTarget,
        bytes: u64,
    ) -> Result<(), Failure> {
        let (target, timeout_ms) = (target.into_target(), 60_000);
        let patience = SLACK + Duration::from_millis(timeout_ms);
        self.call(Op::Bulk { target, transport, bytes, timeout_ms }, patience).map(drop)
    }

    /// Opens `n` TCP connections and holds them.
    pub fn hold(&self, target: impl IntoTarget, n: u32) -> Result<Held<'_>, Failure> {
        self.open(Ask::new(Transport::Tcp, target).times(n))
    }

    /// Opens `count` sockets and holds them; fails with the first failure.
    pub fn open(&self, ask: Ask) -> Result<Held<'_>, Failure> {
        match self.call(Op::Open(ask), ask.patience())? {
            Outcome::Opened(opened) => {
                let sockets = opened.into_iter().collect::<Result<_, _>>()?;
                Ok(Held { place: self, sockets })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Exchanges without a pause, on a new socket each time (`fresh`) or on one for all.
    pub fn traffic(&self, ask: Ask, every_ms: u64, fresh: bool) -> Result<Traffic<'_>, Failure> {
        match self.call(Op::StartTraffic { ask, every_ms, fresh }, SLACK)? {
            Outcome::Started(traffic) => Ok(Traffic { place: self, traffic }),
            other => Err(unexpected(&other)),
        }
    }
}

/// Sockets that are held open; they close when this is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    place: &'a Place,
    sockets: Vec<u64>,
}

impl Held<'_> {
    /// One exchange on every socket, all at once.
    pub fn echo_all(&self) -> Result<Vec<Result<Reply, Failure>>, Failure> {
        self.ask_on(self.sockets.clone(), TIMEOUT_MS + self.sockets.len() as u64 * 10)
    }

    fn ask_on(
        &self,
        sockets: Vec<u64>,
        timeout_ms: u64,
    ) -> Result<Vec<Result<Reply, Failure>>, Failure> {
        let op = Op::AskOn { sockets, timeout_ms };
        match self.place.call(op, SLACK + Duration::from_millis(timeout_ms))? {
            Outcome::Replies(replies) => Ok(replies),
            other => Err(unexpected(&other)),
        }
    }

    /// One exchange on the first socket.
    pub fn echo(&self) -> Result<Reply, Failure> {
        self.echo_within(TIMEOUT_MS)
    }

    /// The same with other patience.
    pub fn echo_within(&self, timeout_ms: u64) -> Result<Reply, Failure> {
        let sockets = self.sockets.first().copied().into_iter().collect();
        let nothing = || Err(Failure::new(FailureKind::Other, "no socket is held"));
        self.ask_on(sockets, timeout_ms)?.into_iter().next().unwrap_or_else(nothing)
    }

    /// How many sockets are held.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // If the agent is gone its sockets are closed already.
        let sockets = std::mem::take(&mut self.sockets);
        let _closed = self.place.call(Op::Close { sockets }, SLACK);
    }
}

/// Traffic that goes on until it is stopped.
#[derive(Debug)]
pub struct Traffic<'a> {
    place: &'a Place,
    traffic: u64,
}

impl Traffic<'_> {
    /// Ends it and tells how it went.
    pub fn stop(self) -> Result<Tally, Failure> {
        match self.place.call(Op::StopTraffic { traffic: self.traffic }, SLACK)? {
            Outcome::Tally(tally) => Ok(tally),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(outcome: &Outcome) -> Failure {
    Failure::new(FailureKind::Other, format!("the agent answered {outcome:?}"))
}
