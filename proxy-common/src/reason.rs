//! Why a program let a packet go the way it went: one list that the kernel counts, the metrics
//! label, the packet tests expect and the documentation explains.

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, translated or noted.
    Pass,
    /// Its sender is told: ICMP port unreachable, or `ECONNREFUSED` on a socket.
    Reject,
    /// It is gone.
    Drop,
}

/// Declares [`Reason`] with its label, outcome and explanation in one row each. Those of one outcome
/// stand together, so that the programs tell it with one comparison.
macro_rules! reasons {
    ($($name:ident $label:literal $outcome:ident $text:literal,)+) => {
        /// Why a program did what it did. The value is the index of its counter in REASONS.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $text] $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The label of the counter.
            pub const fn label(self) -> &'static str {
                match self { $(Reason::$name => $label,)+ }
            }

            /// What becomes of the packet.
            pub const fn outcome(self) -> Outcome {
                match self { $(Reason::$name => Outcome::$outcome,)+ }
            }

            /// One sentence for an operator.
            pub const fn text(self) -> &'static str {
                match self { $(Reason::$name => $text,)+ }
            }
        }
    };
}

reasons! {
    NewFlow "new-flow" Pass
        "The packet began a flow to a service: a backend was chosen and the destination rewritten.",
    Forward "forward" Pass
        "The packet belongs to a known flow: its destination was rewritten.",
    Reply "reply" Pass
        "The packet answers a known flow: its source was rewritten.",
    Masquerade "masquerade" Pass
        "The packet left with an address of this node as its source.",
    MasqueradeReply "masquerade-reply" Pass
        "The packet answers a masqueraded flow: its destination was restored.",
    Rechosen "rechosen" Pass
        "The flow's backend had left: another was chosen.",
    Resumed "resumed" Pass
        "The packet continues a connection that has no entry here: its service's Maglev table named the backend again.",
    Claim "claim" Pass
        "The packet goes to an endpoint directly: its tuple was claimed.",
    Direct "direct" Pass
        "The packet belongs to a claimed direct flow.",
    IcmpError "icmp-error" Pass
        "An ICMP error that quotes a translated packet was translated with it.",
    Fragment "fragment" Pass
        "A later fragment was rewritten as its first fragment was.",
    EarlyFragment "early-fragment" Pass
        "A fragment came before its first: it went on as it came, and a copy waits to follow it.",
    XdpForward "xdp-forward" Pass
        "The packet belongs to a known flow: XDP rewrote both its ends and sent it to its backend.",
    XdpReply "xdp-reply" Pass
        "The packet answers a masqueraded flow: XDP rewrote both its ends and sent it to its client.",
    XdpRoute "xdp-route" Pass
        "XDP left a known flow's packet to tc: it does not leave by an uplink, or its next hop is not known yet.",
    XdpChecksum "xdp-checksum" Pass
        "XDP left a known flow's packet to tc: its checksum is incomplete, as between guests of one host.",
    SocketForward "socket-forward" Pass
        "A process of the host connected or sent to a service: the socket got a backend's address.",
    NoEndpoints "no-endpoints" Reject
        "The service has no endpoint (A47).",
    SocketNoEndpoints "socket-no-endpoints" Reject
        "A process of the host connected or sent to a service that has no endpoint (A47).",
    SocketNoLocalEndpoint "socket-no-local-endpoint" Reject
        "A process of the host connected or sent to a service that has no endpoint on this node (A48).",
    UnknownPort "unknown-port" Reject
        "The cluster IP is a service's, and the service has no such port (A51).",
    SocketUnknownPort "socket-unknown-port" Reject
        "A process of the host connected or sent to a cluster IP's port that no service has (A51).",
    SocketSourceRange "socket-source-range" Reject
        "A process of the host connected or sent to a load-balancer address whose source ranges leave the node out (A53).",
    SocketUnallocatedClusterIp "socket-unallocated-cluster-ip" Reject
        "A process of the host connected or sent to an address in a ServiceCIDR that is no service's (A52).",
    NoLocalEndpoint "no-local-endpoint" Drop
        "The traffic policy is Local and the service has no endpoint on this node (A48, A49).",
    SourceRange "source-range" Drop
        "The source is not among the service's loadBalancerSourceRanges (A53).",
    UnallocatedClusterIp "unallocated-cluster-ip" Drop
        "The destination lies in a ServiceCIDR and is no service's (A52).",
    IcmpRedirect "icmp-redirect" Drop
        "An ICMP redirect that quotes a translated packet would teach the client a wrong route.",
    ClientPorts "client-ports" Drop
        "Every port tried for the client towards this backend is held by a live flow.",
    MasqueradePorts "masquerade-ports" Drop
        "Every port tried for masquerading towards this backend is held by a live flow or a socket.",
    NoMasqueradeAddress "no-masquerade-address" Drop
        "The packet must be masqueraded, and the node has no address of its family.",
    MissingBackend "missing-backend" Drop
        "A slot names a backend that is not there; the controller's audit repairs this.",
    FlowTable "flow-table" Drop
        "The flow table refused a new entry.",
    HalfOpen "half-open" Drop
        "The SYN's sender has as many connections half open as one client may have.",
    LostFragment "lost-fragment" Drop
        "The copy of an early fragment was gone when its first came.",
    SctpFragment "sctp-fragment" Drop
        "A fragmented SCTP packet needs another port, and its CRC cannot be updated.",
    Rewrite "rewrite" Drop
        "The kernel refused to change the packet.",
}

/// Number of counters.
pub const COUNT: u32 = Reason::ALL.len() as u32;
