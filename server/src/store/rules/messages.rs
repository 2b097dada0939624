//! What may be said, and what may be done to what was said.

use std::{sync::Arc, time::Duration};

use magpie_protocol::{
    id::UserId,
    limits::{EDITS_MAX, OWN_REACTIONS_MAX, PINS_MAX, REACTIONS_MAX},
    message::{Edit, Emoji, NewMessage},
    role::Role,
    seq::Seq,
    wire::v1::{self, event_content::Kind},
};

use super::{
    Aside, Attached, ConversationKind, Effect, Joined, Members, Person, Place, Scene,
    media::attach,
    roles::{Action, may_in},
};
use crate::store::{Refusal, event::EventKind};

/// What is done to a message that is there.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Change<'a> {
    /// It says this instead, if it was committed no longer ago than this.
    Edit(&'a Edit, Option<Duration>),
    /// It says nothing any more.
    Delete,
    /// The actor reacts to it.
    React(&'a Emoji),
    /// The actor takes that back.
    Unreact(&'a Emoji),
    /// It is pinned.
    Pin,
    /// It is taken off.
    Unpin,
}

/// Whether the actor may write this message into a conversation that exists, whose
/// newest event before it (and before its batch, if the engine so likes) is at its
/// `head`.
pub(in crate::store) fn may_post(
    may_act: bool,
    role: Option<Role>,
    place: Place,
    message: &NewMessage,
) -> Result<(), Refusal> {
    if !may_act {
        return Err(Refusal::DeviceRevoked);
    }
    let role = role.ok_or(Refusal::NotFound)?;
    // Nobody reads it there.
    if place.kind == ConversationKind::Account {
        return Err(Refusal::NotPossible);
    }
    may_write(place, role, message)?;
    // Who reads the answer may have joined after what it answers: they learn its
    // seq, and nothing of what it says (D10).
    match message.reply_to() {
        Some(seq) if seq > place.head => Err(Refusal::NotFound),
        Some(_) | None => Ok(()),
    }
}

/// The lowest role of who may write this message there.
pub(in crate::store) fn least_role(place: Place, message: &NewMessage) -> Role {
    let mut roles = Role::ALL.into_iter();
    let least = roles.find(|role| may_write(place, *role, message).is_ok());
    least.unwrap_or(Role::Owner)
}

/// Whether a member with this role may say this there at all, and mention whom it mentions.
fn may_write(place: Place, role: Role, message: &NewMessage) -> Result<(), Refusal> {
    let may = |action| may_in(place.kind, role, action);
    let may_announce = !place.announcement_only || may(Action::Announce);
    let may_mention = !message.mentions_everybody() || may(Action::MentionEverybody);
    match may_announce && may_mention {
        true => Ok(()),
        false => Err(Refusal::NotAllowed),
    }
}

/// The content of a message's event.
pub(in crate::store) fn message(message: &NewMessage) -> Kind {
    Kind::Message(message.as_wire().clone())
}

/// For whom an event changes how many messages mention them, and by how much. `None` is
/// everybody: whoever mentions everybody does not mean themself, so theirs is less by
/// one. Nobody counts twice.
pub(in crate::store) fn mentioned(content: &Kind, sender: UserId) -> Vec<(Option<UserId>, i64)> {
    let Kind::Message(message) = content else {
        return Vec::new();
    };
    if message.mentions_everybody {
        return vec![(None, 1), (Some(sender), -1)];
    }
    let named = message.mentions.iter();
    let mut named: Vec<UserId> = named
        .filter_map(|it| UserId::try_from(it.user_id.as_ref()).ok())
        .filter(|user| *user != sender)
        .collect();
    named.sort_unstable();
    named.dedup();
    named.into_iter().map(|user| (Some(user), 1)).collect()
}

/// A message into a conversation that exists.
///
/// `found` is what of its photos and files the actor may have.
pub(in crate::store) fn post(
    place: Place,
    message: &NewMessage,
    found: &[Attached],
) -> Result<Effect, Refusal> {
    Ok(Effect {
        scene: Scene::In(place),
        kind: EventKind::Message,
        content: self::message(message),
        members: Members::Same,
        aside: attached(message, found)?,
    })
}

fn attached(message: &NewMessage, found: &[Attached]) -> Result<Aside, Refusal> {
    let keys = attach(&message.media(), found)?;
    Ok(match keys.is_empty() {
        true => Aside::Nothing,
        false => Aside::Attach(keys),
    })
}

/// The event that a change is about, if the actor may read it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Subject {
    pub(in crate::store) kind: EventKind,
    /// The key of its sender.
    pub(in crate::store) sender: i64,
    pub(in crate::store) committed_at_ms: i64,
    /// It is a message that was deleted.
    pub(in crate::store) is_deleted: bool,
    /// How often it was edited.
    pub(in crate::store) edit_count: u64,
    /// It is pinned, and whether that is hidden from everybody but who pinned it.
    pub(in crate::store) pinned: Option<bool>,
    /// How many messages are pinned there.
    pub(in crate::store) pin_count: u64,
    /// It is hidden from everybody but its sender.
    pub(in crate::store) is_hidden: bool,
}

/// How a reaction stands at a message.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store) struct Reacted {
    /// The actor's own stands.
    pub(in crate::store) is_own: bool,
    /// Anybody's does.
    pub(in crate::store) is_there: bool,
    /// How many different ones stand; need not be known if this one does.
    pub(in crate::store) count: u64,
    /// How often the actor has reacted to it, also if they took it back.
    pub(in crate::store) own_count: u64,
    /// The actor's own that stands is hidden from the others.
    pub(in crate::store) is_hidden: bool,
}

/// Whether a change of a direct conversation's message is hidden from its other member, who
/// blocks the actor or does not. So are all of a message that is hidden itself. What
/// takes something back says nothing, and is as visible as that was: else what was deleted
/// would stay with whoever has it.
pub(in crate::store) fn is_hidden(
    change: Change<'_>,
    is_blocked: bool,
    (subject, reacted): &(Option<Subject>, Reacted),
) -> bool {
    let of_hidden = subject.is_some_and(|subject| subject.is_hidden);
    match change {
        Change::Edit(..) | Change::React(_) | Change::Pin => is_blocked || of_hidden,
        Change::Delete => of_hidden,
        Change::Unreact(_) => reacted.is_hidden,
        Change::Unpin => subject.is_some_and(|subject| subject.pinned == Some(true)),
    }
}

/// A change of the message at `seq` of a place, by its sender or anybody.
pub(in crate::store) fn change(
    (joined, seq): (Joined, Seq),
    change: Change<'_>,
    sender: &Person,
    (subject, reacted): (Option<Subject>, Reacted),
    now_ms: i64,
) -> Result<Effect, Refusal> {
    let subject = subject.ok_or(Refusal::NotFound)?;
    if subject.kind != EventKind::Message {
        return Err(Refusal::NotPossible);
    }
    let (kind, content, aside) = match change {
        Change::Edit(edit, within) => {
            may_edit(&subject, sender, within, now_ms)?;
            may_write(joined.place, joined.role, edit.message())?;
            let message = Some(edit.message().as_wire().clone());
            let content = v1::MessageEdited {
                seq: seq.get(),
                message,
            };
            let content = Kind::MessageEdited(content);
            (EventKind::MessageEdited, content, Aside::Edit(seq))
        }
        Change::Delete => {
            may_delete(joined, &subject, sender)?;
            let content = Kind::MessageDeleted(v1::MessageDeleted { seq: seq.get() });
            (EventKind::MessageDeleted, content, Aside::Delete(seq))
        }
        Change::React(emoji) => {
            may_react(&subject, &reacted)?;
            let content = reaction(seq, emoji, false);
            let aside = Aside::React(seq, emoji.as_str().to_owned());
            (EventKind::Reacted, content, aside)
        }
        Change::Unreact(emoji) => {
            if subject.is_deleted || !reacted.is_own {
                return Err(Refusal::NothingToDo);
            }
            let content = reaction(seq, emoji, true);
            let aside = Aside::Unreact(seq, emoji.as_str().to_owned());
            (EventKind::Reacted, content, aside)
        }
        Change::Pin => {
            may_pin(joined, &subject)?;
            (EventKind::Pinned, pin(seq, true), Aside::Pin(seq))
        }
        Change::Unpin => {
            may_unpin(joined, &subject)?;
            (EventKind::Pinned, pin(seq, false), Aside::Unpin(seq))
        }
    };
    Ok(Effect {
        scene: Scene::In(joined.place),
        kind,
        content,
        members: Members::Same,
        aside,
    })
}

fn may_edit(
    subject: &Subject,
    sender: &Person,
    within: Option<Duration>,
    now_ms: i64,
) -> Result<(), Refusal> {
    if subject.sender != sender.key {
        return Err(Refusal::NotAllowed);
    }
    if subject.is_deleted {
        return Err(Refusal::Deleted);
    }
    let age_ms = now_ms.saturating_sub(subject.committed_at_ms).max(0);
    let is_late =
        within.is_some_and(|within| u128::from(age_ms.unsigned_abs()) > within.as_millis());
    if is_late {
        return Err(Refusal::TooLate);
    }
    if subject.edit_count >= EDITS_MAX {
        return Err(Refusal::TooMany);
    }
    Ok(())
}

/// Its sender may delete a message, and who looks after the group.
fn may_delete(joined: Joined, subject: &Subject, sender: &Person) -> Result<(), Refusal> {
    let is_own = subject.sender == sender.key;
    if !is_own && !may_in(joined.place.kind, joined.role, Action::DeleteOthers) {
        return Err(Refusal::NotAllowed);
    }
    if subject.is_deleted {
        return Err(Refusal::NothingToDo);
    }
    Ok(())
}

/// Any member may react to what they may read.
fn may_react(subject: &Subject, reacted: &Reacted) -> Result<(), Refusal> {
    if subject.is_deleted {
        return Err(Refusal::Deleted);
    }
    if reacted.is_own {
        return Err(Refusal::NothingToDo);
    }
    let are_full = !reacted.is_there && reacted.count >= REACTIONS_MAX;
    if are_full || reacted.own_count >= OWN_REACTIONS_MAX {
        return Err(Refusal::TooMany);
    }
    Ok(())
}

fn may_pin(joined: Joined, subject: &Subject) -> Result<(), Refusal> {
    if !may_in(joined.place.kind, joined.role, Action::Pin) {
        return Err(Refusal::NotAllowed);
    }
    if subject.is_deleted {
        return Err(Refusal::Deleted);
    }
    if subject.pinned.is_some() {
        return Err(Refusal::NothingToDo);
    }
    match subject.pin_count < PINS_MAX {
        true => Ok(()),
        false => Err(Refusal::TooManyPins),
    }
}

/// One that was deleted is not pinned any more.
fn may_unpin(joined: Joined, subject: &Subject) -> Result<(), Refusal> {
    if !may_in(joined.place.kind, joined.role, Action::Pin) {
        return Err(Refusal::NotAllowed);
    }
    match subject.pinned {
        Some(_) => Ok(()),
        None => Err(Refusal::NothingToDo),
    }
}

const fn pin(seq: Seq, pinned: bool) -> Kind {
    let seq = seq.get();
    Kind::Pinned(v1::Pinned { seq, pinned })
}

fn reaction(seq: Seq, emoji: &Emoji, removed: bool) -> Kind {
    Kind::Reacted(v1::Reacted {
        seq: seq.get(),
        emoji: emoji.as_str().to_owned(),
        removed,
    })
}

/// The first message of a direct conversation makes it.
pub(in crate::store) fn begin_direct(
    sender: &Arc<Person>,
    peer: &Arc<Person>,
    message: &NewMessage,
    found: &[Attached],
) -> Result<Effect, Refusal> {
    Ok(Effect {
        scene: Scene::New(ConversationKind::Direct, String::new()),
        kind: EventKind::Message,
        content: self::message(message),
        members: both(sender, peer),
        aside: attached(message, found)?,
    })
}

/// The members of a direct conversation.
pub(super) fn both(sender: &Arc<Person>, peer: &Arc<Person>) -> Members {
    let mut members = vec![Arc::clone(sender)];
    if peer.key != sender.key {
        members.push(Arc::clone(peer));
    }
    // The order in which they are read from the log again.
    members.sort_by_key(|member| member.id);
    Members::Join {
        people: members.into_iter().map(|member| (member, None)).collect(),
        from_beginning: false,
    }
}
