//! Asks the kernel for all links, addresses and default routes.

use std::net::IpAddr;

use futures::TryStreamExt;
use netlink_packet_route::{
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
    link::{InfoData, InfoVlan, LinkAttribute, LinkInfo, LinkMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage},
};
use rtnetlink::{Error, Handle, RouteMessageBuilder};

use super::{Address, Link, Snapshot};

/// The state of the network namespace that `handle` was made in.
pub async fn take(handle: &Handle) -> Result<Snapshot, Error> {
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    let addresses: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
    let mut links: Vec<Link> = links.iter().map(link).collect();
    links.sort_by_key(|link| link.ifindex);
    let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
    Ok(Snapshot {
        links,
        addresses: addresses.iter().filter_map(address).collect(),
        default_v4: default_route(handle, v4).await?,
        default_v6: default_route(handle, v6).await?,
    })
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        ifindex: message.header.index,
        layer: message.header.link_layer_type.into(),
        ..Link::default()
    };
    let (mut lower, mut elsewhere) = (0, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Controller(master) => link.master = *master,
            LinkAttribute::Link(index) => lower = *index,
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                let kind = |info: &LinkInfo| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                };
                link.kind = infos.iter().find_map(kind).unwrap_or_default();
                link.vlan = infos.iter().find_map(vlan).unwrap_or_default();
            }
            _ => {}
        }
    }
    link.lower = if elsewhere { 0 } else { lower };
    link
}

/// The number of a vlan.
fn vlan(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(data)) = info else { return None };
    data.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let (mut local, mut address) = (None::<IpAddr>, None::<IpAddr>);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let unusable = AddressFlags::Deprecated | AddressFlags::Tentative | AddressFlags::Dadfailed;
    Some(Address {
        ifindex: message.header.index,
        // With a point-to-point address, that is the peer's and "local" is ours.
        ip: local.or(address)?,
        global: matches!(message.header.scope, AddressScope::Universe | AddressScope::Site),
        usable: !flags.intersects(unusable),
        secondary: flags.contains(AddressFlags::Secondary),
    })
}

/// The interface of the default route with the lowest metric in the main table.
async fn default_route(handle: &Handle, query: RouteMessage) -> Result<Option<u32>, Error> {
    let mut routes = handle.route().get(query).execute();
    let mut best: Option<(u32, u32)> = None;
    while let Some(route) = routes.try_next().await? {
        if let Some(found) = default_interface(&route)
            && best.is_none_or(|best| found < best)
        {
            best = Some(found);
        }
    }
    Ok(best.map(|(_, ifindex)| ifindex))
}

/// Metric and interface of a default route.
fn default_interface(route: &RouteMessage) -> Option<(u32, u32)> {
    let header = &route.header;
    if header.destination_prefix_length != 0 || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut metric, mut ifindex) = (0, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::MultiPath(hops) => {
                ifindex = ifindex.or(hops.first().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    Some((metric, ifindex?))
}
