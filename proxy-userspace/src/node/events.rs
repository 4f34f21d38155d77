//! Says when something about the node's links, addresses or default routes changed. What it is,
//! a fresh snapshot tells: so a lost event (ENOBUFS) needs no other treatment than any event.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
        setsockopt, socket, sockopt,
    },
};
use tokio::io::unix::AsyncFd;

/// A netlink socket that hears of changes in one network namespace.
#[derive(Debug)]
pub struct Events {
    socket: AsyncFd<OwnedFd>,
}

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Room for a burst of veths; when it is not enough, ENOBUFS says so.
const BUFFER: usize = 1 << 20;

impl Events {
    /// Listens in this thread's network namespace.
    pub fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        // SAFETY: the descriptor is owned, and stays the same until it is dropped.
        let socket = unsafe { AsyncFd::register(socket)? };
        Ok(Self { socket })
    }

    /// Waits until something changed.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            if drain(&self.socket)? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// Forgets what was heard so far: a snapshot taken from now on holds it.
    pub fn forget(&mut self) -> io::Result<()> {
        drain(&self.socket).map(drop)
    }
}

/// Reads all there is; whether any of it matters.
fn drain(socket: &AsyncFd<OwnedFd>) -> io::Result<bool> {
    let mut buffer = [0; 32 * 1024];
    let mut matters = false;
    loop {
        match recv(socket.as_fd().as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(len) => matters |= any_matters(&buffer[..len]),
            Err(Errno::EAGAIN) => return Ok(matters),
            Err(Errno::ENOBUFS) => matters = true,
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Routes matter only where they are default routes: a node may have a hundred thousand others.
fn any_matters(mut messages: &[u8]) -> bool {
    const HEADER: usize = 16;
    while let Some((header, _)) = messages.split_at_checked(HEADER) {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let is_route = kind == libc::RTM_NEWROUTE || kind == libc::RTM_DELROUTE;
        // The second byte of a route's header is the length of its destination.
        if !is_route || messages.get(HEADER + 1) == Some(&0) {
            return true;
        }
        let next = len.max(HEADER).next_multiple_of(4);
        messages = messages.get(next..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, destination_len: u8) -> Vec<u8> {
        let mut bytes = 28_u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([2, destination_len]);
        bytes.resize(28, 0);
        bytes
    }

    #[test]
    fn only_default_routes_matter() {
        let other = message(libc::RTM_NEWROUTE, 24);
        let default = message(libc::RTM_DELROUTE, 0);
        let link = message(libc::RTM_NEWLINK, 9);
        assert!(!any_matters(&other));
        assert!(any_matters(&default));
        assert!(any_matters(&[other.clone(), link].concat()));
        assert!(any_matters(&[other.clone(), default].concat()));
        assert!(!any_matters(&other[..10]));
        assert!(!any_matters(&[]));
    }
}
