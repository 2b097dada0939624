//! What a device must know of a conversation besides its events.

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    seq::{Position, Seq},
    wire::v1,
};
use prost::Message as _;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    accounts::{ATTEMPTS, until_known},
    connections::Connections,
    counts::{counts, read_mark},
    privacy::is_request,
    receipts::read_seq_told,
    rows::{self, OPEN_END, each_signed, number},
    session::{Failure, Params, Session, get, get_count, get_id, limit as row_limit, signed, uuid},
};
use crate::store::{
    MarkRead, Marked, Membership, Positions, ReadLimit, Shard,
    rules::{Bond, ConversationKind},
};

/// One stretch of a conversation that a user may read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Interval {
    pub(super) conversation: i64,
    pub(super) from_seq: i64,
    pub(super) to_seq: i64,
    pub(super) to_position: i64,
    pub(super) shard: i32,
}

impl Interval {
    /// From a row of `conversation, from_seq, to_seq, to_position, shard`,
    /// beginning at the column `first`.
    pub(super) fn from_row(row: &Row, first: usize) -> Result<Self, Failure> {
        Ok(Self {
            conversation: get(row, first)?,
            from_seq: get(row, first + 1)?,
            to_seq: get(row, first + 2)?,
            to_position: get(row, first + 3)?,
            shard: get(row, first + 4)?,
        })
    }

    const fn is_open(&self) -> bool {
        self.to_position == OPEN_END
    }
}

/// Conversations, each with the newest event that the user of the membership may
/// read, how many members there are, or were behind its end, and what is said of it. Who
/// has left does not learn what is said of it now.
const DESCRIBE: &str = "
    SELECT c.conversation_id, c.kind,
           CASE WHEN i.to_position = 9223372036854775807 THEN c.title
                ELSE coalesce(ended.left_title, '') END,
           coalesce(last.seq, i.to_seq), coalesce(last.position, i.to_position),
           CASE WHEN i.to_position = 9223372036854775807 THEN c.member_count
                ELSE coalesce(ended.left_count, 0) END,
           CASE WHEN i.to_position = 9223372036854775807 THEN c.description ELSE '' END,
           i.to_position = 9223372036854775807 AND c.announcement_only,
           messages_upto($4, c.key, head.seq), mentions_upto($4, c.key, head.seq),
           messages_upto($4, c.key, read.seq), mentions_upto($4, c.key, read.seq),
           CASE WHEN i.to_position = 9223372036854775807
                THEN (SELECT m.media_id FROM media m WHERE m.key = c.photo_key) END,
           i.to_position = 9223372036854775807 AND c.history_for_newcomers,
           (SELECT m.history_seq FROM members m
             WHERE m.user_key = $4 AND m.conversation_key = c.key AND m.from_seq = i.from_seq),
           CASE WHEN i.to_position = 9223372036854775807 THEN ARRAY(
               SELECT p.seq FROM pins p
                WHERE p.conversation_key = c.key AND (NOT p.hidden OR p.user_key = $4)
                  AND EXISTS (SELECT FROM members m
                               WHERE m.user_key = $4 AND m.conversation_key = c.key
                                 AND p.seq BETWEEN m.history_seq AND m.to_seq)
                ORDER BY p.seq) ELSE '{}' END,
           coalesce(f.bond, 0), coalesce(f.seq, 0),
           c.kind = 1 AND EXISTS (SELECT FROM events e WHERE e.conversation_key = c.key
                                     AND e.sender_key = $4 AND e.kind = 1)
      FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $5::bigint[]) WITH ORDINALITY
        AS i (conversation, to_seq, to_position, from_seq, number)
      JOIN conversations c ON c.key = i.conversation
      LEFT JOIN LATERAL (
           SELECT e.seq, e.position FROM events e WHERE e.conversation_key = c.key
            ORDER BY e.seq DESC LIMIT 1) last ON i.to_position = 9223372036854775807
      LEFT JOIN LATERAL (
           SELECT m.left_count, m.left_title FROM members m
            WHERE m.conversation_key = i.conversation AND m.to_position = i.to_position
            LIMIT 1) ended ON i.to_position < 9223372036854775807
     CROSS JOIN LATERAL (SELECT coalesce(last.seq, i.to_seq) AS seq) head
      LEFT JOIN marks k ON k.user_key = $4 AND k.conversation_key = c.key
      LEFT JOIN friends f ON f.conversation_key = c.key AND f.user_key = $4
     CROSS JOIN LATERAL (
           SELECT greatest(least(coalesce(k.read_seq, 0), head.seq), i.from_seq - 1) AS seq) read
     ORDER BY i.number";

/// Members when a membership ended, or now if it has not, with how far they have
/// come.
///
/// Who was removed does not learn who came later.
pub(super) const FIND_MEMBERS: &str = concat!(
    "SELECT m.number, m.user_id, m.name, m.from_seq, m.read_seq,
           CASE WHEN m.delivered >= m.head_position THEN m.head
                ELSE seq_at(m.conversation, m.head, m.delivered) END, m.role,
           m.most_delivered, m.most_read
      FROM (SELECT i.number, i.conversation, i.head, i.head_position, m.user_key, m.from_seq,
                   b.delivered_seq AS most_delivered, b.read_seq AS most_read,
                   u.user_id, u.name,",
    read_seq_told!("$7", "m.conversation_key"),
    "AS read_seq,
                   -- Who has left is not told what it is now.
                   CASE WHEN i.at = 9223372036854775806 THEN m.role ELSE 0::smallint END AS role,
                   CASE WHEN m.user_key <> $7 AND",
    is_request!("m.user_key", "m.conversation_key"),
    "                   THEN 0 ELSE coalesce(d.positions[i.shard + 1], 0) END AS delivered
              FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::integer[],
                          $6::bigint[])
                AS i (conversation, at, head, head_position, shard, number)
              JOIN members m ON m.conversation_key = i.conversation
                            AND m.to_position > i.at AND m.from_position <= i.at
              JOIN users u ON u.key = m.user_key
              LEFT JOIN delivered d ON d.user_key = m.user_key
              LEFT JOIN marks k ON k.user_key = m.user_key
                               AND k.conversation_key = m.conversation_key
              LEFT JOIN blocks b ON b.user_key = m.user_key AND b.blocked_key = $7
                                AND m.role = 0) m
     ORDER BY m.number, m.user_key"
);

/// One user as a member of conversations of many members.
const FIND_SELF: &str = "
    SELECT i.number, u.user_id, u.name, 0::bigint, coalesce(k.read_seq, 0), 0::bigint, m.role,
           NULL::bigint, NULL::bigint
      FROM unnest($2::bigint[], $3::bigint[]) AS i (conversation, number)
      JOIN users u ON u.key = $1
      JOIN members m ON m.user_key = $1 AND m.conversation_key = i.conversation
                    AND m.to_position = 9223372036854775807
      LEFT JOIN marks k ON k.user_key = $1 AND k.conversation_key = i.conversation";

/// Describes conversations as this user may see them by these memberships of theirs.
pub(super) async fn describe(
    session: Session<'_>,
    user: i64,
    intervals: &[Interval],
) -> Result<Vec<v1::Conversation>, Failure> {
    let keys: Vec<i64> = intervals.iter().map(|it| it.conversation).collect();
    let ends: Vec<i64> = intervals.iter().map(|it| it.to_seq).collect();
    let until: Vec<i64> = intervals.iter().map(|it| it.to_position).collect();
    let begins: Vec<i64> = intervals.iter().map(|it| it.from_seq).collect();
    let params: Params<'_> = &[&keys, &ends, &until, &user, &begins];
    let rows = session.rows(DESCRIBE, params).await?;
    if rows.len() != intervals.len() {
        return Err(Failure::corrupt("a membership of no conversation"));
    }
    let mut described = Vec::with_capacity(rows.len());
    let (mut small, mut large) = (Small::default(), Large::default());
    for ((row, interval), number) in rows.iter().zip(intervals).zip(0..) {
        let head = get_count(row, 3)?;
        let member_count = get_count(row, 5)?;
        if member_count <= MARKED_MEMBERS_MAX as u64 {
            small.push(interval, number, get(row, 3)?, get(row, 4)?);
        } else if interval.is_open() {
            large.conversations.push(interval.conversation);
            large.numbers.push(number);
        }
        let kind = ConversationKind::from_number(get::<i16>(row, 1)?.into())?.to_wire();
        let bond = Bond::from_number(get::<i32>(row, 16)?.into())?;
        described.push(v1::Conversation {
            conversation_id: ConversationId::new(get_id(row, 0)?).to_wire(),
            kind: kind.into(),
            title: get(row, 2)?,
            members: Vec::new(),
            first_seq: get_count(row, 14)?,
            joined_seq: interval.from_seq.unsigned_abs(),
            last_seq: if interval.is_open() { 0 } else { head },
            head_seq: head,
            common_seq: None,
            member_count,
            description: get(row, 6)?,
            announcement_only: get(row, 7)?,
            photo: get::<Option<Uuid>>(row, 12)?
                .map_or_else(Bytes::new, |id| id.as_bytes().to_vec().into()),
            history_for_newcomers: get(row, 13)?,
            pinned_seqs: seqs(row, 15)?,
            counts: Some(counts(row, 8)?.to_wire()),
            read_counts: Some(counts(row, 10)?.to_wire()),
            friendship: bond.told().number().into(),
            friendship_seq: get_count(row, 17)?,
            answered: get(row, 18)?,
        });
    }
    let mut rows = small.members(session, user).await?;
    rows.extend(large.oneself(session, user).await?);
    for row in rows {
        let number = usize::try_from(get::<i64>(&row, 0)?).ok();
        if let Some(conversation) = number.and_then(|number| described.get_mut(number)) {
            let member = member(&row, conversation.head_seq)?;
            conversation.members.push(member);
        }
    }
    Ok(described)
}

fn seqs(row: &Row, column: usize) -> Result<Vec<u64>, Failure> {
    let seqs: Vec<i64> = get(row, column)?;
    Ok(seqs.into_iter().map(i64::unsigned_abs).collect())
}

/// Conversations of few members, all of which are named.
#[derive(Default)]
struct Small {
    conversations: Vec<i64>,
    at: Vec<i64>,
    heads: Vec<i64>,
    head_positions: Vec<i64>,
    shards: Vec<i32>,
    numbers: Vec<i64>,
}

impl Small {
    fn push(&mut self, interval: &Interval, number: i64, head: i64, head_position: i64) {
        self.conversations.push(interval.conversation);
        // An end above this one is an open one, if this membership is open.
        self.at.push(interval.to_position.min(OPEN_END - 1));
        self.heads.push(head);
        self.head_positions.push(head_position);
        self.shards.push(interval.shard);
        self.numbers.push(number);
    }

    async fn members(&self, session: Session<'_>, user: i64) -> Result<Vec<Row>, Failure> {
        if self.numbers.is_empty() {
            return Ok(Vec::new());
        }
        let params: Params<'_> = &[
            &self.conversations,
            &self.at,
            &self.heads,
            &self.head_positions,
            &self.shards,
            &self.numbers,
            &user,
        ];
        session.rows(FIND_MEMBERS, params).await
    }
}

/// Conversations of many members: the others are asked for page by page.
#[derive(Default)]
struct Large {
    conversations: Vec<i64>,
    numbers: Vec<i64>,
}

impl Large {
    async fn oneself(&self, session: Session<'_>, user: i64) -> Result<Vec<Row>, Failure> {
        if self.numbers.is_empty() {
            return Ok(Vec::new());
        }
        let params: Params<'_> = &[&user, &self.conversations, &self.numbers];
        session.rows(FIND_SELF, params).await
    }
}

/// The first event of all that a user may read of some conversations.
const FIND_FIRST: &str = "
    SELECT (SELECT min(m.history_seq) FROM members m
             WHERE m.user_key = $1 AND m.conversation_key = i.conversation)
      FROM unnest($2::bigint[]) WITH ORDINALITY AS i (conversation, number)
     ORDER BY i.number";

/// Describes conversations with all of their memberships of the user, of which
/// `latest` are the last: what stood before them is history, and can be fetched.
pub(super) async fn describe_whole(
    session: Session<'_>,
    user: i64,
    latest: &[Interval],
) -> Result<Vec<v1::Conversation>, Failure> {
    let keys: Vec<i64> = latest.iter().map(|it| it.conversation).collect();
    let firsts = session.rows(FIND_FIRST, &[&user, &keys]).await?;
    let mut described = describe(session, user, latest).await?;
    for (conversation, row) in described.iter_mut().zip(&firsts) {
        conversation.first_seq = get_count(row, 0)?;
    }
    Ok(described)
}

/// How far conversations had come at these positions.
const FIND_COMMON: &str = "
    SELECT seq_at(i.conversation, i.head, i.position)
      FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY
        AS i (conversation, head, position, number)
     ORDER BY i.number";

/// Says in the descriptions of these memberships how much of their conversations
/// was there at the place `common`.
pub(super) async fn compare(
    session: Session<'_>,
    common: &Positions,
    intervals: &[Interval],
    described: &mut [v1::Conversation],
) -> Result<(), Failure> {
    let each = each_signed(common);
    let position = |interval: &Interval| {
        let shard = usize::try_from(interval.shard).unwrap_or(usize::MAX);
        each.get(shard).copied().unwrap_or(0)
    };
    let keys: Vec<i64> = intervals.iter().map(|it| it.conversation).collect();
    let heads: Vec<i64> = described.iter().map(|it| signed(it.head_seq)).collect();
    let positions: Vec<i64> = intervals.iter().map(position).collect();
    let params: Params<'_> = &[&keys, &heads, &positions];
    let rows = session.rows(FIND_COMMON, params).await?;
    for (conversation, row) in described.iter_mut().zip(&rows) {
        conversation.common_seq = Some(get_count(row, 0)?);
    }
    Ok(())
}

/// A member from a row of (the caller's), user id, name, first seq, read mark,
/// delivered mark, role, and the marks of which no more is told to whom they block, if they
/// do.
pub(super) fn member(row: &Row, head: u64) -> Result<v1::Member, Failure> {
    let most = |column| get::<Option<i64>>(row, column);
    let most = |column| Ok::<_, Failure>(most(column)?.map_or(u64::MAX, i64::unsigned_abs));
    let delivered = get_count(row, 5)?.min(most(7)?);
    Ok(v1::Member {
        user: Some(v1::User {
            user_id: UserId::new(get_id(row, 1)?).to_wire(),
            name: get(row, 2)?,
        }),
        delivered_seq: if delivered < get_count(row, 3)? {
            0
        } else {
            delivered
        },
        read_seq: get_count(row, 4)?.min(head).min(most(8)?),
        role: get::<i16>(row, 6)?.into(),
    })
}

/// The user's latest membership of each conversation, in ascending order of the
/// conversations' ids.
const FIND_CONVERSATIONS: &str = "
    SELECT DISTINCT ON (c.conversation_id)
           m.conversation_key, m.from_seq, m.to_seq, m.to_position,
           (m.from_position >> 56)::integer
      FROM members m JOIN conversations c ON c.key = m.conversation_key
     WHERE m.user_key = $1 AND ($2::uuid IS NULL OR c.conversation_id > $2)
     ORDER BY c.conversation_id, m.from_seq DESC LIMIT $3";

/// Memberships that are described with one statement.
const DESCRIBED_COUNT: usize = 16;

pub(super) async fn conversations(
    session: Session<'_>,
    user: UserId,
    after: Option<ConversationId>,
    limit: ReadLimit,
) -> Result<(Vec<v1::Conversation>, bool), Failure> {
    let mut found = Vec::new();
    let Some(user) = rows::user_key(session, user).await? else {
        return Ok((found, true));
    };
    let after: Option<Uuid> = after.map(|id| uuid(id.bytes()));
    let count = row_limit(limit.count).saturating_add(1).max(2);
    let rows = session
        .rows(FIND_CONVERSATIONS, &[&user, &after, &count])
        .await?;
    let intervals: Vec<Interval> = rows
        .iter()
        .map(|row| Interval::from_row(row, 0))
        .collect::<Result<_, _>>()?;
    let mut size = 0;
    for some in intervals.chunks(DESCRIBED_COUNT) {
        for conversation in describe_whole(session, user, some).await? {
            size += conversation.encoded_len();
            if !found.is_empty() && (found.len() >= limit.count || size > limit.size) {
                return Ok((found, false));
            }
            found.push(conversation);
        }
    }
    Ok((found, true))
}

const FIND_MEMBERSHIPS: &str = "
    SELECT u.user_id, m.from_seq, m.to_seq
      FROM conversations c
      JOIN members m ON m.conversation_key = c.key AND m.to_position > $2
      JOIN users u ON u.key = m.user_key
     WHERE c.conversation_id = $1
     ORDER BY m.user_key, m.from_seq";

pub(super) async fn memberships(
    session: Session<'_>,
    conversation: ConversationId,
    ended_after: Position,
) -> Result<Vec<Membership>, Failure> {
    let ended_after = signed(ended_after.get()).min(OPEN_END - 1);
    let id = uuid(conversation.bytes());
    let membership = |row: &Row| {
        let to_seq: i64 = get(row, 2)?;
        Ok(Membership {
            user: UserId::new(get_id(row, 0)?),
            from_seq: Seq::new(get_count(row, 1)?),
            to_seq: (to_seq != OPEN_END).then(|| Seq::new(to_seq.unsigned_abs())),
        })
    };
    let rows = session.rows(FIND_MEMBERSHIPS, &[&id, &ended_after]).await?;
    rows.iter().map(membership).collect()
}

/// Moves read marks forward, at most to the newest event that each user may
/// read. An older mark changes nothing, so marks may arrive in any order. Those
/// that move take the next position, all the same.
const ADVANCE_READ_MARKS: &str = "
    WITH latest AS MATERIALIZED (
        SELECT a.number, u.key AS user_key, c.key AS conversation_key,
               least(a.seq, CASE
                   WHEN m.to_position = 9223372036854775807
                   THEN coalesce((SELECT e.seq FROM events e WHERE e.conversation_key = c.key
                                   ORDER BY e.seq DESC LIMIT 1), 0)
                   ELSE m.to_seq END) AS seq
          FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) WITH ORDINALITY
            AS a (user_id, conversation_id, seq, number)
          JOIN users u ON u.user_id = a.user_id
          JOIN conversations c ON c.conversation_id = a.conversation_id
         CROSS JOIN LATERAL (
               SELECT m.to_seq, m.to_position FROM members m
                WHERE m.user_key = u.key AND m.conversation_key = c.key
                ORDER BY m.from_seq DESC LIMIT 1) m
    ), advanced AS (
        INSERT INTO marks AS k (user_key, conversation_key, read_seq, read_position)
        SELECT l.user_key, l.conversation_key, max(l.seq),
               (SELECT position + 1 FROM log_head WHERE shard = $1)
          FROM latest l WHERE l.seq > 0
         GROUP BY l.user_key, l.conversation_key
         ORDER BY l.user_key, l.conversation_key
            ON CONFLICT (user_key, conversation_key) DO UPDATE
           SET read_seq = excluded.read_seq, read_position = excluded.read_position
         WHERE k.read_seq < excluded.read_seq
        RETURNING user_key, conversation_key, read_seq
    ), moved AS (
        UPDATE log_head SET position = position + 1
         WHERE shard = $1 AND EXISTS (SELECT FROM advanced)
    )
    SELECT n.number, n.seq, messages_upto(n.user_key, n.conversation_key, n.seq),
           mentions_upto(n.user_key, n.conversation_key, n.seq), EXISTS (SELECT FROM advanced)
      FROM (SELECT l.number, user_key, conversation_key,
                   greatest(a.read_seq, k.read_seq, 0) AS seq
              FROM latest l
              LEFT JOIN advanced a USING (user_key, conversation_key)
              LEFT JOIN marks k USING (user_key, conversation_key)) n";

pub(super) async fn mark_read(
    connections: &Connections,
    shard: Shard,
    marks: &[MarkRead],
) -> Result<Marked, Failure> {
    until_known!(async {
        let taken = connections.take().await?;
        try_mark_read(Session::over(&taken), shard, marks).await
    })
}

async fn try_mark_read(
    session: Session<'_>,
    shard: Shard,
    marks: &[MarkRead],
) -> Result<Marked, Failure> {
    let users: Vec<Uuid> = marks.iter().map(|it| uuid(it.user.bytes())).collect();
    let conversations = marks.iter().map(|it| uuid(it.conversation.bytes()));
    let conversations: Vec<Uuid> = conversations.collect();
    let seqs: Vec<i64> = marks.iter().map(|it| signed(it.seq.get())).collect();
    let params: Params<'_> = &[&number(shard), &users, &conversations, &seqs];
    let (head, rows) = session
        .under_lock(shard, ADVANCE_READ_MARKS, params)
        .await?;
    let after = Position::new(get_count(&head, 0)?);
    let mut marked = Marked {
        after,
        head: after,
        marks: vec![None; marks.len()],
    };
    for row in &rows {
        let number = usize::try_from(get::<i64>(row, 0)? - 1).ok();
        if let Some(mark) = number.and_then(|number| marked.marks.get_mut(number)) {
            *mark = Some(read_mark(row, 1)?);
        }
        if get(row, 4)? {
            marked.head = after.next();
        }
    }
    Ok(marked)
}
