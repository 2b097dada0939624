//! How many messages of others there are for a user, and how many mention them: every
//! event carries the number of messages up to it, so nothing is counted. Who asks is
//! answered by the schema's `messages_upto` and `mentions_upto`.

use magpie_protocol::{id::UserId, seq::Seq};
use tokio_postgres::Row;
use uuid::Uuid;

use super::session::{Failure, Session, get_count, signed, uuid};
use crate::store::{Counts, LogEvent, ReadMark};

/// Counts for those who are mentioned by events that were just written; nobody checks
/// that they are there. Everybody has the nil id, and the key 0.
const WRITE_MENTIONS: &str = "
    INSERT INTO mentions (conversation_key, user_key, seq, count)
    SELECT m.conversation_key, m.user_key, m.seq,
           coalesce((SELECT p.count FROM mentions p
                      WHERE p.conversation_key = m.conversation_key
                        AND p.user_key = m.user_key AND p.seq < m.first
                      ORDER BY p.seq DESC LIMIT 1), 0)
               + sum(m.more) OVER (PARTITION BY m.conversation_key, m.user_key ORDER BY m.seq)
      FROM (SELECT c.key AS conversation_key, u.key AS user_key, v.seq, v.more,
                   min(v.seq) OVER (PARTITION BY c.key, u.key) AS first
              FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[])
                   AS v (conversation_id, seq, user_id, more)
              JOIN conversations c ON c.conversation_id = v.conversation_id
             CROSS JOIN LATERAL (
                   SELECT 0::bigint AS key WHERE v.user_id = $5
                    UNION ALL
                   SELECT u.key FROM users u WHERE u.user_id = v.user_id) u) m";

/// For whom events change how many messages mention them.
#[derive(Default)]
pub(super) struct Mentions {
    conversations: Vec<Uuid>,
    seqs: Vec<i64>,
    users: Vec<Uuid>,
    more: Vec<i64>,
}

impl Mentions {
    pub(super) fn add(&mut self, of: &LogEvent, mentioned: &[(Option<UserId>, i64)]) {
        for (user, more) in mentioned {
            self.conversations.push(uuid(of.conversation.bytes()));
            self.seqs.push(signed(of.seq.get()));
            self.users
                .push(user.map_or(Uuid::nil(), |user| uuid(user.bytes())));
            self.more.push(*more);
        }
    }

    pub(super) async fn write(&self, session: Session<'_>) -> Result<(), Failure> {
        if self.users.is_empty() {
            return Ok(());
        }
        let everybody = Uuid::nil();
        session
            .execute(
                WRITE_MENTIONS,
                &[
                    &self.conversations,
                    &self.seqs,
                    &self.users,
                    &self.more,
                    &everybody,
                ],
            )
            .await?;
        Ok(())
    }
}

/// What there is for a user, from two columns.
pub(super) fn counts(row: &Row, first: usize) -> Result<Counts, Failure> {
    Ok(Counts {
        messages: get_count(row, first)?,
        mentions: get_count(row, first + 1)?,
    })
}

/// A read mark from its column and two behind it.
pub(super) fn read_mark(row: &Row, first: usize) -> Result<ReadMark, Failure> {
    Ok(ReadMark {
        seq: Seq::new(get_count(row, first)?),
        counts: counts(row, first + 1)?,
    })
}
