//! Who hides their read receipts: nobody else is told how far they have read, and they
//! are not told how far others have.

use std::collections::HashSet;

use magpie_protocol::id::UserId;
use uuid::Uuid;

use super::session::{Failure, Session, get_id, uuid};

const HIDE: &str = "INSERT INTO hidden_receipts (user_key) VALUES ($1) ON CONFLICT DO NOTHING";

const SHOW: &str = "DELETE FROM hidden_receipts WHERE user_key = $1";

const FIND_HIDING: &str = "
    SELECT u.user_id
      FROM users u JOIN hidden_receipts h ON h.user_key = u.key
     WHERE u.user_id = ANY($1)";

/// How far a member (`k`, of `m`) has read, as another one is told: one who hides it reads
/// as one who has read nothing.
macro_rules! read_seq_told {
    ($to:literal) => {
        concat!(
            " CASE WHEN m.user_key = ",
            $to,
            " OR NOT EXISTS (SELECT FROM hidden_receipts h WHERE h.user_key = m.user_key)
                 AND NOT EXISTS (SELECT FROM hidden_receipts h WHERE h.user_key = ",
            $to,
            ") THEN coalesce(k.read_seq, 0) ELSE 0 END "
        )
    };
}
pub(super) use read_seq_told;

/// From now on it is so.
pub(super) async fn set(session: Session<'_>, user: i64, hidden: bool) -> Result<(), Failure> {
    let sql = if hidden { HIDE } else { SHOW };
    session.execute(sql, &[&user]).await?;
    Ok(())
}

pub(super) async fn hiding(
    session: Session<'_>,
    users: &[UserId],
) -> Result<HashSet<UserId>, Failure> {
    let users: Vec<Uuid> = users.iter().map(|user| uuid(user.bytes())).collect();
    let rows = session.rows(FIND_HIDING, &[&users]).await?;
    let users = rows.iter().map(|row| Ok(UserId::new(get_id(row, 0)?)));
    users.collect()
}
