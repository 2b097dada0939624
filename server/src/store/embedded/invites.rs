//! Who may join a group by themself.

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
    wire::{FetchListed, InviteBounds, v1},
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    listed::listed,
    rows::{signed, unsigned},
};
use crate::store::{
    InviteHash, Refusal, StoreError,
    rules::{Action, Invite, InviteChange, Place},
};

const FIND_BY_HASH: &str = "
    SELECT seq, expires_at_ms, uses_max, uses FROM invites
     WHERE conversation = ?1 AND hash = ?2";

pub(super) fn by_hash(
    connection: &Connection,
    place: Place,
    hash: &InviteHash,
) -> Result<Option<Invite>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_BY_HASH)?;
    let found = statement.query_row(params![place.key, hash.bytes()], |row| {
        Ok(Invite {
            seq: Seq::new(unsigned(row.get(0)?)),
            bounds: InviteBounds::of(row.get(1)?, row.get(2)?),
            uses: unsigned(row.get(3)?),
        })
    });
    Ok(found.optional()?)
}

pub(super) fn is_there(
    connection: &Connection,
    place: Place,
    seq: Seq,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM invites WHERE conversation = ?1 AND seq = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.exists([place.key, signed(seq.get())])?)
}

/// How many are of use.
pub(super) fn count(connection: &Connection, place: Place, now_ms: i64) -> Result<u64, StoreError> {
    let sql = "
        SELECT count(*) FROM invites
         WHERE conversation = ?1 AND (expires_at_ms = 0 OR expires_at_ms > ?2)
           AND (uses_max = 0 OR uses < uses_max)";
    let mut statement = connection.prepare_cached(sql)?;
    let count = statement.query_row([place.key, now_ms], |row| row.get(0))?;
    Ok(unsigned(count))
}

const FORGET: &str = "
    DELETE FROM invites
     WHERE conversation = ?1 AND (expires_at_ms BETWEEN 1 AND ?2
                                  OR (uses_max > 0 AND uses >= uses_max))";

const INSERT: &str = "
    INSERT INTO invites (conversation, seq, hash, expires_at_ms, uses_max)
    VALUES (?1, ?2, ?3, ?4, ?5)";

/// Writes what goes with the event at `by`.
pub(super) fn write(
    connection: &Connection,
    (conversation, by): (i64, i64),
    change: InviteChange,
    now_ms: i64,
) -> Result<(), StoreError> {
    match change {
        InviteChange::Create(hash, bounds) => {
            create(connection, (conversation, by), hash, bounds, now_ms)
        }
        InviteChange::Revoke(seq) => revoke(connection, conversation, seq),
        InviteChange::Use(seq) => used(connection, conversation, seq),
    }
}

fn create(
    connection: &Connection,
    (conversation, by): (i64, i64),
    hash: InviteHash,
    bounds: InviteBounds,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut forget = connection.prepare_cached(FORGET)?;
    forget.execute([conversation, now_ms])?;
    let mut insert = connection.prepare_cached(INSERT)?;
    insert.execute(params![
        conversation,
        by,
        hash.bytes(),
        bounds.expires_at_ms.unwrap_or(0),
        bounds.uses_max.unwrap_or(0)
    ])?;
    Ok(())
}

fn revoke(connection: &Connection, conversation: i64, seq: Seq) -> Result<(), StoreError> {
    let sql = "DELETE FROM invites WHERE conversation = ?1 AND seq = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute([conversation, signed(seq.get())])?;
    Ok(())
}

fn used(connection: &Connection, conversation: i64, seq: Seq) -> Result<(), StoreError> {
    let sql = "UPDATE invites SET uses = uses + 1 WHERE conversation = ?1 AND seq = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute([conversation, signed(seq.get())])?;
    Ok(())
}

const FIND_PAGE: &str = "
    SELECT i.seq, u.user_id, u.name, e.committed_at_ms, i.expires_at_ms, i.uses_max, i.uses
      FROM invites i
      JOIN events e ON e.conversation = i.conversation AND e.seq = i.seq
      JOIN users u ON u.key = e.sender
     WHERE i.conversation = ?1 AND i.seq > ?2
     ORDER BY i.seq LIMIT ?3";

pub(super) fn invites(
    connection: &Connection,
    user: UserId,
    request: &FetchListed,
) -> Result<Result<v1::Invites, Refusal>, StoreError> {
    let listed = listed(
        connection,
        user,
        request,
        (Action::Invite, FIND_PAGE),
        |row| {
            Ok(v1::Invite {
                seq: unsigned(row.get(0)?),
                creator: Some(v1::User {
                    user_id: UserId::new(row.get(1)?).to_wire(),
                    name: row.get(2)?,
                }),
                created_at_ms: row.get(3)?,
                expires_at_ms: row.get(4)?,
                uses_max: row.get(5)?,
                uses: row.get(6)?,
            })
        },
    )?;
    Ok(listed.map(|(invites, complete)| v1::Invites {
        invites,
        complete,
        ..Default::default()
    }))
}

/// As `rules::join` decides it, so that nothing is promised that is not kept.
const FIND_PREVIEW: &str = "
    SELECT c.title, c.member_count
      FROM conversations c JOIN invites i ON i.conversation = c.key
     WHERE c.conversation_id = ?1 AND i.hash = ?2 AND c.member_count > 0
       AND (i.expires_at_ms = 0 OR i.expires_at_ms > ?3)
       AND (i.uses_max = 0 OR i.uses < i.uses_max)
       AND NOT EXISTS (SELECT 1 FROM bans b JOIN users u ON u.key = b.user
                        WHERE b.conversation = c.key AND u.user_id = ?4)";

pub(super) fn preview(
    connection: &Connection,
    user: UserId,
    (conversation, hash): (ConversationId, InviteHash),
    now_ms: i64,
) -> Result<Option<v1::InvitePreview>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_PREVIEW)?;
    let params = params![conversation.bytes(), hash.bytes(), now_ms, user.bytes()];
    let found = statement.query_row(params, |row| {
        Ok(v1::InvitePreview {
            title: row.get(0)?,
            member_count: unsigned(row.get(1)?),
            ..Default::default()
        })
    });
    Ok(found.optional()?)
}
