//! Reading the log forward: all of it, or what is for one user.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    seq::{Position, Seq},
    wire::v1,
};
use prost::Message as _;
use rusqlite::{Connection, params};

use super::{
    counts,
    describe::{Interval, Places, describe},
    rows::{
        self, AFTER_EVENT, conversation_head, event_columns, event_joins, log_event, log_head,
        signed, unsigned,
    },
};
use crate::store::{
    ChangedDevice, LogEvent, ReadLimit, ReadMark, StoreError, Stretch, UserMark, UserPage,
    read::{
        FAR_FACTOR, MARK_COUNT_MAX, NEAR_COUNT, Room, STRETCH_MARKS_MAX, WINDOW_COUNT,
        end_for_marks,
    },
};

pub(super) const FIND_STRETCH: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e",
    event_joins!(),
    "WHERE e.position > ?1 AND e.position <= ?2 ORDER BY e.position"
);

/// The events of a user's memberships in a window of the log. The order of the
/// join is fixed: the log first, by position, so that a full page ends it.
pub(super) const FIND_USER_EVENTS: &str = concat!(
    "SELECT ",
    event_columns!(),
    ", m.conversation, m.from_seq, m.to_seq, m.to_position
       FROM events e
      CROSS JOIN members m ON m.user = ?1 AND m.conversation = e.conversation
                          AND m.from_seq <= e.seq AND m.to_seq >= e.seq",
    event_joins!(),
    "WHERE e.position > ?2 AND e.position <= ?3 ORDER BY e.position"
);

/// The user's memberships that did not end before a position.
const FIND_INTERVALS: &str = "
    SELECT conversation, from_seq, to_seq, to_position FROM members
     WHERE user = ?1 AND to_position > ?2";

const COUNT_INTERVALS: &str = "
    SELECT count(*) FROM (
        SELECT 1 FROM members WHERE user = ?1 AND to_position > ?2 LIMIT ?3)";

pub(super) const FIND_EVENT: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e",
    event_joins!(),
    "WHERE e.conversation = ?1 AND e.seq = ?2"
);

const FIND_MARKS: &str = "
    SELECT k.read_position, c.conversation_id, k.read_seq, k.conversation
      FROM marks k JOIN conversations c ON c.key = k.conversation
     WHERE k.user = ?1 AND k.read_position > ?2 AND k.read_position <= ?3
     ORDER BY k.read_position LIMIT ?4";

const FIND_MOVED_MARKS: &str = "
    SELECT k.read_position, u.user_id, c.conversation_id, k.read_seq, k.user, k.conversation
      FROM marks k JOIN users u ON u.key = k.user JOIN conversations c ON c.key = k.conversation
     WHERE k.read_position > ?1 AND k.read_position <= ?2
     ORDER BY k.read_position LIMIT ?3";

const FIND_CHANGED_DEVICES: &str = "
    SELECT u.user_id, d.device_id, d.is_revoked
      FROM devices d JOIN users u ON u.key = d.user
     WHERE d.changed_position > ?1 AND d.changed_position <= ?2";

const FIND_DELETED_USERS: &str = "
    SELECT user_id FROM users WHERE deleted_position > ?1 AND deleted_position <= ?2";

pub(super) fn stretch(
    connection: &Connection,
    after: Position,
    limit: ReadLimit,
) -> Result<Stretch, StoreError> {
    let head = log_head(connection)?.position.max(after);
    let mut room = Room::new(limit);
    let mut stretch = Stretch {
        events: Vec::new(),
        marks: moved_marks(connection, after, head)?,
        devices: Vec::new(),
        deleted: Vec::new(),
        upto: head,
        complete: true,
    };
    stretch.cut_marks();
    let mut statement = connection.prepare_cached(FIND_STRETCH)?;
    let mut rows = statement.query([signed(after.get()), signed(stretch.upto.get())])?;
    while let Some(row) = rows.next()? {
        let event = log_event(connection, row)?;
        if !room.take(1, event.encoded.len()) {
            stretch.cut_at(stretch.events.last().map_or(after, |event| event.position));
            break;
        }
        stretch.events.push(event);
    }
    stretch.devices = changed_devices(connection, after, stretch.upto)?;
    stretch.deleted = deleted_users(connection, after, stretch.upto)?;
    Ok(stretch)
}

fn moved_marks(
    connection: &Connection,
    after: Position,
    upto: Position,
) -> Result<Vec<UserMark>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_MOVED_MARKS)?;
    let count = i64::try_from(STRETCH_MARKS_MAX).unwrap_or(i64::MAX);
    let mut rows = statement.query([signed(after.get()), signed(upto.get()), count])?;
    let mut marks = Vec::new();
    while let Some(row) = rows.next()? {
        marks.push(UserMark {
            position: Position::new(unsigned(row.get(0)?)),
            user: UserId::new(row.get(1)?),
            conversation: ConversationId::new(row.get(2)?),
            read: read_mark(connection, row.get(4)?, row.get(5)?, row.get(3)?)?,
        });
    }
    Ok(marks)
}

fn read_mark(
    connection: &Connection,
    user: i64,
    conversation: i64,
    seq: i64,
) -> Result<ReadMark, StoreError> {
    Ok(ReadMark {
        seq: Seq::new(unsigned(seq)),
        counts: counts::upto(connection, user, conversation, seq)?,
    })
}

fn changed_devices(
    connection: &Connection,
    after: Position,
    upto: Position,
) -> Result<Vec<ChangedDevice>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_CHANGED_DEVICES)?;
    let range = [signed(after.get()), signed(upto.get())];
    let devices = statement.query_map(range, |row| {
        Ok(ChangedDevice {
            user: UserId::new(row.get(0)?),
            device: DeviceId::new(row.get(1)?),
            is_revoked: row.get(2)?,
        })
    })?;
    Ok(devices.collect::<Result<_, _>>()?)
}

fn deleted_users(
    connection: &Connection,
    after: Position,
    upto: Position,
) -> Result<Vec<UserId>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_DELETED_USERS)?;
    let range = [signed(after.get()), signed(upto.get())];
    let users = statement.query_map(range, |row| row.get(0).map(UserId::new))?;
    Ok(users.collect::<Result<_, _>>()?)
}

pub(super) fn user_page(
    connection: &Connection,
    user: UserId,
    after: Position,
    limit: ReadLimit,
) -> Result<UserPage, StoreError> {
    // The first statement of the snapshot; all others see the same log.
    let head = log_head(connection)?.position.max(after);
    let mut page = UserPage {
        conversations: Vec::new(),
        events: Vec::new(),
        marks: Vec::new(),
        upto: head.into(),
        complete: true,
    };
    let Some(key) = rows::user_key(connection, user)? else {
        return Ok(page);
    };
    let own_marks = marks(connection, user, key, after, head)?;
    let mut end = end_for_marks(&own_marks, MARK_COUNT_MAX, after, head);
    let is_far = is_far(connection, key, after, head)?;
    if !is_far {
        end = end.min(Position::new(after.get().saturating_add(WINDOW_COUNT)));
    }
    page.upto = end.into();
    page.complete = end == head;
    let mut filling = Filling {
        connection,
        user: key,
        room: Room::new(limit),
        begun: HashSet::new(),
        page: &mut page,
    };
    let is_all = match is_far {
        true => filling.read_conversations(after, end)?,
        false => filling.read_log(after, end)?,
    };
    if !is_all {
        end = page.events.last().map_or(after, |event| event.position);
        page.upto = end.into();
        page.complete = false;
    }
    let in_page = own_marks.iter().filter(|mark| mark.position <= end);
    page.marks = in_page.map(UserMark::to_wire).collect();
    Ok(page)
}

/// Whether to ask the user's conversations what changed, instead of the log.
pub(super) fn is_far(
    connection: &Connection,
    user: i64,
    after: Position,
    head: Position,
) -> Result<bool, StoreError> {
    let distance = head.get() - after.get();
    if distance <= NEAR_COUNT {
        return Ok(false);
    }
    let enough = signed(distance / FAR_FACTOR + 1);
    let mut statement = connection.prepare_cached(COUNT_INTERVALS)?;
    let count: i64 = statement.query_row([user, signed(after.get()), enough], |row| row.get(0))?;
    Ok(count < enough)
}

/// A page while it fills up.
struct Filling<'a> {
    connection: &'a Connection,
    /// Whose page it is.
    user: i64,
    room: Room,
    /// Conversations that it describes.
    begun: HashSet<i64>,
    page: &'a mut UserPage,
}

impl Filling<'_> {
    /// Reads a stretch of the log; false if there was no room for all of it.
    fn read_log(&mut self, after: Position, upto: Position) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(FIND_USER_EVENTS)?;
        let window = [self.user, signed(after.get()), signed(upto.get())];
        let mut rows = statement.query(window)?;
        while let Some(row) = rows.next()? {
            let event = log_event(self.connection, row)?;
            let interval = Interval::from_row(row, AFTER_EVENT)?;
            if !self.take(event, &interval)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads what each of the user's conversations holds beyond `after`, up to
    /// `end`; false if there was no room for all of it.
    fn read_conversations(&mut self, after: Position, end: Position) -> Result<bool, StoreError> {
        let (after, end) = (signed(after.get()), signed(end.get()));
        // The next event of each, the earliest in the log first.
        let mut next = BinaryHeap::new();
        let mut statement = self.connection.prepare_cached(FIND_INTERVALS)?;
        let intervals =
            statement.query_map([self.user, after], |row| Interval::from_row(row, 0))?;
        for interval in intervals {
            let interval = interval?;
            let (mut last, mut position) =
                conversation_head(self.connection, interval.conversation)?;
            if !interval.is_open() {
                (last, position) = (interval.to_seq, interval.to_position);
            }
            if position > after {
                let mut places = Places::new(self.connection, interval.conversation, last);
                let seq = interval.from_seq.max(places.newest_at(after)? + 1);
                next.push(Reverse((places.position(seq)?, seq, last, interval)));
            }
        }
        let mut statement = self.connection.prepare_cached(FIND_EVENT)?;
        while let Some(Reverse((position, seq, last, interval))) = next.pop() {
            if position > end {
                break;
            }
            let mut rows = statement.query([interval.conversation, seq])?;
            let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            let event = log_event(self.connection, row)?;
            if !self.take(event, &interval)? {
                return Ok(false);
            }
            if seq < last {
                let mut places = Places::new(self.connection, interval.conversation, last);
                next.push(Reverse((
                    places.position(seq + 1)?,
                    seq + 1,
                    last,
                    interval,
                )));
            }
        }
        Ok(true)
    }

    /// Takes an event into the page; false if there is no room for it.
    fn take(&mut self, event: LogEvent, interval: &Interval) -> Result<bool, StoreError> {
        let begins = unsigned(interval.from_seq) == event.seq.get();
        // A page describes a conversation before its events, so it can show one
        // beginning only: who came back within a page gets the rest in the next.
        if begins && !self.begun.insert(interval.conversation) {
            return Ok(false);
        }
        let description = begins
            .then(|| describe(self.connection, self.user, interval))
            .transpose()?;
        let described_size = description
            .as_ref()
            .map_or(0, v1::Conversation::encoded_len);
        if !self.room.take(1, event.encoded.len() + described_size) {
            return Ok(false);
        }
        self.page.conversations.extend(description);
        self.page.events.push(event);
        Ok(true)
    }
}

/// The user's own marks that moved in this stretch: the first of them.
fn marks(
    connection: &Connection,
    user: UserId,
    key: i64,
    after: Position,
    upto: Position,
) -> Result<Vec<UserMark>, StoreError> {
    let count = signed(MARK_COUNT_MAX as u64);
    let range = params![key, signed(after.get()), signed(upto.get()), count];
    let mut statement = connection.prepare_cached(FIND_MARKS)?;
    let mut rows = statement.query(range)?;
    let mut marks = Vec::new();
    while let Some(row) = rows.next()? {
        marks.push(UserMark {
            position: Position::new(unsigned(row.get(0)?)),
            user,
            conversation: ConversationId::new(row.get(1)?),
            read: read_mark(connection, key, row.get(3)?, row.get(2)?)?,
        });
    }
    Ok(marks)
}
