//! Reading one conversation, in either direction.

use magpie_protocol::{
    id::UserId,
    seq::Seq,
    wire::{FetchHistory, HistoryFrom},
};

use super::{
    pages::{bounds, is_all},
    rows::{self, bounded, event_columns, event_joins, log_event},
    session::{Failure, Session, get, signed},
    states::message_states,
};
use crate::store::{
    HistoryPage, LogEvent, ReadLimit,
    read::{HISTORY_SIZE_MAX, Messages, Room, apart},
};

pub(super) const FIND_EVENTS_DOWN: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM",
    bounded!(
        "SELECT * FROM events WHERE conversation_key = $1 AND seq BETWEEN $2 AND $3
          ORDER BY seq DESC LIMIT $4",
        "e.seq DESC",
        "$5"
    ),
    event_joins!(),
    "ORDER BY e.seq DESC"
);

pub(super) const FIND_EVENTS_UP: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM",
    bounded!(
        "SELECT * FROM events WHERE conversation_key = $1 AND seq BETWEEN $2 AND $3
          ORDER BY seq LIMIT $4",
        "e.seq",
        "$5"
    ),
    event_joins!(),
    "ORDER BY e.seq"
);

/// What the user may read of a conversation: first and last seq, ascending; and its
/// newest event.
const FIND_INTERVALS: &str = "
    SELECT history_seq, to_seq,
           (SELECT e.seq FROM events e WHERE e.conversation_key = $2
             ORDER BY e.seq DESC LIMIT 1)
      FROM members
     WHERE user_key = $1 AND conversation_key = $2 ORDER BY from_seq";

pub(super) async fn history(
    session: Session<'_>,
    user: UserId,
    request: FetchHistory,
) -> Result<Option<HistoryPage>, Failure> {
    let user = rows::user_key(session, user).await?;
    let conversation = rows::conversation_key(session, request.conversation).await?;
    let (Some(user), Some(conversation)) = (user, conversation) else {
        return Ok(None);
    };
    let rows = session
        .rows(FIND_INTERVALS, &[&user, &conversation])
        .await?;
    let Some(last) = rows.last() else {
        return Ok(None);
    };
    let (end, head): (i64, i64) = (get(last, 1)?, get(last, 2)?);
    let intervals = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
    let mut intervals = apart(intervals.collect::<Result<_, Failure>>()?);
    let upto = head.min(end);
    let (is_down, lowest, highest) = match request.from {
        HistoryFrom::Before(seq) => {
            intervals.reverse();
            (true, 1, signed(seq.get()) - 1)
        }
        HistoryFrom::After(seq) => (false, signed(seq.get()).saturating_add(1), i64::MAX),
    };
    let mut room = Room::new(ReadLimit {
        count: usize::try_from(request.limit).unwrap_or(usize::MAX),
        size: HISTORY_SIZE_MAX,
    });
    let mut page = HistoryPage {
        events: Vec::new(),
        complete: true,
        states: Vec::new(),
        states_seq: Seq::new(upto.unsigned_abs()),
    };
    for (from, to) in intervals {
        let range = Range {
            conversation,
            from: from.max(lowest),
            to: to.min(highest),
        };
        if range.from > range.to {
            continue;
        }
        if !range
            .read(session, is_down, &mut room, &mut page.events)
            .await?
        {
            page.complete = false;
            break;
        }
    }
    if is_down {
        page.events.reverse();
    }
    if let (Some(first), Some(last)) = (page.events.first(), page.events.last()) {
        let messages = Messages {
            conversation,
            user,
            range: (signed(first.seq.get()), signed(last.seq.get())),
            upto,
        };
        page.states = message_states(session, &messages).await?;
        page.fit(is_down);
    }
    Ok(Some(page))
}

/// A range of seq in a conversation.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) conversation: i64,
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Range {
    /// Reads it, upwards or downwards; false if there was no room for all of it.
    pub(super) async fn read(
        self,
        session: Session<'_>,
        is_down: bool,
        room: &mut Room,
        events: &mut Vec<LogEvent>,
    ) -> Result<bool, Failure> {
        let sql = if is_down {
            FIND_EVENTS_DOWN
        } else {
            FIND_EVENTS_UP
        };
        let left = room.left();
        let (count, size) = bounds(left);
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&self.conversation, &self.from, &self.to, &count, &size];
        let rows = session.rows(sql, &params).await?;
        let mut taken = 0;
        for row in &rows {
            let event = log_event(row)?;
            if !room.take(1, event.encoded.len()) {
                return Ok(false);
            }
            events.push(event);
            taken += 1;
        }
        is_all(&rows, taken, left.count.max(1))
    }
}
