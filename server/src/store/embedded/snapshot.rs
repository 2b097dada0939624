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
    LogEvent, ReadLimit, Shard, SnapshotPage, SnapshotPlace, StoreError, read::Room,
};

/// Events of each conversation; the rest is history, fetched on demand.
pub(super) const RECENT_COUNT: usize = 50;

/// The user's latest membership of each conversation, as of a position.
const FIND_LATEST: &str = "
    SELECT conversation, max(from_seq), to_seq, to_position FROM members
     WHERE user = ?1 AND from_position <= ?2 GROUP BY conversation";

/// A conversation that changed.
struct Changed {
    interval: Interval,
    /// The last event that the user may read, of those the snapshot shows.
    last_seq: i64,
    last_position: i64,
}

pub(super) fn snapshot_page(
    connection: &Connection,
    user: UserId,
    place: SnapshotPlace,
    held: Option<u64>,
    limit: ReadLimit,
) -> Result<SnapshotPage, StoreError> {
    let mut page = SnapshotPage {
        conversations: Vec::new(),
        events: Vec::new(),
        next: None,
    };
    let Some(user) = user_key(connection, user)? else {
        return Ok(page);
    };
    let common = held.map(|held| common(connection, held)).transpose()?;
    let mut room = Room::new(limit);
    let mut below = place.below;
    for changed in changed(connection, user, place)? {
        let mut description = describe_whole(connection, user, &changed.interval)?;
        if let Some(common) = common {
            let last = signed(description.head_seq);
            let mut places = Places::new(connection, changed.interval.conversation, last);
            let seq = places.newest_at(signed(common.get()))?;
            description.common_seq = Some(unsigned(seq));
        }
        let since = signed(place.since.in_shard(Shard::FIRST).get());
        let size = description.encoded_len();
        let events = recent(connection, &changed, since, limit.size.saturating_sub(size))?;
        let size = size
            + events
                .iter()
                .map(|event| event.encoded.len())
                .sum::<usize>();
        if !room.take(events.len(), size) {
            page.next = Some(SnapshotPlace { below, ..place });
            break;
        }
        page.conversations.push(description);
        page.events.extend(events);
        below.position = Position::new(unsigned(changed.last_position));
    }
    Ok(page)
}

/// What is still to be shown, the most recently changed first.
///
/// One look-up for each conversation of the user, for each page: nothing that
/// must be written with every message tells their order. (The positions of the
/// one shard do, without the time.)
fn changed(
    connection: &Connection,
    user: i64,
    place: SnapshotPlace,
) -> Result<Vec<Changed>, StoreError> {
    let at = signed(place.at.in_shard(Shard::FIRST).get());
    let since = signed(place.since.in_shard(Shard::FIRST).get());
    let shown = since..=at.min(signed(place.below.position.previous().get()));
    let mut statement = connection.prepare_cached(FIND_LATEST)?;
    let intervals = statement.query_map([user, at], |row| Interval::from_row(row, 0))?;
    let mut all = Vec::new();
    for interval in intervals {
        let changed = last_event(connection, interval?, at)?;
        if shown.contains(&changed.last_position) && changed.last_position != *shown.start() {
            all.push(changed);
        }
    }
    all.sort_unstable_by_key(|changed| std::cmp::Reverse(changed.last_position));
    Ok(all)
}

/// The last event of a membership at or below the position `at`.
fn last_event(connection: &Connection, interval: Interval, at: i64) -> Result<Changed, StoreError> {
    let (mut last_seq, mut last_position) = if interval.to_position <= at {
        (interval.to_seq, interval.to_position)
    } else {
        conversation_head(connection, interval.conversation)?
    };
    if last_position > at {
        let mut places = Places::new(connection, interval.conversation, last_seq);
        last_seq = places.newest_at(at)?;
        last_position = places.position(last_seq)?;
    }
    Ok(Changed {
        interval,
        last_seq,
        last_position,
    })
}

/// The newest events above `since`, oldest first: at least one, no more than
/// [`RECENT_COUNT`], and no more bytes than `size_max`.
fn recent(
    connection: &Connection,
    changed: &Changed,
    since: i64,
    size_max: usize,
) -> Result<Vec<LogEvent>, StoreError> {
    let interval = &changed.interval;
    let mut room = Room::new(ReadLimit {
        count: RECENT_COUNT,
        size: size_max,
    });
    let mut statement = connection.prepare_cached(FIND_EVENTS_DOWN)?;
    let range = [interval.conversation, interval.from_seq, changed.last_seq];
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
