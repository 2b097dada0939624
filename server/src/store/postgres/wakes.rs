//! Where pushes go, and which devices are owed one.
//!
//! Nothing here is touched when somebody sends a message. A wake is written down
//! under the lock of its device's cursor: whether there is something to fetch is
//! judged there, and of two nodes one finds that the other was first.

use async_trait::async_trait;
use deadpool_postgres::Object;
use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    push::{AppId, Platform, PushAddress, PushToken},
    seq::{Position, Seq},
    setting::NotifyLevel,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Postgres,
    accounts::{ATTEMPTS, until_known},
    due::due,
    notify::{addressed, notify_level},
    previews,
    privacy::is_request,
    rows::{OPEN_END, head, number},
    session::{Failure, Session, get, get_count, get_id, limit, signed, uuid},
};
use crate::store::{
    Addressed, Attachment, Candidate, CandidatePage, CandidatePlace, DueWake, Generation, NewWake,
    Preview, Shard, StoreError, WakeStore, WorthyEvent, WorthyStretch,
    event::is_worthy,
    wakes::{Schedule, next_due},
};

/// Forgets what a device has, and takes a token from whoever has it.
const TAKE_TOKEN: &str = "
    DELETE FROM push_addresses
     WHERE token = $2 OR device_key = (SELECT key FROM devices WHERE device_id = $1)";

const SET_ADDRESS: &str = "
    INSERT INTO push_addresses (device_key, platform, app_id, token)
    SELECT key, $2, $3, $4 FROM devices WHERE device_id = $1 AND NOT is_revoked";

const FIND_ADDRESS: &str = "
    SELECT p.platform, p.app_id, p.token
      FROM devices d JOIN push_addresses p ON p.device_key = d.key
     WHERE d.device_id = $1 AND NOT d.is_revoked";

/// With its wake, which waits for an answer to what went to that address.
const CLEAR_ADDRESS: &str = "
    WITH cleared AS (
        DELETE FROM push_addresses p USING devices d
         WHERE d.device_id = $1 AND p.device_key = d.key
           AND p.token = coalesce($2::text, p.token)
        RETURNING p.device_key
    ), forgotten AS (
        DELETE FROM wakes w USING cleared WHERE w.device_key = cleared.device_key
    )
    SELECT device_key FROM cleared";

const DETACH: &str = "
    WITH gone AS MATERIALIZED (
        SELECT c.device_key
          FROM unnest($1::uuid[], $2::bigint[]) AS v (device_id, generation)
          JOIN devices d ON d.device_id = v.device_id
          JOIN cursors c ON c.device_key = d.key AND c.generation = v.generation
         ORDER BY c.device_key
           FOR NO KEY UPDATE OF c
    )
    UPDATE cursors c
       SET attachment = 0,
           present_at_ms = CASE WHEN c.attachment = 2 THEN $3 ELSE c.present_at_ms END
      FROM gone WHERE c.device_key = gone.device_key";

/// By the database's clock, which all nodes share.
const LEASE: &str = "
    INSERT INTO wake_cursors AS w (shard, position, holder, held_until)
    VALUES ($1, $1::integer::bigint << 56, $2, now() + $3::bigint * interval '1 millisecond')
        ON CONFLICT (shard) DO UPDATE
       SET holder = excluded.holder, held_until = excluded.held_until
     WHERE w.holder = excluded.holder OR w.held_until < now()
    RETURNING position";

const ADVANCE: &str = "
    UPDATE wake_cursors SET position = greatest(position, $3)
     WHERE shard = $1 AND holder = $2";

const FIND_END: &str = "
    SELECT max(position), count(*) FROM (
        SELECT position FROM events WHERE position > $1 AND position <= $2
         ORDER BY position LIMIT $3) e";

pub(super) const FIND_WORTHY: &str = concat!(
    "SELECT e.position, c.conversation_id, e.seq, u.user_id, e.committed_at_ms, e.kind = 1
       FROM events e
       JOIN conversations c ON c.key = e.conversation_key
       JOIN users u ON u.key = e.sender_key
      WHERE e.position > $1 AND e.position <= $2 AND ",
    is_worthy!(),
    " ORDER BY e.position"
);

/// Members' devices that get pushes and have not confirmed a place, but for
/// those with an unanswered wake that were not there lately.
pub(super) const FIND_CANDIDATES: &str = concat!(
    "SELECT d.key, d.device_id, u.user_id, c.cursor[($2::bigint >> 56)::integer + 1], m.from_seq,
           c.attachment,
           coalesce(r.read_seq, 0),
           EXISTS (SELECT FROM devices o JOIN cursors oc ON oc.device_key = o.key
                    WHERE o.user_key = m.user_key AND NOT o.is_revoked AND o.key <> d.key
                      AND oc.attachment = 2),
           coalesce(w.position > c.cursor[(w.position >> 56)::integer + 1], false),",
    notify_level!("m.user_key", "k.conversation_id", "$7"),
    ",",
    is_request!("m.user_key", "k.key"),
    " FROM conversations k
      JOIN members m ON m.conversation_key = k.key AND m.to_position = $5
      JOIN users u ON u.key = m.user_key
      JOIN devices d ON d.user_key = m.user_key AND NOT d.is_revoked
      JOIN push_addresses p ON p.device_key = d.key
      JOIN cursors c ON c.device_key = d.key
       AND c.cursor[($2::bigint >> 56)::integer + 1] < $2
      LEFT JOIN wakes w ON w.device_key = d.key
      LEFT JOIN marks r ON r.user_key = m.user_key AND r.conversation_key = k.key
     WHERE k.conversation_id = $1 AND d.key > $3
       AND NOT EXISTS (SELECT FROM blocks b JOIN events e ON e.position = $2
                        WHERE b.user_key = m.user_key AND b.blocked_key = e.sender_key)
       AND (coalesce(w.position <= c.cursor[(w.position >> 56)::integer + 1], true)
            OR c.last_seen_at_ms >= $6)
     ORDER BY d.key LIMIT $4"
);

/// What [`due_wake`] reads, of the address `p` and the wake `w`.
macro_rules! wake_columns {
    () => {
        "p.platform, p.app_id, p.token, w.device_id, w.wake_id, w.tries, w.position"
    };
}
pub(super) use wake_columns;

/// From then on a device shows what it stores, until somebody looks at it.
pub(super) const RECORD: &str = concat!(
    "WITH owed AS MATERIALIZED (
        SELECT d.key, d.device_id, v.position, v.wake_id, c.cursor
          FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS v (device_id, position, wake_id)
          JOIN devices d ON d.device_id = v.device_id AND NOT d.is_revoked
          JOIN push_addresses p ON p.device_key = d.key
          JOIN cursors c ON c.device_key = d.key
           AND c.cursor[(v.position >> 56)::integer + 1] < v.position
         ORDER BY d.key
           FOR NO KEY UPDATE OF c
    ), recorded AS (
        INSERT INTO wakes AS w (device_key, wake_id, position, tries, due_at_ms)
        SELECT key, wake_id, position, 1, $4 FROM owed ORDER BY key
            ON CONFLICT (device_key) DO UPDATE
           SET wake_id = excluded.wake_id, position = excluded.position, tries = 1,
               due_at_ms = excluded.due_at_ms
         WHERE (SELECT o.cursor[(w.position >> 56)::integer + 1] >= w.position
                  FROM owed o WHERE o.key = w.device_key)
        RETURNING device_key, wake_id, tries, position
    ), notified_now AS (
        INSERT INTO notified (device_key, behind)
        SELECT o.key, o.cursor FROM recorded r JOIN owed o ON o.key = r.device_key
         ORDER BY o.key ON CONFLICT DO NOTHING
    )
    SELECT ",
    wake_columns!(),
    " FROM (SELECT r.*, o.device_id FROM recorded r JOIN owed o ON o.key = r.device_key) w
      JOIN push_addresses p ON p.device_key = w.device_key"
);

/// Makes sure that a device is looked at in a while, when it is known what it
/// has stored: what came before its address was known may be owed.
const LOOK_LATER: &str = "
    INSERT INTO wakes (device_key, wake_id, position, tries, due_at_ms)
    SELECT key, 0, 0, 0, $2 FROM devices WHERE device_id = $1 AND NOT is_revoked
        ON CONFLICT (device_key) DO NOTHING";

const POSTPONE: &str = "
    UPDATE wakes w SET tries = greatest(w.tries - 1, 0), due_at_ms = $3
      FROM unnest($1::uuid[], $2::bigint[]) AS v (device_id, wake_id)
      JOIN devices d ON d.device_id = v.device_id
     WHERE w.device_key = d.key AND w.wake_id = v.wake_id";

/// The address in a row's first three columns.
pub(super) fn address(row: &Row) -> Result<PushAddress, Failure> {
    let number: i16 = get(row, 0)?;
    let corrupt = |reason: magpie_protocol::text::InvalidText| Failure::corrupt(reason.to_string());
    Ok(PushAddress {
        platform: Platform::from_number(number.into())
            .ok_or_else(|| Failure::corrupt("a push platform"))?,
        app: AppId::parse(get(row, 1)?).map_err(corrupt)?,
        token: PushToken::parse(get(row, 2)?).map_err(corrupt)?,
    })
}

async fn set_address(
    mut taken: Object,
    device: DeviceId,
    address: &PushAddress,
    look_at_ms: i64,
) -> Result<(), Failure> {
    let transaction = taken.transaction().await?;
    let session = Session::of(&transaction);
    let device = uuid(device.bytes());
    let platform = i16::from(address.platform.number());
    let (app, token) = (address.app.as_str(), address.token.as_str());
    session.execute(TAKE_TOKEN, &[&device, &token]).await?;
    session
        .execute(SET_ADDRESS, &[&device, &platform, &app, &token])
        .await?;
    session.execute(LOOK_LATER, &[&device, &look_at_ms]).await?;
    Ok(transaction.commit().await?)
}

/// The bits of an id of a wake: `PostgreSQL`'s numbers are signed.
const fn bits(id: u64) -> i64 {
    i64::from_ne_bytes(id.to_ne_bytes())
}

pub(super) fn due_wake(row: &Row) -> Result<DueWake, Failure> {
    let id: i64 = get(row, 4)?;
    let tries: i32 = get(row, 5)?;
    Ok(DueWake {
        device: DeviceId::new(get_id(row, 3)?),
        address: address(row)?,
        id: u64::from_ne_bytes(id.to_ne_bytes()),
        tries: tries.unsigned_abs(),
        position: Position::new(get_count(row, 6)?),
    })
}

fn candidate(row: &Row) -> Result<Candidate, Failure> {
    let attachment: i16 = get(row, 5)?;
    Ok(Candidate {
        device: DeviceId::new(get_id(row, 1)?),
        user: UserId::new(get_id(row, 2)?),
        cursor: Position::new(get_count(row, 3)?),
        from_seq: Seq::new(get_count(row, 4)?),
        attachment: Attachment::from_number(attachment.into())
            .ok_or_else(|| Failure::corrupt("an attachment"))?,
        read_seq: Seq::new(get_count(row, 6)?),
        has_company: get(row, 7)?,
        is_woken: get(row, 8)?,
        level: NotifyLevel::from_number(get::<i16>(row, 9)?.into())
            .ok_or_else(|| Failure::corrupt("a level"))?,
        is_request: get(row, 10)?,
    })
}

fn worthy_event(row: &Row) -> Result<WorthyEvent, Failure> {
    Ok(WorthyEvent {
        position: Position::new(get_count(row, 0)?),
        conversation: ConversationId::new(get_id(row, 1)?),
        seq: Seq::new(get_count(row, 2)?),
        sender: UserId::new(get_id(row, 3)?),
        committed_at_ms: get(row, 4)?,
        is_message: get(row, 5)?,
    })
}

async fn worthy(
    session: Session<'_>,
    after: Position,
    count: usize,
) -> Result<WorthyStretch, Failure> {
    // First, so that nothing commits between what is looked at and it.
    let head = head(session, Shard::of(after)).await?.max(after);
    let (first, last) = (signed(after.get()), signed(head.get()));
    let row = session
        .one(FIND_END, &[&first, &last, &limit(count)])
        .await?;
    let end: Option<i64> = get(&row, 0)?;
    let is_cut = get::<i64>(&row, 1)? >= limit(count);
    let upto = match end {
        Some(end) if is_cut => Position::new(end.unsigned_abs()),
        _ => head,
    };
    let last = signed(upto.get());
    let rows = session.rows(FIND_WORTHY, &[&first, &last]).await?;
    Ok(WorthyStretch {
        events: rows.iter().map(worthy_event).collect::<Result<_, _>>()?,
        upto,
    })
}

#[async_trait]
impl WakeStore for Postgres {
    async fn set_push(
        &self,
        device: DeviceId,
        address: &PushAddress,
        look_at_ms: i64,
    ) -> Result<(), StoreError> {
        // Two devices may set the same token at once: one of them tries again.
        let done = until_known!(async {
            let taken = self.connections.take().await?;
            set_address(taken, device, address, look_at_ms).await
        });
        Ok(done?)
    }

    async fn push_address(&self, device: DeviceId) -> Result<Option<PushAddress>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let row = session
            .first(FIND_ADDRESS, &[&uuid(device.bytes())])
            .await?;
        Ok(row.as_ref().map(address).transpose()?)
    }

    async fn clear_push(
        &self,
        device: DeviceId,
        token: Option<&PushToken>,
    ) -> Result<bool, StoreError> {
        let taken = self.connections.take().await?;
        let token = token.map(PushToken::as_str);
        let cleared = Session::over(&taken)
            .rows(CLEAR_ADDRESS, &[&uuid(device.bytes()), &token])
            .await?;
        Ok(!cleared.is_empty())
    }

    async fn detach(&self, gone: &[(DeviceId, Generation)], at_ms: i64) -> Result<(), StoreError> {
        let devices: Vec<Uuid> = gone.iter().map(|(it, _)| uuid(it.bytes())).collect();
        let generations: Vec<i64> = gone.iter().map(|(_, it)| signed(it.0)).collect();
        let taken = self.connections.take().await?;
        Session::over(&taken)
            .execute(DETACH, &[&devices, &generations, &at_ms])
            .await?;
        Ok(())
    }

    async fn lease_wakes(
        &self,
        shard: Shard,
        holder: u64,
        for_ms: i64,
    ) -> Result<Option<Position>, StoreError> {
        let taken = self.connections.take().await?;
        let row = Session::over(&taken)
            .first(LEASE, &[&number(shard), &bits(holder), &for_ms])
            .await?;
        let position = row.as_ref().map(|row| get_count(row, 0)).transpose()?;
        Ok(position.map(Position::new))
    }

    async fn advance_wakes(
        &self,
        shard: Shard,
        holder: u64,
        to: Position,
    ) -> Result<bool, StoreError> {
        let taken = self.connections.take().await?;
        let advanced = Session::over(&taken)
            .execute(ADVANCE, &[&number(shard), &bits(holder), &signed(to.get())])
            .await?;
        Ok(advanced > 0)
    }

    async fn worthy_events(
        &self,
        after: Position,
        count: usize,
    ) -> Result<WorthyStretch, StoreError> {
        let taken = self.connections.take().await?;
        Ok(worthy(Session::over(&taken), after, count).await?)
    }

    async fn wake_candidates(
        &self,
        conversation: ConversationId,
        position: Position,
        place: CandidatePlace,
        count: usize,
        seen_since_ms: i64,
        now_ms: i64,
    ) -> Result<CandidatePage, StoreError> {
        let taken = self.connections.take().await?;
        let (id, position) = (uuid(conversation.bytes()), signed(position.get()));
        let rows = Session::over(&taken)
            .rows(
                FIND_CANDIDATES,
                &[
                    &id,
                    &position,
                    &place.0,
                    &limit(count),
                    &OPEN_END,
                    &seen_since_ms,
                    &now_ms,
                ],
            )
            .await?;
        let next = match rows.last() {
            Some(last) if rows.len() >= count => Some(CandidatePlace(get(last, 0)?)),
            _ => None,
        };
        let candidates = rows.iter().map(candidate).collect::<Result<_, _>>()?;
        Ok(CandidatePage { candidates, next })
    }

    async fn addressed(&self, positions: &[Position]) -> Result<Vec<Addressed>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(addressed(Session::over(&taken), positions).await?)
    }

    async fn record_wakes(
        &self,
        wakes: &[NewWake],
        now_ms: i64,
        schedule: &Schedule,
    ) -> Result<Vec<DueWake>, StoreError> {
        let devices: Vec<Uuid> = wakes.iter().map(|it| uuid(it.device.bytes())).collect();
        let positions: Vec<i64> = wakes.iter().map(|it| signed(it.position.get())).collect();
        let ids: Vec<i64> = wakes.iter().map(|it| bits(it.id)).collect();
        let due_at_ms = next_due(now_ms, 1, schedule);
        let taken = self.connections.take().await?;
        let rows = Session::over(&taken)
            .rows(RECORD, &[&devices, &positions, &ids, &due_at_ms])
            .await?;
        Ok(rows.iter().map(due_wake).collect::<Result<_, _>>()?)
    }

    async fn due_wakes(
        &self,
        now_ms: i64,
        count: usize,
        schedule: &Schedule,
    ) -> Result<Vec<DueWake>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(due(Session::over(&taken), now_ms, count, schedule).await?)
    }

    async fn previews(&self, positions: &[Position]) -> Result<Vec<Preview>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(previews::previews(Session::over(&taken), positions).await?)
    }

    async fn postpone_wakes(
        &self,
        wakes: &[(DeviceId, u64)],
        due_at_ms: i64,
    ) -> Result<(), StoreError> {
        let devices: Vec<Uuid> = wakes.iter().map(|(it, _)| uuid(it.bytes())).collect();
        let ids: Vec<i64> = wakes.iter().map(|(_, it)| bits(*it)).collect();
        let taken = self.connections.take().await?;
        Session::over(&taken)
            .execute(POSTPONE, &[&devices, &ids, &due_at_ms])
            .await?;
        Ok(())
    }
}
