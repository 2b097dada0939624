//! The promises that hold at every moment.

use super::{
    Broken, World, is_refusable,
    network::{Header, Pipe},
    server::position_of,
};

impl World {
    /// D7, the device's half: what it acknowledged is in its database.
    pub(super) fn check_stored(&mut self, connection: usize) -> Result<(), Broken> {
        let Some(link) = self.sessions.get_mut(&connection) else {
            return Ok(());
        };
        let acked = link.take_acked();
        let device = self.devices.iter().find(|it| Some(it.id) == link.device());
        let replayed = self
            .connections
            .get(connection)
            .is_some_and(|it| it.tampered);
        let Some(device) = device.filter(|_| !replayed) else {
            return Ok(());
        };
        for entry in acked
            .iter()
            .filter_map(|position| self.log.entry(*position))
        {
            if !device
                .local
                .store
                .contains_key(&(entry.conversation, entry.seq))
            {
                let what = format!("seq {} is acknowledged and not stored", entry.seq);
                return Err(Broken::new("D7", what));
            }
        }
        Ok(())
    }

    /// D1 and D7, the server's half: what it acknowledged is in the log, or
    /// refused for good.
    pub(super) fn check_committed(&mut self, connection: usize, ack: u64) -> Result<(), Broken> {
        loop {
            let mut acked = self.requests.range((connection, 0)..=(connection, ack));
            let Some((request, id)) = acked.next().map(|(request, id)| (*request, *id)) else {
                return Ok(());
            };
            if !self.log.contains(id) && !is_refusable(id) {
                return Err(Broken::new(
                    "D7",
                    format!("{id} is acknowledged and not in the log"),
                ));
            }
            self.requests.remove(&request);
        }
    }

    /// D2 and D5 at every moment: everything up to a device's cursor is in its
    /// database.
    pub(super) fn check_cursors(&mut self) -> Result<(), Broken> {
        for device in &self.devices {
            let cursor = position_of(&device.local.cursor);
            let checked = self.checked.entry(device.id).or_default();
            while *checked < cursor {
                *checked += 1;
                let Some(entry) = self.log.entry(*checked) else {
                    return Err(Broken::new("D2", "a cursor beyond the log"));
                };
                let stored = device.local.store.get(&(entry.conversation, entry.seq));
                if stored != Some(&entry.id) {
                    let what = format!(
                        "device {} holds a cursor behind seq {}, and not the message",
                        device.id, entry.seq
                    );
                    return Err(Broken::new("D2", what));
                }
            }
        }
        Ok(())
    }
}

/// Checks a frame that was taken as good; returns its acknowledgement.
pub(super) fn check_taken<F: Header>(
    frame: &[u8],
    this: &mut Pipe,
    other: &mut Pipe,
) -> Result<u64, Broken> {
    let (number, ack) = header::<F>(frame)?;
    this.check_taken(number, frame)?;
    other.handle_ack(ack);
    Ok(ack)
}

fn header<F: Header>(frame: &[u8]) -> Result<(u64, u64), Broken> {
    F::parse(frame, usize::MAX)
        .map(|frame| frame.header())
        .map_err(|error| Broken::new("wire", error.to_string()))
}
