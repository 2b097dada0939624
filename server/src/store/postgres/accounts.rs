//! Users, their devices, and where each device is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deadpool_postgres::Object;
use magpie_protocol::{
    id::{DeviceId, UserId},
    seq::Position,
    text::UserName,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    connections::Connections,
    session::{Failure, Session, get, get_count, get_id, signed, uuid},
};
use crate::store::{
    Account, Confirm, Connect, CreateUser, Device, DeviceLine, Generation, NewDevice, PutDevice,
    User,
};

/// How often a change whose outcome is unknown is tried before the caller is
/// told so. Each of them may be repeated.
pub(super) const ATTEMPTS: usize = 3;

const FIND_ACCOUNT: &str = "SELECT user_id, password_hash FROM users WHERE name = $1";

/// Makes a user, or finds that this very one was made.
const INSERT_USER: &str = "
    WITH made AS (
        INSERT INTO users (user_id, name, password_hash, created_at_ms) VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING
        RETURNING key
    )
    SELECT key FROM made
     UNION ALL
    SELECT key FROM users WHERE user_id = $1 AND name = $2";

/// Makes a device of a user, or gives the same one a new token; changes nothing
/// if it was revoked or is another's.
const PUT_DEVICE: &str = "
    INSERT INTO devices AS d (device_id, user_key, name, token_hash, created_at_ms, made_position)
    SELECT $1, u.key, $3, $4, $5, (SELECT position FROM log_head WHERE shard = 0)
      FROM users u WHERE u.user_id = $2
        ON CONFLICT (device_id) DO UPDATE
       SET name = excluded.name, token_hash = excluded.token_hash
     WHERE d.user_key = excluded.user_key AND d.revoked_position IS NULL";

const FIND_DEVICE: &str = "
    SELECT u.user_id, u.name, d.token_hash, d.made_position
      FROM devices d JOIN users u ON u.key = d.user_key
     WHERE d.device_id = $1 AND d.revoked_position IS NULL";

const FIND_DEVICES: &str = "
    SELECT d.device_id, d.name, d.created_at_ms, c.last_seen_at_ms
      FROM users u
      JOIN devices d ON d.user_key = u.key AND d.revoked_position IS NULL
      LEFT JOIN cursors c ON c.device_key = d.key
     WHERE u.user_id = $1 ORDER BY d.key";

/// Revokes a device of a user, unless it is revoked already. Under the log
/// head's lock: whatever the device still appends is in the log before this
/// returns.
const REVOKE_DEVICE: &str = "
    WITH head AS MATERIALIZED (
        SELECT position FROM log_head WHERE shard = 0 FOR NO KEY UPDATE
    )
    UPDATE devices d SET revoked_position = head.position
      FROM head, users u
     WHERE d.device_id = $1 AND u.key = d.user_key AND u.user_id = $2
       AND d.revoked_position IS NULL";

const IS_REVOKED: &str = "
    SELECT EXISTS (SELECT FROM devices d JOIN users u ON u.key = d.user_key
                    WHERE d.device_id = $1 AND u.user_id = $2 AND d.revoked_position IS NOT NULL)";

/// The devices of these ids that are not revoked.
const FIND_DEVICE_KEYS: &str = "
    SELECT device_id, key FROM devices WHERE device_id = ANY($1) AND revoked_position IS NULL";

/// Sets devices' cursors, also downwards, and fences their older connections: by
/// as many generations as there are hellos. In ascending order of the keys, so
/// that two nodes never wait for each other.
const CONNECT_DEVICES: &str = "
    INSERT INTO cursors AS c (device_key, generation, cursor, last_seen_at_ms)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
               AS hello (device, count, cursor, at_ms)
     ORDER BY hello.device
        ON CONFLICT (device_key) DO UPDATE
       SET generation = c.generation + excluded.generation,
           cursor = excluded.cursor,
           last_seen_at_ms = excluded.last_seen_at_ms
    RETURNING device_key, generation";

/// Moves devices' cursors forward, if these are still their generations, and
/// their users' delivered marks, which never fall. No device can have stored
/// what is not in the log yet. Locks in ascending order, as above.
///
/// Returns those that were of the current generation.
const CONFIRM_DEVICES: &str = "
    WITH confirmed AS MATERIALIZED (
        SELECT d.key, d.device_id, d.user_key, v.generation,
               least(v.cursor, (SELECT position FROM log_head WHERE shard = 0)) AS cursor
          FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS v (device_id, generation, cursor)
          JOIN devices d ON d.device_id = v.device_id AND d.revoked_position IS NULL
    ), locked AS MATERIALIZED (
        SELECT v.device_id, v.user_key, v.key, v.generation, v.cursor
          FROM cursors c JOIN confirmed v ON v.key = c.device_key AND v.generation = c.generation
         ORDER BY c.device_key
           FOR NO KEY UPDATE OF c
    ), advanced AS (
        UPDATE cursors c SET cursor = l.cursor
          FROM (SELECT key, max(cursor) AS cursor FROM locked GROUP BY key) l
         WHERE c.device_key = l.key AND c.cursor < l.cursor
    ), delivered_to AS (
        INSERT INTO delivered AS d (user_key, position)
        SELECT user_key, max(cursor) FROM locked GROUP BY user_key ORDER BY user_key
            ON CONFLICT (user_key) DO UPDATE SET position = excluded.position
         WHERE d.position < excluded.position
    )
    SELECT device_id, generation FROM locked";

pub(super) async fn account(
    session: Session<'_>,
    name: &UserName,
) -> Result<Option<Account>, Failure> {
    let Some(row) = session.first(FIND_ACCOUNT, &[&name.as_str()]).await? else {
        return Ok(None);
    };
    let id = UserId::new(get_id(&row, 0)?);
    let name = name.clone();
    Ok(Some(Account {
        user: User { id, name },
        password_hash: get(&row, 1)?,
    }))
}

/// Runs a change that may be repeated until its outcome is known.
macro_rules! until_known {
    ($attempt:expr) => {{
        let mut attempts = 1;
        loop {
            let done: Result<_, Failure> = $attempt.await;
            match done {
                Err(failure) if attempts < ATTEMPTS && Failure::is_repeatable(&failure) => {
                    attempts += 1;
                }
                done => break done,
            }
        }
    }};
}
pub(super) use until_known;

pub(super) async fn create_user(
    connections: &Connections,
    account: &Account,
    device: &NewDevice,
    at_ms: i64,
) -> Result<CreateUser, Failure> {
    until_known!(async {
        let taken = connections.take().await?;
        try_create_user(taken, account, device, at_ms).await
    })
}

async fn try_create_user(
    mut taken: Object,
    account: &Account,
    device: &NewDevice,
    at_ms: i64,
) -> Result<CreateUser, Failure> {
    let user = &account.user;
    let transaction = taken.transaction().await?;
    let session = Session::of(&transaction);
    let made = session
        .first(
            INSERT_USER,
            &[
                &uuid(user.id.bytes()),
                &user.name.as_str(),
                &account.password_hash,
                &at_ms,
            ],
        )
        .await?;
    if made.is_none() {
        return Ok(CreateUser::NameTaken);
    }
    match put(session, user.id, device, at_ms).await? {
        PutDevice::Done => transaction.commit().await?,
        // Dropped, the transaction is undone.
        PutDevice::Refused => return Ok(CreateUser::DeviceRefused),
    }
    Ok(CreateUser::Done)
}

pub(super) async fn put_device(
    connections: &Connections,
    user: UserId,
    device: &NewDevice,
    at_ms: i64,
) -> Result<PutDevice, Failure> {
    until_known!(async {
        let taken = connections.take().await?;
        put(Session::over(&taken), user, device, at_ms).await
    })
}

async fn put(
    session: Session<'_>,
    user: UserId,
    device: &NewDevice,
    at_ms: i64,
) -> Result<PutDevice, Failure> {
    let changed = session
        .execute(
            PUT_DEVICE,
            &[
                &uuid(device.id.bytes()),
                &uuid(user.bytes()),
                &device.name.as_str(),
                &device.token_hash.as_slice(),
                &at_ms,
            ],
        )
        .await?;
    Ok(match changed {
        0 => PutDevice::Refused,
        _ => PutDevice::Done,
    })
}

pub(super) async fn device(session: Session<'_>, id: DeviceId) -> Result<Option<Device>, Failure> {
    let Some(row) = session.first(FIND_DEVICE, &[&uuid(id.bytes())]).await? else {
        return Ok(None);
    };
    let name = UserName::parse(get(&row, 1)?);
    let name = name.map_err(|reason| Failure::corrupt(reason.to_string()))?;
    let user = User {
        id: UserId::new(get_id(&row, 0)?),
        name,
    };
    let token_hash: &[u8] = get(&row, 2)?;
    let token_hash = token_hash
        .try_into()
        .map_err(|_| Failure::corrupt("a token's hash of another size"))?;
    Ok(Some(Device {
        id,
        user,
        token_hash,
        made_at: Position::new(get_count(&row, 3)?),
    }))
}

pub(super) async fn devices(
    session: Session<'_>,
    user: UserId,
) -> Result<Vec<DeviceLine>, Failure> {
    let line = |row: &Row| {
        Ok(DeviceLine {
            id: DeviceId::new(get_id(row, 0)?),
            name: get(row, 1)?,
            created_at_ms: get(row, 2)?,
            last_seen_at_ms: get(row, 3)?,
        })
    };
    let rows = session.rows(FIND_DEVICES, &[&uuid(user.bytes())]).await?;
    rows.iter().map(line).collect()
}

pub(super) async fn revoke_device(
    connections: &Connections,
    user: UserId,
    device: DeviceId,
) -> Result<bool, Failure> {
    let (user, device) = (uuid(user.bytes()), uuid(device.bytes()));
    let mut is_repeat = false;
    until_known!(async {
        let taken = connections.take().await?;
        let session = Session::over(&taken);
        // An earlier attempt may have done it.
        if std::mem::replace(&mut is_repeat, true) {
            let row = session.one(IS_REVOKED, &[&device, &user]).await?;
            if get(&row, 0)? {
                return Ok(true);
            }
        }
        let revoked = session.execute(REVOKE_DEVICE, &[&device, &user]).await?;
        Ok(revoked > 0)
    })
}

pub(super) async fn connect(
    connections: &Connections,
    hellos: &[Connect],
) -> Result<Vec<Option<Generation>>, Failure> {
    until_known!(async {
        let taken = connections.take().await?;
        connect_all(Session::over(&taken), hellos).await
    })
}

async fn connect_all(
    session: Session<'_>,
    hellos: &[Connect],
) -> Result<Vec<Option<Generation>>, Failure> {
    let ids: Vec<Uuid> = hellos.iter().map(|it| uuid(it.device.bytes())).collect();
    let mut keys = HashMap::new();
    for row in session.rows(FIND_DEVICE_KEYS, &[&ids]).await? {
        keys.insert(DeviceId::new(get_id(&row, 0)?), get::<i64>(&row, 1)?);
    }
    // One row for each device: the last hello's, and how many there are.
    let mut last = BTreeMap::new();
    for hello in hellos {
        if let Some(key) = keys.get(&hello.device) {
            let (count, latest) = last.entry(*key).or_insert((0_i64, hello));
            *count += 1;
            *latest = hello;
        }
    }
    let counts: Vec<i64> = last.values().map(|(count, _)| *count).collect();
    let cursors: Vec<i64> = last
        .values()
        .map(|(_, it)| signed(it.cursor.get()))
        .collect();
    let times: Vec<i64> = last.values().map(|(_, it)| it.at_ms).collect();
    let devices: Vec<i64> = last.keys().copied().collect();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&devices, &counts, &cursors, &times];
    // The generation before each device's next hello.
    let mut generations = HashMap::new();
    for row in session.rows(CONNECT_DEVICES, &params).await? {
        let key: i64 = get(&row, 0)?;
        let count = last.get(&key).map_or(0, |(count, _)| count.unsigned_abs());
        generations.insert(key, get_count(&row, 1)?.saturating_sub(count));
    }
    let mut next = |hello: &Connect| {
        let generation = generations.get_mut(keys.get(&hello.device)?)?;
        *generation = generation.saturating_add(1);
        Some(Generation(*generation))
    };
    Ok(hellos.iter().map(&mut next).collect())
}

pub(super) async fn confirm(
    connections: &Connections,
    confirms: &[Confirm],
) -> Result<Vec<DeviceId>, Failure> {
    until_known!(async {
        let taken = connections.take().await?;
        confirm_all(Session::over(&taken), confirms).await
    })
}

async fn confirm_all(session: Session<'_>, confirms: &[Confirm]) -> Result<Vec<DeviceId>, Failure> {
    let ids: Vec<Uuid> = confirms.iter().map(|it| uuid(it.device.bytes())).collect();
    let generations: Vec<i64> = confirms.iter().map(|it| signed(it.generation.0)).collect();
    let cursors: Vec<i64> = confirms.iter().map(|it| signed(it.cursor.get())).collect();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&ids, &generations, &cursors];
    let mut current = BTreeSet::new();
    for row in session.rows(CONFIRM_DEVICES, &params).await? {
        let device = DeviceId::new(get_id(&row, 0)?);
        current.insert((device, Generation(get_count(&row, 1)?)));
    }
    let fenced = confirms
        .iter()
        .filter(|it| !current.contains(&(it.device, it.generation)));
    Ok(fenced.map(|it| it.device).collect())
}
