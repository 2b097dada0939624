//! A batch in one transaction, under the lock of its shard's head.
//!
//! Messages into conversations that exist, nearly everything, are written by one
//! statement that is sent together with the transaction's begin, its lock and
//! its commit: the lock is never held across a network wait. It looks ids up,
//! authorises, numbers and writes in the snapshot it takes behind the lock, so
//! all of that is exact however many nodes append. Whatever else a batch holds
//! is done command by command, under the same lock.

mod columns;

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, UserId},
    message::NewMessage,
    seq::{Position, Seq},
    wire::{Target, v1},
};
use prost::Message as _;
use std::{collections::HashSet, sync::Arc};
use tokio_postgres::Row;

use self::columns::Columns;
use super::{
    blocks::is_sender_blocked,
    committer::Ended,
    counts::Mentions,
    known::Known,
    log::{Log, role},
    rows::{LOCK_HEAD, known_of, number},
    session::{Failure, Session, UnderLock, get, get_count},
};
use crate::store::{
    Append, Command, Committed, LogEvent, Outcome, Refusal, Shard,
    event::{EventParts, encode_event},
    identity::is_direct_shaped,
    rules::{self, Asked, ConversationKind, Person, Place},
};

/// Looks up, authorises, numbers and writes messages.
///
/// A stream is what messages of one device to one conversation have in common: it
/// is authorised, and its conversation's newest seq is found, once for all of
/// them. The subqueries with `LIMIT 1` are index probes, one a row, whatever the
/// planner knows about the tables; `+ 0` keeps it from the index by user, who may
/// have many devices. No table is joined that the planner could join otherwise.
pub(super) const WRITE_MESSAGES: &str = concat!(
    "WITH streams AS MATERIALIZED (
        SELECT l.*,
               (SELECT true FROM devices d
                 WHERE d.device_id = l.device AND d.user_key + 0 = l.sender
                   AND NOT d.is_revoked LIMIT 1) IS TRUE AS may_act,
               (SELECT m.role FROM members m
                 WHERE m.user_key = l.sender AND m.conversation_key = l.conversation
                   AND m.to_position = 9223372036854775807 LIMIT 1) AS role,
               (SELECT c.announcement_only FROM conversations c
                 WHERE c.key = l.conversation LIMIT 1) IS TRUE AS announcement_only,
               coalesce((SELECT e.seq FROM events e WHERE e.conversation_key = l.conversation
                          ORDER BY e.seq DESC LIMIT 1), 0) AS last_seq,
               coalesce((SELECT e.message_count FROM events e
                          WHERE e.conversation_key = l.conversation
                          ORDER BY e.seq DESC LIMIT 1), 0) AS message_count,
               coalesce((SELECT e.sender_count FROM events e
                          WHERE e.conversation_key = l.conversation
                            AND e.sender_key = l.sender AND e.kind = 1
                          ORDER BY e.seq DESC LIMIT 1), 0) AS sender_count,",
    is_sender_blocked!("l.sender", "l.conversation"),
    "     AS hidden
          FROM unnest($1::bigint[], $2::uuid[], $3::bigint[])
               WITH ORDINALITY AS l (sender, device, conversation, stream)
    ), judged AS MATERIALIZED (
        SELECT a.number, a.id, a.digest, a.body, a.reply_to, a.least_role,
               l.sender, l.conversation, l.may_act, l.role, l.announcement_only, l.last_seq,
               l.message_count, l.sender_count, l.hidden,
               k.seq AS known_seq, k.committed_at_ms AS known_at_ms,
               k.digest = a.digest AS is_same
          FROM unnest($4::bigint[], $5::uuid[], $6::bytea[], $7::bytea[], $10::bigint[],
                      $11::smallint[])
               WITH ORDINALITY AS a (stream, id, digest, body, reply_to, least_role, number)
          JOIN streams l USING (stream)
          LEFT JOIN LATERAL (
              SELECT e.seq, e.committed_at_ms, e.digest FROM events e
               WHERE e.sender_key = l.sender AND e.message_id = a.id LIMIT 1
          ) k ON true
    ), fresh AS MATERIALIZED (
        SELECT j.number, j.sender, j.id, j.digest, j.conversation, j.body, j.hidden,
               j.last_seq + row_number() OVER of_place AS seq,
               j.message_count + count(*) FILTER (WHERE NOT j.hidden) OVER of_place
                   AS message_count,
               j.sender_count
                   + count(*) FILTER (WHERE NOT j.hidden)
                         OVER (PARTITION BY j.conversation, j.sender ORDER BY j.number)
                   AS sender_count,
               (SELECT position FROM log_head WHERE shard = $9)
                   + row_number() OVER (ORDER BY j.number) AS position
          FROM judged j
         WHERE j.known_seq IS NULL AND j.may_act AND j.role >= j.least_role
           AND (j.role >= 2 OR NOT j.announcement_only)
           AND j.reply_to <= j.last_seq
        WINDOW of_place AS (PARTITION BY j.conversation ORDER BY j.number)
    ), written AS (
        INSERT INTO events (position, conversation_key, seq, sender_key, committed_at_ms,
                            message_id, kind, digest, body, message_count, sender_count,
                            hidden)
        SELECT f.position, f.conversation, f.seq, f.sender,
               greatest($8, (SELECT committed_at_ms FROM log_head WHERE shard = $9)),
               f.id, 1, f.digest, f.body, f.message_count, f.sender_count, f.hidden
          FROM fresh f
         ORDER BY f.position
    ), moved AS (
        UPDATE log_head
           SET position = position + (SELECT count(*) FROM fresh),
               committed_at_ms = greatest($8, committed_at_ms)
         WHERE shard = $9 AND EXISTS (SELECT FROM fresh)
    )
    SELECT j.known_seq, j.known_at_ms, j.is_same IS TRUE, j.may_act, j.role,
           j.last_seq, f.seq, f.position, j.announcement_only, j.hidden
      FROM judged j LEFT JOIN fresh f USING (number)
     ORDER BY j.number"
);

/// Appends a batch to a shard, of so many.
pub(super) async fn append(
    session: Session<'_>,
    known: &mut Known,
    shard: ShardOf,
    batch: &[Append],
    at_ms: i64,
) -> Result<Committed, Ended> {
    known.learn(session, batch).await?;
    let parts = split(known, shard, batch);
    match parts.as_slice() {
        [Part::Messages(messages)] if messages.iter().all(|it| it.mentioned.is_empty()) => {
            append_at_once(session, shard.shard, messages, at_ms).await
        }
        parts => append_in_parts(session, known, shard, parts, at_ms).await,
    }
}

/// A shard of a log.
#[derive(Clone, Copy)]
pub(super) struct ShardOf {
    pub(super) shard: Shard,
    /// How many there are.
    pub(super) count: usize,
}

impl ShardOf {
    pub(super) fn holds(self, conversation: ConversationId) -> bool {
        Shard::of_conversation(conversation, self.count) == self.shard
    }
}

/// One statement's worth of a batch.
enum Part<'a> {
    /// Messages, no two of one sender with the same id.
    Messages(Vec<MessageRow<'a>>),
    /// Anything else.
    Single(&'a Append),
}

/// A message with what its names stand for.
struct MessageRow<'a> {
    append: &'a Append,
    message: &'a NewMessage,
    /// Nobody is never authorised.
    sender: Option<Arc<Person>>,
    /// Nobody is a member of what is not there.
    place: Option<i64>,
    /// `None` if it goes to nobody.
    asked: Option<Asked>,
    /// See [`rules::mentioned`].
    mentioned: Vec<(Option<UserId>, i64)>,
    /// Encoded [`v1::EventContent`].
    body: Vec<u8>,
}

impl MessageRow<'_> {
    /// Where it goes. Of what that is nothing was read: its id says so.
    fn place(&self, head: Seq, announcement_only: bool) -> Place {
        let is_direct = |asked: &Asked| is_direct_shaped(asked.conversation);
        Place {
            key: self.place.unwrap_or(0),
            kind: match self.asked.as_ref().is_some_and(is_direct) {
                true => ConversationKind::Direct,
                false => ConversationKind::Group,
            },
            head,
            announcement_only,
            // The statement numbers messages itself.
            messages: 0,
        }
    }
}

/// Splits a batch into parts that are done one after the other.
fn split<'a>(known: &Known, shard: ShardOf, batch: &'a [Append]) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let mut messages = Vec::new();
    let mut ids = HashSet::new();
    for append in batch {
        let row = message_row(known, shard, append, !parts.is_empty());
        let is_repeat = !ids.insert((append.actor.user, append.id));
        if (is_repeat || row.is_none()) && !messages.is_empty() {
            parts.push(Part::Messages(std::mem::take(&mut messages)));
            ids = HashSet::from([(append.actor.user, append.id)]);
        }
        match row {
            Some(row) => messages.push(row),
            None => parts.push(Part::Single(append)),
        }
    }
    if !messages.is_empty() {
        parts.push(Part::Messages(messages));
    }
    parts
}

/// The row of a message whose conversation is there, or certainly is not.
fn message_row<'a>(
    known: &Known,
    shard: ShardOf,
    append: &'a Append,
    is_later: bool,
) -> Option<MessageRow<'a>> {
    let Command::SendMessage { to, message } = &append.command else {
        return None;
    };
    // The statement knows nothing of photos and files.
    if !message.as_wire().media.is_empty() {
        return None;
    }
    // A user who did not exist when the shard was looked up is not found: the
    // conversation with them may be in another one.
    let asked = known.asked(append);
    let asked = asked.filter(|asked| shard.holds(asked.conversation));
    let place = asked.and_then(|asked| known.place(asked.conversation));
    let place = match place {
        // The statement does not know where no messages go.
        Some((_, ConversationKind::Account)) => return None,
        Some((key, ConversationKind::Direct | ConversationKind::Group)) => Some(key),
        None => None,
    };
    let may_be_made = match to {
        // By an earlier command of the batch.
        Target::Conversation(_) => is_later,
        // By this one.
        Target::User(_) => asked.is_some(),
    };
    if place.is_none() && may_be_made {
        return None;
    }
    let content = rules::message(message);
    let mentioned = rules::mentioned(&content, append.actor.user);
    let content = v1::EventContent {
        kind: Some(content),
    };
    Some(MessageRow {
        append,
        message,
        sender: known.person(append.actor.user).cloned(),
        place,
        asked,
        mentioned,
        body: content.encode_to_vec(),
    })
}

/// What the batch did so far.
struct Progress {
    after: Position,
    committed_at_ms: i64,
    outcomes: Vec<Outcome>,
    events: Vec<LogEvent>,
    /// Of the messages since they were written down last.
    mentions: Mentions,
}

impl Progress {
    /// From the row of [`LOCK_HEAD`].
    fn begin(row: &Row, at_ms: i64) -> Result<Self, Failure> {
        Ok(Self {
            after: Position::new(get_count(row, 0)?),
            committed_at_ms: at_ms.max(get(row, 1)?),
            outcomes: Vec::new(),
            events: Vec::new(),
            mentions: Mentions::default(),
        })
    }

    fn head(&self) -> Position {
        self.events
            .last()
            .map_or(self.after, |event| event.position)
    }

    fn end(self) -> Committed {
        Committed {
            after: self.after,
            head: self.head(),
            outcomes: self.outcomes,
            events: self.events,
        }
    }

    /// From the rows of [`WRITE_MESSAGES`].
    fn take(&mut self, messages: &[MessageRow<'_>], rows: &[Row]) -> Result<(), Failure> {
        if rows.len() != messages.len() {
            let (asked, answered) = (messages.len(), rows.len());
            return Err(Failure::corrupt(format!(
                "{answered} answers to {asked} messages"
            )));
        }
        for (message, row) in messages.iter().zip(rows) {
            let outcome = self.take_row(message, row)?;
            self.outcomes.push(outcome);
        }
        Ok(())
    }

    fn take_row(&mut self, message: &MessageRow<'_>, row: &Row) -> Result<Outcome, Failure> {
        let Some(sender) = message.sender.as_ref() else {
            return Ok(Outcome::Refused(Refusal::DeviceRevoked));
        };
        let asked = match rules::to_do(message.asked, known_of(row)?.as_ref()) {
            Ok(asked) => asked,
            Err(outcome) => return Ok(outcome),
        };
        let head = Seq::new(get_count(row, 5)?);
        let (may_act, role) = (get(row, 3)?, role(row, 4)?);
        let place = message.place(head, get(row, 8)?);
        let may_post = rules::may_post(may_act, role, place, message.message);
        if let Err(refusal) = may_post {
            return Ok(Outcome::Refused(refusal));
        }
        let (conversation, hidden) = (asked.conversation, get::<bool>(row, 9)?);
        let (seq, position) = (Seq::new(get_count(row, 6)?), get_count(row, 7)?);
        let encoded: Bytes = encode_event(&EventParts {
            conversation,
            seq,
            sender: sender.id,
            sender_name: &sender.name,
            id: message.append.id,
            committed_at_ms: self.committed_at_ms,
            body: &message.body,
        });
        let event = LogEvent {
            position: Position::new(position),
            conversation,
            seq,
            encoded,
            change: None,
            hidden: hidden.then_some(sender.id),
        };
        if !hidden {
            self.mentions.add(&event, &message.mentioned);
        }
        self.events.push(event);
        Ok(Outcome::Accepted {
            conversation,
            seq,
            committed_at_ms: self.committed_at_ms,
        })
    }
}

/// Everything in one round trip.
async fn append_at_once(
    session: Session<'_>,
    shard: Shard,
    messages: &[MessageRow<'_>],
    at_ms: i64,
) -> Result<Committed, Ended> {
    let columns = Columns::of(messages, shard, at_ms);
    let params = columns.params();
    let done = session.under_lock(shard, WRITE_MESSAGES, &params).await;
    let (locked, written) = done.map_err(|failed| match failed {
        UnderLock::Before(error) => error.into(),
        UnderLock::Sent(error) => in_doubt(error.into()),
    })?;
    let read = || -> Result<Committed, Failure> {
        let mut progress = Progress::begin(&locked, at_ms)?;
        progress.take(messages, &written)?;
        Ok(progress.end())
    };
    read().map_err(in_doubt)
}

/// What failed when the commit was sent already.
fn in_doubt(failure: Failure) -> Ended {
    let in_doubt = match failure {
        // It is committed, and our answer to it is wrong: again will not help.
        Failure::Final(_) => false,
        Failure::Database(_) | Failure::Unavailable(_) => !failure.is_definite(),
    };
    Ended { failure, in_doubt }
}

async fn append_in_parts(
    session: Session<'_>,
    known: &Known,
    shard: ShardOf,
    parts: &[Part<'_>],
    at_ms: i64,
) -> Result<Committed, Ended> {
    session.client.batch_execute("BEGIN").await?;
    let locked = session.one(LOCK_HEAD, &[&number(shard.shard)]).await?;
    let mut progress = Progress::begin(&locked, at_ms)?;
    for part in parts {
        match part {
            Part::Messages(messages) => {
                let columns = Columns::of(messages, shard.shard, progress.committed_at_ms);
                let rows = session.rows(WRITE_MESSAGES, &columns.params()).await?;
                progress.take(messages, &rows)?;
                std::mem::take(&mut progress.mentions)
                    .write(session)
                    .await?;
            }
            Part::Single(append) => {
                let mut log = Log {
                    session,
                    known,
                    shard,
                    head: progress.head(),
                    committed_at_ms: progress.committed_at_ms,
                };
                let (outcome, event) = log.append(append).await?;
                progress.outcomes.push(outcome);
                progress.events.extend(event);
            }
        }
    }
    let committed = session.client.batch_execute("COMMIT").await;
    committed.map_err(|error| in_doubt(error.into()))?;
    Ok(progress.end())
}
