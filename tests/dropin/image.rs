//! An image as a container runtime sees it: an OCI archive, checked and unpacked.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Unpacks the files of an image's archive into a folder, and returns its configuration. `work` is for
/// the blobs.
pub(crate) fn unpack(archive: &Path, work: &Path, root: &Path) -> Value {
    let file = File::open(archive).unwrap_or_else(|e| panic!("{}: {e}", archive.display()));
    tar::Archive::new(file).unpack(work).unwrap();
    assert_eq!(json(&fs::read(work.join("oci-layout")).unwrap())["imageLayoutVersion"], "1.0.0");
    let index = json(&fs::read(work.join("index.json")).unwrap());
    let [image] = index["manifests"].as_array().unwrap().as_slice() else {
        panic!("one image, not {index}")
    };
    let manifest = json(&blob(work, image));
    let config = json(&blob(work, &manifest["config"]));
    let [layer] = manifest["layers"].as_array().unwrap().as_slice() else {
        panic!("one layer, not {manifest}")
    };
    let mut files = Vec::new();
    GzDecoder::new(blob(work, layer).as_slice()).read_to_end(&mut files).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], digest(&files));
    tar::Archive::new(files.as_slice()).unpack(root).unwrap();
    config
}

/// A blob, whose size and digest are as its descriptor says.
fn blob(work: &Path, descriptor: &Value) -> Vec<u8> {
    let name = descriptor["digest"].as_str().unwrap();
    let bytes = fs::read(work.join("blobs").join(name.replace(':', "/"))).unwrap();
    assert_eq!(
        (name, descriptor["size"].as_u64()),
        (digest(&bytes).as_str(), Some(bytes.len() as u64))
    );
    bytes
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}
