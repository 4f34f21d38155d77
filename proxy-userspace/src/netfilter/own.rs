//! Our own table in nftables, and what it is for: it keeps netfilter's address translation going, and,
//! for a moment, guards connections that change hands.

use std::io;

use super::{
    Family,
    attributes::Attributes,
    netlink::{self, Message},
    nft::{CREATE, SUBSYSTEM, attribute, command, is_missing, message, tables},
};

/// The table's name.
pub const OURS: &str = "sluice";

/// Hooks at which netfilter translates addresses, with their usual priorities: prerouting, input,
/// output, postrouting.
const HOOKS: [(&str, u32, i32); 4] = [
    ("prerouting", libc::NF_INET_PRE_ROUTING as u32, libc::NF_IP_PRI_NAT_DST),
    ("input", libc::NF_INET_LOCAL_IN as u32, libc::NF_IP_PRI_NAT_SRC),
    ("output", libc::NF_INET_LOCAL_OUT as u32, libc::NF_IP_PRI_NAT_DST),
    ("postrouting", libc::NF_INET_POST_ROUTING as u32, libc::NF_IP_PRI_NAT_SRC),
];

/// Makes the table [`OURS`], whose rules do nothing. The kernel goes on translating the packets of
/// connections that it knows, whatever becomes of the rules, as long as in the family some nat chain is
/// registered (nf_nat_register_fn) and some rule asks conntrack (nf_ct_netns_get); with the last of
/// either it stops.
pub fn keep_translation(family: Family) -> io::Result<()> {
    if keeps_translation(family)? {
        return Ok(());
    }
    let named = |kind| Attributes::new().text(kind, OURS);
    let table = named(attribute::TABLE_NAME);
    let mut messages = vec![message(family, command::NEW_TABLE, CREATE, table)];
    for (name, hook, priority) in HOOKS {
        let hook = Attributes::new()
            .u32(attribute::HOOK_NUMBER, hook)
            .u32(attribute::HOOK_PRIORITY, priority.cast_unsigned());
        let chain = named(attribute::CHAIN_TABLE)
            .text(attribute::CHAIN_NAME, name)
            .nested(attribute::CHAIN_HOOK, &hook)
            .text(attribute::CHAIN_TYPE, "nat");
        messages.push(message(family, command::NEW_CHAIN, CREATE, chain));
    }
    let rule = named(attribute::RULE_TABLE)
        .text(attribute::RULE_CHAIN, HOOKS[0].0)
        .nested(attribute::RULE_EXPRESSIONS, &ask_conntrack());
    messages.push(message(family, command::NEW_RULE, CREATE, rule));
    netlink::transaction(SUBSYSTEM, &messages)
}

/// One expression: the connection's state, into a register that nobody reads.
fn ask_conntrack() -> Attributes {
    let state = expression("ct", &load(libc::NFT_CT_STATE as u32));
    Attributes::new().nested(attribute::LIST_ELEMENT, &state)
}

/// Whether the table [`OURS`] is there.
pub fn keeps_translation(family: Family) -> io::Result<bool> {
    match tables(family) {
        Ok(tables) => Ok(tables.contains(OURS)),
        Err(e) if is_missing(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Removes the table [`OURS`]; tells whether it was there.
pub fn end_translation(family: Family) -> io::Result<bool> {
    if !keeps_translation(family)? {
        return Ok(false);
    }
    let table = Attributes::new().text(attribute::TABLE_NAME, OURS);
    let message = message(family, command::DELETE_TABLE, 0, table);
    netlink::transaction(SUBSYSTEM, &[message]).map(|()| true)
}

/// Where the guard stands: between conntrack and the translation.
const GUARDED: [(&str, u32); 2] = [
    ("guard-prerouting", libc::NF_INET_PRE_ROUTING as u32),
    ("guard-output", libc::NF_INET_LOCAL_OUT as u32),
];

/// Drops TCP segments that begin no connection and belong to none that conntrack knows, for as long as
/// the table [`OURS`] lives. Such a segment would otherwise be taken for a new connection's
/// (nf_conntrack_tcp_loose), and kube-proxy's rules would send it to any endpoint; dropped, it comes
/// again when its connection is known.
pub fn guard(family: Family) -> io::Result<()> {
    let mut messages = Vec::new();
    for (name, hook) in GUARDED {
        let hook = Attributes::new()
            .u32(attribute::HOOK_NUMBER, hook)
            .u32(attribute::HOOK_PRIORITY, libc::NF_IP_PRI_MANGLE.cast_unsigned());
        let chain = Attributes::new()
            .text(attribute::CHAIN_TABLE, OURS)
            .text(attribute::CHAIN_NAME, name)
            .nested(attribute::CHAIN_HOOK, &hook)
            .text(attribute::CHAIN_TYPE, "filter");
        messages.push(message(family, command::NEW_CHAIN, CREATE, chain));
        let rule = Attributes::new()
            .text(attribute::RULE_TABLE, OURS)
            .text(attribute::RULE_CHAIN, name)
            .nested(attribute::RULE_EXPRESSIONS, &drops_strays());
        messages.push(message(family, command::NEW_RULE, CREATE, rule));
    }
    netlink::transaction(SUBSYSTEM, &messages)
}

/// Ends [`guard`].
pub fn end_guard(family: Family) -> io::Result<()> {
    let mut messages: Vec<Message> = Vec::new();
    for (name, _) in GUARDED {
        let rules =
            Attributes::new().text(attribute::RULE_TABLE, OURS).text(attribute::RULE_CHAIN, name);
        messages.push(message(family, command::DELETE_RULE, 0, rules));
        let chain =
            Attributes::new().text(attribute::CHAIN_TABLE, OURS).text(attribute::CHAIN_NAME, name);
        messages.push(message(family, command::DELETE_CHAIN, 0, chain));
    }
    netlink::transaction(SUBSYSTEM, &messages)
}

/// `meta l4proto tcp ct state new tcp flags & (syn | ack) != syn drop`.
fn drops_strays() -> Attributes {
    const SYN: u8 = 0x02;
    const SYN_OR_ACK: u8 = 0x12;
    const FLAGS_OFFSET: u32 = 13;
    // NF_CT_STATE_BIT(IP_CT_NEW), in the host's order as the register has it.
    let new = 8_u32.to_ne_bytes();
    let expressions = [
        expression("meta", &load(libc::NFT_META_L4PROTO as u32)),
        compare(libc::NFT_CMP_EQ as u32, &[libc::IPPROTO_TCP as u8]),
        expression("ct", &load(libc::NFT_CT_STATE as u32)),
        mask(&new),
        compare(libc::NFT_CMP_NEQ as u32, &[0; 4]),
        expression(
            "payload",
            &Attributes::new()
                .u32(1, REGISTER)
                .u32(2, libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32)
                .u32(3, FLAGS_OFFSET)
                .u32(4, 1),
        ),
        mask(&[SYN_OR_ACK]),
        compare(libc::NFT_CMP_NEQ as u32, &[SYN]),
        drop_it(),
    ];
    let list = |list: Attributes, one: &Attributes| list.nested(attribute::LIST_ELEMENT, one);
    expressions.iter().fold(Attributes::new(), list)
}

/// The register that all expressions here use.
const REGISTER: u32 = libc::NFT_REG32_00 as u32;

fn expression(name: &str, data: &Attributes) -> Attributes {
    Attributes::new()
        .text(attribute::EXPRESSION_NAME, name)
        .nested(attribute::EXPRESSION_DATA, data)
}

/// Both `meta` and `ct`: register, then key.
fn load(key: u32) -> Attributes {
    Attributes::new().u32(1, REGISTER).u32(2, key)
}

fn value(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(attribute::DATA_VALUE, bytes)
}

fn compare(operator: u32, bytes: &[u8]) -> Attributes {
    let data = Attributes::new().u32(1, REGISTER).u32(2, operator).nested(3, &value(bytes));
    expression("cmp", &data)
}

fn mask(bits: &[u8]) -> Attributes {
    let data = Attributes::new()
        .u32(1, REGISTER)
        .u32(2, REGISTER)
        .u32(3, bits.len() as u32)
        .nested(4, &value(bits))
        .nested(5, &value(&vec![0; bits.len()]));
    expression("bitwise", &data)
}

fn drop_it() -> Attributes {
    const CODE: u16 = 1;
    let verdict = Attributes::new().u32(CODE, libc::NF_DROP as u32);
    let verdict = Attributes::new().nested(attribute::DATA_VERDICT, &verdict);
    let data = Attributes::new()
        .u32(1, libc::NFT_REG_VERDICT as u32)
        .nested(attribute::IMMEDIATE_DATA, &verdict);
    expression("immediate", &data)
}
