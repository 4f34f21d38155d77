//! An image of one layer as an OCI image layout
//! (<https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>), in one tar archive.

use std::{fmt::Write, io};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::archive::{self, Entry};

/// What the image says about itself.
pub(super) struct About {
    /// `sluice:0.1.0`.
    pub(super) name: String,
    /// `amd64`, `arm64`.
    pub(super) architecture: &'static str,
    /// When its source was written, in seconds since 1970.
    pub(super) time: u64,
    /// Its labels.
    pub(super) labels: Value,
}

/// Where the programs are, which is also the PATH inside the image.
const PROGRAMS: &str = "/usr/local/bin";

/// The archive of an image that holds this binary, and the image's digest.
pub(super) fn image(about: &About, binary: Vec<u8>) -> Result<(Vec<u8>, String)> {
    let layer = layer(about.time, binary)?;
    let packed = compress(&layer)?;
    let config = config(about, &digest(&layer))?;
    let manifest = manifest(&config, &packed);
    let index = index(about, &manifest);
    let name = digest(&manifest);
    let blobs = [config, packed, manifest]
        .into_iter()
        .map(|bytes| (format!("blobs/sha256/{}", hex(&bytes)), Entry::File(0o644, bytes)));
    let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string().into_bytes();
    let entries = [
        ("oci-layout".to_owned(), Entry::File(0o644, layout)),
        ("index.json".to_owned(), Entry::File(0o644, index)),
        ("blobs/".to_owned(), Entry::Folder),
        ("blobs/sha256/".to_owned(), Entry::Folder),
    ];
    let archive = archive::write(Vec::new(), about.time, entries.into_iter().chain(blobs))?;
    Ok((archive, name))
}

/// The file system: the binary, and the name under which a DaemonSet of kube-proxy calls it.
fn layer(time: u64, binary: Vec<u8>) -> Result<Vec<u8>> {
    let folders = ["usr/", "usr/local/", "usr/local/bin/"].map(|path| (path, Entry::Folder));
    let files = [
        ("usr/local/bin/kube-proxy", Entry::Link("sluice")),
        ("usr/local/bin/sluice", Entry::File(0o755, binary)),
    ];
    let entries = folders.into_iter().chain(files);
    archive::write(Vec::new(), time, entries.map(|(path, entry)| (path.to_owned(), entry)))
}

/// Without a name and a time in its header, gzip is the same each time.
fn compress(layer: &[u8]) -> Result<Vec<u8>> {
    let mut packer = GzBuilder::new().write(Vec::new(), Compression::default());
    io::Write::write_all(&mut packer, layer)
        .and_then(|()| packer.finish())
        .context("compressing the layer")
}

/// It runs as root without a user name: there is no /etc/passwd.
fn config(about: &About, diff: &str) -> Result<Vec<u8>> {
    let created = rfc3339(about.time)?;
    let config = json!({
        "created": created,
        "architecture": about.architecture,
        "os": "linux",
        "config": {
            "User": "0:0",
            "Env": [format!("PATH={PROGRAMS}")],
            "Entrypoint": [format!("{PROGRAMS}/kube-proxy")],
            "WorkingDir": "/",
            "Labels": about.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [diff]},
        "history": [{"created": created, "created_by": "cargo xtask image"}],
    });
    Ok(config.to_string().into_bytes())
}

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
    });
    manifest.to_string().into_bytes()
}

/// `org.opencontainers.image.ref.name` is the tag; containerd takes the other as the full name.
fn index(about: &About, manifest: &[u8]) -> Vec<u8> {
    let tag = about.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let mut image = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
    image["platform"] = json!({"architecture": about.architecture, "os": "linux"});
    image["annotations"] = json!({
        "org.opencontainers.image.ref.name": tag,
        "io.containerd.image.name": full_name(&about.name),
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [image],
    });
    index.to_string().into_bytes()
}

/// As container runtimes read a name: without a registry it is Docker Hub's, without an owner its
/// library's.
fn full_name(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(blob), "size": blob.len()})
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn rfc3339(time: u64) -> Result<String> {
    let time = i64::try_from(time).context("a time after the year 9999")?;
    let time = jiff::Timestamp::from_second(time).context("a time after the year 9999")?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        let labels = json!({"org.opencontainers.image.title": "sluice"});
        About { name: "sluice:1".into(), architecture: "amd64", time: 1_700_000_000, labels }
    }

    #[test]
    fn the_same_binary_is_the_same_image() {
        let (first, digest) = image(&about(), b"binary".to_vec()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert_eq!(image(&about(), b"binary".to_vec()).unwrap(), (first, digest.clone()));
        assert_ne!(image(&about(), b"other".to_vec()).unwrap().1, digest);
    }

    #[test]
    fn names_are_full_for_containerd() {
        for (name, full) in [
            ("sluice:1", "docker.io/library/sluice:1"),
            ("me/sluice:1", "docker.io/me/sluice:1"),
            ("localhost/sluice:1", "localhost/sluice:1"),
            ("registry.example:5000/a/sluice:1", "registry.example:5000/a/sluice:1"),
        ] {
            assert_eq!(full_name(name), full);
        }
    }
}
