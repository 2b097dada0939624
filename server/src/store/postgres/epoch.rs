//! Beginning a new epoch, and what it has in common with others.

use tokio_postgres::Client;

use super::{
    rows::get_places,
    session::{Failure, Session, get, get_count, signed},
};
use crate::store::{DEADLINE_MS_MAX, History, LogState, NewEpoch, Positions, epoch};

/// Nobody takes positions meanwhile.
const LOCK_HEADS: &str = "SELECT FROM log_head ORDER BY shard FOR UPDATE";

/// Not simply the next number: a backup that is restored twice would give out the
/// same one twice, for two histories. So it is the seconds since 1970, and more
/// than the last one.
const INSERT_EPOCH: &str = "
    INSERT INTO epochs (epoch, base)
    SELECT greatest(max(epoch) + 1, extract(epoch FROM now())::bigint), heads() FROM epochs
    RETURNING epoch, base";

/// In the order in which nodes that still run lock them.
const LOCK_CURSORS: &str = "SELECT FROM cursors ORDER BY device_key FOR NO KEY UPDATE";

/// Whatever connections of before still confirm changes nothing. What a device had
/// confirmed of the history before says nothing of what it holds of this one.
const FENCE_ALL: &str = "
    UPDATE cursors
       SET generation = generation + 1,
           cursor = (SELECT array_agg((shard - 1)::bigint << 56 ORDER BY shard)
                       FROM generate_subscripts(cursor, 1) AS shard)";

/// So whoever sleeps is woken, and asks; those who come by themselves have $1
/// milliseconds to do so.
const LOOK_AT_ALL: &str = "
    INSERT INTO wakes AS w (device_key, wake_id, position, tries, due_at_ms)
    SELECT device_key, 0, 0, 0, (extract(epoch FROM now()) * 1000)::bigint + $1
      FROM push_addresses ORDER BY device_key
        ON CONFLICT (device_key) DO UPDATE
       SET position = 0, tries = 0, due_at_ms = least(w.due_at_ms, excluded.due_at_ms)";

const REVOKE_ALL: &str = "UPDATE devices SET is_revoked = true WHERE NOT is_revoked";

const COUNT_DEVICES: &str = "SELECT count(*) FROM devices WHERE NOT is_revoked";

pub(super) async fn begin(client: &mut Client, sign_out_all: bool) -> Result<NewEpoch, Failure> {
    let transaction = client.transaction().await?;
    transaction.query(LOCK_HEADS, &[]).await?;
    let row = transaction.query_one(INSERT_EPOCH, &[]).await?;
    transaction.query(LOCK_CURSORS, &[]).await?;
    transaction.execute(FENCE_ALL, &[]).await?;
    transaction
        .execute(LOOK_AT_ALL, &[&DEADLINE_MS_MAX])
        .await?;
    let mut revoked = 0;
    if sign_out_all {
        revoked = transaction.execute(REVOKE_ALL, &[]).await?;
    }
    let devices: i64 = get(&transaction.query_one(COUNT_DEVICES, &[]).await?, 0)?;
    transaction.commit().await?;
    let base = get_places(&row, 1)?;
    let history = History {
        epoch: get_count(&row, 0)?,
        base,
    };
    Ok(NewEpoch {
        state: LogState {
            history,
            heads: base,
        },
        devices: devices.unsigned_abs(),
        revoked,
    })
}

const FIND_EPOCHS: &str = "SELECT epoch, base FROM epochs WHERE epoch >= $1";

/// Up to where this history has what the one of the epoch `held` had.
pub(super) async fn common(
    session: Session<'_>,
    held: u64,
    shard_count: usize,
) -> Result<Positions, Failure> {
    let rows = session.rows(FIND_EPOCHS, &[&signed(held)]).await?;
    let known = rows.iter().map(|row| {
        Ok(History {
            epoch: get_count(row, 0)?,
            base: get_places(row, 1)?,
        })
    });
    let known: Vec<History> = known.collect::<Result<_, Failure>>()?;
    Ok(epoch::common(held, &known, shard_count))
}
