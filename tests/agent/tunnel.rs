//! An overlay in user space: a tun device whose packets travel to the other nodes in UDP.
//!
//! It stands in for the devices without an Ethernet header (ipip, wireguard) that this kernel may
//! lack.

use std::fs::File;
use std::io::{Error, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Makes the device in this process's namespace and carries packets until the agent ends.
pub(crate) fn start(
    device: &str,
    local: SocketAddr,
    peers: Vec<(u8, SocketAddr)>,
) -> Result<(), Error> {
    let tun = open(device)?;
    let socket = UdpSocket::bind(local)?;
    let (mut outbound, mut inbound) = (tun.try_clone()?, tun);
    let sender = socket.try_clone()?;
    std::thread::spawn(move || {
        let mut packet = vec![0; 65_536];
        while let Ok(length) = outbound.read(&mut packet) {
            let node = destination_node(&packet[..length]);
            if let Some((_, peer)) = peers.iter().find(|(number, _)| Some(*number) == node) {
                // A packet that cannot be sent is lost, as on any link.
                let _sent = sender.send_to(&packet[..length], peer);
            }
        }
    });
    std::thread::spawn(move || {
        let mut packet = vec![0; 65_536];
        loop {
            let Ok(length) = socket.recv(&mut packet) else { continue };
            let _written = inbound.write(&packet[..length]);
        }
    });
    Ok(())
}

/// The node number in a pod's address: 10.244.NODE.x or fd00:10:244:NODE::x.
fn destination_node(packet: &[u8]) -> Option<u8> {
    match packet.first()? >> 4 {
        4 => packet.get(18).copied(),
        6 => packet.get(31).copied(),
        _another => None,
    }
}

fn open(device: &str) -> Result<File, Error> {
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is plain old data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(Error::other("the device's name is too long"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads an ifreq, `request` is one and outlives the call.
    match unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &request) } {
        0 => Ok(tun),
        _error => Err(Error::last_os_error()),
    }
}
