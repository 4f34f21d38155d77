//! The socket hooks: processes of the host namespace get a backend's address when they connect or
//! send, and the service's back when they ask. No packet of theirs is translated afterwards.

pub mod address;
pub mod forward;
pub mod reverse;
