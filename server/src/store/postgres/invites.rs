//! Who may join a group by themself.

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
    wire::{FetchListed, InviteBounds, v1},
};
use tokio_postgres::Row;

use super::{
    listed::listed,
    session::{Failure, Params, Session, get, get_count, get_id, signed, uuid},
};
use crate::store::{
    InviteHash, Refusal,
    rules::{Action, Invite, InviteChange, Place},
};

const FIND_BY_HASH: &str = "
    SELECT seq, expires_at_ms, uses_max, uses FROM invites
     WHERE conversation_key = $1 AND hash = $2";

pub(super) async fn by_hash(
    session: Session<'_>,
    place: Place,
    hash: &InviteHash,
) -> Result<Option<Invite>, Failure> {
    let hash = hash.bytes();
    let params: Params<'_> = &[&place.key, &hash.as_slice()];
    let Some(row) = session.first(FIND_BY_HASH, params).await? else {
        return Ok(None);
    };
    Ok(Some(Invite {
        seq: Seq::new(get_count(&row, 0)?),
        bounds: InviteBounds::of(get(&row, 1)?, small(&row, 2)?),
        uses: get_count(&row, 3)?,
    }))
}

/// A count that came as 32 bits.
fn small(row: &Row, column: usize) -> Result<u32, Failure> {
    let count = get_count(row, column)?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(super) async fn is_there(
    session: Session<'_>,
    place: Place,
    seq: Seq,
) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM invites WHERE conversation_key = $1 AND seq = $2";
    let found = session
        .first(sql, &[&place.key, &signed(seq.get())])
        .await?;
    Ok(found.is_some())
}

/// How many are of use.
pub(super) async fn count(session: Session<'_>, place: Place, now_ms: i64) -> Result<u64, Failure> {
    let sql = "
        SELECT count(*) FROM invites
         WHERE conversation_key = $1 AND (expires_at_ms = 0 OR expires_at_ms > $2)
           AND (uses_max = 0 OR uses < uses_max)";
    get_count(&session.one(sql, &[&place.key, &now_ms]).await?, 0)
}

const FORGET: &str = "
    DELETE FROM invites
     WHERE conversation_key = $1 AND (expires_at_ms BETWEEN 1 AND $2
                                      OR (uses_max > 0 AND uses >= uses_max))";

const INSERT: &str = "
    INSERT INTO invites (conversation_key, seq, hash, expires_at_ms, uses_max)
    VALUES ($1, $2, $3, $4, $5)";

/// Writes what goes with the event at `by`.
pub(super) async fn write(
    session: Session<'_>,
    (conversation, by): (i64, i64),
    change: InviteChange,
    now_ms: i64,
) -> Result<(), Failure> {
    match change {
        InviteChange::Create(hash, bounds) => {
            create(session, (conversation, by), hash, bounds, now_ms).await
        }
        InviteChange::Revoke(seq) => revoke(session, conversation, seq).await,
        InviteChange::Use(seq) => used(session, conversation, seq).await,
    }
}

async fn create(
    session: Session<'_>,
    (conversation, by): (i64, i64),
    hash: InviteHash,
    bounds: InviteBounds,
    now_ms: i64,
) -> Result<(), Failure> {
    session.execute(FORGET, &[&conversation, &now_ms]).await?;
    let hash = hash.bytes();
    let expires_at_ms = bounds.expires_at_ms.unwrap_or(0);
    let uses_max = i64::from(bounds.uses_max.unwrap_or(0));
    let params: Params<'_> = &[
        &conversation,
        &by,
        &hash.as_slice(),
        &expires_at_ms,
        &uses_max,
    ];
    session.execute(INSERT, params).await?;
    Ok(())
}

async fn revoke(session: Session<'_>, conversation: i64, seq: Seq) -> Result<(), Failure> {
    let sql = "DELETE FROM invites WHERE conversation_key = $1 AND seq = $2";
    session
        .execute(sql, &[&conversation, &signed(seq.get())])
        .await?;
    Ok(())
}

async fn used(session: Session<'_>, conversation: i64, seq: Seq) -> Result<(), Failure> {
    let sql = "UPDATE invites SET uses = uses + 1 WHERE conversation_key = $1 AND seq = $2";
    session
        .execute(sql, &[&conversation, &signed(seq.get())])
        .await?;
    Ok(())
}

const FIND_PAGE: &str = "
    SELECT i.seq, u.user_id, u.name, e.committed_at_ms, i.expires_at_ms, i.uses_max, i.uses
      FROM invites i
      JOIN events e ON e.conversation_key = i.conversation_key AND e.seq = i.seq
      JOIN users u ON u.key = e.sender_key
     WHERE i.conversation_key = $1 AND i.seq > $2
     ORDER BY i.seq LIMIT $3";

pub(super) async fn invites(
    session: Session<'_>,
    user: UserId,
    request: &FetchListed,
) -> Result<Result<v1::Invites, Refusal>, Failure> {
    let list = (Action::Invite, FIND_PAGE);
    let listed = listed(session, user, request, list, |row| {
        Ok(v1::Invite {
            seq: get_count(row, 0)?,
            creator: Some(v1::User {
                user_id: UserId::new(get_id(row, 1)?).to_wire(),
                name: get(row, 2)?,
            }),
            created_at_ms: get(row, 3)?,
            expires_at_ms: get(row, 4)?,
            uses_max: small(row, 5)?,
            uses: small(row, 6)?,
        })
    });
    Ok(listed.await?.map(|(invites, complete)| v1::Invites {
        invites,
        complete,
        ..Default::default()
    }))
}

/// As `rules::join` decides it, so that nothing is promised that is not kept.
const FIND_PREVIEW: &str = "
    SELECT c.title, c.member_count
      FROM conversations c JOIN invites i ON i.conversation_key = c.key
     WHERE c.conversation_id = $1 AND i.hash = $2 AND c.member_count > 0
       AND (i.expires_at_ms = 0 OR i.expires_at_ms > $3)
       AND (i.uses_max = 0 OR i.uses < i.uses_max)
       AND NOT EXISTS (SELECT FROM bans b JOIN users u ON u.key = b.user_key
                        WHERE b.conversation_key = c.key AND u.user_id = $4)";

pub(super) async fn preview(
    session: Session<'_>,
    user: UserId,
    (conversation, hash): (ConversationId, InviteHash),
    now_ms: i64,
) -> Result<Option<v1::InvitePreview>, Failure> {
    let (conversation, user) = (uuid(conversation.bytes()), uuid(user.bytes()));
    let hash = hash.bytes();
    let params: Params<'_> = &[&conversation, &hash.as_slice(), &now_ms, &user];
    let Some(row) = session.first(FIND_PREVIEW, params).await? else {
        return Ok(None);
    };
    Ok(Some(v1::InvitePreview {
        title: get(&row, 0)?,
        member_count: get_count(&row, 1)?,
        ..Default::default()
    }))
}
