//! Who may do what in a group: the one table of it, and the roles themselves.

use std::sync::Arc;

use magpie_protocol::{
    role::Role,
    wire::v1::{self, event_content::Kind},
};

use super::{Aside, ConversationKind, Effect, Joined, Members, Person, Scene};
use crate::store::{Refusal, StoreError, event::EventKind};

/// A role as it is stored; 0 in a direct conversation and an account log, where all are
/// members.
pub(in crate::store) fn stored_role(number: i64) -> Result<Role, StoreError> {
    let role = Role::from_number(number.max(1));
    role.ok_or_else(|| StoreError::Corrupt {
        what: format!("a role of number {number}"),
    })
}

/// What a member wants to do, beyond what each may: read, write, react, and change what
/// they wrote themself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::store) enum Action {
    /// Add members.
    Add,
    /// Remove a member who has this role.
    Remove(Role),
    /// Give a member who has the first role the second one.
    SetRole(Role, Role),
    /// Delete a message of somebody else for everybody.
    DeleteOthers,
    /// Mention all members at once.
    MentionEverybody,
    /// Change what the group is called, says of itself, and lets its members do.
    Update,
    /// Write where only announcements are made.
    Announce,
    /// Pin messages, and take them off.
    Pin,
    /// Create, see and revoke invites.
    Invite,
}

/// Whether a member with this role of a group may do that.
pub(in crate::store) fn may(role: Role, action: Action) -> bool {
    match action {
        Action::Add => true,
        Action::Remove(other) => role >= Role::Admin && role > other,
        // Nobody takes the group from its owner.
        Action::SetRole(from, _) => role == Role::Owner && from != Role::Owner,
        Action::DeleteOthers
        | Action::MentionEverybody
        | Action::Update
        | Action::Announce
        | Action::Pin
        | Action::Invite => role >= Role::Admin,
    }
}

/// The same in a conversation of any kind: in a direct one there are no roles, and what
/// somebody wrote stays theirs.
pub(super) fn may_in(kind: ConversationKind, role: Role, action: Action) -> bool {
    match (kind, action) {
        (ConversationKind::Group, _) => may(role, action),
        (ConversationKind::Direct, Action::MentionEverybody | Action::Pin) => true,
        (
            ConversationKind::Direct,
            Action::Add
            | Action::Remove(_)
            | Action::SetRole(..)
            | Action::DeleteOthers
            | Action::Update
            | Action::Announce
            | Action::Invite,
        )
        | (ConversationKind::Account, _) => false,
    }
}

/// Another member, who has the role `from` now, gets the role `to`.
pub(in crate::store) fn set_role(
    joined: Joined,
    sender: &Arc<Person>,
    person: Arc<Person>,
    from: Option<Role>,
    to: Role,
) -> Result<Effect, Refusal> {
    if person.key == sender.key {
        return Err(Refusal::NotPossible);
    }
    let from = from.ok_or(Refusal::NotFound)?;
    if !may(joined.role, Action::SetRole(from, to)) {
        return Err(Refusal::NotAllowed);
    }
    if from == to {
        return Err(Refusal::NothingToDo);
    }
    let content = v1::RoleChanged {
        member: Some(person.to_wire()),
        role: to.to_wire().into(),
    };
    let mut roles = vec![(person, to)];
    if to == Role::Owner {
        roles.push((Arc::clone(sender), Role::Admin));
    }
    Ok(Effect {
        scene: Scene::In(joined.place),
        kind: EventKind::RoleChanged,
        content: Kind::RoleChanged(content),
        members: Members::SetRoles(roles),
        aside: Aside::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that may be done, and who may: member, admin, owner.
    #[test]
    fn each_role_may_what_the_table_says() {
        use Role::{Admin, Member, Owner};
        let mut table = vec![
            (Action::Add, [true, true, true]),
            (Action::Remove(Member), [false, true, true]),
            (Action::Remove(Admin), [false, false, true]),
            (Action::Remove(Owner), [false, false, false]),
            (Action::DeleteOthers, [false, true, true]),
            (Action::MentionEverybody, [false, true, true]),
            (Action::Update, [false, true, true]),
            (Action::Announce, [false, true, true]),
            (Action::Pin, [false, true, true]),
            (Action::Invite, [false, true, true]),
        ];
        for to in Role::ALL {
            table.push((Action::SetRole(Member, to), [false, false, true]));
            table.push((Action::SetRole(Admin, to), [false, false, true]));
            table.push((Action::SetRole(Owner, to), [false, false, false]));
        }
        for (action, expected) in table {
            let allowed = Role::ALL.map(|role| may(role, action));
            assert_eq!(allowed, expected, "{action:?}");
            let in_direct = may_in(ConversationKind::Direct, Member, action);
            let of_both = [Action::MentionEverybody, Action::Pin];
            assert_eq!(in_direct, of_both.contains(&action));
        }
    }

    /// Each role may all that the one before it may.
    #[test]
    fn a_higher_role_may_more() {
        let others = Role::ALL.map(Action::Remove).into_iter();
        let actions = others.chain([
            Action::Add,
            Action::DeleteOthers,
            Action::MentionEverybody,
            Action::Update,
            Action::Announce,
            Action::Pin,
            Action::Invite,
            Action::SetRole(Role::Member, Role::Admin),
        ]);
        for action in actions {
            let allowed = Role::ALL.map(|role| may(role, action));
            assert!(allowed.is_sorted(), "{action:?}");
        }
    }
}
