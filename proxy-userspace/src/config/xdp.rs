//! `--xdp`.

/// Where XDP forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Xdp {
    /// Nowhere.
    #[default]
    Off,
    /// On network cards whose driver runs XDP programs.
    Auto,
    /// On every uplink, in the driver.
    Native,
    /// On every uplink, in the network stack: slower than tc on most machines, for tests.
    Generic,
}
