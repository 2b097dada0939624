//! How much is unread: derived, never counted up and down.
//!
//! A description says how many messages of others there are up to its head, and how many
//! up to the user's read mark; a moved mark says so again. So the number is right with
//! most of the conversation not stored here. What came behind the description is stored,
//! and looked at.

use magpie_protocol::{id::ConversationId, seq::Seq, wire::v1};
use rusqlite::{Connection, Transaction, params};

use super::{
    account::Me,
    events::{BLANK, MESSAGE},
    members,
    page::NewMark,
    seq_at, stored,
};
use crate::error::LocalError;

/// Messages of others that the user has not read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Unread {
    pub(super) messages: i64,
    /// So many of them mention the user, or everybody.
    pub(super) mentions: i64,
}

impl Unread {
    fn of(counts: Option<&v1::Counts>) -> Self {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        counts.map_or(Self::default(), |it| Self {
            messages: signed(it.messages),
            mentions: signed(it.mentions),
        })
    }

    /// What is in this and not in the other.
    fn without(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages).max(0),
            mentions: self.mentions.saturating_sub(other.mentions).max(0),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            mentions: self.mentions.saturating_add(other.mentions),
        }
    }
}

/// What a description that is not stored says.
pub(super) fn described(it: &v1::Conversation) -> (u64, u64) {
    let unread = Unread::of(it.counts.as_ref()).without(Unread::of(it.read_counts.as_ref()));
    (
        unread.messages.unsigned_abs(),
        unread.mentions.unsigned_abs(),
    )
}

/// Takes over what a description says. It knows the marks that were told before it.
pub(super) fn describe(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
    it: &v1::Conversation,
) -> Result<(), LocalError> {
    let there = Unread::of(it.counts.as_ref());
    transaction
        .prepare_cached("UPDATE conversations SET messages = ?2, mentions = ?3 WHERE id = ?1")?
        .execute(params![id.bytes(), there.messages, there.mentions])?;
    let mut members = it.members.iter();
    let own = members.find(|member| {
        let user = member.user.as_ref();
        user.is_some_and(|user| user.user_id.as_ref() == me.user.bytes())
    });
    // What came before the user joined is not unread, and may be stored here.
    let joined = Seq::new(it.joined_seq).previous();
    let seq = Seq::new(own.map_or(0, |own| own.read_seq)).max(joined);
    mark(transaction, id, seq, it.read_counts.as_ref())?;
    Ok(())
}

/// Takes over how far a member has come. Whether that is news.
pub(super) fn take_mark(
    transaction: &Transaction<'_>,
    me: &Me,
    it: &NewMark,
) -> Result<bool, LocalError> {
    let id = it.conversation;
    let is_news = members::raise_marks(transaction, id, it.user, it.delivered, it.read)?;
    let is_own = it.user == me.user && it.read_counts.is_some();
    Ok((is_own && mark(transaction, id, it.read, it.read_counts.as_ref())?) || is_news)
}

/// The user's read mark is there now. Whether that is news: an older one changes
/// nothing.
pub(super) fn mark(
    transaction: &Transaction<'_>,
    id: ConversationId,
    seq: Seq,
    counts: Option<&v1::Counts>,
) -> Result<bool, LocalError> {
    let read = Unread::of(counts);
    let changed = transaction
        .prepare_cached(
            "UPDATE conversations
                SET counted_seq = ?2, read_messages = ?3, read_mentions = ?4
              WHERE id = ?1 AND counted_seq <= ?2
                AND (counted_seq, read_messages, read_mentions) <> (?2, ?3, ?4)",
        )?
        .execute(params![
            id.bytes(),
            stored(seq),
            read.messages,
            read.mentions
        ])?;
    Ok(changed > 0)
}

/// What is stored of a part: above `above`, up to `upto`.
fn held(
    connection: &Connection,
    me: &Me,
    id: ConversationId,
    (above, upto): (Seq, Seq),
) -> Result<Unread, LocalError> {
    let held = connection
        .prepare_cached(
            "SELECT count(*), coalesce(sum(mentions_me), 0) FROM events
              WHERE conversation = ?1 AND seq > ?2 AND seq <= ?3
                AND kind IN (?4, ?5) AND sender IS NOT ?6",
        )?
        .query_row(
            params![
                id.bytes(),
                stored(above),
                stored(upto),
                MESSAGE,
                BLANK,
                me.user.bytes()
            ],
            |row| {
                Ok(Unread {
                    messages: row.get(0)?,
                    mentions: row.get(1)?,
                })
            },
        )?;
    Ok(held)
}

/// What is unread of a conversation, marks that are not confirmed yet included.
pub(super) fn of(
    connection: &Connection,
    me: &Me,
    id: ConversationId,
) -> Result<Unread, LocalError> {
    let (head, counted, read, described) = connection
        .prepare_cached(
            "SELECT head_seq, counted_seq,
                    max(counted_seq,
                        coalesce((SELECT read_seq FROM members
                                   WHERE conversation = ?1 AND user_id = ?2), 0),
                        coalesce((SELECT max(seq) FROM reads
                                   WHERE conversation = ?1 AND code IS NULL), 0)),
                    messages, mentions, read_messages, read_mentions
               FROM conversations WHERE id = ?1",
        )?
        .query_row(params![id.bytes(), me.user.bytes()], |row| {
            let unread = |messages, mentions| -> rusqlite::Result<_> {
                Ok(Unread {
                    messages: row.get(messages)?,
                    mentions: row.get(mentions)?,
                })
            };
            let described = unread(3, 4)?.without(unread(5, 6)?);
            Ok((seq_at(row, 0)?, seq_at(row, 1)?, seq_at(row, 2)?, described))
        })?;
    let end = Seq::new(u64::MAX);
    if read >= head {
        return held(connection, me, id, (read, end));
    }
    // Until the server has confirmed a mark, what is stored says what it covers.
    let covered = held(connection, me, id, (counted, read))?;
    let later = held(connection, me, id, (head, end))?;
    Ok(described.without(covered).and(later))
}
