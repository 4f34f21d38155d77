//! The arguments: a question, and the proxy's own flags.

use std::{
    ffi::OsString,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use clap::{
    ArgMatches, CommandFactory, FromArgMatches, Parser, error::ErrorKind, parser::ValueSource,
};
use ipnet::IpNet;

use super::Output;
use crate::{
    config::Flags,
    model::spec::Protocol,
    source::convert::{parse_cidr, parse_ip},
};

/// Explains what becomes of the first packet of a connection, and why.
///
/// Without --manifests it answers from the pinned maps of the running node. With it, from
/// Services, EndpointSlices, Nodes and ServiceCIDRs in YAML or JSON files, for a node described by
/// --node, --node-ip and --local-address: no kernel, no privileges. There, the proxy's own flags
/// have their meaning.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "sluice explain",
    args_override_self = true,
    disable_version_flag = true,
    override_usage = "sluice explain [OPTIONS] --from <ADDR[@IFACE]> --to <ADDR:PORT/PROTO>",
    help_template = "{about-with-newline}\n{usage-heading} {usage}\n\n{options}\n"
)]
pub struct Explain {
    /// Where the packet is from, and the interface it enters the node by. An address of the node
    /// is the node itself.
    #[arg(long, value_name = "ADDR[@IFACE]")]
    pub from: Origin,
    /// The source port, which decides where a Service with a Maglev table sends the packet.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub from_port: Option<u16>,
    /// Where it wants to go: `10.96.0.1:443/TCP`, `[fd00::1]:53/UDP`.
    #[arg(long, value_name = "ADDR:PORT/PROTO")]
    pub to: Target,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,

    /// The node whose view is asked for; also --hostname-override.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The node's primary addresses; those of its Node object otherwise.
    #[arg(long, value_name = "IP,...", value_parser = addresses,
          default_value = "", hide_default_value = true)]
    pub node_ip: List<IpAddr>,
    /// Every address on the node's interfaces; the primary and loopback ones always are.
    #[arg(long, value_name = "IP,...", value_parser = addresses,
          default_value = "", hide_default_value = true)]
    pub local_address: List<IpAddr>,
    /// Networks of cluster IPs, besides those of ServiceCIDR objects.
    #[arg(long, value_name = "CIDR,...", value_parser = networks,
          default_value = "", hide_default_value = true)]
    pub service_cidr: List<IpNet>,

    /// The proxy's own flags.
    #[command(flatten)]
    pub flags: Flags,
}

/// What one flag lists. (Of a `Vec`, clap would make one item a flag.)
type List<T> = Box<[T]>;

/// Flags that mean something without --manifests.
const ON_A_NODE: [&str; 6] = ["from", "from_port", "to", "output", "bpf_root", "v"];

impl Explain {
    /// Parses the arguments, the command's name first.
    pub fn parse_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(args)?;
        let explain = Self::from_arg_matches(&matches)?;
        if explain.flags.command.is_some() {
            return Err(refusal(ErrorKind::InvalidSubcommand, "explain has no subcommands"));
        }
        if explain.flags.manifests.is_none()
            && let Some(id) = given(&matches).find(|id| !ON_A_NODE.contains(id))
        {
            let text = format!(
                "--{} needs --manifests: a running node's own settings count",
                id.replace('_', "-")
            );
            return Err(refusal(ErrorKind::ArgumentConflict, &text));
        }
        Ok(explain)
    }
}

fn refusal(kind: ErrorKind, text: &str) -> clap::Error {
    Explain::command().error(kind, text)
}

fn given(matches: &ArgMatches) -> impl Iterator<Item = &str> {
    let is_given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    // Groups, which the flattened flags are, are not arguments.
    let is_argument = |id: &&str| id.chars().next().is_some_and(char::is_lowercase);
    matches.ids().map(clap::Id::as_str).filter(is_argument).filter(is_given)
}

/// Where a packet is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its source address.
    pub address: IpAddr,
    /// The interface it enters the node by.
    pub iface: Option<String>,
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, iface) = match text.split_once('@') {
            Some((_, "")) => return Err("no interface follows the @".into()),
            Some((address, iface)) => (address, Some(iface.to_owned())),
            None => (text, None),
        };
        Ok(Self { address: bracketed(address)?, iface })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        match &self.iface {
            Some(iface) => write!(f, "@{iface}"),
            None => Ok(()),
        }
    }
}

/// Where a packet wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address and port.
    pub socket: SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (socket, protocol) =
            text.rsplit_once('/').ok_or("no protocol; write ADDR:PORT/PROTO")?;
        let protocol = match protocol.to_ascii_uppercase().as_str() {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => return Err(format!("protocol {protocol:?} is not TCP, UDP or SCTP")),
        };
        let (address, port) = socket.rsplit_once(':').ok_or("no port; write ADDR:PORT/PROTO")?;
        if address.contains(':') && !address.starts_with('[') {
            return Err("an IPv6 address needs brackets: [ADDR]:PORT/PROTO".into());
        }
        let number = port.parse().ok().filter(|number| *number != 0 && !port.starts_with('+'));
        let port = number.ok_or_else(|| format!("{port:?} is not a port from 1 to 65535"))?;
        let address = bracketed(address)?;
        if address.is_unspecified() {
            return Err(format!(
                "no packet goes to {address}; name one of the node's addresses (a socket that \
                 connects to it goes to loopback)"
            ));
        }
        Ok(Self { socket: SocketAddr::new(address, port), protocol })
    }
}

fn bracketed(text: &str) -> Result<IpAddr, String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inner {
        Some(inner) if inner.contains(':') => address(inner),
        Some(_) => Err(format!("{text:?} is not an IPv6 address")),
        None => address(text),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    parse_ip(text).ok_or_else(|| format!("{text:?} is not an IP address"))
}

fn network(text: &str) -> Result<IpNet, String> {
    parse_cidr(text).ok_or_else(|| format!("{text:?} is not a network such as 10.96.0.0/12"))
}

fn addresses(list: &str) -> Result<List<IpAddr>, String> {
    words(list).map(address).collect()
}

fn networks(list: &str) -> Result<List<IpNet>, String> {
    words(list).map(network).collect()
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}
