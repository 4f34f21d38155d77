//! A packet's life through the real programs, by `BPF_PROG_TEST_RUN`: no interface, no namespace.

mod datagram;
mod hold;
mod lab;
mod loaded;
mod prefix;
mod service;

pub use datagram::{ACK, Datagram, FIN, IcmpError, RST, SYN, tcp, udp};
pub use lab::{DROP, Hook, Lab, NEXT, REDIRECT, Seen};
pub use service::Service;
