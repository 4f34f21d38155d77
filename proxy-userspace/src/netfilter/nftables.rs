//! nftables' rulesets: kube-proxy's own tables, and the tables of `iptables-nft`, which are nftables
//! tables with iptables' names.

use std::{collections::BTreeSet, io};

use super::{
    Family,
    attributes::{Attributes, find, number, read, text},
    chains::{Jump, Removal, TABLES},
    netlink::{self, Message, Received},
    nft::{SUBSYSTEM, attribute, command, is_missing, list, message, named, tables},
    rules::{self, Destination},
};

/// The table that kube-proxy's nftables mode keeps in each family.
pub const KUBE_PROXY: &str = "kube-proxy";

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

/// What the rules of a chain in the nat table of `iptables-nft` match that jump on.
pub fn destinations(family: Family, chain: &str) -> io::Result<Vec<Destination>> {
    let of_chain =
        Attributes::new().text(attribute::RULE_TABLE, "nat").text(attribute::RULE_CHAIN, chain);
    let found = match list(family, command::GET_RULE, of_chain) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) || is_missing(&e) => return Ok(Vec::new()),
        found => found?,
    };
    let length = match family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    let is_there = |rule: &&Received| {
        named(rule, attribute::RULE_TABLE).as_deref() == Some("nat")
            && named(rule, attribute::RULE_CHAIN).as_deref() == Some(chain)
            && self::rule(rule).is_some()
    };
    let expressions = found
        .iter()
        .filter(is_there)
        .filter_map(|rule| find(&rule.attributes, attribute::RULE_EXPRESSIONS));
    Ok(expressions.filter_map(|list| rules::destination(list, length)).collect())
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
