//! Texts good and bad.

use super::*;

const SLICE: &str = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 8080}]
";

fn yaml(text: &str) -> Result<Vec<Object>, String> {
    objects(Path::new("x.yaml"), text.as_bytes())
}

#[test]
fn a5_a_hand_written_port_gets_the_servers_defaults() {
    let found = yaml(SLICE).unwrap();
    let [Object::Slice(name, slice)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(name.to_string(), "default/web-1");
    assert_eq!(slice.value.as_ref().unwrap().ports[0].port, 8080);
    assert_eq!(slice.value.as_ref().unwrap().service.to_string(), "default/web");
}

#[test]
fn several_documents_lists_and_strangers() {
    let service =
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: 10.96.0.1}}";
    let text = format!(
        "---\n{service}\n---\napiVersion: v1\nkind: List\nitems:\n- {service}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\n---\n---\n{SLICE}"
    );
    assert_eq!(yaml(&text).unwrap().len(), 3);
}

#[test]
fn the_items_of_a_list_are_a_list() {
    assert!(yaml("{apiVersion: v1, kind: List, items: null}").unwrap().is_empty());
    let wrong = yaml("{apiVersion: v1, kind: List, items: 5}").unwrap_err();
    assert_eq!(wrong, "line 1: List: items is no list");
}

#[test]
fn errors_name_the_line() {
    let broken = yaml("apiVersion: v1\nkind: Service\nmetadata: {name: a\n").unwrap_err();
    assert!(broken.starts_with("line "), "{broken}");
    let wrong = yaml("\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: 7\n");
    assert!(wrong.unwrap_err().starts_with("line 3: Service a: "));
    assert!(yaml("").unwrap_err().starts_with("line 1: it is empty"));
    assert!(objects(Path::new("x.yaml"), b"a: b\n\xff").unwrap_err().starts_with("line 2: "));
    let json = objects(Path::new("x.json"), b"{\n\"a\": }").unwrap_err();
    assert!(json.starts_with("line 2: "), "{json}");
}
