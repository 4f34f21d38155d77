//! Ends UDP sockets whose backend left (A73, A74, C1–C5).
//!
//! The socket hooks translate a host process's socket once, when it connects; its datagrams then go
//! to the backend's own address, and no program sees them. So when the backend no longer serves,
//! the socket is ended: its owner's next call fails (ECONNABORTED; in sending EDESTADDRREQ), it
//! connects again, and the hook chooses another backend. TCP is left alone (A26).

use aya::{
    Pod,
    maps::{Array, HashMap, MapData, MapError},
};
use sluice_common::{
    backend::{Backend, flags::SERVING},
    net::{Addr, Port, V4, V6, proto},
    socket::{REVERSE, SocketKey, SocketPeer},
};
use std::net::IpAddr;

use super::{Error, maps, pin::Pins};
use crate::{
    dataplane::sock_diag::{Connected, Destroyed, SockDiag},
    model::plan::{FamilyPlan, Plan},
};

/// Whether a plan takes away, or out of service, a UDP backend that sockets may be connected to.
pub fn concerns(plan: &Plan) -> bool {
    ends_udp(&plan.v4) || ends_udp(&plan.v6)
}

fn ends_udp<const N: usize>(plan: &FamilyPlan<N>) -> bool {
    let written = plan.retire_backends.iter().chain(&plan.upsert_backends);
    written
        .into_iter()
        .any(|(_, backend)| backend.proto == proto::UDP && backend.flags & SERVING == 0)
}

/// Finds and ends the sockets. Reads the maps, writes nothing.
pub struct StaleSockets {
    diag: SockDiag,
    v4: Family<V4>,
    v6: Family<V6>,
}

struct Family<const N: usize>
where
    SocketKey<N>: Pod,
    SocketPeer<N>: Pod,
    Backend<N>: Pod,
{
    sockets: HashMap<MapData, SocketKey<N>, SocketPeer<N>>,
    backends: Array<MapData, Backend<N>>,
}

impl StaleSockets {
    /// Opens the maps and asks the kernel whether it can end sockets. Sockets are those of this
    /// thread's network namespace.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let unable = |e| {
            Error::os("ending UDP sockets whose backend left", &e).advise(
                "use a kernel with CONFIG_INET_UDP_DIAG and CONFIG_INET_DIAG_DESTROY; until then \
                 a host process's connected UDP socket stays with its backend until it connects \
                 again",
            )
        };
        let diag = SockDiag::open().map_err(unable)?;
        diag.probe().map_err(unable)?;
        Ok(Self {
            diag,
            v4: Family::open(pins, "SOCKETS_V4", "BACKENDS_V4")?,
            v6: Family::open(pins, "SOCKETS_V6", "BACKENDS_V6")?,
        })
    }

    /// Ends every socket that the hooks connected to a backend that no longer serves; says how
    /// many. Costs a walk over the node's UDP sockets and a look-up for each connected one.
    pub fn end(&self) -> Result<usize, Error> {
        let failed = |action: &'static str| move |e| Error::os(action, &e);
        let sockets =
            self.diag.connected_udp().map_err(failed("listing the connected UDP sockets"))?;
        let mut ended = 0;
        for socket in sockets {
            if !self.is_stale(&socket)? {
                continue;
            }
            let result = self.diag.destroy(&socket);
            if result.map_err(failed("ending a connected UDP socket"))? == Destroyed::Yes {
                tracing::debug!(peer = ?socket.peer(), "ended a UDP socket: its backend left");
                ended += 1;
            }
        }
        Ok(ended)
    }

    fn is_stale(&self, socket: &Connected) -> Result<bool, Error> {
        let (address, port) = socket.peer();
        let stale = match address {
            IpAddr::V4(address) => {
                self.v4.is_stale(socket.cookie(), Addr::new(address.octets()), port)
            }
            IpAddr::V6(address) => {
                self.v6.is_stale(socket.cookie(), Addr::new(address.octets()), port)
            }
        };
        stale.map_err(|e| Error::new("looking up a connected UDP socket", e))
    }
}

impl<const N: usize> Family<N>
where
    SocketKey<N>: Pod,
    SocketPeer<N>: Pod,
    Backend<N>: Pod,
{
    fn open(pins: &Pins, sockets: &'static str, backends: &'static str) -> Result<Self, Error> {
        Ok(Self {
            sockets: maps::hash(pins, sockets, true)?,
            backends: maps::array(pins, backends, true)?,
        })
    }

    /// Whether the hooks translated this socket's peer, and to a backend that no longer serves.
    fn is_stale(&self, cookie: u64, addr: Addr<N>, port: u16) -> Result<bool, MapError> {
        let key = SocketKey {
            cookie: [cookie as u32, (cookie >> 32) as u32],
            addr,
            port: Port::new(port),
            proto: proto::UDP,
            direction: REVERSE,
        };
        let peer = match self.sockets.get(&key, 0) {
            Ok(peer) => peer,
            // Connected without the hooks' help: none of ours.
            Err(MapError::KeyNotFound) => return Ok(false),
            Err(e) => return Err(e),
        };
        let backend = match self.backends.get(&peer.backend, 0) {
            Ok(backend) => backend,
            Err(MapError::KeyNotFound | MapError::OutOfBounds { .. }) => return Ok(true),
            Err(e) => return Err(e),
        };
        Ok(backend.generation != peer.generation || backend.flags & SERVING == 0)
    }
}
