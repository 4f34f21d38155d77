//! BACKENDS: ids for endpoints, and the generations of the ids.

use std::{collections::BTreeMap, time::Duration};

use sluice_common::backend::{Backend, flags};

use super::{delta::Delta, endpoint::Target, ids::Ids};

/// The backends of a family.
#[derive(Debug)]
pub(super) struct Backends<const N: usize> {
    pub(super) delta: Delta<u32, Backend<N>>,
    ids: Ids,
    /// Ids of backends that are wanted, or not retired yet, by service id and target.
    id_of: BTreeMap<(u32, Target<N>), u32>,
}

impl<const N: usize> Backends<N> {
    pub(super) fn new(limit: u32) -> Self {
        Self { delta: Delta::default(), ids: Ids::new(limit), id_of: BTreeMap::new() }
    }

    pub(super) fn adopt(&mut self, content: BTreeMap<u32, Backend<N>>) {
        for (id, backend) in content.iter().filter(|(_, backend)| backend.flags != 0) {
            self.ids.adopt(*id);
            let target = (backend.addr, backend.port);
            self.id_of.entry((backend.service, target)).or_insert(*id);
        }
        self.delta.adopt(content);
    }

    /// Puts up for retirement what was adopted and is not wanted.
    pub(super) fn drop_adopted(&mut self) {
        self.delta.touch_all();
        let pending =
            self.delta.pending().filter(|(id, value)| value.is_none() && !self.is_active(*id));
        let free: Vec<u32> = pending.map(|(id, _)| id).collect();
        for id in free {
            self.delta.release(&id);
        }
    }

    /// Wants a backend; `None` when every id is in use.
    pub(super) fn want(
        &mut self,
        service: u32,
        (addr, port): Target<N>,
        proto: u8,
        flags: u8,
    ) -> Option<u32> {
        let key = (service, (addr, port));
        let known = self.id_of.get(&key).copied();
        let id = known.or_else(|| self.ids.take())?;
        self.id_of.insert(key, id);
        let generation = match (self.delta.wanted().get(&id), self.delta.written().get(&id)) {
            (Some(wanted), _) => wanted.generation,
            (None, Some(written)) if written.flags != 0 => written.generation,
            (None, Some(freed)) => freed.generation.wrapping_add(1),
            (None, None) => 1,
        };
        self.delta.want(id, Backend { addr, port, proto, flags, service, generation });
        Some(id)
    }

    /// No longer wants a backend. It keeps its id until its retirement is written.
    pub(super) fn unwant(&mut self, service: u32, target: Target<N>, id: u32) {
        self.delta.unwant(&id);
        if !self.is_active(id) {
            self.delta.release(&id);
            self.free(service, target, id);
        }
    }

    /// The value that frees an id.
    pub(super) fn retired(&self, id: u32) -> Option<Backend<N>> {
        self.delta.written().get(&id).map(|backend| Backend { flags: 0, ..*backend })
    }

    /// Whether this value takes a backend out of choice, which has to wait for the ranges.
    pub(super) fn demotes(&self, id: u32, backend: &Backend<N>) -> bool {
        let eligible = |flags: u8| flags & flags::ELIGIBLE != 0;
        let was = self.delta.written().get(&id).is_some_and(|old| eligible(old.flags));
        was && !eligible(backend.flags)
    }

    pub(super) fn wrote(&mut self, id: u32, backend: Backend<N>) {
        self.delta.wrote(id, Some(backend));
        if backend.flags == 0 && !self.delta.wanted().contains_key(&id) {
            self.delta.release(&id);
            self.free(backend.service, (backend.addr, backend.port), id);
        }
    }

    /// Whether the map holds a backend there.
    pub(super) fn is_active(&self, id: u32) -> bool {
        self.delta.written().get(&id).is_some_and(|backend| backend.flags != 0)
    }

    pub(super) fn tick(&mut self, now: Duration) -> bool {
        self.ids.tick(now)
    }

    fn free(&mut self, service: u32, target: Target<N>, id: u32) {
        if self.id_of.get(&(service, target)) == Some(&id) {
            self.id_of.remove(&(service, target));
        }
        self.ids.give_back(id);
    }
}
