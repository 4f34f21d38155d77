//! nftables' rulesets: kube-proxy's own tables, and the tables of `iptables-nft`, which are nftables
//! tables with iptables' names.

use std::{collections::BTreeSet, io};

use super::{
    Family,
    attributes::{Attributes, find, number, read, text},
    chains::{Jump, Removal, TABLES},
    netlink::{self, Message, Received},
};

/// The table that kube-proxy's nftables mode keeps in each family.
pub const KUBE_PROXY: &str = "kube-proxy";
/// Our own table, which keeps netfilter's address translation going ([`keep_translation`]).
pub const OURS: &str = "sluice";

const SUBSYSTEM: u8 = libc::NFNL_SUBSYS_NFTABLES as u8;
const CREATE: u16 = libc::NLM_F_CREATE as u16;

/// Commands (`NFT_MSG_*`).
mod command {
    pub(super) const NEW_TABLE: i32 = libc::NFT_MSG_NEWTABLE;
    pub(super) const GET_TABLE: i32 = libc::NFT_MSG_GETTABLE;
    pub(super) const DELETE_TABLE: i32 = libc::NFT_MSG_DELTABLE;
    pub(super) const NEW_CHAIN: i32 = libc::NFT_MSG_NEWCHAIN;
    pub(super) const GET_CHAIN: i32 = libc::NFT_MSG_GETCHAIN;
    pub(super) const DELETE_CHAIN: i32 = libc::NFT_MSG_DELCHAIN;
    pub(super) const NEW_RULE: i32 = libc::NFT_MSG_NEWRULE;
    pub(super) const GET_RULE: i32 = libc::NFT_MSG_GETRULE;
    pub(super) const DELETE_RULE: i32 = libc::NFT_MSG_DELRULE;
    pub(super) const GET_ELEMENT: i32 = libc::NFT_MSG_GETSETELEM;
}

/// Attributes (`NFTA_*`), of linux/netfilter/nf_tables.h.
mod attribute {
    pub(super) const TABLE_NAME: u16 = 1;
    pub(super) const CHAIN_TABLE: u16 = 1;
    pub(super) const CHAIN_NAME: u16 = 3;
    pub(super) const CHAIN_HOOK: u16 = 4;
    pub(super) const CHAIN_TYPE: u16 = 7;
    pub(super) const HOOK_NUMBER: u16 = 1;
    pub(super) const HOOK_PRIORITY: u16 = 2;
    pub(super) const RULE_TABLE: u16 = 1;
    pub(super) const RULE_CHAIN: u16 = 2;
    pub(super) const RULE_HANDLE: u16 = 3;
    pub(super) const RULE_EXPRESSIONS: u16 = 4;
    pub(super) const EXPRESSION_NAME: u16 = 1;
    pub(super) const EXPRESSION_DATA: u16 = 2;
    pub(super) const IMMEDIATE_DATA: u16 = 2;
    pub(super) const LIST_ELEMENT: u16 = 1;
    pub(super) const CT_REGISTER: u16 = 1;
    pub(super) const CT_KEY: u16 = 2;
    pub(super) const DATA_VERDICT: u16 = 2;
    pub(super) const VERDICT_CHAIN: u16 = 2;
    pub(super) const ELEMENTS_TABLE: u16 = 1;
    pub(super) const ELEMENTS_SET: u16 = 2;
    pub(super) const ELEMENTS: u16 = 3;
    pub(super) const ELEMENT_KEY: u16 = 1;
    pub(super) const DATA_VALUE: u16 = 1;
}

/// A rule that jumps, and the number by which it is deleted.
#[derive(Clone, Debug)]
struct Rule {
    jump: Jump,
    handle: u64,
}

/// What of kube-proxy's nftables has for one family, and how to remove it.
#[derive(Clone, Debug)]
pub struct Leftovers {
    /// The family.
    pub family: Family,
    /// Whether there is a table of kube-proxy's nftables mode.
    pub table: bool,
    /// What is to go of each table of `iptables-nft`.
    pub iptables: Vec<(&'static str, Removal)>,
    /// The rules in chains that stay, by table.
    rules: Vec<(&'static str, Rule)>,
}

impl Leftovers {
    /// Looks for them. A kernel without nftables has none.
    pub fn find(family: Family) -> io::Result<Self> {
        let mut found = Self { family, table: false, iptables: Vec::new(), rules: Vec::new() };
        let tables = match tables(family) {
            Ok(tables) => tables,
            Err(e) if is_missing(&e) => return Ok(found),
            Err(e) => return Err(e),
        };
        found.table = tables.contains(KUBE_PROXY);
        for table in TABLES.into_iter().filter(|table| tables.contains(*table)) {
            let (chains, rules) = (chains(family, table)?, rules(family, table)?);
            let jumps: Vec<Jump> = rules
                .iter()
                .map(|rule| Jump {
                    from_builtin: chains.builtin.contains(&rule.jump.from),
                    ..rule.jump.clone()
                })
                .collect();
            let removal = Removal::of(table, &chains.all, &jumps);
            let taken = rules.into_iter().filter(|rule| removal.takes(&rule.jump));
            found.rules.extend(taken.map(|rule| (table, rule)));
            if !removal.chains.is_empty() || !removal.kept.is_empty() {
                found.iptables.push((table, removal));
            }
        }
        Ok(found)
    }

    /// Rules in chains that stay, which go with the chains that they jump to.
    pub fn jumps(&self) -> impl Iterator<Item = (&'static str, &Jump)> {
        self.rules.iter().map(|(table, rule)| (*table, &rule.jump))
    }

    /// The messages that remove them: rules before the chains that they use.
    fn removal(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        for (table, rule) in &self.rules {
            let about = self.about_rules(table, &rule.jump.from);
            let about = about.u64(attribute::RULE_HANDLE, rule.handle);
            messages.push(self.message(command::DELETE_RULE, about));
        }
        let chains = || {
            let tables = self.iptables.iter();
            tables.flat_map(|(table, removal)| removal.chains.iter().map(move |c| (*table, c)))
        };
        for (table, chain) in chains() {
            messages.push(self.message(command::DELETE_RULE, self.about_rules(table, chain)));
        }
        for (table, chain) in chains() {
            let about = Attributes::new()
                .text(attribute::CHAIN_TABLE, table)
                .text(attribute::CHAIN_NAME, chain);
            messages.push(self.message(command::DELETE_CHAIN, about));
        }
        if self.table {
            let about = Attributes::new().text(attribute::TABLE_NAME, KUBE_PROXY);
            messages.push(self.message(command::DELETE_TABLE, about));
        }
        messages
    }

    #[expect(clippy::unused_self, reason = "it builds the messages of this list")]
    fn about_rules(&self, table: &str, chain: &str) -> Attributes {
        Attributes::new().text(attribute::RULE_TABLE, table).text(attribute::RULE_CHAIN, chain)
    }

    fn message(&self, command: i32, attributes: Attributes) -> Message {
        message(self.family, command, 0, attributes)
    }

    /// Removes them, all together or none.
    pub fn remove(&self) -> io::Result<()> {
        netlink::transaction(SUBSYSTEM, &self.removal())
    }
}

/// The keys of a map in kube-proxy's own table, as bytes; none if there is no such map.
pub fn keys(family: Family, map: &str) -> io::Result<Vec<Vec<u8>>> {
    let about = Attributes::new()
        .text(attribute::ELEMENTS_TABLE, KUBE_PROXY)
        .text(attribute::ELEMENTS_SET, map);
    let parts = match list(family, command::GET_ELEMENT, about) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) || is_missing(&e) => return Ok(Vec::new()),
        parts => parts?,
    };
    let key = |element: &[u8]| {
        let key = find(element, attribute::ELEMENT_KEY)?;
        find(key, attribute::DATA_VALUE).map(<[u8]>::to_vec)
    };
    let elements = parts.iter().filter_map(|part| find(&part.attributes, attribute::ELEMENTS));
    Ok(elements.flat_map(read).filter_map(|(_, element)| key(element)).collect())
}

/// Whether an error says that the kernel has no nftables.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EINVAL))
}

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
    let state = Attributes::new()
        .u32(attribute::CT_REGISTER, libc::NFT_REG32_00 as u32)
        .u32(attribute::CT_KEY, libc::NFT_CT_STATE as u32);
    let expression = Attributes::new()
        .text(attribute::EXPRESSION_NAME, "ct")
        .nested(attribute::EXPRESSION_DATA, &state);
    Attributes::new().nested(attribute::LIST_ELEMENT, &expression)
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

fn message(family: Family, command: i32, flags: u16, attributes: Attributes) -> Message {
    let kind = u16::from(SUBSYSTEM) << 8 | command as u16;
    Message { kind, flags, family: family.number(), attributes }
}

fn list(family: Family, command: i32, attributes: Attributes) -> io::Result<Vec<Received>> {
    let mut found = netlink::list(&message(family, command, 0, attributes))?;
    found.retain(|entry| entry.family == family.number());
    Ok(found)
}

fn tables(family: Family) -> io::Result<BTreeSet<String>> {
    let found = list(family, command::GET_TABLE, Attributes::new())?;
    Ok(found.iter().filter_map(|table| named(table, attribute::TABLE_NAME)).collect())
}

#[derive(Default)]
struct Chains {
    all: BTreeSet<String>,
    builtin: BTreeSet<String>,
}

fn chains(family: Family, table: &str) -> io::Result<Chains> {
    let mut chains = Chains::default();
    for chain in list(family, command::GET_CHAIN, Attributes::new())? {
        if named(&chain, attribute::CHAIN_TABLE).as_deref() != Some(table) {
            continue;
        }
        let Some(name) = named(&chain, attribute::CHAIN_NAME) else { continue };
        if find(&chain.attributes, attribute::CHAIN_HOOK).is_some() {
            chains.builtin.insert(name.clone());
        }
        chains.all.insert(name);
    }
    Ok(chains)
}

/// The rules of a table that jump.
fn rules(family: Family, table: &str) -> io::Result<Vec<Rule>> {
    let of_table = Attributes::new().text(attribute::RULE_TABLE, table);
    let found = list(family, command::GET_RULE, of_table)?;
    let of_table =
        found.iter().filter(|rule| named(rule, attribute::RULE_TABLE).as_deref() == Some(table));
    Ok(of_table.filter_map(rule).collect())
}

fn rule(received: &Received) -> Option<Rule> {
    let bytes = &received.attributes;
    let from = named(received, attribute::RULE_CHAIN)?;
    let handle = number(find(bytes, attribute::RULE_HANDLE)?);
    let mut expressions = read(find(bytes, attribute::RULE_EXPRESSIONS)?);
    let to = expressions.find_map(|(_, expression)| target(expression))?;
    Some(Rule { jump: Jump { from, from_builtin: false, to }, handle })
}

/// The chain that an expression jumps or goes to.
fn target(expression: &[u8]) -> Option<String> {
    if text(find(expression, attribute::EXPRESSION_NAME)?) != "immediate" {
        return None;
    }
    let data = find(expression, attribute::EXPRESSION_DATA)?;
    let data = find(data, attribute::IMMEDIATE_DATA)?;
    let verdict = find(data, attribute::DATA_VERDICT)?;
    find(verdict, attribute::VERDICT_CHAIN).map(text)
}

fn named(received: &Received, kind: u16) -> Option<String> {
    find(&received.attributes, kind).map(text)
}
