//! Which folder may name which crate: invariants 1 and 2.

use super::{Broken, tree::Source};

/// Names that may be used only below some folders, and why.
struct Layer {
    /// Where the rule holds.
    within: &'static str,
    /// Where, within that, it does not.
    except: &'static [&'static str],
    /// Paths that begin with one of these names are refused: `kube::…`.
    crates: &'static [&'static str],
    /// These words are refused wherever they stand.
    words: &'static [&'static str],
    why: &'static str,
}

/// Tests may use what they like.
const MODEL_TESTS: &[&str] =
    &["proxy-userspace/src/model/tests/", "proxy-userspace/src/model/tests.rs"];

const LAYERS: [Layer; 8] = [
    Layer {
        within: "proxy-userspace/src/model/",
        except: MODEL_TESTS,
        crates: &["tokio", "kube", "aya", "aya_obj", "libc", "nix", "tracing", "log", "rand"],
        words: &["Instant", "SystemTime", "RandomState", "getrandom", "println", "eprintln"],
        why: "the model is pure: no I/O, clock, randomness or logging (invariant 1)",
    },
    Layer {
        within: "proxy-userspace/src/explain/",
        except: &[],
        crates: &["tokio", "kube", "aya", "aya_obj", "libc", "nix", "tracing", "log", "rand"],
        words: &["Instant", "SystemTime", "println", "eprintln", "HashMap", "HashSet"],
        why: "explaining is pure: maps in, an answer out (invariant 8)",
    },
    Layer {
        within: "proxy-userspace/src/model/",
        except: MODEL_TESTS,
        crates: &[],
        words: &["HashMap", "HashSet"],
        why: "the model uses ordered collections, so that its output never varies (invariant 1)",
    },
    Layer {
        within: "proxy-userspace/src/",
        except: &[
            "proxy-userspace/src/source/",
            "proxy-userspace/src/source.rs",
            "proxy-userspace/src/events/",
        ],
        crates: &["k8s_openapi", "kube"],
        words: &[],
        why: "Kubernetes' own types stay inside source/ and events/ (invariant 2)",
    },
    Layer {
        within: "proxy-userspace/src/",
        except: &["proxy-userspace/src/http/"],
        crates: &["hyper", "hyper_util", "http_body_util", "socket2"],
        words: &[],
        why: "the HTTP library stays inside http/ (invariant 2)",
    },
    Layer {
        within: "proxy-userspace/src/",
        except: &["proxy-userspace/src/metrics/"],
        crates: &["prometheus"],
        words: &[],
        why: "the metrics library stays inside metrics/ (invariant 2)",
    },
    Layer {
        within: "proxy-userspace/src/config/",
        except: &["proxy-userspace/src/config/watch.rs"],
        crates: &["tokio", "kube", "prometheus", "tracing"],
        words: &[],
        why: "the configuration is read before anything runs, its log included",
    },
    Layer {
        within: "proxy-userspace/src/",
        except: &["proxy-userspace/src/dataplane/aya/", "proxy-userspace/src/dataplane/aya.rs"],
        crates: &["aya", "aya_obj"],
        words: &[],
        why: "aya stays inside dataplane/aya/ (invariant 2)",
    },
];

/// The names in this file that its folder may not use.
pub(super) fn check(source: &Source) -> Vec<Broken> {
    let holds = |layer: &&Layer| {
        source.path.starts_with(layer.within)
            && !layer.except.iter().any(|folder| source.path.starts_with(folder))
    };
    let layers: Vec<&Layer> = LAYERS.iter().filter(holds).collect();
    let end = end_of_code(&source.text);
    let code = source.lines().take_while(|(number, _)| *number < end);
    let mut own = false;
    let code = code.map(|(number, line)| {
        own |= imports_own(line);
        let imports = own;
        own &= !line.contains(';');
        (number, line, imports)
    });
    code.flat_map(|(number, line, own)| {
        let refused = layers.iter().filter_map(move |l| Some((l, l.refuses(line, own)?)));
        refused.map(move |(layer, name)| source.broken(number, format!("{name}: {}", layer.why)))
    })
    .collect()
}

/// Whether an import of our own modules begins here: `aya::…` in its braces is our `aya`.
fn imports_own(line: &str) -> bool {
    let Some((before, path)) = line.split_once("use ") else { return false };
    let ours = ["crate::", "super::", "self::"].iter().any(|root| path.starts_with(root));
    ours && (before.trim().is_empty() || before.trim_start().starts_with("pub"))
}

/// The line where the unit tests begin; by convention they end the file.
fn end_of_code(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_module = |line: &str| line.starts_with("mod ") && line.ends_with(['{', '}']);
    let begins = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && is_module(pair[1]);
    lines.windows(2).position(begins).map_or(lines.len() + 1, |index| index + 1)
}

impl Layer {
    /// The first name in the line that this layer refuses; `own` says that paths in it are ours.
    fn refuses<'a>(&self, line: &'a str, own: bool) -> Option<&'a str> {
        if line.trim_start().starts_with("//") {
            return None;
        }
        let mut at = 0;
        while let Some(start) = line[at..].find(is_name).map(|found| at + found) {
            let end = line[start..].find(|c| !is_name(c)).map_or(line.len(), |len| start + len);
            let name = &line[start..end];
            // `crate::dataplane::aya::Maps` names our own module; `::aya::maps` names the crate.
            let inner =
                line[..start].strip_suffix("::").is_some_and(|head| head.ends_with(is_name));
            let begins_path = !own && !inner && line[end..].starts_with("::");
            if self.words.contains(&name) || (begins_path && self.crates.contains(&name)) {
                return Some(name);
            }
            at = end;
        }
        None
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        check(&source).into_iter().map(|b| b.what[..b.what.find(':').unwrap()].to_owned()).collect()
    }

    #[test]
    fn the_model_is_pure() {
        let path = "proxy-userspace/src/model/desired.rs";
        assert_eq!(broken(path, "use tokio::sync::mpsc;\n"), ["tokio"]);
        assert_eq!(broken(path, "    let now = std::time::Instant::now();\n"), ["Instant"]);
        assert_eq!(broken(path, "use std::collections::{BTreeMap, HashMap};\n"), ["HashMap"]);
        assert!(broken(path, "// as kube::Client does\nlet text = \"kube-proxy\";\n").is_empty());
        assert!(broken(path, "#[cfg(test)]\nmod tests { use rand::Rng; }\n").is_empty());
        assert_eq!(broken(path, "#[cfg(test)]\nmod tests;\nuse rand::Rng;\n"), ["rand"]);
        assert!(broken("proxy-userspace/src/model/tests/a.rs", "use rand::Rng;\n").is_empty());
    }

    #[test]
    fn crates_stay_in_their_folders() {
        let controller = "proxy-userspace/src/controller.rs";
        assert_eq!(
            broken(controller, "use k8s_openapi::api::core::v1::Service;\n"),
            ["k8s_openapi"]
        );
        assert_eq!(broken(controller, "fn f(map: &::aya::maps::MapData) {}\n"), ["aya"]);
        assert!(broken(controller, "use crate::dataplane::aya::Dataplane;\n").is_empty());
        let tree = "use crate::{\n    dataplane::{aya::load},\n};\nuse aya::Ebpf;\n";
        assert_eq!(broken(controller, tree), ["aya"]);
        assert!(broken("proxy-userspace/src/dataplane/aya/load.rs", "use aya::Ebpf;\n").is_empty());
        assert_eq!(broken(controller, "use hyper::Request;\n"), ["hyper"]);
        assert_eq!(broken(controller, "use kube::Client;\n"), ["kube"]);
        assert!(broken(controller, "use crate::source::kube::Connection;\n").is_empty());
        assert!(broken("proxy-userspace/src/http/server.rs", "use hyper::Request;\n").is_empty());
        let convert = "proxy-userspace/src/source/kube/convert.rs";
        assert!(broken(convert, "use k8s_openapi::api::core::v1::Service;\n").is_empty());
    }
}
