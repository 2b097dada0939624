//! Who is whose friend, as the events of direct conversations say: the newest one holds, in
//! whatever order they come.

use magpie_protocol::{
    friendship::{FriendAction, Friendship},
    id::{ConversationId, UserId},
    seq::Seq,
    setting::Reach,
    text::UserName,
    wire::v1::{self, client_frame::Body, event_content::Kind},
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{
    Database, NewEvent,
    account::{self, Me},
    conversation_at, conversations,
    events::{BLANK, FRIEND_REQUESTED, FRIENDSHIP_CHANGED, MESSAGE},
    profiles,
    requests::decode,
    seq_at, settings, stored, user_at,
};
use crate::{
    error::LocalError,
    model::{Friend, User},
    raw,
    request::{Acceptance, Recipient},
};

/// How this user and the other one stand from an event on, if it says so.
fn said(me: &Me, content: Option<&v1::EventContent>, sender: Option<UserId>) -> Option<Friendship> {
    let kind = content?.kind.as_ref()?;
    if let Kind::FriendRequested(_) = kind {
        return Some(match sender == Some(me.user) {
            true => Friendship::Asked,
            false => Friendship::WasAsked,
        });
    }
    let Kind::FriendshipChanged(it) = kind else {
        return None;
    };
    Some(match it.friends {
        true => Friendship::Friends,
        false => Friendship::None,
    })
}

/// Takes over what a new event says.
pub(super) fn follow(
    transaction: &Transaction<'_>,
    me: &Me,
    event: &NewEvent,
) -> Result<(), LocalError> {
    if event.sender == Some(me.user) && matches!(event.kind(), MESSAGE | BLANK) {
        transaction
            .prepare_cached("UPDATE conversations SET answered = 1 WHERE id = ?1 AND NOT answered")?
            .execute([event.conversation.bytes()])?;
    }
    let Some(friendship) = said(me, event.event.content.as_ref(), event.sender) else {
        return Ok(());
    };
    stands(transaction, event.conversation, friendship, event.seq)
}

/// They stand so from this event on, if no later one says otherwise.
fn stands(
    transaction: &Transaction<'_>,
    id: ConversationId,
    friendship: Friendship,
    since: Seq,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached(
            "UPDATE conversations SET friendship = ?2, friendship_seq = ?3
              WHERE id = ?1 AND friendship_seq <= ?3",
        )?
        .execute(params![id.bytes(), friendship.number(), stored(since)])?;
    Ok(())
}

/// Takes over what a description says, and what the stored events behind it do.
pub(super) fn describe(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
    it: &v1::Conversation,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached(
            "UPDATE conversations
                SET friendship_seq = 0,
                    answered = ?2 OR EXISTS (SELECT 1 FROM events e
                                              WHERE e.conversation = ?1 AND e.sender = ?3
                                                AND e.kind IN (?4, ?5))
              WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            it.answered,
            me.user.bytes(),
            MESSAGE,
            BLANK
        ])?;
    let friendship = Friendship::from_number(it.friendship.into()).unwrap_or_default();
    stands(transaction, id, friendship, Seq::new(it.friendship_seq))?;
    let since: Vec<(Seq, Vec<u8>)> = transaction
        .prepare_cached(
            "SELECT seq, raw FROM events
              WHERE conversation = ?1 AND seq > ?2 AND kind IN (?3, ?4) ORDER BY seq",
        )?
        .query_map(
            params![
                id.bytes(),
                stored(Seq::new(it.head_seq)),
                FRIEND_REQUESTED,
                FRIENDSHIP_CHANGED
            ],
            |row| Ok((seq_at(row, 0)?, row.get(1)?)),
        )?
        .collect::<Result<_, _>>()?;
    for (seq, raw) in since {
        let event = NewEvent::parse(raw::event(&raw.clone().into()), raw.into());
        let Some(event) = event else { continue };
        if let Some(friendship) = said(me, event.event.content.as_ref(), event.sender) {
            stands(transaction, id, friendship, seq)?;
        }
    }
    Ok(())
}

/// The event that says how the user and this one stand, if their conversation is here; its
/// first one, if none does.
pub(super) fn place(
    transaction: &Transaction<'_>,
    name: &str,
) -> Result<Option<(ConversationId, Seq)>, LocalError> {
    let Ok(name) = UserName::parse(name) else {
        return Ok(None);
    };
    let Some(id) = conversations::resolve(transaction, &Recipient::User(name))? else {
        return Ok(None);
    };
    let seq = transaction
        .prepare_cached("SELECT max(friendship_seq, 1) FROM conversations WHERE id = ?1")?
        .query_row([id.bytes()], |row| seq_at(row, 0))?;
    Ok(Some((id, seq)))
}

/// How they stand when the user has done this, as far as the user knows.
const fn after(action: FriendAction, before: Friendship) -> Friendship {
    match (action, before) {
        (FriendAction::Request, Friendship::None) => Friendship::Asked,
        (FriendAction::Request | FriendAction::Accept, Friendship::WasAsked) => Friendship::Friends,
        (FriendAction::Cancel, Friendship::Asked) | (FriendAction::Remove, Friendship::Friends) => {
            Friendship::None
        }
        (_, as_before) => as_before,
    }
}

/// What the user has done is committed, and its event on its way.
pub(super) fn accepted(
    transaction: &Transaction<'_>,
    at: Acceptance,
    it: &v1::ChangeFriendship,
) -> Result<(), LocalError> {
    let Some(action) = FriendAction::from_number(it.action.into()) else {
        return Ok(());
    };
    conversations::ensure_direct(transaction, at.conversation, &it.user_name)?;
    let before: i64 = transaction
        .prepare_cached("SELECT friendship FROM conversations WHERE id = ?1")?
        .query_row([at.conversation.bytes()], |row| row.get(0))?;
    let before = Friendship::from_number(before).unwrap_or_default();
    stands(transaction, at.conversation, after(action, before), at.seq)
}

/// What waits in the outbox does to how they stand.
fn waiting(
    connection: &Connection,
    id: ConversationId,
    mut friendship: Friendship,
) -> Result<(Friendship, bool), LocalError> {
    let mut ask = connection.prepare_cached(
        "SELECT frame FROM outbox
          WHERE conversation = ?1 AND target IS NOT NULL AND code IS NULL ORDER BY place",
    )?;
    let mut rows = ask.query([id.bytes()])?;
    let mut is_pending = false;
    while let Some(row) = rows.next()? {
        let frame: Vec<u8> = row.get(0)?;
        let Some(Body::ChangeFriendship(it)) = decode(&frame) else {
            continue;
        };
        let Some(action) = FriendAction::from_number(it.action.into()) else {
            continue;
        };
        is_pending = true;
        friendship = after(action, friendship);
    }
    Ok((friendship, is_pending))
}

/// How the user stands with the other member of a direct conversation.
pub(super) fn friendship(
    connection: &Connection,
    id: ConversationId,
) -> Result<Friendship, LocalError> {
    let found: Option<i64> = connection
        .prepare_cached("SELECT friendship FROM conversations WHERE id = ?1")?
        .query_row([id.bytes()], |row| row.get(0))
        .optional()?;
    let friendship = found.and_then(Friendship::from_number).unwrap_or_default();
    Ok(waiting(connection, id, friendship)?.0)
}

/// Whether what the other member of a direct conversation writes is a request: the user lets
/// friends alone write, has neither them as a friend nor asked them to be one, and has said nothing there.
pub(super) fn is_request(
    connection: &Connection,
    id: ConversationId,
    friendship: Friendship,
) -> Result<bool, LocalError> {
    let is_known = match friendship {
        Friendship::Friends | Friendship::Asked => true,
        Friendship::None | Friendship::WasAsked => false,
    };
    if is_known || settings::messages_from(connection)? == Reach::Everybody {
        return Ok(false);
    }
    let answered: Option<bool> = connection
        .prepare_cached("SELECT answered FROM conversations WHERE id = ?1")?
        .query_row([id.bytes()], |row| row.get(0))
        .optional()?;
    Ok(answered == Some(false))
}

fn friend(connection: &Connection, row: &Row<'_>) -> Result<Friend, LocalError> {
    let (conversation, seq) = (conversation_at(row, 0)?, seq_at(row, 4)?);
    let user = User {
        id: user_at(row, 1)?,
        name: row.get(2)?,
    };
    let friendship = Friendship::from_number(row.get(3)?).unwrap_or_default();
    let (friendship, is_pending) = waiting(connection, conversation, friendship)?;
    let is_declined =
        friendship == Friendship::WasAsked && settings::declined(connection, user.id)? >= seq;
    Ok(Friend {
        conversation,
        contact: settings::contact(connection, &user)?,
        profile: profiles::profile(connection, user.id)?,
        user,
        friendship,
        seq,
        is_pending,
        is_declined,
    })
}

impl Database {
    /// Those with whom there is something, or will be, or with this name.
    fn find_friends(&mut self, name: Option<&UserName>) -> Result<Vec<Friend>, LocalError> {
        let view = self.connection.transaction()?;
        let Ok(me) = account::me(&view) else {
            return Ok(Vec::new());
        };
        let mut ask = view.prepare_cached(
            "SELECT c.id, m.user_id, m.name, c.friendship, c.friendship_seq
               FROM conversations c JOIN members m ON m.conversation = c.id AND m.user_id <> ?1
              WHERE c.kind = 1 AND CASE WHEN ?2 IS NULL
                    THEN c.friendship <> 0 OR EXISTS (
                         SELECT 1 FROM outbox o
                          WHERE o.conversation = c.id AND o.target IS NOT NULL)
                    ELSE m.name = ?2 END
              ORDER BY m.name",
        )?;
        let mut rows = ask.query(params![me.user.bytes(), name.map(UserName::as_str)])?;
        let mut friends = Vec::new();
        while let Some(row) = rows.next()? {
            friends.push(friend(&view, row)?);
        }
        Ok(friends)
    }

    pub(crate) fn friends(&mut self) -> Result<Vec<Friend>, LocalError> {
        let mut friends = self.find_friends(None)?;
        friends.retain(|it| !it.is_declined && (it.friendship != Friendship::None));
        Ok(friends)
    }

    pub(crate) fn friend(&mut self, name: &UserName) -> Result<Option<Friend>, LocalError> {
        Ok(self.find_friends(Some(name))?.pop())
    }
}
