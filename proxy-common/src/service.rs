//! SERVICES: the names behind service ids, so that maps explain themselves without the controller.

use crate::abi;

/// Longest namespace or service name (RFC 1123 label), in bytes.
pub const NAME_LEN: usize = 63;

/// Identity of a service port (A4). Names are padded with zeros.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// Namespace.
    pub namespace: [u8; 64],
    /// Service.
    pub name: [u8; 64],
    /// Name of the port; empty for the only port of a service.
    pub port_name: [u8; 64],
    /// IP protocol number.
    pub proto: u8,
    /// Zero.
    pub pad: [u8; 3],
}

abi! {
    ServiceName = 196,
}
