//! What the privileged tests, the demo and the bench stand on.

pub mod apiserver;
pub mod packet;
