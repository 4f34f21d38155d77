//! What the programs should do, from docs/dataplane.md and the RFCs: slow, plain, and without a line
//! of theirs. It follows one node from empty tables on, and asserts every packet.

mod compare;
mod parse;
mod tables;

use sluice_common::net::proto::SCTP;
use testbed::packet::{DROP, Hook, NEXT, REDIRECT, Seen};

pub(crate) use compare::sum;
pub(crate) use parse::{ip, ports};

use parse::{Packet, Part};
use tables::{Chosen, Entry, Kind, Tables};

/// What becomes of a packet.
#[derive(Debug)]
enum Verdict {
    /// Not a byte changes.
    Untouched,
    Drop,
    /// It becomes an ICMP error.
    Reject,
    /// Its source (leaving) or destination (entering) changes.
    Rewrite(Entry),
    /// So does what it quotes.
    RewriteError(Packet, Entry),
}

/// The node.
#[derive(Default)]
pub(crate) struct Reference {
    tables: Tables,
    /// A packet was dropped from which the port that was chosen for it could have been learned.
    pub(crate) lost_track: bool,
}

impl Reference {
    /// Asserts that this is what becomes of the frame. Returns the frame that goes on, if one does.
    pub(crate) fn check(&mut self, hook: Hook, frame: &[u8], seen: &Seen) -> Option<Vec<u8>> {
        let packet = ip(frame);
        let verdict = match packet {
            Some(packet) => self.verdict(hook, frame, packet, seen),
            None => Verdict::Untouched,
        };
        match (verdict, packet) {
            (Verdict::Drop, _) => assert_eq!(seen.action, DROP, "the action of a drop"),
            (Verdict::Reject, Some(packet)) => {
                assert_eq!(seen.action, REDIRECT, "the action of a refusal");
                compare::refusal(frame, &packet, &seen.frame);
            }
            (Verdict::Rewrite(entry), Some(packet)) => {
                assert_eq!(seen.action, NEXT, "the action of a rewrite to {entry:?}");
                compare::rewritten(hook, frame, &packet, entry, &seen.frame);
            }
            (Verdict::RewriteError(quote, entry), Some(packet)) => {
                assert_eq!(seen.action, NEXT, "the action of an error, rewritten to {entry:?}");
                compare::rewritten_error(hook, frame, (&packet, &quote), entry, &seen.frame);
            }
            (Verdict::Untouched, _) | (_, None) => {
                assert_eq!(seen.action, NEXT, "the action of what is not ours");
                assert_eq!(seen.frame, frame, "what is not ours");
            }
        }
        (seen.action == NEXT).then(|| seen.frame.clone())
    }

    fn verdict(&mut self, hook: Hook, frame: &[u8], packet: Packet, seen: &Seen) -> Verdict {
        if packet.part == Part::Whole && packet.proto == if packet.v6 { 58 } else { 1 } {
            return self.error(hook, frame, &packet);
        }
        if packet.part == Part::Later {
            return self.later(hook, packet);
        }
        let Some(packet) = ports(frame, packet) else { return Verdict::Untouched };
        if packet.part == Part::First {
            self.tables.remember(hook, &packet);
        }
        if seen.action == DROP && self.crc_is_lost(hook, frame, &packet) {
            self.lost_track = true;
            return Verdict::Drop;
        }
        // The port that the program chose, where it had to choose one at random.
        let chosen = parse::word(&seen.frame, packet.l4).unwrap_or_default();
        let verdict = match hook {
            Hook::Ingress | Hook::IngressUpper | Hook::Uplink => self.tables.enter(&packet, chosen),
            Hook::Egress | Hook::EgressUpper => self.tables.leave(&packet, chosen),
        };
        match verdict {
            Chosen::Untouched => Verdict::Untouched,
            Chosen::Reject => Verdict::Reject,
            Chosen::Drop => Verdict::Drop,
            Chosen::Rewrite(entry) => Verdict::Rewrite(entry),
        }
    }

    /// Whether an SCTP fragment may have had a change of ports before it, which its CRC could not
    /// follow.
    fn crc_is_lost(&self, hook: Hook, frame: &[u8], packet: &Packet) -> bool {
        let crc = frame.get(packet.l4 + 8..packet.l4 + 12);
        let ports = (packet.src.port(), packet.dst.port());
        let known = self.tables.find(hook, packet.proto, packet.src, packet.dst);
        packet.proto == SCTP
            && packet.part == Part::First
            && crc != Some(&[0; 4])
            && known.is_none_or(|entry| entry.kind == Kind::Pending || entry.ports(hook) != ports)
    }

    fn error(&self, hook: Hook, frame: &[u8], packet: &Packet) -> Verdict {
        let Some((quote, redirect)) = parse::quoted(frame, packet) else {
            return Verdict::Untouched;
        };
        match self.tables.find(hook, quote.proto, quote.dst, quote.src) {
            Some(entry) if entry.kind == Kind::Translate || entry.kind == Kind::Masquerade => {
                if redirect {
                    Verdict::Drop
                } else {
                    Verdict::RewriteError(quote, entry)
                }
            }
            _ => Verdict::Untouched,
        }
    }

    fn later(&self, hook: Hook, packet: Packet) -> Verdict {
        match self.tables.recall(hook, &packet) {
            Some(entry) if entry.kind == Kind::Translate || entry.kind == Kind::Masquerade => {
                Verdict::Rewrite(entry)
            }
            _ => Verdict::Untouched,
        }
    }
}
