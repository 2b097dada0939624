//! From rows to what they mean.

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::{Position, Seq},
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::session::{Failure, Session, get, get_count, get_id, signed, uuid};
use crate::store::{
    History, LogEvent, LogState, MembershipChange, Positions, Shard,
    event::{EventKind, EventParts, encode_event, stored_change},
    rules::Known,
    seen::{Seen, went_back},
};

/// The end of a membership that has not ended. See the schema.
pub(super) const OPEN_END: i64 = i64::MAX;

/// The lock that orders a shard: whoever else takes positions there waits until
/// our commit is visible and flushed. It writes to the write-ahead log, so that
/// the commit waits for the disk and the standby even if nothing else was
/// written: a repeat is answered only when what it repeats is safe.
pub(super) const LOCK_HEAD: &str = "
    SELECT position, committed_at_ms FROM log_head WHERE shard = $1 FOR NO KEY UPDATE";

const FIND_HEADS: &str = "SELECT heads()";

/// In one statement, so that all of it is of the same moment.
const FIND_STATE: &str = "
    SELECT epoch, base, heads(), reached, pg_is_in_recovery()
      FROM epochs ORDER BY epoch DESC LIMIT 1";

/// For all nodes to see, until another epoch begins.
const NOTE_WENT_BACK: &str = "
    UPDATE epochs SET reached = $2 WHERE epoch = $1 AND reached IS NULL";

const FIND_HEAD: &str = "SELECT position FROM log_head WHERE shard = $1";

pub(super) async fn heads(session: Session<'_>) -> Result<Positions, Failure> {
    get_places(&session.one(FIND_HEADS, &[]).await?, 0)
}

pub(super) async fn head(session: Session<'_>, shard: Shard) -> Result<Position, Failure> {
    let row = session.one(FIND_HEAD, &[&number(shard)]).await?;
    Ok(Position::new(get_count(&row, 0)?))
}

/// Which history this is and how far it goes, unless it had come further once,
/// as this node knows or another has noted.
pub(super) async fn state(session: Session<'_>, seen: &Seen) -> Result<LogState, Failure> {
    let before = seen.before();
    let row = session.one(FIND_STATE, &[]).await?;
    if get(&row, 4)? {
        // It may not have replayed everything yet.
        return Err(Failure::Unavailable("the database is a standby".to_owned()));
    }
    let state = LogState {
        history: History {
            epoch: get_count(&row, 0)?,
            base: get_places(&row, 1)?,
        },
        heads: get_places(&row, 2)?,
    };
    if get::<Option<Vec<i64>>>(&row, 3)?.is_some() {
        let reached = get_places(&row, 3)?;
        return Err(went_back(state.history.epoch, &reached, &state).into());
    }
    if let Err(reached) = seen.check(before, &state) {
        let epoch = signed(state.history.epoch);
        let places = each_signed(&reached.places);
        session.execute(NOTE_WENT_BACK, &[&epoch, &places]).await?;
        return Err(went_back(reached.epoch, &reached.places, &state).into());
    }
    Ok(state)
}

/// A column that holds a place in all shards.
pub(super) fn get_places(row: &Row, column: usize) -> Result<Positions, Failure> {
    let each: Vec<i64> = get(row, column)?;
    let each: Vec<Position> = each
        .iter()
        .map(|position| Position::new(position.unsigned_abs()))
        .collect();
    Positions::from_each(&each).ok_or_else(|| Failure::corrupt(format!("the place {each:?}")))
}

/// A place in all shards, as a parameter.
pub(super) fn each_signed(places: &Positions) -> Vec<i64> {
    places.each().map(|place| signed(place.get())).collect()
}

/// Places in all shards, as one parameter: `PostgreSQL` has no arrays of arrays
/// of any length, so each is written as text.
pub(super) fn places_text(places: &Positions) -> String {
    let each: Vec<String> = places.each().map(|place| place.get().to_string()).collect();
    format!("{{{}}}", each.join(","))
}

/// A shard, as a parameter.
pub(super) fn number(shard: Shard) -> i32 {
    i32::try_from(shard.index()).unwrap_or(0)
}

pub(super) async fn cursor_key(session: Session<'_>) -> Result<[u8; 32], Failure> {
    let sql = "SELECT value FROM facts WHERE name = 'cursor_key'";
    let row = session.one(sql, &[]).await?;
    let key: &[u8] = get(&row, 0)?;
    key.try_into()
        .map_err(|_| Failure::corrupt("a cursor key of another size"))
}

/// The key of a user.
pub(super) async fn user_key(session: Session<'_>, user: UserId) -> Result<Option<i64>, Failure> {
    let sql = "SELECT key FROM users WHERE user_id = $1";
    let row = session.first(sql, &[&uuid(user.bytes())]).await?;
    row.map(|row| get(&row, 0)).transpose()
}

/// The key of a conversation.
pub(super) async fn conversation_key(
    session: Session<'_>,
    conversation: ConversationId,
) -> Result<Option<i64>, Failure> {
    let sql = "SELECT key FROM conversations WHERE conversation_id = $1";
    let row = session.first(sql, &[&uuid(conversation.bytes())]).await?;
    row.map(|row| get(&row, 0)).transpose()
}

/// What [`log_event`] reads, of `e` (see below); more columns may follow.
///
/// The first event of a direct conversation does not name its members, so they
/// come with it.
macro_rules! event_columns {
    () => {
        "e.position, e.seq, e.kind, e.committed_at_ms, e.message_id, e.body, \
         c.conversation_id, u.user_id, u.name, \
         CASE WHEN e.kind IN (1, 20, 41, 42) AND e.seq = 1 THEN ARRAY( \
             SELECT mu.user_id FROM members m JOIN users mu ON mu.key = m.user_key \
              WHERE m.conversation_key = e.conversation_key AND m.from_seq = 1 \
              ORDER BY mu.user_id) END, \
         e.found_count, e.hidden"
    };
}
/// How many there were before those of too many bytes were left out.
pub(super) const FOUND_COUNT: usize = 10;
/// The first column behind [`event_columns`].
pub(super) const AFTER_EVENT: usize = 12;

/// Joins an event's conversation and sender, by their keys.
macro_rules! event_joins {
    () => {
        " JOIN conversations c ON c.key = e.conversation_key JOIN users u ON u.key = e.sender_key "
    };
}

/// Leaves out, of the events `e` in an order, those behind so many bytes of
/// bodies. (Few bytes more are read than are wanted, however large the bodies.)
macro_rules! bounded {
    ($events:literal, $order:literal, $size:literal) => {
        concat!(
            " (SELECT * FROM (SELECT e.*, count(*) OVER () AS found_count, \
              sum(octet_length(e.body)) OVER (ORDER BY ",
            $order,
            ") - octet_length(e.body) AS size_before FROM (",
            $events,
            ") e) e WHERE e.size_before <= ",
            $size,
            ") e "
        )
    };
}
pub(super) use {bounded, event_columns, event_joins};

/// An event from a row that begins with [`event_columns`].
pub(super) fn log_event(row: &Row) -> Result<LogEvent, Failure> {
    let conversation = ConversationId::new(get_id(row, 6)?);
    let seq = Seq::new(get_count(row, 1)?);
    let sender = UserId::new(get_id(row, 7)?);
    let body: &[u8] = get(row, 5)?;
    let number: i16 = get(row, 2)?;
    let kind = EventKind::from_number(number.into())
        .ok_or_else(|| Failure::corrupt(format!("an event of kind {number}")))?;
    let first_members: Option<Vec<Uuid>> = get(row, 9)?;
    let change = match first_members {
        Some(members) => {
            let members = members.into_iter().map(|id| UserId::new(id.into_bytes()));
            Some(MembershipChange::Joined(members.collect()))
        }
        None => stored_change(kind, sender, body)?,
    };
    let encoded = encode_event(&EventParts {
        conversation,
        seq,
        sender,
        sender_name: get(row, 8)?,
        id: MessageId::new(get_id(row, 4)?),
        committed_at_ms: get(row, 3)?,
        body,
    });
    Ok(LogEvent {
        position: Position::new(get_count(row, 0)?),
        conversation,
        seq,
        encoded,
        change,
        hidden: get::<bool>(row, 11)?.then_some(sender),
    })
}

/// What a request with the same id became before, from a row that begins with its seq, when it
/// was committed, and whether it asked for the same.
pub(super) fn known_of(row: &Row) -> Result<Option<Known>, Failure> {
    if get::<Option<i64>>(row, 0)?.is_none() {
        return Ok(None);
    }
    Ok(Some(Known {
        is_same: get(row, 2)?,
        seq: Seq::new(get_count(row, 0)?),
        committed_at_ms: get(row, 1)?,
    }))
}
