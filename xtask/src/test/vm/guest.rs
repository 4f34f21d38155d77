//! What a guest boots into: busybox, the modules that reach this machine's files, and a script.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::Image;
use crate::{cargo, step};

/// A test program to run in the guest.
pub(super) struct Job {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

/// Modules without which there are no files.
const MODULES: [&str; 3] = ["virtio_pci", "virtiofs", "overlay"];

/// The first process: this machine's files with a writable layer above, then [`script`]. The kernel
/// looks for `modprobe` where this process ends up.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /order); do insmod /modules/$module; done
mount -t virtiofs -o ro root /host
mount -t tmpfs layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /root
for folder in proc sys dev; do mount --move /$folder /root/$folder; done
mount -t tmpfs run /root/run
cp /script /root/run/script
exec switch_root /root /bin/sh /run/script
";

/// Makes the initial file system of a guest.
pub(super) fn initrd(image: &Image, sluice: &Path, jobs: &[Job]) -> Result<PathBuf> {
    let folder = cargo::target().join("xtask/vm").join(&image.release);
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
    }
    for name in ["bin", "proc", "sys", "dev", "host", "layer", "root", "modules"] {
        let path = root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    }
    copy(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
    fs::write(root.join("order"), modules(image, &root.join("modules"))?)?;
    fs::write(root.join("script"), script(image, sluice, jobs))?;
    let init = root.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let initrd = folder.join("initrd");
    let mut pack = cargo::command("sh");
    pack.args(["-c", "find . | cpio --create --format=newc --quiet > ../initrd"])
        .current_dir(&root);
    step::run("vm-initrd", &format!("packing the guest of {}", image.release), &mut pack)?;
    Ok(initrd)
}

/// Copies the modules, unpacked; returns their names in the order of loading.
fn modules(image: &Image, to: &Path) -> Result<String> {
    let mut order: Vec<String> = Vec::new();
    for module in MODULES {
        for path in needed(image, module)? {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = file.trim_end_matches(".xz").to_owned();
            if order.contains(&name) {
                continue;
            }
            if file == name {
                copy(&path, &to.join(&name))?;
            } else {
                fs::write(to.join(&name), output(cargo::command("xz").arg("-dc").arg(&path))?)?;
            }
            order.push(name);
        }
    }
    Ok(order.join("\n"))
}

/// The files of a module and of those it depends on; none for what is built in.
fn needed(image: &Image, module: &str) -> Result<Vec<PathBuf>> {
    let mut modprobe = cargo::command("modprobe");
    modprobe.arg("--dirname").arg(&image.root).args(["--set-version", &image.release]);
    let answer = output(modprobe.args(["--show-depends", module]))?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let files = answer.lines().filter_map(|line| line.strip_prefix("insmod "));
    Ok(files.map(|file| PathBuf::from(file.trim())).collect())
}

/// Runs the jobs among this machine's files.
fn script(image: &Image, sluice: &Path, jobs: &[Job]) -> String {
    let mut script = format!(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         export SLUICE_BIN={} SLUICE_PATIENCE=10\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         mount -t cgroup2 cgroup /sys/fs/cgroup\n\
         mkdir -p /lib/modules\n\
         mount --bind {}/lib/modules /lib/modules\n\
         modprobe br_netfilter\n\
         ip link set lo up\n\
         cd {}/tests\n",
        sluice.display(),
        image.root.display(),
        cargo::root().display()
    );
    for job in jobs {
        script.push_str(&job.program.display().to_string());
        for argument in &job.arguments {
            script.push_str(&format!(" '{argument}'"));
        }
        script.push_str(" 2>&1\n");
    }
    script.push_str("/bin/busybox poweroff -f\n");
    script
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}
