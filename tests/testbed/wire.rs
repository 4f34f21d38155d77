//! What a test and its `testbed-agent` processes say to each other: one JSON object a line.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The transport of a request, and for UDP whether the socket is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// A TCP connection.
    Tcp,
    /// A UDP socket that was connected: it hears of ICMP errors, and only of its own peer.
    Udp,
    /// A UDP socket that sends each datagram to a named address.
    UdpUnconnected,
    /// An SCTP association, one-to-one. This machine's kernel may lack it; guests have it.
    Sctp,
}

/// One exchange (or many) with a server.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Where to.
    pub target: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The source port to use; the kernel's choice if absent.
    pub from_port: Option<u16>,
    /// How often, one after another.
    pub count: u32,
    /// How long each may take.
    pub timeout_ms: u64,
    /// How many bytes a UDP question carries beyond what it needs; the answer repeats them.
    #[serde(default)]
    pub padding: u16,
}

/// What an agent is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Answer on these addresses under this name.
    Serve {
        /// The name that answers carry.
        name: String,
        /// Listening TCP addresses.
        tcp: Vec<SocketAddr>,
        /// UDP addresses.
        udp: Vec<SocketAddr>,
        /// Listening SCTP addresses.
        sctp: Vec<SocketAddr>,
    },
    /// Exchange, each time on a new socket.
    Exchange(Ask),
    /// Open `count` sockets and keep them.
    Open(Ask),
    /// Exchange once on each socket that is kept.
    AskOn {
        /// The sockets, as `Open` numbered them.
        sockets: Vec<u64>,
        /// How long all may take.
        timeout_ms: u64,
    },
    /// Forget sockets, which closes them.
    Close {
        /// The sockets, as `Open` numbered them.
        sockets: Vec<u64>,
    },
    /// Send bytes over one connection, have them echoed, compare, and end it in order.
    Bulk {
        /// Where to.
        target: SocketAddr,
        /// How: over TCP or SCTP.
        transport: Transport,
        /// How many bytes each way.
        bytes: u64,
        /// How long it may take.
        timeout_ms: u64,
    },
    /// Begin to exchange again and again until `StopTraffic`.
    StartTraffic {
        /// Where to and how; `count` is ignored.
        ask: Ask,
        /// The pause between exchanges.
        every_ms: u64,
        /// A new socket for each exchange, or one for all.
        fresh: bool,
    },
    /// End what `StartTraffic` began and tell how it went.
    StopTraffic {
        /// The number that `StartTraffic` answered.
        traffic: u64,
    },
    /// Make a tun device and carry its packets to peers in UDP.
    Tunnel {
        /// The device's name.
        device: String,
        /// The UDP address to carry them from.
        local: SocketAddr,
        /// Peers by the node number that a pod's address holds.
        peers: Vec<(u8, SocketAddr)>,
    },
}

/// A line to the agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Repeated in the response.
    pub id: u64,
    /// What to do.
    pub op: Op,
}

/// A line from the agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// The request's.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done; there is nothing to tell.
    Done,
    /// The number of what was started.
    Started(u64),
    /// One answer for each exchange.
    Replies(Vec<Result<Reply, Failure>>),
    /// One socket number for each that was opened.
    Opened(Vec<Result<u64, Failure>>),
    /// How continuous traffic went.
    Tally(Tally),
    /// It could not be done.
    Failed(Failure),
}

/// A server's answer to one exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The name of the server that answered.
    pub who: String,
    /// The client's address as that server saw it.
    pub seen_source: SocketAddr,
    /// The client's own view of its address.
    pub local: SocketAddr,
    /// The address the answer came from, as the client saw it.
    pub from: SocketAddr,
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// `ECONNREFUSED`: a RST to the SYN, or ICMP port unreachable.
    Refused,
    /// Nothing came in time.
    TimedOut,
    /// A TCP reset, or the end of the stream, in the middle of an exchange.
    Reset,
    /// `ECONNABORTED`, or in sending `EDESTADDRREQ`: the node ended the socket, because its
    /// endpoint left.
    Aborted,
    /// No route, or ICMP host or network unreachable.
    Unreachable,
    /// `EPERM` or `EACCES`.
    NotPermitted,
    /// An answer came, but from an address that was not asked.
    Stranger,
    /// The bytes that came back differ from those sent.
    Corrupt,
    /// Anything else; the message tells.
    Other,
}

/// A failed exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The class a test can compare.
    pub kind: FailureKind,
    /// What a person reads.
    pub message: String,
}

impl Failure {
    /// A failure of a kind, with its text.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Whether the other side refused at once.
    pub fn is_refused(&self) -> bool {
        self.kind == FailureKind::Refused
    }

    /// Whether nothing was heard.
    pub fn is_timeout(&self) -> bool {
        self.kind == FailureKind::TimedOut
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Failure {}

/// How continuous traffic went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Exchanges that were answered.
    pub answered: u64,
    /// Exchanges that were not.
    pub failed: u64,
    /// The first few failures.
    pub failures: Vec<Failure>,
    /// The longest that an answered exchange took.
    pub slowest_ms: u64,
}
