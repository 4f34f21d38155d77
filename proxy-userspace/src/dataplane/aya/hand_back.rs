//! The end of the ingress programs alone: what has begun is still answered through the others.

use std::os::fd::AsFd;

use super::{
    Error, clsact,
    pin::{self, Direction, Pins},
    sys,
};

/// Detaches every ingress program of this version's pins. Must run in the node's network namespace.
pub fn detach_ingress(pins: &Pins) -> Result<(), Error> {
    for interface in pins.tc_interfaces() {
        let path = pins.tc_link(interface, Direction::Ingress);
        // A link whose interface is gone is detached already; unpinning ends it anyway.
        let _ = sys::open(&path, false).and_then(|link| sys::link_detach(link.as_fd()));
        pin::unpin(&path)?;
    }
    clsact::detach_all(&[Direction::Ingress])
}
