//! Who may join a group by themself.

use std::sync::Arc;

use magpie_protocol::{
    limits::INVITES_MAX,
    role::Role,
    seq::Seq,
    wire::{
        InviteBounds,
        v1::{self, event_content::Kind},
    },
};

use super::{
    Aside, ConversationKind, Count, Effect, Joined, Members, Person, Place, Scene, Standing,
    Subject, group,
    roles::{Action, may},
};
use crate::store::{InviteDeed, InviteHash, Refusal, event::EventKind};

/// An invite that was not revoked.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Invite {
    /// The event that created it.
    pub(in crate::store) seq: Seq,
    pub(in crate::store) bounds: InviteBounds,
    /// How often it was used.
    pub(in crate::store) uses: u64,
}

/// What the actor may do about an invite, and what must be found for it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum InvitePermit {
    /// See [`create_invite`].
    Create(Joined, InviteHash, InviteBounds),
    /// See [`revoke_invite`].
    Revoke(Joined, Seq),
    /// See [`join`]: they are this there, if they are a member.
    Join(Place, Option<Role>, InviteHash),
}

pub(super) fn permit(deed: InviteDeed, standing: &Standing) -> Result<InvitePermit, Refusal> {
    let is_group = |place: &Place| place.kind == ConversationKind::Group;
    Ok(match deed {
        InviteDeed::Create { hash, bounds } => InvitePermit::Create(group(standing)?, hash, bounds),
        InviteDeed::Revoke(seq) => InvitePermit::Revoke(group(standing)?, seq),
        InviteDeed::Join(hash) => {
            let place = standing.place.filter(is_group).ok_or(Refusal::NoInvite)?;
            InvitePermit::Join(place, standing.role, hash)
        }
    })
}

/// What is written of invites besides the event.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum InviteChange {
    /// Whoever has a secret may join from the event on. Those of the group that are of no use
    /// any more are forgotten.
    Create(InviteHash, InviteBounds),
    /// That of the event at this seq is of no use any more.
    Revoke(Seq),
    /// It was used once more.
    Use(Seq),
}

impl Invite {
    fn is_of_use(&self, now_ms: i64) -> bool {
        let InviteBounds {
            expires_at_ms,
            uses_max,
        } = self.bounds;
        let is_expired = expires_at_ms.is_some_and(|at| at <= now_ms);
        let is_used_up = uses_max.is_some_and(|max| self.uses >= u64::from(max));
        !is_expired && !is_used_up
    }
}

/// A new invite, if so many are of use now and none has its secret.
pub(in crate::store) fn create_invite(
    joined: Joined,
    (hash, bounds): (InviteHash, InviteBounds),
    same: Option<&Invite>,
    count: u64,
    now_ms: i64,
) -> Result<Effect, Refusal> {
    if !may(joined.role, Action::Invite) {
        return Err(Refusal::NotAllowed);
    }
    if same.is_some() {
        return Err(Refusal::Conflict);
    }
    if bounds.expires_at_ms.is_some_and(|at| at <= now_ms) {
        return Err(Refusal::TooLate);
    }
    if count >= INVITES_MAX {
        return Err(Refusal::TooManyInvites);
    }
    let content = v1::InviteCreated {
        expires_at_ms: bounds.expires_at_ms.unwrap_or(0),
        uses_max: bounds.uses_max.unwrap_or(0),
    };
    Ok(Effect {
        scene: Scene::In(joined.place),
        kind: EventKind::InviteCreated,
        content: Kind::InviteCreated(content),
        members: Members::Same,
        aside: Aside::Invite(InviteChange::Create(hash, bounds)),
    })
}

/// The invite of the event at `seq` ends, if it is one and has not.
pub(in crate::store) fn revoke_invite(
    (joined, seq): (Joined, Seq),
    subject: Option<Subject>,
    is_there: bool,
) -> Result<Effect, Refusal> {
    if !may(joined.role, Action::Invite) {
        return Err(Refusal::NotAllowed);
    }
    // Who joined after it was created may end it, too.
    if !is_there {
        return match subject {
            None => Err(Refusal::NotFound),
            Some(event) if event.kind == EventKind::InviteCreated => Err(Refusal::NothingToDo),
            Some(_) => Err(Refusal::NotPossible),
        };
    }
    let content = v1::InviteRevoked { seq: seq.get() };
    Ok(Effect {
        scene: Scene::In(joined.place),
        kind: EventKind::InviteRevoked,
        content: Kind::InviteRevoked(content),
        members: Members::Same,
        aside: Aside::Invite(InviteChange::Revoke(seq)),
    })
}

/// The sender joins by themself. Whatever is wrong with the invite, and who may not use it, gets
/// the same answer (D10).
pub(in crate::store) fn join(
    (place, role): (Place, Option<Role>),
    sender: &Arc<Person>,
    invite: Option<&Invite>,
    is_banned: bool,
    count: Count,
    now_ms: i64,
) -> Result<Effect, Refusal> {
    let invite = invite.filter(|invite| invite.is_of_use(now_ms));
    // Whose group would one be that everybody has left?
    let invite = invite.filter(|_| !is_banned && count.count > 0);
    let invite = invite.ok_or(Refusal::NoInvite)?;
    if role.is_some() {
        return Err(Refusal::NothingToDo);
    }
    if count.count >= count.members_max {
        return Err(Refusal::GroupFull);
    }
    let content = v1::MemberJoined {
        invite_seq: invite.seq.get(),
    };
    Ok(Effect {
        scene: Scene::In(place),
        kind: EventKind::MemberJoined,
        content: Kind::MemberJoined(content),
        members: Members::Join {
            people: vec![(Arc::clone(sender), Some(Role::Member))],
            from_beginning: count.from_beginning,
        },
        aside: Aside::Invite(InviteChange::Use(invite.seq)),
    })
}
