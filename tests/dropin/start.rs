//! How it starts and ends: modes, files, names, exit codes.

use std::{
    fs,
    os::unix::fs::symlink,
    process::Output,
    time::{Duration, SystemTime},
};

use crate::proxy::{Stage, eventually, program};

/// This moment, as the control plane writes it.
pub(crate) fn now() -> String {
    jiff::Timestamp::try_from(SystemTime::now()).unwrap().to_string()
}

fn text(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_cannot_be_run_is_one_line_and_exit_code_2() {
    let stage = Stage::new();
    for (change, flags, part) in [
        (("mode: \"\"", "mode: iptables"), &[][..], "add --proxy-mode=ebpf"),
        (("mode: \"\"", "mode: ["), &[], "reading --config"),
        (("v1alpha1", "v1"), &[], "apiVersion"),
        (("kind: KubeProxy", "kind: Kubelet"), &[], "KubeletConfiguration"),
        (("syncPeriod: 0s", "syncPeriod: soon"), &[], "not a duration"),
        (("mode: \"\"", "mode: \"\""), &["--proxy-mode=nftables"], "--proxy-mode=nftables"),
        (("mode: \"\"", "mode: \"\""), &["--no-such-flag"], "--no-such-flag"),
        (("kubeconfig: ", "kubeconfig: /nowhere"), &["--proxy-mode=ebpf"], "the kubeconfig"),
    ] {
        let config = stage.config(|file| file.replacen(change.0, change.1, 1));
        let flag = format!("--config={}", config.display());
        let output = stage.command(&program()).arg(flag).args(flags).output().unwrap();
        let (code, error) = text(&output);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(part), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn every_mode_of_kube_proxy_gives_way_to_the_flag() {
    let stage = Stage::new();
    for mode in ["iptables", "nftables", "ipvs"] {
        let config = stage.config(|file| file.replace("mode: \"\"", &format!("mode: {mode}")));
        let proxy = stage.start(&config, &["--proxy-mode=ebpf"]);
        proxy.wait_ready();
        let note = format!("mode \"{mode}\" of ");
        assert!(proxy.log().contains(&note), "{}", proxy.log());
    }
}

#[test]
fn unknown_fields_are_a_warning() {
    let stage = Stage::new();
    let config = stage.config(|file| file + "\nshinyNewField: 1\n");
    let proxy = stage.start(&config, &["--proxy-mode=ebpf", "--ipvs-scheduler=rr"]);
    proxy.wait_ready();
    let log = proxy.log();
    assert!(log.contains("unknown field \"shinyNewField\""), "{log}");
    assert_eq!(log.matches("--ipvs-scheduler is ignored").count(), 1, "{log}");
}

#[test]
fn a95_a_changed_file_ends_it() {
    let stage = Stage::new();
    let config = stage.config(|file| file);
    let mut proxy = stage.start(&config, &[]);
    proxy.wait_ready();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("mode: \"\"", "mode: ebpf")).unwrap();
    assert_eq!(proxy.wait().code(), Some(1));
    assert!(proxy.log().contains("the configuration file was changed"), "{}", proxy.log());
}

#[test]
fn a95_an_updated_configmap_ends_it() {
    let stage = Stage::new();
    let config = stage.config(|file| file);
    let volume = stage.dir.join("volume");
    for version in ["..1", "..2"] {
        fs::create_dir_all(volume.join(version)).unwrap();
        fs::copy(&config, volume.join(version).join("config.conf")).unwrap();
    }
    symlink("..1", volume.join("..data")).unwrap();
    symlink("..data/config.conf", volume.join("config.conf")).unwrap();
    let mut proxy = stage.start(&volume.join("config.conf"), &[]);
    proxy.wait_ready();
    symlink("..2", volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    proxy.wait();
}

#[test]
fn as_kube_proxy_it_is_the_same() {
    let stage = Stage::new();
    let name = stage.dir.join("kube-proxy");
    symlink(program(), &name).unwrap();
    let config = stage.config(|file| file);
    let proxy =
        stage.start_as(&name.display().to_string(), &config, &["--proxy_mode=ebpf", "-v=4"]);
    proxy.wait_ready();
    assert_eq!(stage.get(10_249, "/proxyMode").1, "ebpf");
    let version = stage.command(&name.display().to_string()).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains("Kubernetes v1."));
}

#[test]
fn a87_a_port_that_is_taken() {
    let stage = Stage::new();
    let taken = stage.listen(10_256);
    let proxy = stage.start(&stage.config(|file| file), &[]);
    proxy.wait_ready();
    eventually("a report", || proxy.log().contains("serving healthz at 0.0.0.0:10256 failed"));
    drop(taken);
    eventually("another try", || stage.try_get(10_256, "/healthz").is_some());
    drop(proxy);
    let _taken = stage.listen(10_249);
    let hard = |file: String| file.replace("HardFail: false", "HardFail: true");
    let mut proxy = stage.start(&stage.config(hard), &[]);
    assert_eq!(proxy.wait().code(), Some(1));
    let events = stage.events("default");
    let reasons: Vec<_> = events.iter().filter_map(|event| event["reason"].as_str()).collect();
    assert!(reasons.contains(&"FailedToStartMetricServer"), "{reasons:?}");
}

#[test]
fn write_config_to_init_only_and_cleanup() {
    let stage = Stage::new();
    let written = stage.dir.join("written.yaml");
    let run = |args: &[&str]| stage.command(&program()).args(args).output().unwrap();
    let to = format!("--write-config-to={}", written.display());
    assert!(run(&["--cluster-cidr=10.244.0.0/16", "--hostname-override=n1", &to]).status.success());
    let text = fs::read_to_string(&written).unwrap();
    assert!(text.contains("kind: KubeProxyConfiguration") && text.contains("mode: ebpf"), "{text}");
    let output = run(&["--init-only", "--conntrack-max-per-core=0"]);
    assert!(output.status.success(), "{}", self::text(&output).1);
    let close_wait = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait";
    assert_eq!(stage.node().shell(&format!("cat {close_wait}")).unwrap().trim(), "3600");
    let proxy = stage.start(&stage.config(|file| file), &[]);
    proxy.wait_ready();
    drop(proxy);
    std::thread::sleep(Duration::from_millis(100));
    assert!(run(&["--cleanup"]).status.success());
    assert!(!stage.node().bpf_root().join("sluice").exists());
}
