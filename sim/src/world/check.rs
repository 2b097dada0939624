//! The promises that hold at every moment.

use std::collections::BTreeMap;

use magpie_protocol::{
    frame::{Frame as _, Split, split},
    id::MessageId,
    wire::v1,
};

use super::{
    Broken, World,
    network::{Header, Pipe},
    place::Place,
};

impl World {
    /// D7, the device's half: what it acknowledged is in its database.
    pub(super) fn check_stored(&mut self, connection: usize) -> Result<(), Broken> {
        let context = self.context();
        let Some(link) = self.sessions.get_mut(&connection) else {
            return Ok(());
        };
        let acked = link.handle_acks(&mut self.log, context);
        let index = self
            .devices
            .iter()
            .position(|it| Some(it.id) == link.device());
        let is_replayed = self
            .connections
            .get(connection)
            .is_some_and(|it| it.tampered);
        // A database that went back, or a history that did, has forgotten some.
        let forgets =
            index.is_none_or(|it| self.rolled_back.contains(&it)) || !self.log.begun.is_empty();
        let Some(device) = index.and_then(|it| self.devices.get(it)) else {
            return Ok(());
        };
        if is_replayed {
            // Somebody else said so in its name, which TLS rules out: what others
            // are told of it then is not its doing.
            for (conversation, seq) in &acked {
                if !device.local.store.contains_key(&(*conversation, *seq)) {
                    let forged = self.forged.entry((*conversation, device.user));
                    let forged = forged.or_default();
                    *forged = (*forged).max(*seq);
                }
            }
        }
        if is_replayed || forgets {
            return Ok(());
        }
        for (conversation, seq) in acked {
            if !device.local.store.contains_key(&(conversation, seq)) {
                let what = format!("seq {seq} is acknowledged and not stored");
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
            let is_there = self.log.find(id).is_some() || self.log.refused.contains(&id);
            if !is_there && self.log.begun.is_empty() {
                let what = format!("{id} is acknowledged and not in the log");
                return Err(Broken::new("D7", what));
            }
            self.requests.remove(&request);
        }
    }

    /// D2 and D5 at every moment: everything up to a device's cursor is in its
    /// database.
    pub(super) fn check_cursors(&mut self) -> Result<(), Broken> {
        for (index, device) in self.devices.iter().enumerate() {
            let cursor = &device.local.cursor;
            let (epoch, place) = Place::open(cursor);
            if epoch != self.log.epoch() {
                continue;
            }
            let fresh = (epoch, Place::default());
            let (of, checked) = self.checked.entry(index).or_insert_with(|| fresh.clone());
            if *of != epoch {
                (*of, *checked) = fresh;
            }
            for shard in 0..self.log.shard_count() {
                while checked.at(shard) < place.at(shard) {
                    let position = checked.at(shard) + 1;
                    checked.set(shard, position);
                    if position > self.log.head().at(shard) {
                        return Err(Broken::new("D2", "a cursor beyond the log"));
                    }
                    let Some(entry) = self.log.entry(shard, position) else {
                        continue;
                    };
                    let at = (entry.conversation, entry.seq);
                    let is_for_it = self.log.is_entitled(device.user, at.0, at.1);
                    if is_for_it && device.local.store.get(&at) != Some(&entry.id) {
                        let what = format!(
                            "{} holds a cursor behind seq {}, and not the message",
                            device.notes.name, entry.seq
                        );
                        return Err(Broken::new("D2", what));
                    }
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
    if !this.strict {
        return Ok(0);
    }
    let (number, ack) = F::parse(frame, usize::MAX)
        .map(|frame| frame.header())
        .map_err(|error| Broken::new("wire", error.to_string()))?;
    this.check_taken(number, frame)?;
    other.handle_ack(ack);
    Ok(ack)
}

/// Remembers which frame carries which message.
pub(super) fn note_requests(
    connection: usize,
    out: &[u8],
    requests: &mut BTreeMap<(usize, u64), MessageId>,
) -> Result<(), Broken> {
    let mut rest = out;
    while let Ok(Split::Frame(frame, behind)) = split(rest, usize::MAX) {
        rest = behind;
        let frame = v1::ClientFrame::parse(frame, usize::MAX)
            .map_err(|error| Broken::new("wire", error.to_string()))?;
        if let Some(v1::client_frame::Body::SendMessage(message)) = frame.body
            && let Ok(id) = MessageId::try_from(message.message_id.as_ref())
        {
            requests.insert((connection, frame.number), id);
        }
    }
    Ok(())
}
