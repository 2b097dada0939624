//! After the faults: everything must come right without anybody's help.

use std::{collections::BTreeMap, time::Duration};

use magpie_protocol::id::{DeviceId, MessageId};

use super::{Broken, World, is_refusable, server::position_of};

/// Rounds of a healthy world within which everything must come right.
const ROUNDS_MAX: usize = 2_000;

impl World {
    /// Ends all faults, lets the world run until nothing is left to do, and
    /// checks the promises over the whole history.
    ///
    /// # Errors
    ///
    /// The first promise that is [`Broken`].
    pub fn heal(&mut self) -> Result<(), Broken> {
        // What the network did to a connection does not heal: it breaks.
        for connection in &mut self.connections {
            if connection.tampered {
                connection.cut(usize::MAX, usize::MAX);
            }
        }
        while !self.orphans.is_empty() {
            self.commit_orphan(0);
        }
        for _ in 0..ROUNDS_MAX {
            self.healthy_round()?;
            if self.is_settled() {
                return self.check_history();
            }
        }
        let open: usize = self.devices.iter().map(|it| it.local.outbox.len()).sum();
        let what = format!("{open} messages are still unanswered in a healthy world");
        Err(Broken::new("D2", what))
    }

    /// Everybody does what they can, once.
    pub(super) fn healthy_round(&mut self) -> Result<(), Broken> {
        for device in 0..self.devices.len() {
            self.connect(device)?;
            if let Some(it) = self.devices.get_mut(device) {
                it.send(usize::MAX, self.now);
                it.ping(self.now);
            }
            self.flush_device(device)?;
        }
        for connection in 0..self.connections.len() {
            self.move_up(connection, usize::MAX)?;
        }
        for connection in self.sessions.keys().copied().collect::<Vec<_>>() {
            if let Some(link) = self.sessions.get_mut(&connection) {
                link.commit(usize::MAX, &mut self.log, self.now, self.mutant);
            }
            self.flush_server(connection)?;
        }
        for connection in self.sessions.keys().copied().collect::<Vec<_>>() {
            if let Some(link) = self.sessions.get_mut(&connection) {
                link.deliver(64, &self.log, self.now);
            }
            self.flush_server(connection)?;
        }
        for device in 0..self.devices.len() {
            self.move_down(device, usize::MAX)?;
            if let Some(it) = self.devices.get_mut(device) {
                it.store(usize::MAX, self.now, self.mutant)?;
            }
            self.flush_device(device)?;
        }
        self.check_cursors()?;
        self.wait(Duration::from_millis(1_001))
    }

    /// Nothing is left to do: outboxes are empty, cursors at the head.
    fn is_settled(&self) -> bool {
        let head = self.log.entries.len();
        self.devices.iter().all(|device| {
            device.link.is_some()
                && device.is_settled()
                && position_of(&device.local.cursor) == head
        }) && self
            .connections
            .iter()
            .all(|it| !it.tampered || it.up.is_empty())
    }

    fn check_history(&self) -> Result<(), Broken> {
        let mut places: BTreeMap<MessageId, usize> = BTreeMap::new();
        for (index, entry) in self.log.entries.iter().enumerate() {
            if places.insert(entry.id, index).is_some() {
                return Err(Broken::new(
                    "D3",
                    format!("{} is twice in the log", entry.id),
                ));
            }
        }
        let mut last: BTreeMap<_, usize> = BTreeMap::new();
        for (device, pending) in &self.handed_in {
            if is_refusable(pending.id) {
                self.check_refused(*device, pending.id, &places)?;
                continue;
            }
            let Some(place) = places.get(&pending.id) else {
                return Err(Broken::new(
                    "D2",
                    format!("{} is not in the log", pending.id),
                ));
            };
            let before = last.insert((*device, pending.conversation), *place);
            if before.is_some_and(|before| before > *place) {
                let what = format!("{} overtook what was written before it", pending.id);
                return Err(Broken::new("D6", what));
            }
        }
        if places.len() > self.handed_in.len() {
            return Err(Broken::new("D3", "the log holds what nobody wrote"));
        }
        for device in &self.devices {
            let stored = device.local.store.len();
            if stored != self.log.entries.len() {
                let what = format!("a device holds {stored} of {} messages", places.len());
                return Err(Broken::new("D2", what));
            }
        }
        Ok(())
    }

    /// D12: refused, kept, and nowhere in the log.
    fn check_refused(
        &self,
        device: DeviceId,
        id: MessageId,
        places: &BTreeMap<MessageId, usize>,
    ) -> Result<(), Broken> {
        let kept = self.devices.iter().any(|it| {
            it.id == device && it.local.failed.iter().filter(|it| **it == id).count() == 1
        });
        if kept && !places.contains_key(&id) {
            return Ok(());
        }
        Err(Broken::new(
            "D12",
            format!("{id} was refused and is not kept as failed"),
        ))
    }
}
