//! Builds the kernel programs and hands their object to `dataplane/aya`.
//!
//! aya-build would recompile `core` for every host profile; this keeps one target folder, finds a
//! compiler that has library source, and prints nothing that is not an error.
//!
//! * `SLUICE_EBPF_OBJECT=FILE` takes a prebuilt object.
//! * `EBPF_TOOLCHAIN=NAME` names the rustup toolchain; otherwise `nightly`, the active one and
//!   Debian's (`/usr`) are tried in this order.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const OBJECT: &str = "sluice-ebpf";

fn main() {
    println!("cargo::rerun-if-env-changed=SLUICE_EBPF_OBJECT");
    println!("cargo::rerun-if-env-changed=EBPF_TOOLCHAIN");
    let root = Path::new(&var("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned();
    let out = PathBuf::from(var("OUT_DIR")).join(OBJECT);
    let object = match env::var_os("SLUICE_EBPF_OBJECT") {
        Some(prebuilt) => PathBuf::from(prebuilt),
        None => build(&root).unwrap_or_else(|problem| {
            println!("cargo::error={problem}");
            std::process::exit(1)
        }),
    };
    fs::copy(&object, &out).unwrap_or_else(|e| panic!("copying {}: {e}", object.display()));
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn build(root: &Path) -> Result<PathBuf, String> {
    for watched in ["proxy-ebpf", "proxy-common", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    let linker = linker(root)?;
    let toolchain = toolchain()?;
    let target = target_dir();
    let mut cargo = Command::new("rustup");
    cargo.arg("run").arg(&toolchain).args(["cargo", "build", "--release", "--locked"]);
    cargo.args([
        "--package",
        "sluice-ebpf",
        "-Z",
        "build-std=core",
        "--target",
        "bpfel-unknown-none",
    ]);
    cargo.arg("--target-dir").arg(&target).current_dir(root);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO", "RUST"].iter().any(|p| name.starts_with(p))
            && !["CARGO_HOME", "RUSTUP_HOME"].contains(&name.as_str())
        {
            cargo.env_remove(name);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(&linker)).env("RUSTC_BOOTSTRAP", "1");
    let output = cargo.output().map_err(|e| format!("running rustup: {e}"))?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(format!("building the kernel programs with {toolchain} failed (see above)"));
    }
    Ok(target.join("bpfel-unknown-none/release").join(OBJECT))
}

/// One folder for all host profiles, beside them.
fn target_dir() -> PathBuf {
    let out = PathBuf::from(var("OUT_DIR"));
    // OUT_DIR is TARGET/PROFILE/build/sluice-HASH/out.
    out.ancestors().nth(4).expect("cargo's layout").join("ebpf")
}

fn flags(linker: &Path) -> String {
    let linker = format!("-Clinker={}", linker.display());
    [linker.as_str(), "-Cdebuginfo=2", "-Clink-arg=--btf", "-Ccodegen-units=1"].join("\x1f")
}

fn linker(root: &Path) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(root.join(".tools/bin")).chain(env::split_paths(&path));
    places.map(|folder| folder.join("bpf-linker")).find(|file| file.is_file()).ok_or_else(|| {
        "building the kernel programs: bpf-linker is missing; run `cargo xtask setup`".to_owned()
    })
}

/// The first toolchain whose `core` is there in source.
fn toolchain() -> Result<String, String> {
    let named = env::var("EBPF_TOOLCHAIN").ok();
    let active = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    let candidates = match named {
        Some(name) => vec![name],
        None => vec!["nightly".to_owned(), active, "/usr".to_owned()],
    };
    candidates.iter().find(|name| has_library_source(name)).cloned().ok_or_else(|| {
        format!(
            "building the kernel programs: none of the toolchains {} has library source; run \
             `cargo xtask setup`, or `rustup toolchain install nightly --component rust-src`",
            candidates.join(", ")
        )
    })
}

fn has_library_source(toolchain: &str) -> bool {
    let sysroot = Command::new("rustup")
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN")
        .output();
    let Ok(output) = sysroot else { return false };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    output.status.success()
        && sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}
