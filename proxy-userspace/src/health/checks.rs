//! Which health checks are served where (A80 to A82).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{
    http::Reply,
    model::{health::HealthCheck, spec::ObjectName},
};

/// A server of a Service's health check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The Service.
    pub service: ObjectName,
    /// Where it listens, on that family only.
    pub address: SocketAddr,
}

/// Every server there should be, with its count of local endpoints.
pub type Checks = BTreeMap<Target, usize>;

/// The servers of all Services. `node_ports` are the only addresses that serve NodePorts; `None`
/// without a restriction.
pub fn targets(
    checks: &BTreeMap<ObjectName, HealthCheck>,
    node_ports: Option<&BTreeSet<IpAddr>>,
) -> Checks {
    let mut found = Checks::new();
    for (service, check) in checks {
        let mut add = |ip: IpAddr, count: usize| {
            let address = SocketAddr::new(ip, check.port);
            found.insert(Target { service: service.clone(), address }, count);
        };
        for (count, any) in [
            (check.v4, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
            (check.v6, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
        ] {
            let Some(count) = count else { continue };
            match node_ports {
                None => add(any, count),
                Some(ips) => {
                    let family = ips.iter().filter(|ip| ip.is_ipv4() == any.is_ipv4());
                    family.for_each(|ip| add(*ip, count));
                }
            }
        }
    }
    found
}

/// The answer of a check (A81).
pub fn answer(service: &ObjectName, endpoints: usize, proxy_healthy: bool) -> Reply {
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {:?},\n\t\t\"name\": {:?}\n\t}},\n\
         \t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {proxy_healthy}\n}}",
        service.namespace, service.name,
    );
    let mut reply = Reply::json(endpoints > 0 && proxy_healthy, body);
    reply.headers.push(("x-load-balancing-endpoint-weight", endpoints.to_string()));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ObjectName {
        ObjectName { namespace: "shop".into(), name: "web".into() }
    }

    fn addresses(node_ports: Option<&[&str]>, check: HealthCheck) -> Vec<String> {
        let ips = node_ports.map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect());
        let targets = targets(&[(web(), check)].into(), ips.as_ref());
        targets.iter().map(|(target, count)| format!("{} {count}", target.address)).collect()
    }

    #[test]
    fn a80_a_server_for_each_family_or_each_nodeport_address() {
        let dual = HealthCheck { port: 32_000, v4: Some(2), v6: Some(1) };
        assert_eq!(addresses(None, dual), ["0.0.0.0:32000 2", "[::]:32000 1"]);
        let v4 = HealthCheck { v6: None, ..dual };
        assert_eq!(addresses(None, v4), ["0.0.0.0:32000 2"]);
        let ips = ["192.0.2.1", "192.0.2.2", "fd02::1"];
        assert_eq!(addresses(Some(&ips), v4), ["192.0.2.1:32000 2", "192.0.2.2:32000 2"]);
        assert_eq!(addresses(Some(&ips), dual).len(), 3);
    }

    #[test]
    fn a81_the_answer() {
        let reply = answer(&web(), 3, true);
        assert_eq!((reply.status, reply.content_type), (200, "application/json"));
        assert!(
            reply.headers.contains(&("x-load-balancing-endpoint-weight", "3".to_owned())),
            "{:?}",
            reply.headers
        );
        let expected = "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\
                        \t},\n\t\"localEndpoints\": 3,\n\t\"serviceProxyHealthy\": true\n}";
        assert_eq!(reply.body, expected);
        assert_eq!(answer(&web(), 0, true).status, 503);
        assert_eq!(answer(&web(), 3, false).status, 503);
    }
}
