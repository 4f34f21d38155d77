//! bpf-linker: found in `.tools/bin` or PATH, else built once for all clones of this user.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{cache, cargo, missing::Missing, step};

const VERSION: &str = "0.13.0";
/// The major version of LLVM, which has to be at least that of the compiler.
const LLVM: &str = "22";

/// The linker the build will take, as `proxy-userspace/build.rs` looks for it, if it runs: one
/// from a cache may have lost the libLLVM it is linked with.
pub(super) fn find() -> Option<PathBuf> {
    let ours = tools_bin().join("bpf-linker");
    match ours.is_file() {
        true => runs(&ours).then_some(ours),
        false => cargo::in_path("bpf-linker").filter(|found| runs(found)),
    }
}

/// Finds the linker, or links the cached one into `.tools/bin`, or builds it into the cache.
pub(super) fn ensure() -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let cache = cache();
    let cached = cache.join("bin/bpf-linker");
    if !runs(&cached) {
        build(&cache)?;
    }
    let ours = tools_bin().join("bpf-linker");
    if cached != ours {
        replace_with_link(&ours, &cached)
            .with_context(|| format!("linking {} to {}", ours.display(), cached.display()))?;
    }
    find().context("bpf-linker was built, but does not run: see `ldd .tools/bin/bpf-linker`")
}

fn tools_bin() -> PathBuf {
    cargo::root().join(".tools/bin")
}

/// Where the built linker is kept.
fn cache() -> PathBuf {
    cache::folder(&format!("bpf-linker-{VERSION}-llvm{LLVM}"))
}

fn runs(linker: &Path) -> bool {
    let quiet = || Stdio::null();
    let mut command = Command::new(linker);
    command.arg("--version").stdin(quiet()).stdout(quiet()).stderr(quiet());
    command.status().is_ok_and(|status| status.success())
}

fn build(cache: &Path) -> Result<()> {
    let llvm = env::var_os("LLVM_PREFIX")
        .map_or_else(|| PathBuf::from("/usr/lib").join(format!("llvm-{LLVM}")), PathBuf::from);
    if !llvm.join("bin/llvm-config").is_file() {
        return Err(Missing(format!(
            "setting up: no bpf-linker that runs in .tools/bin or PATH, and no LLVM {LLVM} in {} to \
             build it with; install one from https://github.com/aya-rs/bpf-linker/releases, or on \
             Debian run this command as root",
            llvm.display()
        ))
        .into());
    }
    let objects = cargo::target().join("xtask/bpf-linker");
    let mut install = cargo::cargo("install");
    install
        .args(["bpf-linker", "--version", VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{LLVM}")])
        .arg("--root")
        .arg(cache)
        .arg("--target-dir")
        .arg(&objects)
        .env("LLVM_PREFIX", &llvm)
        .env("LIBRARY_PATH", llvm.join("lib"));
    let what = format!("building bpf-linker {VERSION} into {} (a minute, once)", cache.display());
    step::run("bpf-linker", &what, &mut install)?;
    fs::remove_dir_all(&objects).with_context(|| format!("removing {}", objects.display()))
}

fn replace_with_link(link: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(link.parent().expect("a file in a folder"))?;
    match fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(to, link)
}
