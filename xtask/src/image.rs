//! `cargo xtask image`: the binary alone, linked statically, as a container image in an OCI archive.
//! No Docker is asked for.

mod archive;
mod layout;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{cargo, missing::Missing, setup, step};
use layout::About;

/// Options of `cargo xtask image`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to write the archive [default: target/image/sluice-ARCHITECTURE.tar]
    #[arg(long)]
    output: Option<PathBuf>,
    /// The image's name, with or without a registry
    #[arg(long, default_value = concat!("sluice:", env!("CARGO_PKG_VERSION")))]
    name: String,
    /// The profile to build with: `dist` takes minutes, `release` about one
    #[arg(long, default_value = "dist")]
    profile: String,
    /// Another machine's target, such as aarch64-unknown-linux-gnu; it needs that target's
    /// standard library (`rustup target add`) and linker
    #[arg(long)]
    target: Option<String>,
}

impl Args {
    /// What the tests run: not optimised, and named for them only.
    pub(crate) fn for_tests() -> Self {
        let output = Some(cargo::target().join("image/sluice-test.tar"));
        Self { output, name: "sluice:test".into(), profile: "dev".into(), target: None }
    }

    fn architecture(&self) -> Result<&'static str> {
        let target = self.target.as_deref().unwrap_or(std::env::consts::ARCH);
        match target.split('-').next() {
            Some("x86_64") => Ok("amd64"),
            Some("aarch64") => Ok("arm64"),
            _ => bail!("{target} has no name as a container image here; x86_64 and aarch64 have"),
        }
    }
}

/// Sets up, builds, and says what the image is.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::run()?;
    println!("{}", build(args)?.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the binary and the archive, and says where the archive is.
pub(crate) fn build(args: &Args) -> Result<PathBuf> {
    let architecture = args.architecture()?;
    let binary = binary(args)?;
    let about =
        About { name: args.name.clone(), architecture, time: source_time()?, labels: labels() };
    let size = binary.len();
    let (archive, digest) = layout::image(&about, binary)?;
    let path = args
        .output
        .clone()
        .unwrap_or_else(|| cargo::target().join(format!("image/sluice-{architecture}.tar")));
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
        .and_then(|()| fs::write(&path, &archive))
        .with_context(|| format!("writing {}", path.display()))?;
    eprintln!(
        "  {} for {architecture}: {digest}, {:.1} MB, the binary in it {:.1} MB",
        args.name,
        megabytes(archive.len()),
        megabytes(size)
    );
    Ok(path)
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// The binary with everything it needs inside. Only its own crate is compiled with `crt-static`:
/// that is where the linker is told, and the libraries stay those of every other build.
fn binary(args: &Args) -> Result<Vec<u8>> {
    let mut command = cargo::cargo("rustc");
    command.args(["--locked", "--package", "sluice", "--bin", "sluice"]);
    command.args(["--profile", &args.profile]);
    let mut folder = cargo::target();
    if let Some(target) = &args.target {
        require(target)?;
        command.args(["--target", target]);
        folder.push(target);
    }
    command.args(["--", "-Ctarget-feature=+crt-static"]);
    let what = format!("building sluice, static, profile {}", args.profile);
    step::run("image", &what, &mut command)?;
    // cargo's own exception: the folder of `dev` is `debug`.
    folder.push(if args.profile == "dev" { "debug" } else { &args.profile });
    let path = folder.join("sluice");
    let binary = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    if asks_for_a_loader(&binary) {
        bail!("{} is linked dynamically: an image has no libraries", path.display());
    }
    Ok(binary)
}

/// Whether the kernel would look for an interpreter of this program: an ELF file of 64 bits with a
/// program header of the type PT_INTERP.
fn asks_for_a_loader(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, len: usize| {
        let bytes = elf.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((start, size, count)) = headers() else { return true };
    (0..count).any(|index| number(start + index * size, 4) == Some(PT_INTERP as usize))
}

fn require(target: &str) -> Result<()> {
    let output = cargo::command("rustup")
        .args(["target", "list", "--installed"])
        .output()
        .context("asking rustup which targets are installed")?;
    let installed = String::from_utf8_lossy(&output.stdout).into_owned();
    if installed.lines().any(|line| line.trim() == target) {
        return Ok(());
    }
    Err(Missing(format!(
        "building for {target}: its standard library is missing; run `rustup target add {target}`"
    ))
    .into())
}

/// `SOURCE_DATE_EPOCH`, else the time of the commit: whoever builds it again gets the same image.
fn source_time() -> Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().context("SOURCE_DATE_EPOCH is not a number of seconds"),
        Err(_) => Ok(git(&["log", "-1", "--format=%ct"])
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()),
    }
}

fn labels() -> Value {
    let revision = git(&["rev-parse", "HEAD"]).map(|commit| {
        let changed = git(&["status", "--porcelain"]).is_some_and(|text| !text.is_empty());
        if changed { format!("{commit}-dirty") } else { commit }
    });
    let mut labels = json!({
        "org.opencontainers.image.title": "sluice",
        "org.opencontainers.image.description":
            "An eBPF service proxy for Kubernetes: a drop-in replacement for kube-proxy",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.licenses": "Apache-2.0",
    });
    if let Some(revision) = revision {
        labels["org.opencontainers.image.revision"] = revision.into();
    }
    labels
}

/// What git says about the workspace; nothing where it is not a clone.
fn git(arguments: &[&str]) -> Option<String> {
    let output = cargo::command("git").args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_known() {
        // This test is one.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(asks_for_a_loader(&own));
        let mut none = own;
        none[56..58].fill(0);
        assert!(!asks_for_a_loader(&none));
    }

    #[test]
    fn architectures_have_the_registries_names() {
        let of = |target: &str| {
            Args { target: Some(target.into()), ..Args::for_tests() }.architecture().ok()
        };
        assert_eq!(of("aarch64-unknown-linux-gnu"), Some("arm64"));
        assert_eq!(of("x86_64-unknown-linux-musl"), Some("amd64"));
        assert_eq!(of("riscv64gc-unknown-linux-gnu"), None);
    }
}
