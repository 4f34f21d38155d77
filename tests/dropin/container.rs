//! A container as kubelet and a runtime make it of a Pod, with crun.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    image,
    proxy::{KUBEADM, Proxy, Stage},
    seccomp,
};

/// Where the API server is, by name: `names.rs` answers.
const HOST: &str = "api.sluice.test";

/// The DaemonSet of `deploy/base`.
pub(crate) const DEPLOYED: &str = include_str!("../../deploy/base/daemonset.yaml");

/// Which container of a DaemonSet, and what a test changes about it.
pub(crate) struct Change {
    /// Where it is in the Pod's spec.
    pub(crate) container: &'static str,
    /// A capability that it does not get.
    pub(crate) without: Option<&'static str>,
    /// Whether its seccomp profile is of containerd 1.7 or later.
    pub(crate) modern: bool,
}

/// What of all capabilities a proxy could need. (CAP_SYS_RESOURCE, for `oom_score_adj`, is one that the
/// root of this machine may not have.)
const PRIVILEGED: [&str; 5] = ["BPF", "NET_ADMIN", "PERFMON", "SYS_ADMIN", "DAC_OVERRIDE"];

/// A bundle: the image's files and what kubelet mounts.
pub(crate) struct Bundle {
    folder: PathBuf,
    image: Value,
    daemon_set: Value,
}

impl Bundle {
    /// Unpacks the image that `SLUICE_IMAGE` names.
    pub(crate) fn new(stage: &Stage, daemon_set: &str) -> Self {
        let archive = std::env::var("SLUICE_IMAGE")
            .expect("SLUICE_IMAGE names the image; use `cargo xtask test dropin`");
        let folder = stage.dir.join("bundle");
        let image =
            image::unpack(Path::new(&archive), &folder.join("archive"), &folder.join("rootfs"));
        for name in ["volume", "cgroup", "modules"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        File::create(folder.join("xtables.lock")).unwrap();
        let bundle =
            Self { folder, image, daemon_set: serde_saphyr::from_str(daemon_set).unwrap() };
        bundle.write_volume(stage);
        bundle
    }

    /// The ConfigMap, as kubeadm writes it, but for the address of its API server.
    fn write_volume(&self, stage: &Stage) {
        let volume = self.folder.join("volume");
        let config = KUBEADM.replace("10.244.0.0/16", "10.244.0.0/16,fd00:10:244::/56");
        fs::write(volume.join("config.conf"), config).unwrap();
        let url = stage.server.url().replace("127.0.0.1", HOST);
        let made = testbed::apiserver::kubeconfig(&volume, &url, None).unwrap();
        fs::rename(made, volume.join("kubeconfig.conf")).unwrap();
    }

    /// What the image says about itself.
    pub(crate) fn image(&self) -> &Value {
        &self.image["config"]
    }

    /// The files of the image.
    pub(crate) fn files(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// Starts a container on the stage's node.
    pub(crate) fn start(&self, stage: &Stage, change: &Change) -> Container {
        let spec = &self.daemon_set["spec"]["template"]["spec"];
        assert_eq!(spec["hostNetwork"], true);
        let container = spec.pointer(change.container).unwrap();
        let config = self.oci(stage, container, change);
        fs::write(self.folder.join("config.json"), config.to_string()).unwrap();
        let log = self.folder.join("log");
        let out = File::create(&log).unwrap();
        // crun refuses hosts with both versions of cgroups, and has nothing to do with them here: in a
        // mount namespace of its own it finds version 2 alone. The node's own root goes aside first.
        let script = "mount --bind \"$1\" \"$2/cgroup\" && mount -t cgroup2 cgroup2 /sys/fs/cgroup && \
                      exec crun --root \"$2/crun\" --cgroup-manager=disabled run --bundle \"$2\" \"$3\"";
        let name = self.folder.to_string_lossy().replace('/', "-");
        let node = stage.node();
        let mut command = node.command("unshare").unwrap();
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command.arg(node.cgroup_root()).arg(&self.folder).arg(name.trim_start_matches('-'));
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Container(Proxy::of(command.spawn().unwrap(), log))
    }

    /// The container of a Pod in the OCI runtime's terms.
    fn oci(&self, stage: &Stage, container: &Value, change: &Change) -> Value {
        let rights = &container["securityContext"];
        let privileged = rights["privileged"] == true;
        let capabilities = capabilities(rights, change.without);
        let sets = json!({
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        });
        let mut config = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs", "readonly": rights["readOnlyRootFilesystem"] == true},
            "process": {
                "user": {"uid": 0, "gid": 0},
                "cwd": self.image()["WorkingDir"],
                "args": arguments(container),
                "env": self.image()["Env"],
                "capabilities": sets,
                "noNewPrivileges": rights["allowPrivilegeEscalation"] == false,
            },
            "mounts": self.mounts(stage, container),
            "linux": {
                // The node's network and, so that crun's mounts are nobody else's, no other namespace.
                "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}],
            },
        });
        if !privileged {
            assert_eq!(rights["seccompProfile"]["type"], "RuntimeDefault");
            config["linux"]["seccomp"] = seccomp::filter(&capabilities, change.modern);
            config["linux"]["readonlyPaths"] =
                json!(["/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq"]);
        }
        config
    }

    /// What every container has, and the volumes of this one.
    fn mounts(&self, stage: &Stage, container: &Value) -> Vec<Value> {
        let privileged = container["securityContext"]["privileged"] == true;
        let access = if privileged { "rw" } else { "ro" };
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                   "options": ["nosuid", "mode=755"]}),
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
                   "options": ["nosuid", "noexec", "nodev", access]}),
            bind(&self.folder.join("resolv.conf"), "/etc/resolv.conf", true),
        ];
        if privileged {
            // The host's cgroups, which others do not see.
            mounts.push(bind(&self.folder.join("cgroup"), "/sys/fs/cgroup", false));
        }
        for mount in container["volumeMounts"].as_array().unwrap() {
            let source = match mount["name"].as_str().unwrap() {
                "kube-proxy" => self.folder.join("volume"),
                "bpffs" => stage.node().bpf_root().clone(),
                "cgroup" => self.folder.join("cgroup"),
                "xtables-lock" => self.folder.join("xtables.lock"),
                "lib-modules" => self.folder.join("modules"),
                other => panic!("no volume {other}"),
            };
            let read_only = mount["readOnly"] == true;
            mounts.push(bind(&source, mount["mountPath"].as_str().unwrap(), read_only));
        }
        mounts
    }
}

fn bind(source: &Path, destination: &str, read_only: bool) -> Value {
    let access = if read_only { "ro" } else { "rw" };
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", access]})
}

/// With the one variable that kubelet would put in.
fn arguments(container: &Value) -> Vec<String> {
    let words = container["command"].as_array().unwrap().iter();
    words.map(|word| word.as_str().unwrap().replace("$(NODE_NAME)", "node1")).collect()
}

fn capabilities(rights: &Value, without: Option<&str>) -> Vec<String> {
    if rights["privileged"] == true {
        return PRIVILEGED.map(|name| format!("CAP_{name}")).to_vec();
    }
    assert_eq!(rights["capabilities"]["drop"], json!(["ALL"]));
    let added = rights["capabilities"]["add"].as_array().unwrap().iter().filter_map(Value::as_str);
    let kept = added.filter(|name| Some(*name) != without);
    kept.map(|name| format!("CAP_{name}")).collect()
}

/// A running container. It ends as a Pod does, with SIGTERM.
pub(crate) struct Container(pub(crate) Proxy);

impl Drop for Container {
    fn drop(&mut self) {
        // crun hands the signal on, and ends with the container.
        let _gone = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.0.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
