//! How a list is printed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use sluice_common::{
    net::{Addr, Port, V4, V6, proto},
    service::ServiceName,
};

use crate::dataplane::aya::Error;

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns, for people.
    #[default]
    Table,
    /// One array of objects, for programs.
    Json,
}

impl Output {
    /// Prints rows in the wanted way; `cells` makes a line of the table out of one.
    pub(super) fn print<T: Serialize>(
        self,
        rows: &[T],
        header: &[&str],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<String, Error> {
        match self {
            Self::Json => {
                serde_json::to_string_pretty(rows).map_err(|e| Error::new("printing JSON", e))
            }
            Self::Table => {
                let mut table = Table::new();
                table.load_style(NOTHING).set_header(header.to_vec());
                table.add_rows(rows.iter().map(cells));
                Ok(table.trim_fmt())
            }
        }
    }
}

/// An address of either family, for people.
pub(super) trait ToIp {
    /// The same address, as the standard library writes it.
    fn ip(&self) -> IpAddr;
}

impl ToIp for Addr<V4> {
    fn ip(&self) -> IpAddr {
        Ipv4Addr::from(self.bytes).into()
    }
}

impl ToIp for Addr<V6> {
    fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.bytes).into()
    }
}

/// `addr:port`.
pub(super) fn socket(addr: &impl ToIp, port: Port) -> String {
    SocketAddr::new(addr.ip(), port.number()).to_string()
}

/// Name of a protocol.
pub(super) fn protocol(number: u8) -> String {
    match number {
        proto::TCP => "TCP".to_owned(),
        proto::UDP => "UDP".to_owned(),
        proto::SCTP => "SCTP".to_owned(),
        other => other.to_string(),
    }
}

/// `namespace/name:port`.
pub(super) fn service_name(name: &ServiceName) -> String {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let port = text(&name.port_name);
    let colon = if port.is_empty() { "" } else { ":" };
    format!("{}/{}{colon}{port}", text(&name.namespace), text(&name.name))
}
