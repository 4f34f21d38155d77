//! The words of nftables' netlink messages.

use std::{collections::BTreeSet, io};

use super::{
    Family,
    attributes::{Attributes, find, text},
    netlink::{self, Message, Received},
};

pub(super) const SUBSYSTEM: u8 = libc::NFNL_SUBSYS_NFTABLES as u8;
pub(super) const CREATE: u16 = libc::NLM_F_CREATE as u16;

/// Commands (`NFT_MSG_*`).
pub(super) mod command {
    pub(in crate::netfilter) const NEW_TABLE: i32 = libc::NFT_MSG_NEWTABLE;
    pub(in crate::netfilter) const GET_TABLE: i32 = libc::NFT_MSG_GETTABLE;
    pub(in crate::netfilter) const DELETE_TABLE: i32 = libc::NFT_MSG_DELTABLE;
    pub(in crate::netfilter) const NEW_CHAIN: i32 = libc::NFT_MSG_NEWCHAIN;
    pub(in crate::netfilter) const GET_CHAIN: i32 = libc::NFT_MSG_GETCHAIN;
    pub(in crate::netfilter) const DELETE_CHAIN: i32 = libc::NFT_MSG_DELCHAIN;
    pub(in crate::netfilter) const NEW_RULE: i32 = libc::NFT_MSG_NEWRULE;
    pub(in crate::netfilter) const GET_RULE: i32 = libc::NFT_MSG_GETRULE;
    pub(in crate::netfilter) const DELETE_RULE: i32 = libc::NFT_MSG_DELRULE;
    pub(in crate::netfilter) const GET_ELEMENT: i32 = libc::NFT_MSG_GETSETELEM;
}

/// Attributes (`NFTA_*`), of linux/netfilter/nf_tables.h.
pub(super) mod attribute {
    pub(in crate::netfilter) const TABLE_NAME: u16 = 1;
    pub(in crate::netfilter) const CHAIN_TABLE: u16 = 1;
    pub(in crate::netfilter) const CHAIN_NAME: u16 = 3;
    pub(in crate::netfilter) const CHAIN_HOOK: u16 = 4;
    pub(in crate::netfilter) const CHAIN_TYPE: u16 = 7;
    pub(in crate::netfilter) const HOOK_NUMBER: u16 = 1;
    pub(in crate::netfilter) const HOOK_PRIORITY: u16 = 2;
    pub(in crate::netfilter) const RULE_TABLE: u16 = 1;
    pub(in crate::netfilter) const RULE_CHAIN: u16 = 2;
    pub(in crate::netfilter) const RULE_HANDLE: u16 = 3;
    pub(in crate::netfilter) const RULE_EXPRESSIONS: u16 = 4;
    pub(in crate::netfilter) const EXPRESSION_NAME: u16 = 1;
    pub(in crate::netfilter) const EXPRESSION_DATA: u16 = 2;
    pub(in crate::netfilter) const IMMEDIATE_DATA: u16 = 2;
    pub(in crate::netfilter) const LIST_ELEMENT: u16 = 1;
    pub(in crate::netfilter) const DATA_VERDICT: u16 = 2;
    pub(in crate::netfilter) const VERDICT_CHAIN: u16 = 2;
    pub(in crate::netfilter) const ELEMENTS_TABLE: u16 = 1;
    pub(in crate::netfilter) const ELEMENTS_SET: u16 = 2;
    pub(in crate::netfilter) const ELEMENTS: u16 = 3;
    pub(in crate::netfilter) const ELEMENT_KEY: u16 = 1;
    pub(in crate::netfilter) const DATA_VALUE: u16 = 1;
}

pub(super) fn message(family: Family, command: i32, flags: u16, attributes: Attributes) -> Message {
    let kind = u16::from(SUBSYSTEM) << 8 | command as u16;
    Message { kind, flags, family: family.number(), attributes }
}

pub(super) fn list(
    family: Family,
    command: i32,
    attributes: Attributes,
) -> io::Result<Vec<Received>> {
    let mut found = netlink::list(&message(family, command, 0, attributes))?;
    found.retain(|entry| entry.family == family.number());
    Ok(found)
}

/// Whether an error says that the kernel has no nftables.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EINVAL))
}

/// The names of a family's tables.
pub(super) fn tables(family: Family) -> io::Result<BTreeSet<String>> {
    let found = list(family, command::GET_TABLE, Attributes::new())?;
    Ok(found.iter().filter_map(|table| named(table, attribute::TABLE_NAME)).collect())
}

/// A name among a message's attributes.
pub(super) fn named(received: &Received, kind: u16) -> Option<String> {
    find(&received.attributes, kind).map(text)
}
