//! Objects against the OpenAPI schemas of a real API server, which say what it would accept.

use serde_json::Value;

const SCHEMAS: &str = include_str!("../../../tests/fixtures/openapi-v3-schemas.json");

/// Every schema, by its name.
pub(crate) struct Schemas(Value);

impl Schemas {
    pub(crate) fn new() -> Self {
        let mut all: Value = serde_json::from_str(SCHEMAS).unwrap();
        Self(all["components"]["schemas"].take())
    }

    /// What is wrong with an object; nothing is known of a kind that Kubernetes itself does not have.
    pub(crate) fn check(&self, object: &Value) -> Option<Vec<String>> {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let is_it = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.into_iter().flatten().any(|it| {
                it["group"] == group && it["version"] == version && it["kind"] == object["kind"]
            })
        };
        let schema = self.0.as_object().unwrap().values().find(is_it)?;
        let mut wrong = Vec::new();
        self.value("", object, schema, &mut wrong);
        Some(wrong)
    }

    fn value(&self, at: &str, value: &Value, schema: &Value, wrong: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return self.value(at, value, &self.0[name], wrong);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.value(at, value, part, wrong);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = |choice: &Value| {
                let mut against = Vec::new();
                self.value(at, value, choice, &mut against);
                against.is_empty()
            };
            if !choices.iter().any(fits) {
                wrong.push(format!("{at}: {value} is of none of the types that it may have"));
            }
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            wrong.push(format!("{at}: {value} is none of {words:?}"));
        }
        match schema["type"].as_str() {
            Some("object") => self.object(at, value, schema, wrong),
            Some("array") => match value.as_array() {
                Some(items) => items.iter().enumerate().for_each(|(index, item)| {
                    self.value(&format!("{at}[{index}]"), item, &schema["items"], wrong);
                }),
                None => wrong.push(format!("{at}: {value} is no list")),
            },
            Some(name) if !is_a(value, name) => wrong.push(format!("{at}: {value} is no {name}")),
            Some(_) | None => {}
        }
    }

    fn object(&self, at: &str, value: &Value, schema: &Value, wrong: &mut Vec<String>) {
        let Some(fields) = value.as_object() else {
            return wrong.push(format!("{at}: {value} is no object"));
        };
        let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in needed.filter(|name| !fields.contains_key(*name)) {
            wrong.push(format!("{at}.{name} is missing"));
        }
        for (name, field) in fields {
            let at = format!("{at}.{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(known), _) | (None, Some(known)) => self.value(&at, field, known, wrong),
                // An object without a list of fields may have any.
                (None, None) if schema.get("properties").is_none() => {}
                (None, None) => wrong.push(format!("{at} is not known")),
            }
        }
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("a schema has the type {other}"),
    }
}

#[test]
fn what_an_api_server_would_refuse_is_noticed() {
    let schemas = Schemas::new();
    let check = |text: &str| schemas.check(&serde_saphyr::from_str(text).unwrap()).unwrap();
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, lables: {}}}";
    assert_eq!(check(account), [".metadata.lables is not known"]);
    let port = "{apiVersion: v1, kind: Service, spec: {ports: [{port: '80', protocol: Tcp}]}}";
    let wrong = check(port);
    assert!(wrong.contains(&".spec.ports[0].port: \"80\" is no integer".to_owned()), "{wrong:?}");
    assert!(wrong.iter().any(|it| it.starts_with(".spec.ports[0].protocol: ")), "{wrong:?}");
    let binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding}";
    assert_eq!(check(binding), [".roleRef is missing"]);
    let map = "{apiVersion: v1, kind: ConfigMap, data: {a: b}}";
    assert_eq!(check(map), Vec::<String>::new());
    let other = "{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor}";
    assert_eq!(schemas.check(&serde_saphyr::from_str(other).unwrap()), None);
}
