//! What events did to the members of a conversation, and to a group itself.

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
    database::{events, stored},
    error::LocalError,
    model::User,
    raw,
};

/// What an event did to the members, or to the group.
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
}

impl Change {
    pub(super) fn of(content: Option<&v1::EventContent>, sender: Option<UserId>) -> Option<Self> {
        use v1::event_content::Kind;
        let users = |users: &[v1::User]| {
            let users = users.iter().cloned();
            users.filter_map(events::user).collect()
        };
        let user = |it: Option<&v1::User>| it.cloned().and_then(events::user).map(|it| it.id);
        Some(match content?.kind.as_ref()? {
            Kind::Message(_)
            | Kind::MessageEdited(_)
            | Kind::MessageDeleted(_)
            | Kind::Reacted(_)
            | Kind::AccountChanged(_)
            | Kind::Hidden(_) => return None,
            Kind::GroupCreated(it) => Self::Created {
                title: it.title.clone(),
                members: users(&it.members),
                owner: sender,
            },
            Kind::MembersAdded(it) => Self::Added(users(&it.members)),
            Kind::MemberRemoved(it) => Self::Removed(user(it.member.as_ref())?, None),
            Kind::MemberLeft(it) => Self::Removed(sender?, user(it.heir.as_ref())),
            Kind::GroupUpdated(it) => Self::Group(it.clone()),
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
            Self::Role(..) | Self::Group(_) => 0,
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
                    announcement_only = coalesce(?4, announcement_only)
              WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            it.title,
            it.description,
            it.announcement_only
        ])?;
    Ok(())
}

/// The stored changes of the members, and of the group, above a seq, in order.
pub(super) fn changes_above(
    transaction: &Transaction<'_>,
    id: ConversationId,
    above: Seq,
) -> Result<Vec<Change>, LocalError> {
    let raw: Vec<Vec<u8>> = transaction
        .prepare_cached(
            "SELECT raw FROM events
              WHERE conversation = ?1 AND seq > ?2 AND (kind BETWEEN ?3 AND ?4 OR kind IN (?5, ?6))
              ORDER BY seq",
        )?
        .query_map(
            params![
                id.bytes(),
                stored(above),
                events::GROUP_CREATED,
                events::MEMBER_LEFT,
                events::ROLE_CHANGED,
                events::GROUP_UPDATED
            ],
            |row| row.get(0),
        )?
        .collect::<Result<_, _>>()?;
    let changes = raw.into_iter().filter_map(|raw| {
        let event = raw::event(&Bytes::from(raw));
        let sender = event.sender.clone().and_then(events::user);
        Change::of(event.content.as_ref(), sender.map(|user| user.id))
    });
    Ok(changes.collect())
}
