//! `cargo xtask setup`: what every other command calls first, and what is quick the second time.
//!
//! As root on Debian it installs what is missing and builds bpf-linker once. Elsewhere it uses
//! what is there, or says in one line what to do. `proxy-userspace/build.rs` looks for the same
//! toolchain and the same linker in the same order: if you change one, change the other.

mod linker;
mod packages;
mod toolchain;

use anyhow::Result;

pub(crate) use toolchain::Toolchain;

use crate::{cargo, missing::Missing};

/// Brings the machine to where everything builds and the tests can run; returns the toolchain
/// that builds the kernel programs.
pub(crate) fn run() -> Result<Toolchain> {
    check_rustup()?;
    packages::ensure(&wanted())?;
    let toolchain = toolchain::find().ok_or_else(toolchain::missing)?;
    let linker = linker::ensure()?;
    eprintln!(
        "  ok    set-up: kernel programs by toolchain `{}`, linked by {}",
        toolchain.name,
        linker.display()
    );
    Ok(toolchain)
}

/// Installs what boots other kernels.
pub(crate) fn emulator() -> Result<()> {
    packages::ensure(&packages::EMULATOR)
}

/// The Debian packages this machine should have, given what it already has from elsewhere.
fn wanted() -> Vec<&'static str> {
    let mut wanted = packages::TOOLS.map(|tool| tool.package).to_vec();
    if toolchain::find().is_none_or(|found| found.name == toolchain::DEBIAN) {
        wanted.extend(packages::COMPILER);
    }
    if linker::find().is_none() {
        wanted.extend(packages::LLVM);
    }
    wanted
}

/// The kernel programs are built through rustup, which finds Debian's compiler by its path.
fn check_rustup() -> Result<()> {
    let Some(rustup) = cargo::in_path("rustup") else {
        let text = "setting up: rustup is not in PATH; install it from https://rustup.rs, or put \
                    its folder (~/.cargo/bin) into PATH";
        return Err(Missing(text.to_owned()).into());
    };
    // Debian's cargo-web installs /usr/bin/cargo; a PATH that finds it first would build the host
    // code with another compiler from one command to the next.
    if let Some(first) = cargo::in_path("cargo")
        && first.parent() != rustup.parent()
    {
        eprintln!(
            "  note  PATH finds {} before rustup's cargo; put {} first",
            first.display(),
            rustup.parent().unwrap_or(&rustup).display()
        );
    }
    Ok(())
}
