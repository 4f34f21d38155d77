//! Kernels as Debian packages them: found, downloaded and unpacked once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::Image;
use crate::{cache, cargo, step};

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// As the list names it: `6.1`.
    pub(super) version: String,
    /// Debian's meta-package, which depends on the newest build of that kernel.
    package: String,
}

/// The rows of the table that name a package: ``| 6.1 | `linux-image-…` | …``.
pub(super) fn parse(text: &str) -> Vec<Kernel> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let version = cells.next()?.to_owned();
        let package = cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        package.starts_with("linux-image-").then_some(Kernel { version, package })
    };
    text.lines().filter_map(row).collect()
}

impl Kernel {
    /// Downloads and unpacks it, unless that was done before.
    pub(super) fn fetch(&self) -> Result<Image> {
        let package = self.newest()?;
        let root = cache::folder("kernels").join(&package);
        let release = package.trim_start_matches("linux-image-").to_owned();
        if !root.is_dir() {
            let unpacking = root.with_extension("part");
            fs::create_dir_all(&unpacking)
                .with_context(|| format!("creating {}", unpacking.display()))?;
            self.unpack(&package, &release, &unpacking)?;
            fs::rename(&unpacking, &root)
                .with_context(|| format!("renaming {}", unpacking.display()))?;
        }
        Ok(Image { release, root })
    }

    /// The package that the meta-package depends on.
    fn newest(&self) -> Result<String> {
        let output = cargo::command("apt-cache")
            .args(["depends", &self.package])
            .output()
            .with_context(|| format!("asking apt for {}", self.package))?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let depends = answer.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let mut images = depends.filter(|name| name.starts_with("linux-image-"));
        match images.next() {
            Some(name) => Ok(name.to_owned()),
            None => bail!(
                "apt knows no {} (Linux {}): run `apt-get update`, or take it off \
                 docs/kernel-support.md",
                self.package,
                self.version
            ),
        }
    }

    fn unpack(&self, package: &str, release: &str, to: &Path) -> Result<()> {
        let mut download = cargo::command("apt-get");
        download.args(["download", package]).current_dir(to);
        step::run(
            "kernel-download",
            &format!("downloading Linux {}", self.version),
            &mut download,
        )?;
        let archive = archive(to)?;
        let mut unpack = cargo::command("dpkg-deb");
        unpack.arg("--extract").arg(&archive).arg(to);
        step::run("kernel-unpack", &format!("unpacking Linux {}", self.version), &mut unpack)?;
        fs::remove_file(&archive).with_context(|| format!("removing {}", archive.display()))?;
        let mut index = cargo::command("depmod");
        index.arg("--basedir").arg(to).arg(release);
        step::run("kernel-modules", "indexing its modules", &mut index)
    }
}

fn archive(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get downloaded nothing into {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_package_are_for_people() {
        let text = "| Linux | package | attach |\n|---|---|---|\n\
                    | 6.1 | `linux-image-cloud-amd64` | clsact |\n| 6.18 | this machine's | tcx |\n";
        let expected =
            Kernel { version: "6.1".to_owned(), package: "linux-image-cloud-amd64".to_owned() };
        assert_eq!(parse(text), [expected]);
    }
}
