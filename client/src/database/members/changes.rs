//! What events did to the members of a conversation, to a group itself, and to what is
//! pinned.

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, UserId},
    role::Role,
    seq::Seq,
    wire::v1,
};
use rusqlite::{Transaction, params};

use super::{add, give, hand_over, remove};
use crate::{
    database::{events, pins, stored},
    error::LocalError,
    model::User,
    raw,
};

/// What an event did to the members, to the group, or to what is pinned.
pub(super) enum Change {
    Created {
        title: String,
        members: Vec<User>,
        owner: Option<UserId>,
    },
    Added(Vec<User>),
    /// Who, and whose the group is then, if it was theirs.
    Removed(UserId, Option<UserId>),
    Role(UserId, Option<Role>),
    /// Of the group itself.
    Group(v1::GroupUpdated),
    /// A message is pinned, or is not any more.
    Pin(Seq, bool),
}

impl Change {
    pub(super) fn of(content: Option<&v1::EventContent>, sender: Option<User>) -> Option<Self> {
        use v1::event_content::Kind;
        let users = |users: &[v1::User]| {
            let users = users.iter().cloned();
            users.filter_map(events::user).collect()
        };
        let user = |it: Option<&v1::User>| it.cloned().and_then(events::user).map(|it| it.id);
        Some(match content?.kind.as_ref()? {
            Kind::Message(_)
            | Kind::MessageEdited(_)
            | Kind::Reacted(_)
            | Kind::InviteCreated(_)
            | Kind::InviteRevoked(_)
            | Kind::AccountChanged(_)
            | Kind::FriendRequested(_)
            | Kind::FriendshipChanged(_)
            | Kind::Hidden(_) => return None,
            Kind::GroupCreated(it) => Self::Created {
                title: it.title.clone(),
                members: users(&it.members),
                owner: sender.map(|sender| sender.id),
            },
            Kind::MembersAdded(it) => Self::Added(users(&it.members)),
            Kind::MemberJoined(_) => Self::Added(vec![sender?]),
            Kind::MemberBanned(it) if !it.removed => return None,
            Kind::MemberBanned(it) => Self::Removed(user(it.member.as_ref())?, None),
            Kind::MemberRemoved(it) => Self::Removed(user(it.member.as_ref())?, None),
            Kind::MemberLeft(it) => Self::Removed(sender?.id, user(it.heir.as_ref())),
            Kind::GroupUpdated(it) => Self::Group(it.clone()),
            Kind::Pinned(it) => Self::Pin(Seq::new(it.seq), it.pinned),
            Kind::MessageDeleted(it) => Self::Pin(Seq::new(it.seq), false),
            Kind::RoleChanged(it) => {
                let role = Role::from_number(it.role.into());
                Self::Role(user(it.member.as_ref())?, role)
            }
        })
    }

    /// How many members more there are behind it.
    pub(super) fn count(&self) -> i64 {
        match self {
            Self::Created { members, .. } | Self::Added(members) => {
                i64::try_from(members.len()).unwrap_or(i64::MAX)
            }
            Self::Removed(..) => -1,
            Self::Role(..) | Self::Group(_) | Self::Pin(..) => 0,
        }
    }

    /// Changes the list; a second time changes nothing.
    pub(super) fn apply(
        &self,
        transaction: &Transaction<'_>,
        id: ConversationId,
    ) -> Result<(), LocalError> {
        match self {
            Self::Created { members, owner, .. } => {
                for user in members {
                    add(transaction, id, user)?;
                }
                if let Some(owner) = owner {
                    hand_over(transaction, id, *owner)?;
                }
            }
            Self::Added(members) => {
                for user in members {
                    add(transaction, id, user)?;
                }
            }
            Self::Removed(user, heir) => {
                remove(transaction, id, *user)?;
                if let Some(heir) = heir {
                    hand_over(transaction, id, *heir)?;
                }
            }
            Self::Role(user, Some(Role::Owner)) => hand_over(transaction, id, *user)?,
            Self::Role(user, role) => give(transaction, id, *user, *role)?,
            Self::Group(it) => update(transaction, id, it)?,
            Self::Pin(seq, pinned) => pins::set(transaction, id, *seq, *pinned)?,
        }
        Ok(())
    }
}

fn update(
    transaction: &Transaction<'_>,
    id: ConversationId,
    it: &v1::GroupUpdated,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached(
            "UPDATE conversations
                SET title = coalesce(?2, title), description = coalesce(?3, description),
                    announcement_only = coalesce(?4, announcement_only),
                    photo = coalesce(?5, photo),
                    history_for_newcomers = coalesce(?6, history_for_newcomers)
              WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            it.title,
            it.description,
            it.announcement_only,
            it.photo.as_ref().map(Bytes::as_ref),
            it.history_for_newcomers
        ])?;
    Ok(())
}

/// The stored changes above a seq, in order.
pub(super) fn changes_above(
    transaction: &Transaction<'_>,
    id: ConversationId,
    above: Seq,
) -> Result<Vec<Change>, LocalError> {
    let raw: Vec<Vec<u8>> = transaction
        .prepare_cached(
            "SELECT raw FROM events
              WHERE conversation = ?1 AND seq > ?2 AND (kind BETWEEN ?3 AND ?4 OR kind IN (?5, ?6, ?7, ?8, ?9, ?10))
              ORDER BY seq",
        )?
        .query_map(
            params![
                id.bytes(),
                stored(above),
                events::GROUP_CREATED,
                events::MEMBER_LEFT,
                events::ROLE_CHANGED,
                events::GROUP_UPDATED,
                events::PINNED,
                events::DELETED,
                events::MEMBER_BANNED,
                events::MEMBER_JOINED
            ],
            |row| row.get(0),
        )?
        .collect::<Result<_, _>>()?;
    let changes = raw.into_iter().filter_map(|raw| {
        let event = raw::event(&Bytes::from(raw));
        let sender = event.sender.clone().and_then(events::user);
        Change::of(event.content.as_ref(), sender)
    });
    Ok(changes.collect())
}
