//! What a device must know of a conversation besides its events.

use std::collections::HashMap;

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    seq::{Position, Seq},
    wire::v1,
};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    counts, friends,
    privacy::is_request,
    receipts::read_seq_told,
    rows::{self, OPEN_END, conversation_head, member_count, signed, unsigned},
    writer::Writer,
};
use crate::store::{
    MarkRead, Marked, Membership, ReadLimit, ReadMark, StoreError, rules::ConversationKind,
};

/// One stretch of a conversation that a user may read.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Interval {
    pub(super) conversation: i64,
    pub(super) from_seq: i64,
    pub(super) to_seq: i64,
    pub(super) to_position: i64,
}

impl Interval {
    /// From a row of `conversation, from_seq, to_seq, to_position`, beginning
    /// at the column `first`.
    pub(super) fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            conversation: row.get(first)?,
            from_seq: row.get(first + 1)?,
            to_seq: row.get(first + 2)?,
            to_position: row.get(first + 3)?,
        })
    }

    pub(super) const fn is_open(&self) -> bool {
        self.to_position == OPEN_END
    }

    /// The newest event that its user may read.
    pub(super) fn last_seq(&self, connection: &Connection) -> Result<i64, StoreError> {
        if self.is_open() {
            return Ok(conversation_head(connection, self.conversation)?.0);
        }
        Ok(self.to_seq)
    }

    /// How many members there were behind its end, and what it was called.
    fn at_end(&self, connection: &Connection) -> Result<(i64, String), StoreError> {
        let mut statement = connection.prepare_cached(FIND_LEFT)?;
        let end = [self.conversation, self.to_position];
        Ok(statement.query_row(end, |row| Ok((row.get(0)?, row.get(1)?)))?)
    }
}

/// Members when a membership ended, or now if it has not.
///
/// Who was removed does not learn who came later.
pub(super) const FIND_MEMBERS: &str = concat!(
    "SELECT u.user_id, u.name, m.from_seq, CASE WHEN m.user <> ?3 AND",
    is_request!("m.user", "m.conversation"),
    "THEN 0 ELSE coalesce(d.position, 0) END,",
    read_seq_told!("?3"),
    ", m.role, b.delivered_seq, b.read_seq
      FROM members m
      JOIN users u ON u.key = m.user
      LEFT JOIN delivered d ON d.user = m.user
      LEFT JOIN marks k ON k.user = m.user AND k.conversation = m.conversation
      LEFT JOIN blocks b ON b.user = m.user AND b.blocked = ?3 AND m.role = 0
     WHERE m.conversation = ?1 AND m.to_position > ?2 AND m.from_position <= ?2
     ORDER BY m.user"
);

/// The same of one member alone, in a conversation of many.
const FIND_SELF: &str = "
    SELECT u.user_id, u.name, 0, 0, coalesce(k.read_seq, 0), m.role, NULL, NULL
      FROM members m JOIN users u ON u.key = m.user
      LEFT JOIN marks k ON k.user = m.user AND k.conversation = m.conversation
     WHERE m.user = ?2 AND m.conversation = ?1 AND m.from_seq = ?3";

/// What was left behind a membership that ended.
const FIND_LEFT: &str = "
    SELECT coalesce(left_count, 0), coalesce(left_title, '') FROM members
     WHERE conversation = ?1 AND to_position = ?2";

const FIND_PINS: &str = "
    SELECT p.seq FROM pins p
     WHERE p.conversation = ?2 AND (NOT p.hidden OR p.user = ?1)
       AND EXISTS (SELECT 1 FROM members m
                    WHERE m.user = ?1 AND m.conversation = ?2
                      AND p.seq BETWEEN m.history_seq AND m.to_seq)
     ORDER BY p.seq";

/// Describes a conversation as this user may see it by this membership of theirs.
pub(super) fn describe(
    connection: &Connection,
    user: i64,
    interval: &Interval,
) -> Result<v1::Conversation, StoreError> {
    let sql = "
        SELECT conversation_id, kind, title, description, announcement_only,
               coalesce((SELECT media_id FROM media m WHERE m.key = c.photo), x''),
               history_for_newcomers
          FROM conversations c WHERE key = ?1";
    let (kind, now): (i64, v1::Conversation) =
        connection
            .prepare_cached(sql)?
            .query_row([interval.conversation], |row| {
                let now = v1::Conversation {
                    conversation_id: ConversationId::new(row.get(0)?).to_wire(),
                    title: row.get(2)?,
                    description: row.get(3)?,
                    announcement_only: row.get(4)?,
                    photo: row.get::<_, Vec<u8>>(5)?.into(),
                    history_for_newcomers: row.get(6)?,
                    ..Default::default()
                };
                Ok((row.get(1)?, now))
            })?;
    let kind = ConversationKind::from_number(kind)?;
    let (bond, friendship_seq, answered) = match kind {
        ConversationKind::Direct => friends::described(connection, interval.conversation, user)?,
        ConversationKind::Group | ConversationKind::Account => Default::default(),
    };
    let head = interval.last_seq(connection)?;
    let (last_seq, member_count, said) = if interval.is_open() {
        let now = v1::Conversation {
            pinned_seqs: pinned_seqs(connection, user, interval.conversation)?,
            ..now
        };
        (0, member_count(connection, interval.conversation)?, now)
    } else {
        // Who has left does not learn what is said of it now.
        let (member_count, title) = interval.at_end(connection)?;
        let conversation_id = now.conversation_id;
        let then = v1::Conversation {
            conversation_id,
            title,
            ..Default::default()
        };
        (head, member_count, then)
    };
    let member_count = unsigned(member_count);
    let read = read_seq(connection, user, interval.conversation)?;
    let read = read.min(head).max(interval.from_seq - 1);
    let upto = |seq| counts::upto(connection, user, interval.conversation, seq);
    let members = if member_count <= MARKED_MEMBERS_MAX as u64 {
        members(connection, user, interval, head)?
    } else if interval.is_open() {
        oneself(connection, user, interval, head)?
    } else {
        Vec::new()
    };
    Ok(v1::Conversation {
        kind: kind.to_wire().into(),
        members,
        first_seq: unsigned(history_seq(connection, user, interval)?),
        joined_seq: unsigned(interval.from_seq),
        last_seq: unsigned(last_seq),
        head_seq: unsigned(head),
        common_seq: None,
        member_count,
        counts: Some(upto(head)?.to_wire()),
        read_counts: Some(upto(read)?.to_wire()),
        friendship: bond.told().number().into(),
        friendship_seq,
        answered,
        ..said
    })
}

/// The first event that the user may fetch by this membership.
fn history_seq(connection: &Connection, user: i64, interval: &Interval) -> Result<i64, StoreError> {
    let sql = "
        SELECT history_seq FROM members
         WHERE user = ?1 AND conversation = ?2 AND from_seq = ?3";
    let membership = [user, interval.conversation, interval.from_seq];
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(membership, |row| row.get(0))?)
}

/// What is pinned of what the user may read.
fn pinned_seqs(
    connection: &Connection,
    user: i64,
    conversation: i64,
) -> Result<Vec<u64>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_PINS)?;
    let pins = statement.query_map([user, conversation], |row| row.get(0).map(unsigned))?;
    Ok(pins.collect::<Result<_, _>>()?)
}

/// Describes a conversation with all of its memberships of the user, of which
/// `latest` is the last: what stood before it is history, and can be fetched.
pub(super) fn describe_whole(
    connection: &Connection,
    user: i64,
    latest: &Interval,
) -> Result<v1::Conversation, StoreError> {
    let sql = "SELECT min(history_seq) FROM members WHERE user = ?1 AND conversation = ?2";
    let first: i64 = connection
        .prepare_cached(sql)?
        .query_row([user, latest.conversation], |row| row.get(0))?;
    let description = describe(connection, user, latest)?;
    Ok(v1::Conversation {
        first_seq: unsigned(first),
        ..description
    })
}

fn members(
    connection: &Connection,
    user: i64,
    interval: &Interval,
    head: i64,
) -> Result<Vec<v1::Member>, StoreError> {
    // An end above this one is an open one, if this membership is open.
    let when = interval.to_position.min(OPEN_END - 1);
    let mut places = Places::new(connection, interval.conversation, head);
    let mut statement = connection.prepare_cached(FIND_MEMBERS)?;
    let mut rows = statement.query(params![interval.conversation, when, user])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        let from_seq: i64 = row.get(2)?;
        let delivered = places.newest_at(row.get(3)?)?;
        let delivered = if delivered < from_seq { 0 } else { delivered };
        let mut member = member(row, delivered, head)?;
        if !interval.is_open() {
            // As it is now, and they left before.
            member.role = 0;
        }
        members.push(member);
    }
    Ok(members)
}

/// Of many members, the one who asks: the others are asked for page by page.
fn oneself(
    connection: &Connection,
    user: i64,
    interval: &Interval,
    head: i64,
) -> Result<Vec<v1::Member>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_SELF)?;
    let membership = [interval.conversation, user, interval.from_seq];
    let member = statement.query_row(membership, |row| member(row, 0, head))?;
    Ok(vec![member])
}

/// A member from a row of user id, name, (two that are the caller's), read mark, role, and
/// the marks of which no more is told to whom they block, if they do.
pub(super) fn member(row: &Row<'_>, delivered: i64, head: i64) -> rusqlite::Result<v1::Member> {
    let read: i64 = row.get(4)?;
    let at_most = |column, mark: i64| -> rusqlite::Result<u64> {
        let most: Option<i64> = row.get(column)?;
        Ok(unsigned(mark.min(most.unwrap_or(mark))))
    };
    Ok(v1::Member {
        user: Some(v1::User {
            user_id: UserId::new(row.get(0)?).to_wire(),
            name: row.get(1)?,
        }),
        delivered_seq: at_most(6, delivered)?,
        read_seq: at_most(7, read.min(head))?,
        role: row.get(5)?,
    })
}

/// Where the events of a conversation are in the log.
///
/// Positions rise with seq, so the newest event at a position is found by
/// bisection. The members of a group mostly ask for the same places.
pub(super) struct Places<'a> {
    connection: &'a Connection,
    conversation: i64,
    /// The newest seq that is looked at.
    last: i64,
    known: HashMap<i64, i64>,
}

impl<'a> Places<'a> {
    pub(super) fn new(connection: &'a Connection, conversation: i64, last: i64) -> Self {
        Self {
            connection,
            conversation,
            last,
            known: HashMap::new(),
        }
    }

    /// The seq of the newest event whose position is at most `position`; 0 if
    /// there is none.
    pub(super) fn newest_at(&mut self, position: i64) -> Result<i64, StoreError> {
        // Most devices have stored everything, or nothing.
        if self.last < 1 || self.position(1)? > position {
            return Ok(0);
        }
        if self.position(self.last)? <= position {
            return Ok(self.last);
        }
        let (mut at_most, mut above) = (1, self.last);
        while above - at_most > 1 {
            let middle = at_most + (above - at_most) / 2;
            if self.position(middle)? <= position {
                at_most = middle;
            } else {
                above = middle;
            }
        }
        Ok(at_most)
    }

    pub(super) fn position(&mut self, seq: i64) -> Result<i64, StoreError> {
        if let Some(position) = self.known.get(&seq) {
            return Ok(*position);
        }
        let sql = "SELECT position FROM events WHERE conversation = ?1 AND seq = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let position = statement.query_row([self.conversation, seq], |row| row.get(0))?;
        self.known.insert(seq, position);
        Ok(position)
    }
}

/// The user's latest membership of each conversation, in ascending order of the
/// conversations' ids.
const FIND_CONVERSATIONS: &str = "
    SELECT m.conversation, max(m.from_seq), m.to_seq, m.to_position
      FROM members m JOIN conversations c ON c.key = m.conversation
     WHERE m.user = ?1 AND c.conversation_id > ?2
     GROUP BY m.conversation ORDER BY c.conversation_id";

pub(super) fn conversations(
    connection: &Connection,
    user: UserId,
    after: Option<ConversationId>,
    limit: ReadLimit,
) -> Result<(Vec<v1::Conversation>, bool), StoreError> {
    let mut found = Vec::new();
    let Some(user) = rows::user_key(connection, user)? else {
        return Ok((found, true));
    };
    // No blob is below the empty one.
    let after = after.map_or_else(Vec::new, |id| id.bytes().to_vec());
    let mut statement = connection.prepare_cached(FIND_CONVERSATIONS)?;
    let mut rows = statement.query(params![user, after])?;
    let mut size = 0;
    while let Some(row) = rows.next()? {
        let conversation = describe_whole(connection, user, &Interval::from_row(row, 0)?)?;
        size += conversation.encoded_len();
        if !found.is_empty() && (found.len() >= limit.count || size > limit.size) {
            return Ok((found, false));
        }
        found.push(conversation);
    }
    Ok((found, true))
}

pub(super) fn memberships(
    connection: &Connection,
    conversation: ConversationId,
    ended_after: Position,
) -> Result<Vec<Membership>, StoreError> {
    let sql = "
        SELECT u.user_id, m.from_seq, m.to_seq
          FROM members m JOIN users u ON u.key = m.user
         WHERE m.conversation = ?1 AND m.to_position > ?2
         ORDER BY m.user, m.from_seq";
    let Some(conversation) = rows::conversation_key(connection, conversation)? else {
        return Ok(Vec::new());
    };
    let ended_after = signed(ended_after.get()).min(OPEN_END - 1);
    let mut statement = connection.prepare_cached(sql)?;
    let memberships = statement.query_map([conversation, ended_after], |row| {
        let to_seq: i64 = row.get(2)?;
        Ok(Membership {
            user: UserId::new(row.get(0)?),
            from_seq: Seq::new(unsigned(row.get(1)?)),
            to_seq: (to_seq != OPEN_END).then(|| Seq::new(unsigned(to_seq))),
        })
    })?;
    Ok(memberships.collect::<Result<_, _>>()?)
}

/// Moves a read mark forward. An older mark changes nothing, so marks may arrive
/// in any order.
const ADVANCE_READ_MARK: &str = "
    INSERT INTO marks (user, conversation, read_seq, read_position) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (user, conversation) DO UPDATE
       SET read_seq = excluded.read_seq, read_position = excluded.read_position
     WHERE read_seq < excluded.read_seq";

/// Moves read marks. Those that move take the next position, all the same.
pub(super) fn mark_read(writer: &mut Writer, marks: &[MarkRead]) -> Result<Marked, StoreError> {
    writer.transaction(|connection, _caches| {
        let after = rows::log_head(connection)?.position;
        let mut moved = Marked {
            after,
            head: after,
            marks: Vec::with_capacity(marks.len()),
        };
        for mark in marks {
            let (now, has_moved) = mark_one(connection, mark, after.next())?;
            moved.marks.push(now);
            if has_moved {
                moved.head = after.next();
            }
        }
        if moved.head > after {
            rows::move_head(connection, moved.head)?;
        }
        Ok(moved)
    })
}

/// Returns the mark as it is now, and whether it moved.
fn mark_one(
    connection: &Connection,
    mark: &MarkRead,
    position: Position,
) -> Result<(Option<ReadMark>, bool), StoreError> {
    let user = rows::user_key(connection, mark.user)?;
    let conversation = rows::conversation_key(connection, mark.conversation)?;
    let (Some(user), Some(conversation)) = (user, conversation) else {
        return Ok((None, false));
    };
    let Some(interval) = latest_interval(connection, user, conversation)? else {
        return Ok((None, false));
    };
    let seq = signed(mark.seq.get()).min(interval.last_seq(connection)?);
    let position = signed(position.get());
    let mut has_moved = false;
    if seq > 0 {
        let mut advance = connection.prepare_cached(ADVANCE_READ_MARK)?;
        has_moved = advance.execute([user, conversation, seq, position])? > 0;
    }
    let seq = read_seq(connection, user, conversation)?;
    let mark = ReadMark {
        seq: Seq::new(unsigned(seq)),
        counts: counts::upto(connection, user, conversation, seq)?,
    };
    Ok((Some(mark), has_moved))
}

/// How far a user has read a conversation.
fn read_seq(connection: &Connection, user: i64, conversation: i64) -> Result<i64, StoreError> {
    let sql = "SELECT read_seq FROM marks WHERE user = ?1 AND conversation = ?2";
    let mark: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row([user, conversation], |row| row.get(0))
        .optional()?;
    Ok(mark.unwrap_or(0))
}

fn latest_interval(
    connection: &Connection,
    user: i64,
    conversation: i64,
) -> Result<Option<Interval>, StoreError> {
    let sql = "
        SELECT conversation, from_seq, to_seq, to_position FROM members
         WHERE user = ?1 AND conversation = ?2 ORDER BY from_seq DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement
        .query_row([user, conversation], |row| Interval::from_row(row, 0))
        .optional()?)
}
