//! Reading the log forward: all of it, or what is for one user.

use std::collections::{HashMap, HashSet};

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Position,
    wire::v1,
};
use prost::Message as _;
use tokio_postgres::Row;

use super::{
    describe::{Interval, describe},
    rows::{self, AFTER_EVENT, FOUND_COUNT, bounded, event_columns, event_joins, head, log_event},
    session::{Failure, Session, get, get_count, get_id, limit, signed},
};
use crate::store::{LogEvent, ReadLimit, Stretch, UserPage, read::Room};

/// Positions that one page of a user looks at. Who is further behind gets pages
/// that may be empty, so that no single one takes long.
const WINDOW_COUNT: u64 = 20_000;

/// Read marks in one page; the newest are kept. (A description carries the
/// current ones too.)
const MARK_COUNT_MAX: i64 = 1_000;

/// Memberships that are described with one statement.
const DESCRIBED_COUNT: usize = 16;

const FIND_STRETCH: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM",
    bounded!(
        "SELECT * FROM events WHERE position > $1 ORDER BY position LIMIT $2",
        "e.position",
        "$3"
    ),
    event_joins!(),
    "ORDER BY e.position"
);

/// The events of a user's memberships in a window of the log. The order of the
/// join is fixed: the log first, by position, so that a full page ends it; then
/// one look-up of the membership.
const FIND_USER_EVENTS: &str = concat!(
    "SELECT ",
    event_columns!(),
    ", e.conversation_key, e.from_seq, e.to_seq, e.to_position FROM",
    bounded!(
        "SELECT l.*, m.from_seq, m.to_seq, m.to_position
           FROM (SELECT * FROM events WHERE position > $2 AND position <= $3
                  ORDER BY position OFFSET 0) l
          CROSS JOIN LATERAL (
                SELECT m.from_seq, m.to_seq, m.to_position FROM members m
                 WHERE m.user_key = $1 AND m.conversation_key = l.conversation_key
                   AND m.from_seq <= l.seq AND m.to_seq >= l.seq LIMIT 1) m
          ORDER BY l.position LIMIT $4",
        "e.position",
        "$5"
    ),
    event_joins!(),
    "ORDER BY e.position"
);

const FIND_MARKS: &str = "
    SELECT c.conversation_id, k.read_seq
      FROM marks k JOIN conversations c ON c.key = k.conversation_key
     WHERE k.user_key = $1 AND k.read_position BETWEEN $2 AND $3
     ORDER BY k.read_position DESC LIMIT $4";

/// Whether all that was found is in `rows`, which are at most `wanted` and one.
pub(super) fn is_all(rows: &[Row], taken: usize, wanted: usize) -> Result<bool, Failure> {
    let Some(row) = rows.first() else {
        return Ok(true);
    };
    let found = get_count(row, FOUND_COUNT)?;
    Ok(taken as u64 == found && taken <= wanted)
}

/// How many rows to ask for, and how many bytes of bodies.
pub(super) fn bounds(limit_of: ReadLimit) -> (i64, i64) {
    let count = limit(limit_of.count).saturating_add(1).max(2);
    (count, limit(limit_of.size))
}

pub(super) async fn stretch(
    session: Session<'_>,
    after: Position,
    limit: ReadLimit,
) -> Result<Stretch, Failure> {
    let head = head(session).await?;
    let (count, size) = bounds(limit);
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&signed(after.get()), &count, &size];
    let rows = session.rows(FIND_STRETCH, &params).await?;
    let mut room = Room::new(limit);
    let mut events: Vec<LogEvent> = Vec::with_capacity(rows.len());
    for row in &rows {
        let event = log_event(row)?;
        if !room.take(1, event.encoded.len()) {
            break;
        }
        events.push(event);
    }
    let complete = is_all(&rows, events.len(), limit.count.max(1))?;
    let last = events.last().map_or(after, |event| event.position);
    Ok(Stretch {
        upto: if complete { head.max(after) } else { last },
        events,
        complete,
    })
}

pub(super) async fn user_page(
    session: Session<'_>,
    user: UserId,
    after: Position,
    limit: ReadLimit,
) -> Result<UserPage, Failure> {
    // The first statement of the snapshot; all others see the same log.
    let head = head(session).await?.max(after);
    let window_end = head.min(Position::new(after.get().saturating_add(WINDOW_COUNT)));
    let mut page = UserPage {
        conversations: Vec::new(),
        events: Vec::new(),
        marks: Vec::new(),
        upto: window_end,
        complete: window_end == head,
    };
    let Some(key) = rows::user_key(session, user).await? else {
        return Ok(page);
    };
    if !read_window(session, key, after, limit, &mut page).await? {
        page.upto = page.events.last().map_or(after, |event| event.position);
        page.complete = false;
    }
    page.marks = marks(session, user, key, after, page.upto).await?;
    Ok(page)
}

/// Reads events up to `page.upto`; false if the page was full before.
async fn read_window(
    session: Session<'_>,
    user: i64,
    after: Position,
    limit: ReadLimit,
    page: &mut UserPage,
) -> Result<bool, Failure> {
    let (count, size) = bounds(limit);
    let window = (signed(after.get()), signed(page.upto.get()));
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&user, &window.0, &window.1, &count, &size];
    let rows = session.rows(FIND_USER_EVENTS, &params).await?;
    let mut room = Room::new(limit);
    let mut begun = HashSet::new();
    let mut descriptions = Descriptions::of(&rows)?;
    for row in &rows {
        let event = log_event(row)?;
        let interval = Interval::from_row(row, AFTER_EVENT)?;
        let begins = signed(event.seq.get()) == interval.from_seq;
        // A page describes a conversation before its events, so it can show one
        // beginning only: who came back within a page gets the rest in the next.
        if begins && !begun.insert(interval.conversation) {
            return Ok(false);
        }
        let description = match begins {
            true => Some(descriptions.take(session, &interval).await?),
            false => None,
        };
        let described_size = description
            .as_ref()
            .map_or(0, v1::Conversation::encoded_len);
        if !room.take(1, event.encoded.len() + described_size) {
            return Ok(false);
        }
        page.conversations.extend(description);
        page.events.push(event);
    }
    is_all(&rows, page.events.len(), limit.count.max(1))
}

/// What the memberships that begin in some rows are described as, a few at a
/// time and not before they are needed.
struct Descriptions {
    ahead: std::vec::IntoIter<Interval>,
    ready: HashMap<Interval, v1::Conversation>,
}

impl Descriptions {
    fn of(rows: &[Row]) -> Result<Self, Failure> {
        let mut ahead = Vec::new();
        for row in rows {
            let interval = Interval::from_row(row, AFTER_EVENT)?;
            if get::<i64>(row, 1)? == interval.from_seq {
                ahead.push(interval);
            }
        }
        Ok(Self {
            ahead: ahead.into_iter(),
            ready: HashMap::new(),
        })
    }

    async fn take(
        &mut self,
        session: Session<'_>,
        interval: &Interval,
    ) -> Result<v1::Conversation, Failure> {
        if !self.ready.contains_key(interval) {
            let next: Vec<Interval> = self.ahead.by_ref().take(DESCRIBED_COUNT).collect();
            let described = describe(session, &next).await?;
            self.ready.extend(next.into_iter().zip(described));
        }
        let described = self.ready.remove(interval);
        described.ok_or_else(|| Failure::corrupt("a membership that cannot be described"))
    }
}

/// The user's own marks that were set while the log's head was in this page.
/// Both ends count: a mark takes no position of its own.
async fn marks(
    session: Session<'_>,
    user: UserId,
    key: i64,
    after: Position,
    upto: Position,
) -> Result<Vec<v1::Mark>, Failure> {
    let (after, upto) = (signed(after.get()), signed(upto.get()));
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&key, &after, &upto, &MARK_COUNT_MAX];
    let mark = |row: &Row| {
        Ok(v1::Mark {
            conversation_id: ConversationId::new(get_id(row, 0)?).to_wire(),
            user_id: user.to_wire(),
            delivered_seq: 0,
            read_seq: get_count(row, 1)?,
        })
    };
    let rows = session.rows(FIND_MARKS, &params).await?;
    rows.iter().map(mark).collect()
}
