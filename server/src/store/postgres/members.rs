//! The members of a conversation, page by page.

use magpie_protocol::{
    id::UserId,
    wire::{FetchMembers, v1},
};
use uuid::Uuid;

use super::{
    describe::member,
    receipts::read_seq_told,
    rows,
    session::{Failure, Params, Session, get, get_count, uuid},
};

/// Where the membership of somebody who is a member began, and the newest event.
const FIND_BEGINNING: &str = "
    SELECT m.from_position,
           (SELECT e.seq FROM events e WHERE e.conversation_key = $2
             ORDER BY e.seq DESC LIMIT 1)
      FROM members m
     WHERE m.user_key = $1 AND m.conversation_key = $2 AND m.to_position = 9223372036854775807";

/// Who was a member at some time behind a position.
const FIND_PLACE: &str = "
    SELECT u.key FROM users u
     WHERE u.user_id = $1
       AND EXISTS (SELECT FROM members m
                    WHERE m.user_key = u.key AND m.conversation_key = $2 AND m.to_position > $3)";

/// Members in the order of their keys, which no client sees.
pub(super) const FIND_PAGE: &str = concat!(
    "SELECT m.user_key, u.user_id, u.name, 0::bigint,",
    read_seq_told!("$4", "$1"),
    ", 0::bigint, m.role, b.delivered_seq, b.read_seq
      FROM (SELECT user_key, role FROM members
             WHERE conversation_key = $1 AND to_position = 9223372036854775807
               AND user_key > $2
             ORDER BY user_key LIMIT $3) m
      JOIN users u ON u.key = m.user_key
      LEFT JOIN marks k ON k.user_key = m.user_key AND k.conversation_key = $1
      LEFT JOIN blocks b ON b.user_key = m.user_key AND b.blocked_key = $4 AND m.role = 0
     ORDER BY m.user_key"
);

pub(super) async fn members(
    session: Session<'_>,
    user: UserId,
    request: FetchMembers,
) -> Result<Option<v1::Members>, Failure> {
    let user = rows::user_key(session, user).await?;
    let conversation = rows::conversation_key(session, request.conversation).await?;
    let (Some(user), Some(conversation)) = (user, conversation) else {
        return Ok(None);
    };
    let Some(membership) = session
        .first(FIND_BEGINNING, &[&user, &conversation])
        .await?
    else {
        return Ok(None);
    };
    let head = get_count(&membership, 1)?;
    let after: i64 = match request.after {
        None => 0,
        Some(after) => {
            let (after, began_at): (Uuid, i64) = (uuid(after.bytes()), get(&membership, 0)?);
            let params: Params<'_> = &[&after, &conversation, &began_at];
            match session.first(FIND_PLACE, params).await? {
                Some(place) => get(&place, 0)?,
                // Where they are in the order is not this user's to know.
                None => return Ok(None),
            }
        }
    };
    let limit = i64::from(request.limit);
    // One more than asked for tells whether there is more.
    let params: Params<'_> = &[&conversation, &after, &limit.saturating_add(1), &user];
    let rows = session.rows(FIND_PAGE, params).await?;
    let members = rows.iter().map(|row| member(row, head));
    let mut members: Vec<v1::Member> = members.collect::<Result<_, _>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let complete = members.len() <= limit;
    members.truncate(limit);
    Ok(Some(v1::Members {
        members,
        complete,
        at_seq: head,
        ..Default::default()
    }))
}
