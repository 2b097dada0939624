//! What a device gets that is new or was away for very long: each conversation
//! that changed, with its newest events.

use magpie_protocol::{id::UserId, seq::Position};
use prost::Message as _;
use rusqlite::Connection;

use super::{
    describe::{Interval, Places, describe_whole},
    history::FIND_EVENTS_DOWN,
    rows::{common, conversation_head, log_event, signed, unsigned, user_key},
};
use crate::store::{
    LogEvent, ReadLimit, Recency, Shard, SnapshotPage, SnapshotPlace, StoreError,
    ahead::{Ahead, Looked, Upcoming},
    read::Room,
};

/// Events of each conversation; the rest is history, fetched on demand.
pub(super) const RECENT_COUNT: usize = 50;

/// The user's latest membership of each conversation, as of a position.
const FIND_LATEST: &str = "
    SELECT conversation, max(from_seq), to_seq, to_position FROM members
     WHERE user = ?1 AND from_position <= ?2 GROUP BY conversation";

/// One of the user's memberships, as it is now.
const FIND_INTERVAL: &str = "
    SELECT conversation, from_seq, to_seq, to_position FROM members
     WHERE user = ?1 AND conversation = ?2 AND from_seq = ?3";

pub(super) fn snapshot_page(
    connection: &Connection,
    ahead: &Ahead,
    of: UserId,
    place: SnapshotPlace,
    held: Option<u64>,
    limit: ReadLimit,
) -> Result<SnapshotPage, StoreError> {
    let mut page = SnapshotPage {
        conversations: Vec::new(),
        events: Vec::new(),
        next: None,
    };
    let Some(user) = user_key(connection, of)? else {
        return Ok(page);
    };
    let common = held.map(|held| common(connection, held)).transpose()?;
    let since = signed(place.since.in_shard(Shard::FIRST).get());
    let (served, taken) = ahead.take(of, &place);
    let mut looked = match taken {
        Some(looked) => looked,
        None => Looked::of(changed(connection, user, place)?),
    };
    let mut room = Room::new(limit);
    let mut below = place.below;
    while let Some(next) = looked.upcoming.front() {
        let interval = interval(connection, user, next)?;
        let mut description = describe_whole(connection, user, &interval)?;
        if let Some(common) = common {
            let last = signed(description.head_seq);
            let mut places = Places::new(connection, interval.conversation, last);
            let seq = places.newest_at(signed(common.get()))?;
            description.common_seq = Some(unsigned(seq));
        }
        let size = description.encoded_len();
        let events = recent(connection, next, since, limit.size.saturating_sub(size))?;
        let events_size: usize = events.iter().map(|event| event.encoded.len()).sum();
        if !room.take(events.len(), size + events_size) {
            break;
        }
        page.conversations.push(description);
        page.events.extend(events);
        below.position = next.last.position;
        looked.upcoming.pop_front();
    }
    if !looked.upcoming.is_empty() || !looked.is_all {
        let next = SnapshotPlace { below, ..place };
        page.next = Some(next);
        ahead.put(served, of, next, looked);
    }
    Ok(page)
}

fn interval(connection: &Connection, user: i64, next: &Upcoming) -> Result<Interval, StoreError> {
    let mut statement = connection.prepare_cached(FIND_INTERVAL)?;
    Ok(
        statement.query_row([user, next.conversation, next.from_seq], |row| {
            Interval::from_row(row, 0)
        })?,
    )
}

/// What is still to be shown, the most recently changed first.
///
/// One look-up for each conversation of the user: nothing that must be written with
/// every message tells their order. (The positions of the one shard do, without the
/// time.)
fn changed(
    connection: &Connection,
    user: i64,
    place: SnapshotPlace,
) -> Result<Vec<Upcoming>, StoreError> {
    let at = signed(place.at.in_shard(Shard::FIRST).get());
    let since = signed(place.since.in_shard(Shard::FIRST).get());
    let below = signed(place.below.position.get());
    let mut statement = connection.prepare_cached(FIND_LATEST)?;
    let intervals = statement.query_map([user, at], |row| Interval::from_row(row, 0))?;
    let mut all = Vec::new();
    for interval in intervals {
        let interval = interval?;
        let (last_seq, position) = last_event(connection, interval, at)?;
        if position > since && position < below {
            all.push(Upcoming {
                conversation: interval.conversation,
                from_seq: interval.from_seq,
                last_seq,
                last: Recency {
                    position: Position::new(unsigned(position)),
                    ..place.below
                },
            });
        }
    }
    all.sort_unstable_by_key(|it| std::cmp::Reverse(it.last.position));
    Ok(all)
}

/// The last event of a membership at or below the position `at`: seq and position.
fn last_event(
    connection: &Connection,
    interval: Interval,
    at: i64,
) -> Result<(i64, i64), StoreError> {
    let (last_seq, last_position) = if interval.to_position <= at {
        (interval.to_seq, interval.to_position)
    } else {
        conversation_head(connection, interval.conversation)?
    };
    if last_position <= at {
        return Ok((last_seq, last_position));
    }
    let mut places = Places::new(connection, interval.conversation, last_seq);
    let last_seq = places.newest_at(at)?;
    Ok((last_seq, places.position(last_seq)?))
}

/// The newest events above `since`, oldest first: at least one, no more than
/// [`RECENT_COUNT`], and no more bytes than `size_max`.
fn recent(
    connection: &Connection,
    of: &Upcoming,
    since: i64,
    size_max: usize,
) -> Result<Vec<LogEvent>, StoreError> {
    let mut room = Room::new(ReadLimit {
        count: RECENT_COUNT,
        size: size_max,
    });
    let mut statement = connection.prepare_cached(FIND_EVENTS_DOWN)?;
    let range = [of.conversation, of.from_seq, of.last_seq];
    let mut rows = statement.query(range)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let event = log_event(connection, row)?;
        if signed(event.position.get()) <= since || !room.take(1, event.encoded.len()) {
            break;
        }
        events.push(event);
    }
    events.reverse();
    Ok(events)
}
