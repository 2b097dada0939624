//! Who is kept out of a group.

use std::sync::Arc;

use magpie_protocol::{
    role::Role,
    wire::v1::{self, event_content::Kind},
};

use super::{
    Aside, ConversationKind, Effect, Joined, Members, Person, Scene,
    roles::{Action, may},
};
use crate::store::{Refusal, event::EventKind};

/// Somebody is kept out from here on, or not any more. They have this role if they are a
/// member, and are banned now or not.
pub(in crate::store) fn ban(
    joined: Joined,
    sender: &Person,
    (person, role): (Arc<Person>, Option<Role>),
    is_banned: bool,
    banned: bool,
) -> Result<Effect, Refusal> {
    if person.key == sender.key {
        return Err(Refusal::NotPossible);
    }
    // Who is no member is kept out by whoever could remove a member.
    if !may(joined.role, Action::Remove(role.unwrap_or(Role::Member))) {
        return Err(Refusal::NotAllowed);
    }
    if is_banned == banned {
        return Err(Refusal::NothingToDo);
    }
    let removed = role.is_some();
    let content = v1::MemberBanned {
        member: Some(person.to_wire()),
        banned,
        removed,
    };
    let members = match removed {
        true => Members::Leave {
            person: Arc::clone(&person),
            heir: None,
        },
        false => Members::Same,
    };
    Ok(Effect {
        scene: Scene::In(joined.place),
        kind: EventKind::MemberBanned,
        content: Kind::MemberBanned(content),
        members,
        aside: match banned {
            true => Aside::Ban(person),
            false => Aside::Unban(person),
        },
    })
}

/// Whether a member with this role may see who is kept out, or other lists of who looks after
/// the group.
pub(in crate::store) fn may_list(
    kind: ConversationKind,
    role: Role,
    action: Action,
) -> Result<(), Refusal> {
    if kind != ConversationKind::Group {
        return Err(Refusal::NotPossible);
    }
    match may(role, action) {
        true => Ok(()),
        false => Err(Refusal::NotAllowed),
    }
}
