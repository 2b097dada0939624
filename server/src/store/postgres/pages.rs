//! Reading the log forward: all of it, or what is for one user.

use std::collections::{HashMap, HashSet};

use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    seq::Position,
    wire::v1,
};
use prost::Message as _;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    counts::read_mark,
    describe::{Interval, describe},
    rows::{
        self, AFTER_EVENT, FOUND_COUNT, bounded, event_columns, event_joins, head, heads, log_event,
    },
    session::{Failure, Params, Session, get, get_count, get_id, limit as row_limit, signed},
};
use crate::store::{
    ChangedDevice, Positions, ReadLimit, Shard, Stretch, UserMark, UserPage,
    read::{
        FAR_FACTOR, MARK_COUNT_MAX, NEAR_COUNT, Room, STRETCH_MARKS_MAX, WINDOW_COUNT,
        end_for_marks,
    },
};

/// Memberships that are described with one statement.
const DESCRIBED_COUNT: usize = 16;

pub(super) const FIND_STRETCH: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM",
    bounded!(
        "SELECT * FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
        "e.position",
        "$4"
    ),
    event_joins!(),
    "ORDER BY e.position"
);

/// What tells the membership by which an event is read.
macro_rules! user_columns {
    () => {
        ", e.conversation_key, e.from_seq, e.to_seq, e.to_position, (e.position >> 56)::integer"
    };
}

/// The events of a user's memberships in a window of the log. The order of the
/// join is fixed: the log first, by position, so that a full page ends it; then
/// one look-up of the membership.
pub(super) const FIND_USER_EVENTS: &str = concat!(
    "SELECT ",
    event_columns!(),
    user_columns!(),
    " FROM",
    bounded!(
        "SELECT l.*, m.from_seq, m.to_seq, m.to_position
           FROM (SELECT * FROM events WHERE position > $2 AND position <= $3
                  ORDER BY position OFFSET 0) l
          CROSS JOIN LATERAL (
                SELECT m.from_seq, m.to_seq, m.to_position FROM members m
                 WHERE m.user_key = $1 AND m.conversation_key = l.conversation_key
                   AND m.from_seq <= l.seq AND m.to_seq >= l.seq LIMIT 1) m
          ORDER BY l.position LIMIT $4",
        "e.position",
        "$5"
    ),
    event_joins!(),
    "ORDER BY e.position"
);

/// The same, by asking each of the user's conversations of the shard what it
/// holds beyond a place: one look-up for each, and bisection where something is.
pub(super) const FIND_USER_EVENTS_FAR: &str = concat!(
    "SELECT ",
    event_columns!(),
    user_columns!(),
    " FROM",
    bounded!(
        "WITH changed AS MATERIALIZED (
             SELECT m.*, e.position AS first_position
               FROM (SELECT m.conversation_key, m.from_seq, m.to_seq, m.to_position,
                            greatest(m.from_seq,
                                     1 + seq_at(m.conversation_key, last.seq, $2)) AS first
                       FROM members m
                      CROSS JOIN LATERAL (
                            SELECT e.seq, e.position FROM events e
                             WHERE e.conversation_key = m.conversation_key
                               AND e.seq <= m.to_seq
                             ORDER BY e.seq DESC LIMIT 1) last
                      WHERE m.user_key = $1 AND m.to_position > $2
                        AND m.from_position >> 56 = $2::bigint >> 56
                        AND last.position > $2 OFFSET 0) m
              CROSS JOIN LATERAL (
                    SELECT e.position FROM events e
                     WHERE e.conversation_key = m.conversation_key AND e.seq = m.first) e),
         farthest AS MATERIALIZED (
             SELECT least($3, (SELECT first_position FROM changed
                                ORDER BY first_position OFFSET $4::bigint - 1 LIMIT 1)) AS position)
         SELECT l.*, m.from_seq, m.to_seq, m.to_position
           FROM changed m
          CROSS JOIN LATERAL (
                SELECT * FROM events e
                 WHERE e.conversation_key = m.conversation_key
                   AND e.seq >= m.first AND e.seq <= m.to_seq
                   AND e.position <= (SELECT position FROM farthest)
                 ORDER BY e.seq LIMIT $4) l
          WHERE m.first_position <= (SELECT position FROM farthest)
          ORDER BY l.position LIMIT $4",
        "e.position",
        "$5"
    ),
    event_joins!(),
    "ORDER BY e.position"
);

const COUNT_INTERVALS: &str = "
    SELECT count(*) FROM (
        SELECT FROM members WHERE user_key = $1 AND to_position > $2 LIMIT $3) m";

const FIND_MARKS: &str = "
    SELECT k.read_position, c.conversation_id, k.read_seq,
           messages_upto(k.user_key, k.conversation_key, k.read_seq),
           mentions_upto(k.user_key, k.conversation_key, k.read_seq)
      FROM marks k JOIN conversations c ON c.key = k.conversation_key
     WHERE k.user_key = $1 AND k.read_position > $2 AND k.read_position <= $3
     ORDER BY k.read_position LIMIT $4";

const FIND_MOVED_MARKS: &str = "
    SELECT k.read_position, u.user_id, c.conversation_id, k.read_seq,
           messages_upto(k.user_key, k.conversation_key, k.read_seq),
           mentions_upto(k.user_key, k.conversation_key, k.read_seq)
      FROM (SELECT * FROM marks WHERE read_position > $1 AND read_position <= $2
             ORDER BY read_position LIMIT $3) k
      JOIN users u ON u.key = k.user_key
      JOIN conversations c ON c.key = k.conversation_key
     ORDER BY k.read_position";

/// Changed devices, and deleted users, without a device.
const FIND_CHANGED_ACCOUNTS: &str = "
    SELECT u.user_id, d.device_id, d.is_revoked
      FROM devices d JOIN users u ON u.key = d.user_key
     WHERE d.changed_position > $1 AND d.changed_position <= $2
     UNION ALL
    SELECT user_id, NULL, true FROM users
     WHERE deleted_position > $1 AND deleted_position <= $2";

/// Whether all that was found is in `rows`, which are at most `wanted` and one.
pub(super) fn is_all(rows: &[Row], taken: usize, wanted: usize) -> Result<bool, Failure> {
    let Some(row) = rows.first() else {
        return Ok(true);
    };
    let found = get_count(row, FOUND_COUNT)?;
    Ok(taken as u64 == found && taken <= wanted)
}

/// How many rows to ask for, and how many bytes of bodies.
pub(super) fn bounds(limit: ReadLimit) -> (i64, i64) {
    let count = row_limit(limit.count).saturating_add(1).max(2);
    (count, row_limit(limit.size))
}

pub(super) async fn stretch(
    session: Session<'_>,
    after: Position,
    limit: ReadLimit,
) -> Result<Stretch, Failure> {
    let head = head(session, Shard::of(after)).await?.max(after);
    let mut stretch = Stretch {
        events: Vec::new(),
        marks: moved_marks(session, after, head).await?,
        devices: Vec::new(),
        deleted: Vec::new(),
        upto: head,
        complete: true,
    };
    stretch.cut_marks();
    let (count, size) = bounds(limit);
    let upto = signed(stretch.upto.get());
    let params: Params<'_> = &[&signed(after.get()), &upto, &count, &size];
    let rows = session.rows(FIND_STRETCH, params).await?;
    let mut room = Room::new(limit);
    for row in &rows {
        let event = log_event(row)?;
        if !room.take(1, event.encoded.len()) {
            break;
        }
        stretch.events.push(event);
    }
    if !is_all(&rows, stretch.events.len(), limit.count.max(1))? {
        stretch.cut_at(stretch.events.last().map_or(after, |event| event.position));
    }
    find_changed_accounts(session, after, &mut stretch).await?;
    Ok(stretch)
}

async fn moved_marks(
    session: Session<'_>,
    after: Position,
    upto: Position,
) -> Result<Vec<UserMark>, Failure> {
    let (after, upto) = (signed(after.get()), signed(upto.get()));
    let params: Params<'_> = &[&after, &upto, &row_limit(STRETCH_MARKS_MAX)];
    let mark = |row: &Row| {
        Ok(UserMark {
            position: Position::new(get_count(row, 0)?),
            user: UserId::new(get_id(row, 1)?),
            conversation: ConversationId::new(get_id(row, 2)?),
            read: read_mark(row, 3)?,
        })
    };
    let rows = session.rows(FIND_MOVED_MARKS, params).await?;
    rows.iter().map(mark).collect()
}

async fn find_changed_accounts(
    session: Session<'_>,
    after: Position,
    stretch: &mut Stretch,
) -> Result<(), Failure> {
    let (after, upto) = (signed(after.get()), signed(stretch.upto.get()));
    for row in session
        .rows(FIND_CHANGED_ACCOUNTS, &[&after, &upto])
        .await?
    {
        let user = UserId::new(get_id(&row, 0)?);
        match get::<Option<Uuid>>(&row, 1)? {
            Some(device) => stretch.devices.push(ChangedDevice {
                user,
                device: DeviceId::new(device.into_bytes()),
                is_revoked: get(&row, 2)?,
            }),
            None => stretch.deleted.push(user),
        }
    }
    Ok(())
}

pub(super) async fn user_page(
    session: Session<'_>,
    user: UserId,
    after: Positions,
    limit: ReadLimit,
) -> Result<UserPage, Failure> {
    // The first statement of the snapshot; all others see the same log.
    let heads = heads(session).await?.later(&after);
    let mut page = UserPage {
        conversations: Vec::new(),
        events: Vec::new(),
        marks: Vec::new(),
        upto: heads,
        complete: true,
    };
    let Some(key) = rows::user_key(session, user).await? else {
        return Ok(page);
    };
    page.upto = after;
    let mut filling = Filling {
        session,
        user,
        key,
        room: Room::new(limit),
        begun: HashSet::new(),
        page: &mut page,
    };
    // One shard after the other: nobody is promised an order between them.
    for head in heads.each() {
        if !filling.read(after.in_shard(Shard::of(head)), head).await? {
            filling.page.complete = false;
            break;
        }
    }
    Ok(page)
}

/// A page while it fills up.
struct Filling<'a> {
    session: Session<'a>,
    user: UserId,
    key: i64,
    room: Room,
    /// Conversations that it describes.
    begun: HashSet<i64>,
    page: &'a mut UserPage,
}

impl Filling<'_> {
    /// Reads a shard on from `after`; false if not up to its head.
    async fn read(&mut self, after: Position, head: Position) -> Result<bool, Failure> {
        if after == head {
            return Ok(true);
        }
        let room = MARK_COUNT_MAX.saturating_sub(self.page.marks.len());
        let marks = self.marks(after, head, room).await?;
        let end = end_for_marks(&marks, room, after, head);
        let (statement, end) = match self.is_far(after, head).await? {
            true => (FIND_USER_EVENTS_FAR, end),
            false => {
                let window_end = Position::new(after.get().saturating_add(WINDOW_COUNT));
                (FIND_USER_EVENTS, end.min(window_end))
            }
        };
        let (count, size) = bounds(self.room.left());
        let (from, to) = (signed(after.get()), signed(end.get()));
        let params: Params<'_> = &[&self.key, &from, &to, &count, &size];
        let rows = self.session.rows(statement, params).await?;
        let is_all = self.take(&rows).await?;
        let last = self.page.events.last().map(|event| event.position);
        let last = last.filter(|last| Shard::of(*last) == Shard::of(after));
        let upto = match is_all {
            true => end,
            false => last.unwrap_or(after),
        };
        self.page.upto.set(upto);
        let in_page = marks.iter().filter(|mark| mark.position <= upto);
        self.page.marks.extend(in_page.map(UserMark::to_wire));
        Ok(is_all && end == head)
    }

    /// The user's own marks that moved in this stretch of a shard: the first of
    /// them, at most `room`.
    async fn marks(
        &self,
        after: Position,
        upto: Position,
        room: usize,
    ) -> Result<Vec<UserMark>, Failure> {
        let (after, upto) = (signed(after.get()), signed(upto.get()));
        let params: Params<'_> = &[&self.key, &after, &upto, &row_limit(room)];
        let mark = |row: &Row| {
            Ok(UserMark {
                position: Position::new(get_count(row, 0)?),
                user: self.user,
                conversation: ConversationId::new(get_id(row, 1)?),
                read: read_mark(row, 2)?,
            })
        };
        let rows = self.session.rows(FIND_MARKS, params).await?;
        rows.iter().map(mark).collect()
    }

    /// Whether to ask the user's conversations what changed, instead of the log.
    async fn is_far(&self, after: Position, head: Position) -> Result<bool, Failure> {
        let distance = head.get() - after.get();
        if distance <= NEAR_COUNT {
            return Ok(false);
        }
        let enough = signed(distance / FAR_FACTOR + 1);
        let params: Params<'_> = &[&self.key, &signed(after.get()), &enough];
        let row = self.session.one(COUNT_INTERVALS, params).await?;
        Ok(get::<i64>(&row, 0)? < enough)
    }

    /// Takes events into the page; false if there was no room for all of them.
    async fn take(&mut self, rows: &[Row]) -> Result<bool, Failure> {
        let mut descriptions = Descriptions::of(rows)?;
        let left = self.room.left().count.max(1);
        let mut taken = 0;
        for row in rows {
            let event = log_event(row)?;
            let interval = Interval::from_row(row, AFTER_EVENT)?;
            let begins = signed(event.seq.get()) == interval.from_seq;
            // A page describes a conversation before its events, so it can show one
            // beginning only: who came back within a page gets the rest in the next.
            if begins && !self.begun.insert(interval.conversation) {
                return Ok(false);
            }
            let description = match begins {
                true => Some(descriptions.take(self.session, self.key, &interval).await?),
                false => None,
            };
            let described_size = description
                .as_ref()
                .map_or(0, v1::Conversation::encoded_len);
            if !self.room.take(1, event.encoded.len() + described_size) {
                return Ok(false);
            }
            self.page.conversations.extend(description);
            self.page.events.push(event);
            taken += 1;
        }
        is_all(rows, taken, left)
    }
}

/// What the memberships that begin in some rows are described as, a few at a
/// time and not before they are needed.
struct Descriptions {
    ahead: std::vec::IntoIter<Interval>,
    ready: HashMap<Interval, v1::Conversation>,
}

impl Descriptions {
    fn of(rows: &[Row]) -> Result<Self, Failure> {
        let mut ahead = Vec::new();
        for row in rows {
            let interval = Interval::from_row(row, AFTER_EVENT)?;
            if get::<i64>(row, 1)? == interval.from_seq {
                ahead.push(interval);
            }
        }
        Ok(Self {
            ahead: ahead.into_iter(),
            ready: HashMap::new(),
        })
    }

    async fn take(
        &mut self,
        session: Session<'_>,
        user: i64,
        interval: &Interval,
    ) -> Result<v1::Conversation, Failure> {
        if !self.ready.contains_key(interval) {
            let next: Vec<Interval> = self.ahead.by_ref().take(DESCRIBED_COUNT).collect();
            let described = describe(session, user, &next).await?;
            self.ready.extend(next.into_iter().zip(described));
        }
        let described = self.ready.remove(interval);
        described.ok_or_else(|| Failure::corrupt("a membership that cannot be described"))
    }
}
