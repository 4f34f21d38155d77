//! One run of QEMU, with this machine's files behind virtiofs.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::Image;
use crate::{cargo, missing::Missing, step};

/// How long virtiofsd may take to listen.
const LISTENING: Duration = Duration::from_secs(10);
/// Where Debian's releases put it.
const VIRTIOFSD: [&str; 2] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];

/// A process that ends with the run.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is reaped here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots the guest and hands on what it prints, until it powers off.
pub(super) fn run(
    image: &Image,
    initrd: &Path,
    patience: Duration,
    mut line: impl FnMut(&str),
) -> Result<()> {
    let socket = initrd.with_file_name("files.sock");
    let _files = files(&socket)?;
    let kernel = image.root.join(format!("boot/vmlinuz-{}", image.release));
    let mut qemu = cargo::command("setpriv");
    // Whatever ends this process ends the guest.
    qemu.args(["--pdeathsig", "TERM", "timeout"])
        .arg(patience.as_secs().to_string())
        .arg("qemu-system-x86_64")
        .args(["-machine", "q35,memory-backend=memory", "-accel", "tcg,thread=multi"])
        .args(["-cpu", "max", "-smp", "2", "-m", "2048", "-nic", "none"])
        .args(["-nographic", "-no-reboot"])
        .args(["-object", "memory-backend-memfd,id=memory,size=2048M,share=on"])
        .arg("-chardev")
        .arg(format!("socket,id=files,path={}", socket.display()))
        .args(["-device", "vhost-user-fs-pci,chardev=files,tag=root"])
        .arg("-kernel")
        .arg(&kernel)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", "console=ttyS0 quiet panic=-1"]);
    let mut guest = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("starting QEMU")?;
    let output = guest.stdout.take().context("the guest's console")?;
    let mut guest = Ended(guest);
    for bytes in BufReader::new(output).split(b'\n') {
        let bytes = bytes.context("reading the guest's console")?;
        line(String::from_utf8_lossy(&bytes).trim_end());
    }
    let status = guest.0.wait().context("waiting for the guest")?;
    match status.success() {
        true => Ok(()),
        false => bail!("the guest did not power off within {} s ({status})", patience.as_secs()),
    }
}

/// Serves this machine's files at `socket`; the guest mounts them read-only.
fn files(socket: &Path) -> Result<Ended> {
    let program = VIRTIOFSD.iter().map(PathBuf::from).find(|path| path.is_file());
    let program = program.ok_or_else(|| {
        Missing("testing in a guest: virtiofsd is missing; install QEMU's or Debian's".to_owned())
    })?;
    if let Err(error) = fs::remove_file(socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("removing {}", socket.display()));
    }
    let log = step::log_file("vm-files")?;
    let errors = log.try_clone().context("sharing the log")?;
    let mut serve = Command::new(&program);
    serve.arg(format!("--socket-path={}", socket.display()));
    // Nothing that a guest reads changes while it runs: asking again for every file would make each
    // command that a test calls take three times as long.
    serve.args(["-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always"]);
    let server = serve.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
    let server = Ended(server.with_context(|| format!("starting {}", program.display()))?);
    let began = Instant::now();
    while !socket.exists() {
        if began.elapsed() > LISTENING {
            bail!("{} does not listen at {}", program.display(), socket.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}
