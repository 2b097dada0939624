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
use crate::store::{LogEvent, ReadLimit, Recency, Shard, SnapshotPage, SnapshotPlace, read::Room};

/// Events of each conversation; the rest is history, fetched on demand.
const RECENT_COUNT: usize = 50;

/// Memberships that are described with one statement.
const DESCRIBED_COUNT: usize = 16;

/// The user's latest membership of each conversation, as of a place, with the
/// last event up to there that the user may read; those that changed since, the
/// most recently changed first.
///
/// One look-up for each conversation of the user, for each page: nothing that
/// must be written with every message tells their order.
const FIND_CHANGED: &str = "
    SELECT m.conversation_key, m.from_seq, m.to_seq, m.to_position, m.shard,
           e.seq, e.committed_at_ms, e.position
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

/// A conversation that changed.
struct Changed {
    interval: Interval,
    /// The last event that the user may read, of those the snapshot shows.
    last_seq: i64,
    last: Recency,
}

impl Changed {
    fn of(row: &Row) -> Result<Self, Failure> {
        Ok(Self {
            interval: Interval::from_row(row, 0)?,
            last_seq: get(row, 5)?,
            last: Recency {
                committed_at_ms: get(row, 6)?,
                position: Position::new(get_count(row, 7)?),
            },
        })
    }
}

pub(super) async fn snapshot_page(
    session: Session<'_>,
    user: UserId,
    place: SnapshotPlace,
    held: Option<u64>,
    limit: ReadLimit,
) -> Result<SnapshotPage, Failure> {
    let mut page = SnapshotPage {
        conversations: Vec::new(),
        events: Vec::new(),
        next: None,
    };
    let Some(user) = user_key(session, user).await? else {
        return Ok(page);
    };
    // Each has an event, so there is no room for more than that many.
    let count = row_limit(limit.count).saturating_add(1).max(2);
    let (at, since) = (each_signed(&place.at), each_signed(&place.since));
    let below = place.below;
    let (below_ms, below_position) = (below.committed_at_ms, signed(below.position.get()));
    let params: Params<'_> = &[&user, &at, &since, &below_ms, &below_position, &count];
    let rows = session.rows(FIND_CHANGED, params).await?;
    let changed: Vec<Changed> = rows.iter().map(Changed::of).collect::<Result<_, _>>()?;
    let common = match held {
        Some(held) => Some(common(session, held, place.at.count()).await?),
        None => None,
    };
    let mut room = Room::new(limit);
    let mut below = place.below;
    for some in changed.chunks(DESCRIBED_COUNT) {
        let intervals: Vec<Interval> = some.iter().map(|it| it.interval).collect();
        let mut described = describe_whole(session, user, &intervals).await?;
        if let Some(common) = &common {
            compare(session, common, &intervals, &mut described).await?;
        }
        for (changed, description) in some.iter().zip(described) {
            let size = description.encoded_len();
            let since = place.since.in_shard(Shard::of(changed.last.position));
            let events = recent(session, changed, since, limit.size.saturating_sub(size)).await?;
            let events_size: usize = events.iter().map(|event| event.encoded.len()).sum();
            if !room.take(events.len(), size + events_size) {
                page.next = Some(SnapshotPlace { below, ..place });
                return Ok(page);
            }
            page.conversations.push(description);
            page.events.extend(events);
            below = changed.last;
        }
    }
    Ok(page)
}

/// The newest events above `since`, oldest first: at least one, no more than
/// [`RECENT_COUNT`], and no more bytes than `size_max`.
async fn recent(
    session: Session<'_>,
    changed: &Changed,
    since: Position,
    size_max: usize,
) -> Result<Vec<LogEvent>, Failure> {
    let mut room = Room::new(ReadLimit {
        count: RECENT_COUNT,
        size: size_max,
    });
    let range = Range {
        conversation: changed.interval.conversation,
        from: changed.interval.from_seq,
        to: changed.last_seq,
    };
    let mut events = Vec::new();
    range.read(session, true, &mut room, &mut events).await?;
    events.retain(|event| event.position > since);
    events.reverse();
    Ok(events)
}
