//! Requests to netfilter over netlink: a list, one change, or several that happen together.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt::SndBufForce};

use super::attributes::Attributes;

/// Bytes of a message's own header, and with it those of netfilter's.
const HEADER: usize = 16;
const BOTH_HEADERS: usize = 20;
/// What a list fills at once.
const BUFFER: usize = 64 * 1024;
/// How often a list is begun anew when somebody changed what it lists.
const ATTEMPTS: usize = 10;

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
const INTERRUPTED: u16 = libc::NLM_F_DUMP_INTR as u16;

const BATCH_BEGIN: u16 = libc::NFNL_MSG_BATCH_BEGIN as u16;
const BATCH_END: u16 = libc::NFNL_MSG_BATCH_END as u16;

/// A message to send.
#[derive(Clone, Debug)]
pub struct Message {
    /// Subsystem in the upper byte, command in the lower.
    pub kind: u16,
    /// NLM_F_CREATE and the like; what every request has is added.
    pub flags: u16,
    /// NFPROTO_*.
    pub family: u8,
    /// What it is about.
    pub attributes: Attributes,
}

/// A message that was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// NFPROTO_*.
    pub family: u8,
    /// See [`super::attributes::read`].
    pub attributes: Vec<u8>,
}

/// Everything of a kind.
pub fn list(message: &Message) -> io::Result<Vec<Received>> {
    for _ in 0..ATTEMPTS {
        let socket = open()?;
        send(&socket, &encode(message, message.flags | REQUEST | DUMP, 1, 0))?;
        let mut found = Vec::new();
        let mut interrupted = false;
        receive(&socket, &mut |header, body| {
            interrupted |= header.flags & INTERRUPTED != 0;
            if let Some((family, attributes)) = body.split_at_checked(BOTH_HEADERS - HEADER) {
                found.push(Received { family: family[0], attributes: attributes.to_vec() });
            }
        })?;
        if !interrupted {
            return Ok(found);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EINTR))
}

/// One change.
pub fn change(message: &Message) -> io::Result<()> {
    let socket = open()?;
    send(&socket, &encode(message, message.flags | REQUEST | ACK, 1, 0))?;
    receive(&socket, &mut |_, _| {})
}

/// Changes of one subsystem that happen together or not at all.
pub fn transaction(subsystem: u8, messages: &[Message]) -> io::Result<()> {
    let Some(last) = messages.len().checked_sub(1) else { return Ok(()) };
    let frame = |kind| Message { kind, flags: 0, family: 0, attributes: Attributes::new() };
    let subsystem = u16::from(subsystem);
    let mut bytes = encode(&frame(BATCH_BEGIN), REQUEST, 1, subsystem);
    for (index, message) in messages.iter().enumerate() {
        // One answer is enough; an error comes unasked.
        let ack = if index == last { ACK } else { 0 };
        bytes.extend(encode(message, message.flags | REQUEST | ack, 2, 0));
    }
    bytes.extend(encode(&frame(BATCH_END), REQUEST, 3, subsystem));
    let socket = open()?;
    let descriptor = socket.as_raw_fd();
    // SAFETY: `socket` has the descriptor open until the end of this function.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    // Room for the whole: half of it is the kernel's bookkeeping.
    setsockopt(&descriptor.as_fd(), SndBufForce, &(2 * bytes.len()))?;
    send(&socket, &bytes)?;
    receive(&socket, &mut |_, _| {})
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    socket.send(bytes, 0).map(drop)
}

fn encode(message: &Message, flags: u16, sequence: u32, resource: u16) -> Vec<u8> {
    let attributes = message.attributes.as_bytes();
    let mut bytes = Vec::with_capacity(BOTH_HEADERS + attributes.len());
    bytes.extend(((BOTH_HEADERS + attributes.len()) as u32).to_ne_bytes());
    bytes.extend(message.kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // The kernel knows who sends.
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([message.family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// The part of a received message's header that counts.
struct Header {
    length: usize,
    kind: u16,
    flags: u16,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let header = bytes.get(..HEADER)?;
    let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
    (HEADER..=bytes.len()).contains(&length).then(|| Header {
        length,
        kind: half(4),
        flags: half(6),
    })
}

/// Reads until the answer's end, or its first error.
fn receive(socket: &Socket, take: &mut dyn FnMut(&Header, &[u8])) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut rest = &buffer[..];
        while let Some(found) = header(rest) {
            let body = &rest[HEADER..found.length];
            match i32::from(found.kind) {
                // Both begin with an errno, negative, or 0.
                libc::NLMSG_ERROR | libc::NLMSG_DONE => return outcome(body),
                _ => take(&found, body),
            }
            rest = rest.get(found.length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn outcome(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_abs())) }
}
