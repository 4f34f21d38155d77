//! What this machine's kernel may lack. `cargo xtask test cluster` leaves these tests out, and
//! `cargo xtask test vm` runs them in guests, whose kernels have all of it.

mod devices;
mod sctp;
