//! Paths, parameters and selectors.

use serde_json::Value;

/// What a request names.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}

impl Target {
    /// Parses `/api/v1/...` and `/apis/GROUP/VERSION/...`.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        if parts.next()? != "v1" {
            return None;
        }
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let (resource, name) = match rest {
            [resource] => (*resource, None),
            [resource, name] => (*resource, Some((*name).to_owned())),
            _ => return None,
        };
        let namespace = namespace.map(str::to_owned);
        Some(Self { group, resource: resource.to_owned(), namespace, name })
    }
}

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    pub(super) fn parse(query: &str) -> Self {
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (decode(key), decode(value))
        };
        Self { pairs: query.split('&').filter(|text| !text.is_empty()).map(pair).collect() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(name, value)| name == key && !value.is_empty())?;
        Some(&pair.1)
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1"))
    }

    /// Whether an object passes both selectors.
    pub(super) fn select(&self, object: &Value) -> bool {
        let labels = self.get("labelSelector").unwrap_or_default();
        let fields = self.get("fieldSelector").unwrap_or_default();
        requirements(labels).all(|text| label_matches(text, object))
            && requirements(fields).all(|text| field_matches(text, object))
    }
}

fn requirements(selector: &str) -> impl Iterator<Item = &str> {
    selector.split(',').map(str::trim).filter(|text| !text.is_empty())
}

fn label_matches(requirement: &str, object: &Value) -> bool {
    let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
    if let Some(key) = requirement.strip_prefix('!') {
        return label(key).is_none();
    }
    match split(requirement) {
        Some((key, value, equal)) => (label(key) == Some(value)) == equal,
        None => label(requirement).is_some(),
    }
}

fn field_matches(requirement: &str, object: &Value) -> bool {
    let Some((path, value, equal)) = split(requirement) else { return false };
    let pointer = format!("/{}", path.replace('.', "/"));
    let found = object.pointer(&pointer).and_then(Value::as_str).unwrap_or_default();
    (found == value) == equal
}

fn split(requirement: &str) -> Option<(&str, &str, bool)> {
    if let Some((key, value)) = requirement.split_once("!=") {
        return Some((key, value, false));
    }
    let (key, value) = requirement.split_once('=')?;
    Some((key, value.trim_start_matches('='), true))
}

fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                out.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
