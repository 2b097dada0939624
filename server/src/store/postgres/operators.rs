//! What becomes of accounts after they were made, and what operators do and read.

use async_trait::async_trait;
use deadpool_postgres::Object;
use magpie_protocol::id::{ConversationId, DeviceId, UserId};
use prost::Message as _;
use tokio_postgres::{Row, types::ToSql};

use super::{
    Postgres,
    accounts::{self, ATTEMPTS, until_known},
    session::{Failure, Session, get, get_count, get_id, limit, signed, uuid},
};
use crate::store::{
    Account, AccountChange, AdminAct, Departure, NewReport, OperatorStore, Report, SignOut,
    Standing, Statistics, Store as _, StoreError, account_log,
    operators::{COUNT, State, stored_event, stored_reason},
};

/// Changes a user, locked until the end of the transaction: no device is made of them
/// meanwhile.
const CHANGE_USER: &str = "
    UPDATE users
       SET password_hash = coalesce($3, password_hash),
           name = coalesce($4, name),
           state = coalesce($5, state)
     WHERE user_id = $1
       AND CASE WHEN $2::text IS NULL THEN state <> 2
                ELSE password_hash = $2 AND state = 0 END
    RETURNING key";

/// Revokes all devices of a user but one. Under the locks of all heads, as one device
/// is revoked; all take one position together, and with them the user's end, which
/// must be learnt also of who has no device.
const REVOKE_DEVICES: &str = "
    WITH heads AS MATERIALIZED (
        SELECT shard, position FROM log_head ORDER BY shard FOR NO KEY UPDATE
    ), revoked AS (
        UPDATE devices d SET is_revoked = true, changed_position = heads.position + 1
          FROM heads
         WHERE heads.shard = 0 AND d.user_key = $1
           AND d.device_id IS DISTINCT FROM $2 AND NOT d.is_revoked
        RETURNING d.key, d.device_id
    ), deleted AS (
        UPDATE users u SET deleted_position = heads.position + 1
          FROM heads
         WHERE heads.shard = 0 AND u.key = $1 AND u.state = 2
        RETURNING u.key
    ), unaddressed AS (
        DELETE FROM push_addresses p USING revoked r WHERE p.device_key = r.key
    ), moved AS (
        UPDATE log_head h SET position = heads.position + 1
          FROM heads
         WHERE h.shard = 0 AND heads.shard = 0
           AND (EXISTS (SELECT FROM revoked) OR EXISTS (SELECT FROM deleted))
    )
    SELECT device_id FROM revoked";

/// What a user had set for themself is nobody's.
const FORGET_SETTINGS: &str = "
    WITH unnotified AS (DELETE FROM notify WHERE user_key = $1),
         unsaid AS (DELETE FROM profiles WHERE user_key = $1 RETURNING photo_key),
         -- What others refer to is looked at before it goes.
         unshown AS (UPDATE media SET expires_at_ms = 0
                      WHERE key IN (SELECT photo_key FROM unsaid)),
         unlisted AS (DELETE FROM discoverable WHERE user_key = $1),
         unlinked AS (DELETE FROM links WHERE user_key = $1),
         opened AS (DELETE FROM friends_only WHERE user_key = $1),
         unblocked AS (DELETE FROM blocks WHERE user_key = $1)
    UPDATE events SET body = ''::bytea
     WHERE conversation_key = (SELECT key FROM conversations WHERE conversation_id = $2)";

const IS_DELETED: &str = "SELECT EXISTS (SELECT FROM users WHERE user_id = $1 AND state = 2)";

const HAS_PASSWORD: &str = "
    SELECT EXISTS (SELECT FROM users WHERE user_id = $1 AND password_hash = $2)";

const FIND_DEPARTURES: &str = "
    SELECT u.user_id, c.conversation_id
      FROM users u
      JOIN members m ON m.user_key = u.key AND m.to_position = 9223372036854775807
      JOIN conversations c ON c.key = m.conversation_key AND (c.kind = 2 OR EXISTS (
           SELECT FROM friends f WHERE f.conversation_key = c.key AND f.bond <> 0))
     WHERE u.deleted_position IS NOT NULL
       AND ($1::uuid IS NULL OR (u.user_id, c.conversation_id) > ($1, $2))
     ORDER BY u.user_id, c.conversation_id LIMIT $3";

const INSERT_REPORT: &str = "
    INSERT INTO reports (reporter_key, user_key, event, reason, text, at_ms)
    SELECT r.key, u.key, $3, $4, $5, $6 FROM users r, users u
     WHERE r.user_id = $1 AND u.user_id = $2";

const FIND_REPORTS: &str = "
    SELECT r.key, f.name, u.user_id, u.name, r.event, r.reason, r.text, r.at_ms
      FROM reports r JOIN users f ON f.key = r.reporter_key JOIN users u ON u.key = r.user_key
     WHERE r.key > $1 AND r.closed_at_ms IS NULL ORDER BY r.key LIMIT $2";

const CLOSE_REPORT: &str = "
    UPDATE reports SET closed_at_ms = $2, event = NULL, text = ''
     WHERE key = $1 AND closed_at_ms IS NULL";

const INSERT_ACT: &str = "
    INSERT INTO admin_acts (uid, at_ms, action, target) VALUES ($1, $2, $3, $4)";

const FIND_ACTS: &str = "
    SELECT uid, at_ms, action, target FROM admin_acts ORDER BY key DESC LIMIT $1";

#[async_trait]
impl OperatorStore for Postgres {
    async fn change_account(
        &self,
        user: UserId,
        proven: Option<&str>,
        change: &AccountChange,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        // It may take a position: not in a log that went back.
        self.state().await?;
        let mut is_repeat = false;
        let changed: Result<_, Failure> = until_known!(async {
            let mut taken = self.connections.take().await?;
            let is_repeat = std::mem::replace(&mut is_repeat, true);
            // An earlier attempt may have done it.
            if is_repeat && is_done(Session::over(&taken), user, change).await? {
                return Ok(Some(Vec::new()));
            }
            try_change(&mut taken, user, proven, change).await
        });
        if *change == AccountChange::Delete {
            self.learn_deletion();
        }
        Ok(changed?)
    }

    async fn departures(
        &self,
        after: Option<Departure>,
        count: usize,
    ) -> Result<Vec<Departure>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let user = after.map(|after| uuid(after.user.bytes()));
        let group = after.map(|after| uuid(after.conversation.bytes()));
        let params: [&(dyn ToSql + Sync); 3] = [&user, &group, &limit(count)];
        let found = session.rows(FIND_DEPARTURES, &params).await?;
        let departure = |row: &Row| -> Result<_, Failure> {
            Ok(Departure {
                user: UserId::new(get_id(row, 0)?),
                conversation: ConversationId::new(get_id(row, 1)?),
            })
        };
        let departures: Result<_, Failure> = found.iter().map(departure).collect();
        Ok(departures?)
    }

    async fn add_report(&self, report: &NewReport) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        let event = report.event.as_ref().map(|event| event.encode_to_vec());
        let (reporter, user) = (uuid(report.reporter.bytes()), uuid(report.user.bytes()));
        let reason = i16::from(report.reason.number());
        let text = report.text.as_str();
        let at_ms = report.at_ms;
        let session = Session::over(&taken);
        session
            .execute(
                INSERT_REPORT,
                &[&reporter, &user, &event, &reason, &text, &at_ms],
            )
            .await?;
        Ok(())
    }

    async fn reports(&self, after: u64, count: usize) -> Result<Vec<Report>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let found = session
            .rows(FIND_REPORTS, &[&signed(after), &limit(count)])
            .await?;
        let reports: Result<_, Failure> = found.iter().map(report).collect();
        Ok(reports?)
    }

    async fn close_report(&self, id: u64, at_ms: i64) -> Result<bool, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let closed = session
            .execute(CLOSE_REPORT, &[&signed(id), &at_ms])
            .await?;
        Ok(closed > 0)
    }

    async fn note_act(&self, act: &AdminAct) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        let uid = i64::from(act.uid);
        let noted = Session::over(&taken)
            .execute(INSERT_ACT, &[&uid, &act.at_ms, &act.action, &act.target])
            .await;
        noted?;
        Ok(())
    }

    async fn acts(&self, count: usize) -> Result<Vec<AdminAct>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let found = session.rows(FIND_ACTS, &[&limit(count)]).await?;
        let act = |row: &Row| -> Result<_, Failure> {
            Ok(AdminAct {
                uid: u32::try_from(get_count(row, 0)?).unwrap_or(u32::MAX),
                at_ms: get(row, 1)?,
                action: get(row, 2)?,
                target: get(row, 3)?,
            })
        };
        let acts: Result<_, Failure> = found.iter().map(act).collect();
        Ok(acts?)
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        let taken = self.connections.take().await?;
        let row = Session::over(&taken).one(COUNT, &[]).await?;
        Ok(Statistics {
            users_active: get_count(&row, 0)?,
            users_suspended: get_count(&row, 1)?,
            users_deleted: get_count(&row, 2)?,
            devices: get_count(&row, 3)?,
            devices_with_pushes: get_count(&row, 4)?,
            direct_conversations: get_count(&row, 5)?,
            groups: get_count(&row, 6)?,
            reports_open: get_count(&row, 7)?,
        })
    }

    async fn account_of(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(accounts::account_of(Session::over(&taken), user).await?)
    }
}

/// Whether a change whose outcome was unknown was made. What changes nothing if it is
/// made once more is not asked for.
async fn is_done(
    session: Session<'_>,
    user: UserId,
    change: &AccountChange,
) -> Result<bool, Failure> {
    let user = uuid(user.bytes());
    let row = match change {
        AccountChange::Delete => session.one(IS_DELETED, &[&user]).await?,
        AccountChange::Password { hash, .. } => session.one(HAS_PASSWORD, &[&user, hash]).await?,
        AccountChange::Suspend | AccountChange::Resume => return Ok(false),
    };
    get(&row, 0)
}

async fn try_change(
    taken: &mut Object,
    user: UserId,
    proven: Option<&str>,
    change: &AccountChange,
) -> Result<Option<Vec<DeviceId>>, Failure> {
    let (mut hash, mut name, mut state) = (None, None, None);
    match change {
        AccountChange::Password { hash: new, .. } => hash = Some(new.as_str()),
        AccountChange::Suspend => state = Some(State::Here(Standing::Suspended)),
        AccountChange::Resume => state = Some(State::Here(Standing::Active)),
        AccountChange::Delete => {
            (hash, name, state) = (Some(""), Some(""), Some(State::Deleted));
        }
    }
    let state = state.map(|state| i16::from(state.number()));
    let transaction = taken.transaction().await?;
    let session = Session::of(&transaction);
    let changed = session
        .first(
            CHANGE_USER,
            &[&uuid(user.bytes()), &proven, &hash, &name, &state],
        )
        .await?;
    let Some(row) = changed else { return Ok(None) };
    let key: i64 = get(&row, 0)?;
    if *change == AccountChange::Delete {
        let log = uuid(account_log(user).bytes());
        session.execute(FORGET_SETTINGS, &[&key, &log]).await?;
    }
    let revoked = sign_out(session, key, change.sign_out()).await?;
    transaction.commit().await?;
    Ok(Some(revoked))
}

async fn sign_out(session: Session<'_>, key: i64, whom: SignOut) -> Result<Vec<DeviceId>, Failure> {
    let kept = match whom {
        SignOut::Nobody => return Ok(Vec::new()),
        SignOut::Others(device) => Some(uuid(device.bytes())),
        SignOut::Everybody => None,
    };
    let revoked = session.rows(REVOKE_DEVICES, &[&key, &kept]).await?;
    let device = |row: &Row| get_id(row, 0).map(DeviceId::new);
    revoked.iter().map(device).collect()
}

fn report(row: &Row) -> Result<Report, Failure> {
    let event: Option<&[u8]> = get(row, 4)?;
    Ok(Report {
        id: get_count(row, 0)?,
        reporter: get(row, 1)?,
        user: (UserId::new(get_id(row, 2)?), get(row, 3)?),
        event: stored_event(event)?,
        reason: stored_reason(get::<i16>(row, 5)?.into())?,
        text: get(row, 6)?,
        at_ms: get(row, 7)?,
    })
}
