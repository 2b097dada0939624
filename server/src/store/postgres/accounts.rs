//! Users, their devices, and where each device is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deadpool_postgres::Object;
use magpie_protocol::{
    id::{DeviceId, UserId},
    text::UserName,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    connections::Connections,
    rows::{get_places, places_text},
    session::{Failure, Params, Session, get, get_count, get_id, signed, uuid},
};
use crate::store::{
    Account, Confirm, Connect, CreateUser, DEADLINE_MS_MAX, Device, DeviceLine, Generation,
    NewDevice, PutDevice, Standing, User, operators::stored_name,
};

/// How often a change whose outcome is unknown is tried before the caller is
/// told so. Each of them may be repeated.
pub(super) const ATTEMPTS: usize = 3;

const FIND_ACCOUNT: &str = "
    SELECT user_id, name, password_hash, state FROM users WHERE name = $1";

const FIND_ACCOUNT_OF: &str = "
    SELECT user_id, name, password_hash, state FROM users WHERE user_id = $1 AND state <> 2";

/// Makes a user, or finds that this very one was made.
const INSERT_USER: &str = "
    WITH named AS (
        INSERT INTO names (name) VALUES ($2) ON CONFLICT DO NOTHING RETURNING name
    ), made AS (
        INSERT INTO users (user_id, name, password_hash, created_at_ms)
        SELECT $1, named.name, $3, $4 FROM named
        RETURNING key
    )
    SELECT key FROM made
     UNION ALL
    SELECT key FROM users WHERE user_id = $1 AND name = $2";

const IS_THERE: &str = "SELECT EXISTS (SELECT FROM devices WHERE device_id = $1)";

/// Whether the user is in good standing and their password has this hash.
const IS_PROVEN: &str = "
    SELECT EXISTS (SELECT FROM users WHERE user_id = $1 AND password_hash = $2 AND state = 0)";

/// Makes a device of a user whose password was proven, which nobody changes meanwhile;
/// changes nothing if there is one with this id.
const INSERT_DEVICE: &str = "
    WITH proven AS MATERIALIZED (
        SELECT key FROM users WHERE user_id = $2 AND password_hash = $6 AND state = 0 FOR SHARE
    )
    INSERT INTO devices (device_id, user_key, name, token_hash, created_at_ms, made_positions)
    SELECT $1, p.key, $3, $4, $5, heads() FROM proven p
        ON CONFLICT (device_id) DO NOTHING";

/// Gives a device of a user a new token, unless it was revoked. It takes a
/// position, under the lock of the first head, so that all nodes forget the old
/// token when they have read the log up to there.
const RENEW_DEVICE: &str = "
    WITH proven AS MATERIALIZED (
        SELECT key FROM users WHERE user_id = $2 AND password_hash = $5 AND state = 0 FOR SHARE
    ), head AS MATERIALIZED (
        SELECT position + 1 AS position FROM log_head
         WHERE shard = 0 AND EXISTS (SELECT FROM proven) FOR NO KEY UPDATE
    ), renewed AS (
        UPDATE devices d
           SET name = $3, token_hash = $4, changed_position = head.position
          FROM head, proven p
         WHERE d.device_id = $1 AND p.key = d.user_key AND NOT d.is_revoked
        RETURNING d.changed_position
    )
    UPDATE log_head h SET position = r.changed_position FROM renewed r WHERE h.shard = 0";

const FIND_DEVICE: &str = "
    SELECT u.user_id, u.name, d.token_hash, d.made_positions
      FROM devices d JOIN users u ON u.key = d.user_key
     WHERE d.device_id = $1 AND NOT d.is_revoked";

const FIND_DEVICES: &str = "
    SELECT d.device_id, d.name, d.created_at_ms, c.last_seen_at_ms
      FROM users u
      JOIN devices d ON d.user_key = u.key AND NOT d.is_revoked
      LEFT JOIN cursors c ON c.device_key = d.key
     WHERE u.user_id = $1 ORDER BY d.key";

/// Revokes a device of a user, unless it is revoked already. Under the locks of
/// all heads, in their order: whatever the device still appends is in the log
/// before this returns. It takes a position, as above.
const REVOKE_DEVICE: &str = "
    WITH heads AS MATERIALIZED (
        SELECT shard, position FROM log_head ORDER BY shard FOR NO KEY UPDATE
    ), revoked AS (
        UPDATE devices d SET is_revoked = true, changed_position = heads.position + 1
          FROM heads, users u
         WHERE d.device_id = $1 AND u.key = d.user_key AND u.user_id = $2 AND NOT d.is_revoked
           AND heads.shard = 0
        RETURNING d.key, d.changed_position
    ), unaddressed AS (
        DELETE FROM push_addresses p USING revoked r WHERE p.device_key = r.key
    )
    UPDATE log_head h SET position = r.changed_position FROM revoked r WHERE h.shard = 0";

const IS_REVOKED: &str = "
    SELECT EXISTS (SELECT FROM devices d JOIN users u ON u.key = d.user_key
                    WHERE d.device_id = $1 AND u.user_id = $2 AND d.is_revoked)";

/// The devices of these ids that are not revoked.
const FIND_DEVICE_KEYS: &str = "
    SELECT device_id, key FROM devices WHERE device_id = ANY($1) AND NOT is_revoked";

/// Sets devices' cursors, also downwards, and fences their older connections: by
/// as many generations as there are hellos. In ascending order of the keys, so
/// that two nodes never wait for each other.
///
/// A device whose cursor falls is looked at in a while: what it has lost may lie
/// behind the wake cursor. What it was woken for before says nothing any more. One
/// that somebody looks at shows nothing any more that was not seen. One that was in the
/// foreground on this node was so until now.
const CONNECT_DEVICES: &str = "
    WITH hello AS MATERIALIZED (
        SELECT device, count, cursor::bigint[] AS cursor, at_ms, attachment
          FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::smallint[])
               AS v (device, count, cursor, at_ms, attachment)
    ), looked_at AS (
        INSERT INTO wakes AS w (device_key, wake_id, position, tries, due_at_ms)
        SELECT c.device_key, 0, 0, 0, hello.at_ms + $6
          FROM hello
          JOIN cursors c ON c.device_key = hello.device
           AND c.cursor IS DISTINCT FROM earlier(c.cursor, hello.cursor)
          JOIN push_addresses p ON p.device_key = c.device_key
         ORDER BY c.device_key
            ON CONFLICT (device_key) DO UPDATE
           SET position = 0, tries = 0, due_at_ms = least(w.due_at_ms, excluded.due_at_ms)
    ), shown AS MATERIALIZED (
        SELECT n.device_key FROM notified n
          JOIN hello ON hello.device = n.device_key AND hello.attachment = 2
         ORDER BY n.device_key FOR UPDATE OF n
    ), looked_at_now AS (
        DELETE FROM notified n USING shown WHERE n.device_key = shown.device_key
    )
    INSERT INTO cursors AS c (device_key, generation, cursor, last_seen_at_ms, attachment,
                              present_at_ms, node)
    SELECT device, count, cursor, at_ms, attachment, CASE WHEN attachment = 2 THEN at_ms END, $7
      FROM hello ORDER BY device
        ON CONFLICT (device_key) DO UPDATE
       SET generation = c.generation + excluded.generation,
           cursor = excluded.cursor,
           last_seen_at_ms = excluded.last_seen_at_ms,
           attachment = excluded.attachment,
           present_at_ms =
               CASE WHEN excluded.attachment = 2 OR (c.attachment = 2 AND c.node = excluded.node)
                    THEN excluded.last_seen_at_ms ELSE c.present_at_ms END,
           node = excluded.node
    RETURNING device_key, generation";

/// Moves devices' cursors forward, if these are still their generations, and
/// their users' delivered marks, which never fall. No device can have stored
/// what is not in the log yet. Locks in ascending order, as above.
///
/// Returns those that were of the current generation.
const CONFIRM_DEVICES: &str = "
    WITH confirmed AS MATERIALIZED (
        SELECT d.key, d.device_id, d.user_key, v.generation,
               earlier(v.cursor::bigint[], (SELECT heads())) AS cursor
          FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS v (device_id, generation, cursor)
          JOIN devices d ON d.device_id = v.device_id AND NOT d.is_revoked
    ), locked AS MATERIALIZED (
        SELECT v.device_id, v.user_key, v.key, v.generation, v.cursor
          FROM cursors c JOIN confirmed v ON v.key = c.device_key AND v.generation = c.generation
         ORDER BY c.device_key
           FOR NO KEY UPDATE OF c
    ), advanced AS (
        UPDATE cursors c SET cursor = later(c.cursor, l.cursor)
          FROM (SELECT key, latest(cursor) AS cursor FROM locked GROUP BY key) l
         WHERE c.device_key = l.key AND c.cursor IS DISTINCT FROM later(c.cursor, l.cursor)
    ), delivered_to AS (
        INSERT INTO delivered AS d (user_key, positions)
        SELECT user_key, latest(cursor) FROM locked GROUP BY user_key ORDER BY user_key
            ON CONFLICT (user_key) DO UPDATE SET positions = later(d.positions, excluded.positions)
         WHERE d.positions IS DISTINCT FROM later(d.positions, excluded.positions)
    )
    SELECT device_id, generation FROM locked";

pub(super) async fn account(
    session: Session<'_>,
    name: &UserName,
) -> Result<Option<Account>, Failure> {
    let row = session.first(FIND_ACCOUNT, &[&name.as_str()]).await?;
    row.as_ref().map(account_row).transpose()
}

pub(super) async fn account_of(
    session: Session<'_>,
    user: UserId,
) -> Result<Option<Account>, Failure> {
    let user = uuid(user.bytes());
    let row = session.first(FIND_ACCOUNT_OF, &[&user]).await?;
    row.as_ref().map(account_row).transpose()
}

fn account_row(row: &Row) -> Result<Account, Failure> {
    let id = UserId::new(get_id(row, 0)?);
    let name = stored_name(get(row, 1)?)?;
    Ok(Account {
        user: User { id, name },
        password_hash: get(row, 2)?,
        standing: Standing::from_number(get::<i16>(row, 3)?.into())?,
    })
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
    device: Option<&NewDevice>,
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
    device: Option<&NewDevice>,
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
    if let Some(device) = device
        && !insert_device(session, account, device, at_ms).await?
    {
        // Dropped, the transaction is undone.
        return Ok(CreateUser::DeviceRefused);
    }
    transaction.commit().await?;
    Ok(CreateUser::Done)
}

pub(super) async fn put_device(
    connections: &Connections,
    account: &Account,
    device: &NewDevice,
    at_ms: i64,
) -> Result<PutDevice, Failure> {
    until_known!(async {
        let taken = connections.take().await?;
        put(Session::over(&taken), account, device, at_ms).await
    })
}

/// Makes a device; false if there is one with its id.
async fn insert_device(
    session: Session<'_>,
    account: &Account,
    device: &NewDevice,
    at_ms: i64,
) -> Result<bool, Failure> {
    let (id, user) = (uuid(device.id.bytes()), uuid(account.user.id.bytes()));
    let (name, hash) = (device.name.as_str(), device.token_hash.as_slice());
    let params: Params<'_> = &[&id, &user, &name, &hash, &at_ms, &account.password_hash];
    Ok(session.execute(INSERT_DEVICE, params).await? > 0)
}

async fn put(
    session: Session<'_>,
    account: &Account,
    device: &NewDevice,
    at_ms: i64,
) -> Result<PutDevice, Failure> {
    let id = uuid(device.id.bytes());
    let is_there: bool = get(&session.one(IS_THERE, &[&id]).await?, 0)?;
    if !is_there && insert_device(session, account, device, at_ms).await? {
        return Ok(PutDevice::Done);
    }
    // Also if somebody else was faster.
    let (name, hash) = (device.name.as_str(), device.token_hash.as_slice());
    let (user, proven) = (uuid(account.user.id.bytes()), &account.password_hash);
    let params: Params<'_> = &[&id, &user, &name, &hash, proven];
    if session.execute(RENEW_DEVICE, params).await? > 0 {
        return Ok(PutDevice::Done);
    }
    let row = session.one(IS_PROVEN, &[&user, proven]).await?;
    Ok(match get(&row, 0)? {
        true => PutDevice::Refused,
        false => PutDevice::Stale,
    })
}

pub(super) async fn device(session: Session<'_>, id: DeviceId) -> Result<Option<Device>, Failure> {
    let Some(row) = session.first(FIND_DEVICE, &[&uuid(id.bytes())]).await? else {
        return Ok(None);
    };
    let user = User {
        id: UserId::new(get_id(&row, 0)?),
        name: stored_name(get(&row, 1)?)?,
    };
    let token_hash: &[u8] = get(&row, 2)?;
    let token_hash = token_hash
        .try_into()
        .map_err(|_| Failure::corrupt("a token's hash of another size"))?;
    Ok(Some(Device {
        id,
        user,
        token_hash,
        made_at: get_places(&row, 3)?,
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
    node: i64,
) -> Result<Vec<Option<Generation>>, Failure> {
    until_known!(async {
        let taken = connections.take().await?;
        connect_all(Session::over(&taken), hellos, node).await
    })
}

async fn connect_all(
    session: Session<'_>,
    hellos: &[Connect],
    node: i64,
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
    let cursors = last.values().map(|(_, it)| places_text(&it.cursor));
    let cursors: Vec<String> = cursors.collect();
    let times: Vec<i64> = last.values().map(|(_, it)| it.at_ms).collect();
    let devices: Vec<i64> = last.keys().copied().collect();
    let attachments = last.values().map(|(_, it)| it.attachment.number().into());
    let attachments: Vec<i16> = attachments.collect();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &devices,
        &counts,
        &cursors,
        &times,
        &attachments,
        &DEADLINE_MS_MAX,
        &node,
    ];
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
    let cursors = confirms.iter().map(|it| places_text(&it.cursor));
    let cursors: Vec<String> = cursors.collect();
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
