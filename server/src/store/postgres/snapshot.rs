//! What a device gets that is new or was away for very long: each conversation
//! that changed, with its newest events.

use magpie_protocol::{id::UserId, seq::Position};
use prost::Message as _;
use tokio_postgres::Row;

use super::{
    describe::{Interval, compare, describe_whole},
    epoch::common,
    history::Range,
    rows::{each_signed, user_key},
    session::{Failure, Params, Session, get, get_count, limit as row_limit, signed},
};
use crate::store::{
    LogEvent, ReadLimit, Recency, Shard, SnapshotPage, SnapshotPlace,
    ahead::{Ahead, Looked, UPCOMING_MAX, Upcoming},
    read::Room,
};

/// Events of each conversation; the rest is history, fetched on demand.
const RECENT_COUNT: usize = 50;

/// Memberships that are described with one statement.
const DESCRIBED_COUNT: usize = 16;

/// The user's latest membership of each conversation, as of a place, with the
/// last event up to there that the user may read; those that changed since, the
/// most recently changed first.
///
/// One look-up for each conversation of the user: nothing that must be written with
/// every message tells their order.
const FIND_CHANGED: &str = "
    SELECT m.conversation_key, m.from_seq, e.seq, e.committed_at_ms, e.position
      FROM (SELECT DISTINCT ON (conversation_key)
                   conversation_key, from_seq, to_seq, to_position,
                   (from_position >> 56)::integer AS shard,
                   ($2::bigint[])[(from_position >> 56) + 1] AS at
              FROM members
             WHERE user_key = $1 AND from_position <= ($2::bigint[])[(from_position >> 56) + 1]
             ORDER BY conversation_key, from_seq DESC) m
     CROSS JOIN LATERAL (
           SELECT CASE WHEN m.to_position <= m.at THEN m.to_seq ELSE seq_at(
                      m.conversation_key,
                      (SELECT h.seq FROM events h WHERE h.conversation_key = m.conversation_key
                        ORDER BY h.seq DESC LIMIT 1),
                      m.at) END AS seq OFFSET 0) last
     CROSS JOIN LATERAL (
           SELECT e.seq, e.committed_at_ms, e.position FROM events e
            WHERE e.conversation_key = m.conversation_key AND e.seq = last.seq LIMIT 1) e
     WHERE e.position > ($3::bigint[])[m.shard + 1]
       AND (e.committed_at_ms, e.position) < ($4, $5)
     ORDER BY e.committed_at_ms DESC, e.position DESC LIMIT $6";

/// Some of the user's memberships, as they are now.
const FIND_INTERVALS: &str = "
    SELECT m.conversation_key, m.from_seq, m.to_seq, m.to_position,
           (m.from_position >> 56)::integer
      FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY
        AS i (conversation, from_seq, number)
      JOIN members m ON m.user_key = $1 AND m.conversation_key = i.conversation
                    AND m.from_seq = i.from_seq
     ORDER BY i.number";

pub(super) async fn snapshot_page(
    session: Session<'_>,
    ahead: &Ahead,
    of: UserId,
    place: SnapshotPlace,
    held: Option<u64>,
    limit: ReadLimit,
) -> Result<SnapshotPage, Failure> {
    let mut page = SnapshotPage {
        conversations: Vec::new(),
        events: Vec::new(),
        next: None,
    };
    let Some(user) = user_key(session, of).await? else {
        return Ok(page);
    };
    let (served, taken) = ahead.take(of, &place);
    let mut looked = match taken {
        Some(looked) => looked,
        None => look_up(session, user, &place).await?,
    };
    let common = match held {
        Some(held) => Some(common(session, held, place.at.count()).await?),
        None => None,
    };
    let mut room = Room::new(limit);
    let mut below = place.below;
    'page: while !looked.upcoming.is_empty() {
        let some = looked.upcoming.iter().take(DESCRIBED_COUNT).copied();
        let some: Vec<Upcoming> = some.collect();
        let intervals = intervals(session, user, &some).await?;
        let mut described = describe_whole(session, user, &intervals).await?;
        if let Some(common) = &common {
            compare(session, common, &intervals, &mut described).await?;
        }
        for (next, description) in some.iter().zip(described) {
            let size = description.encoded_len();
            let since = place.since.in_shard(Shard::of(next.last.position));
            let events = recent(session, next, since, limit.size.saturating_sub(size)).await?;
            let events_size: usize = events.iter().map(|event| event.encoded.len()).sum();
            if !room.take(events.len(), size + events_size) {
                break 'page;
            }
            page.conversations.push(description);
            page.events.extend(events);
            below = next.last;
            looked.upcoming.pop_front();
        }
    }
    if !looked.upcoming.is_empty() || !looked.is_all {
        let next = SnapshotPlace { below, ..place };
        page.next = Some(next);
        ahead.put(served, of, next, looked);
    }
    Ok(page)
}

async fn look_up(
    session: Session<'_>,
    user: i64,
    place: &SnapshotPlace,
) -> Result<Looked, Failure> {
    let (at, since) = (each_signed(&place.at), each_signed(&place.since));
    let below = place.below;
    let (below_ms, below_position) = (below.committed_at_ms, signed(below.position.get()));
    let count = row_limit(UPCOMING_MAX).saturating_add(1);
    let params: Params<'_> = &[&user, &at, &since, &below_ms, &below_position, &count];
    let rows = session.rows(FIND_CHANGED, params).await?;
    let upcoming = rows.iter().map(upcoming);
    Ok(Looked::of(upcoming.collect::<Result<Vec<_>, _>>()?))
}

fn upcoming(row: &Row) -> Result<Upcoming, Failure> {
    Ok(Upcoming {
        conversation: get(row, 0)?,
        from_seq: get(row, 1)?,
        last_seq: get(row, 2)?,
        last: Recency {
            committed_at_ms: get(row, 3)?,
            position: Position::new(get_count(row, 4)?),
        },
    })
}

async fn intervals(
    session: Session<'_>,
    user: i64,
    of: &[Upcoming],
) -> Result<Vec<Interval>, Failure> {
    let keys: Vec<i64> = of.iter().map(|it| it.conversation).collect();
    let firsts: Vec<i64> = of.iter().map(|it| it.from_seq).collect();
    let rows = session
        .rows(FIND_INTERVALS, &[&user, &keys, &firsts])
        .await?;
    if rows.len() != of.len() {
        return Err(Failure::corrupt("a membership that is gone"));
    }
    rows.iter().map(|row| Interval::from_row(row, 0)).collect()
}

/// The newest events above `since`, oldest first: at least one, no more than
/// [`RECENT_COUNT`], and no more bytes than `size_max`.
async fn recent(
    session: Session<'_>,
    of: &Upcoming,
    since: Position,
    size_max: usize,
) -> Result<Vec<LogEvent>, Failure> {
    let mut room = Room::new(ReadLimit {
        count: RECENT_COUNT,
        size: size_max,
    });
    let range = Range {
        conversation: of.conversation,
        from: of.from_seq,
        to: of.last_seq,
    };
    let mut events = Vec::new();
    range.read(session, true, &mut room, &mut events).await?;
    events.retain(|event| event.position > since);
    events.reverse();
    Ok(events)
}
