//! The compiler of the kernel programs: the first toolchain whose `core` is there in source.

use std::{env, path::PathBuf};

use crate::{cargo, missing::Missing};

/// Debian's compiler, as rustup names it: by its prefix.
pub(super) const DEBIAN: &str = "/usr";

/// A toolchain that can build `core`.
pub(crate) struct Toolchain {
    /// What `rustup run` takes.
    pub(crate) name: String,
    sysroot: PathBuf,
}

impl Toolchain {
    /// Whether it has a clippy of its own.
    pub(crate) fn has_clippy(&self) -> bool {
        self.sysroot.join("bin/cargo-clippy").is_file()
    }

    /// What to do when it has none.
    pub(crate) fn clippy_missing(&self) -> Missing {
        let name = &self.name;
        let remedy = match name == DEBIAN {
            true => "apt-get install rust-web-clippy".to_owned(),
            false => format!("rustup component add clippy --toolchain {name}"),
        };
        Missing(format!("checking the kernel programs: {name} has no clippy; run `{remedy}`"))
    }
}

/// The order of `proxy-userspace/build.rs`.
fn candidates() -> Vec<String> {
    let active = || env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    match env::var("EBPF_TOOLCHAIN") {
        Ok(named) => vec![named],
        Err(_) => vec!["nightly".to_owned(), active(), DEBIAN.to_owned()],
    }
}

/// The toolchain that the build will take.
pub(super) fn find() -> Option<Toolchain> {
    candidates().into_iter().find_map(|name| {
        let sysroot = sysroot(&name)?;
        let source = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        source.is_file().then_some(Toolchain { name, sysroot })
    })
}

fn sysroot(toolchain: &str) -> Option<PathBuf> {
    let output = cargo::command("rustup")
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .ok()?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then(|| PathBuf::from(path))
}

/// What to do when there is none.
pub(super) fn missing() -> anyhow::Error {
    let tried = candidates().join(", ");
    Missing(format!(
        "setting up: no compiler for the kernel programs (none of {tried} has library source); run \
         `rustup toolchain install nightly --component rust-src --component clippy`, or on Debian \
         run this command as root"
    ))
    .into()
}
