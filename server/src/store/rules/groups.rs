//! Who may be in a group.

use std::{collections::HashSet, sync::Arc};

use magpie_protocol::{
    id::MediaId,
    role::Role,
    text::Title,
    wire::{
        GroupUpdate,
        v1::{self, event_content::Kind},
    },
};

use super::{
    Aside, Attached, ConversationKind, Effect, Joined, Members, Person, Place, Scene,
    media::attach,
    roles::{Action, may},
};
use crate::store::{Refusal, event::EventKind};

/// How many members a group has and may have, and what who joins may read.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Count {
    pub(in crate::store) count: u64,
    pub(in crate::store) members_max: u64,
    /// All from the group's beginning.
    pub(in crate::store) from_beginning: bool,
}

/// Of those who are to be added, by their keys: who is a member, who is kept out, and who
/// lets friends alone add them, and not the sender.
#[derive(Debug, Default)]
pub(in crate::store) struct Named {
    pub(in crate::store) present: HashSet<i64>,
    pub(in crate::store) banned: HashSet<i64>,
    pub(in crate::store) closed: HashSet<i64>,
}

/// The people who were found by names, each once.
pub(in crate::store) fn each_once(
    found: impl IntoIterator<Item = Option<Arc<Person>>>,
) -> Result<Vec<Arc<Person>>, Refusal> {
    let mut seen = HashSet::new();
    let mut people = Vec::new();
    for person in found {
        let person = person.ok_or(Refusal::NotAddable)?;
        if seen.insert(person.key) {
            people.push(person);
        }
    }
    Ok(people)
}

/// Whether none of these people lets friends alone add them, and not the sender: those in
/// `closed`, by their keys.
fn may_be_added(people: &[Arc<Person>], closed: &HashSet<i64>) -> Result<(), Refusal> {
    match people.iter().any(|person| closed.contains(&person.key)) {
        true => Err(Refusal::NotAddable),
        false => Ok(()),
    }
}

/// A group of the sender, whose it is, and these people, each once: at most `members_max`.
pub(in crate::store) fn create_group(
    sender: &Arc<Person>,
    title: &Title,
    mut members: Vec<Arc<Person>>,
    closed: &HashSet<i64>,
    members_max: u64,
) -> Result<Effect, Refusal> {
    members.retain(|member| member.key != sender.key);
    may_be_added(&members, closed)?;
    members.insert(0, Arc::clone(sender));
    if members.len() as u64 > members_max {
        return Err(Refusal::GroupFull);
    }
    let title = title.as_str().to_owned();
    Ok(Effect {
        scene: Scene::New(ConversationKind::Group, title.clone()),
        kind: EventKind::GroupCreated,
        content: Kind::GroupCreated(v1::GroupCreated {
            title,
            members: wire_users(&members),
        }),
        members: Members::Join {
            people: in_roles(members, Some(sender)),
            from_beginning: false,
        },
        aside: Aside::Nothing,
    })
}

/// Whether somebody with this role may add others.
pub(in crate::store) fn may_add(role: Role) -> Result<(), Refusal> {
    match may(role, Action::Add) {
        true => Ok(()),
        false => Err(Refusal::NotAllowed),
    }
}

/// These people, each once, are members besides those who are; there may be
/// `members_max`.
pub(in crate::store) fn add_members(
    place: Place,
    mut joining: Vec<Arc<Person>>,
    named: &Named,
    Count {
        count,
        members_max,
        from_beginning,
    }: Count,
) -> Result<Effect, Refusal> {
    joining.retain(|person| !named.present.contains(&person.key));
    if joining.is_empty() {
        return Err(Refusal::NothingToDo);
    }
    may_be_added(&joining, &named.closed)?;
    if joining
        .iter()
        .any(|person| named.banned.contains(&person.key))
    {
        return Err(Refusal::Banned);
    }
    if count.saturating_add(joining.len() as u64) > members_max {
        return Err(Refusal::GroupFull);
    }
    let members = wire_users(&joining);
    Ok(Effect {
        scene: Scene::In(place),
        kind: EventKind::MembersAdded,
        content: Kind::MembersAdded(v1::MembersAdded { members }),
        members: Members::Join {
            people: in_roles(joining, None),
            from_beginning,
        },
        aside: Aside::Nothing,
    })
}

/// Another member is removed, if they are one and have this role.
pub(in crate::store) fn remove_member(
    joined: Joined,
    sender: &Person,
    person: Arc<Person>,
    role: Option<Role>,
) -> Result<Effect, Refusal> {
    if person.key == sender.key {
        return Err(Refusal::NotPossible);
    }
    let role = role.ok_or(Refusal::NotFound)?;
    if !may(joined.role, Action::Remove(role)) {
        return Err(Refusal::NotAllowed);
    }
    let member = Some(person.to_wire());
    Ok(Effect {
        scene: Scene::In(joined.place),
        kind: EventKind::MemberRemoved,
        content: Kind::MemberRemoved(v1::MemberRemoved { member }),
        members: Members::Leave { person, heir: None },
        aside: Aside::Nothing,
    })
}

/// The sender leaves. Of an owner, `heir` is the admin who has been in the group for longest,
/// or, without one, the member: a group is never without an owner, however they go.
pub(in crate::store) fn leave(
    place: Place,
    sender: &Arc<Person>,
    heir: Option<Arc<Person>>,
) -> Effect {
    let content = v1::MemberLeft {
        heir: heir.as_ref().map(|heir| heir.to_wire()),
    };
    Effect {
        scene: Scene::In(place),
        kind: EventKind::MemberLeft,
        content: Kind::MemberLeft(content),
        members: Members::Leave {
            person: Arc::clone(sender),
            heir,
        },
        aside: Aside::Nothing,
    }
}

/// What is said of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::store) struct Said {
    pub(in crate::store) title: String,
    pub(in crate::store) description: String,
    pub(in crate::store) photo: Option<MediaId>,
    pub(in crate::store) history_for_newcomers: bool,
}

/// The group, of which so much is said now, is otherwise. `found` is what of its photo the
/// actor may have.
pub(in crate::store) fn update_group(
    joined: Joined,
    update: &GroupUpdate,
    now: &Said,
    found: &[Attached],
) -> Result<Effect, Refusal> {
    let place = joined.place;
    if !may(joined.role, Action::Update) {
        return Err(Refusal::NotAllowed);
    }
    let GroupUpdate {
        title,
        description,
        announcement_only,
        photo,
        history_for_newcomers,
    } = update.clone();
    // What is so already is left out.
    let update = GroupUpdate {
        title: title.filter(|it| it.as_str() != now.title),
        description: description.filter(|it| it.as_str() != now.description),
        announcement_only: announcement_only.filter(|it| *it != place.announcement_only),
        photo: photo.filter(|it| *it != now.photo),
        history_for_newcomers: history_for_newcomers.filter(|it| *it != now.history_for_newcomers),
    };
    if update == GroupUpdate::default() {
        return Err(Refusal::NothingToDo);
    }
    let photo_key = attach(&update.media(), found)?.first().copied();
    let text = |text: &str| text.to_owned();
    let content = v1::GroupUpdated {
        title: update.title.as_ref().map(|it| text(it.as_str())),
        description: update.description.as_ref().map(|it| text(it.as_str())),
        announcement_only: update.announcement_only,
        photo: update.wire_photo(),
        history_for_newcomers: update.history_for_newcomers,
    };
    Ok(Effect {
        scene: Scene::In(place),
        kind: EventKind::GroupUpdated,
        content: Kind::GroupUpdated(content),
        members: Members::Same,
        aside: Aside::UpdateGroup(update, photo_key),
    })
}

/// Members all, but for the owner.
fn in_roles(people: Vec<Arc<Person>>, owner: Option<&Person>) -> Vec<(Arc<Person>, Option<Role>)> {
    let people = people.into_iter().map(|person| {
        let is_owner = owner.is_some_and(|owner| owner.key == person.key);
        let role = if is_owner { Role::Owner } else { Role::Member };
        (person, Some(role))
    });
    people.collect()
}

fn wire_users(people: &[Arc<Person>]) -> Vec<v1::User> {
    people.iter().map(|person| person.to_wire()).collect()
}
