//! A packet's life through the real programs, by `BPF_PROG_TEST_RUN`: no interface, no namespace.

mod cable;
mod chunks;
mod crossroads;
mod datagram;
mod error;
mod evict;
mod flows;
mod hold;
mod lab;
mod loaded;
mod prefix;
mod service;

pub use cable::Cable;
pub use chunks::crc32c;
pub use crossroads::{Crossroads, PASS, REDIRECTED, SENT};
pub use datagram::{ACK, Datagram, FIN, RST, SYN, sctp, tcp, udp};
pub use error::IcmpError;
pub use lab::{DROP, Hook, Lab, NEXT, REDIRECT, Seen};
pub use loaded::SLOTS;
pub use service::Service;
