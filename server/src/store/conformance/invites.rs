//! Who joins a group by themself.

use magpie_protocol::{
    id::ConversationId,
    invite::InviteSecret,
    limits::INVITES_MAX,
    role::Role,
    wire::{
        FetchListed, GroupUpdate, InviteBounds,
        v1::{self, event_content::Kind},
    },
};

use super::{ALL, NOON, Player, World, bans::ban, messages::kind, roles::update, seq, seqs};
use crate::store::{Append, Command, InviteDeed, InviteHash, MembershipChange, Outcome, Refusal};

pub(in crate::store) fn hash(secret: u8) -> InviteHash {
    InviteHash::of(&InviteSecret::new([secret; 16]))
}

pub(in crate::store) fn invite(
    conversation: ConversationId,
    secret: u8,
    bounds: InviteBounds,
) -> Command {
    let hash = hash(secret);
    let deed = InviteDeed::Create { hash, bounds };
    Command::Invite { conversation, deed }
}

fn open(conversation: ConversationId, secret: u8) -> Command {
    invite(conversation, secret, InviteBounds::default())
}

fn so_often(uses_max: u32) -> InviteBounds {
    InviteBounds {
        uses_max: Some(uses_max),
        ..InviteBounds::default()
    }
}

fn until(expires_at_ms: i64) -> InviteBounds {
    InviteBounds {
        expires_at_ms: Some(expires_at_ms),
        ..InviteBounds::default()
    }
}

pub(in crate::store) fn revoke(conversation: ConversationId, at: u64) -> Command {
    let deed = InviteDeed::Revoke(seq(at));
    Command::Invite { conversation, deed }
}

pub(in crate::store) fn join(conversation: ConversationId, secret: u8) -> Command {
    let deed = InviteDeed::Join(hash(secret));
    Command::Invite { conversation, deed }
}

impl World {
    async fn preview(
        &self,
        of: &Player,
        conversation: ConversationId,
        secret: u8,
        now_ms: i64,
    ) -> Option<(String, u64)> {
        let invite = (conversation, hash(secret));
        let preview = self.store.invite_preview(of.id(), invite, now_ms).await;
        preview.unwrap().map(|it| (it.title, it.member_count))
    }

    /// The invites that are there, and how often each was used.
    async fn invites(&self, of: &Player, conversation: ConversationId) -> Vec<(u64, u32)> {
        let request = FetchListed {
            conversation,
            after: seq(0),
            limit: 500,
        };
        let listed = self.store.invites(of.id(), request).await.unwrap().unwrap();
        assert!(listed.complete);
        listed.invites.iter().map(|it| (it.seq, it.uses)).collect()
    }
}

/// D3.
pub(in crate::store) async fn who_has_an_invite_joins_once(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let carol = world.player("carol").await;
    let tea = world.group(&alice, &[]).await;
    let request = world.request(&alice, open(tea, 1));
    let committed = world.append(std::slice::from_ref(&request)).await;
    let created = Kind::InviteCreated(v1::InviteCreated::default());
    assert_eq!(kind(&committed.events[0]), created);
    assert_eq!(world.accept(request.clone()).await.1, 2);
    let other = Append {
        command: open(tea, 2),
        ..request
    };
    assert_eq!(world.refuse(other).await, Refusal::Conflict);
    let same = open(tea, 1);
    assert_eq!(world.refused(&alice, same).await, Refusal::Conflict);
    let seen = world.preview(&bob, tea, 1, NOON).await;
    assert_eq!(seen, Some(("Tea".to_owned(), 1)));

    let request = world.request(&bob, join(tea, 1));
    // Sent again before the answer, in the same batch and later.
    let committed = world.append(&[request.clone(), request.clone()]).await;
    let joined = Kind::MemberJoined(v1::MemberJoined { invite_seq: 2 });
    assert_eq!(kind(&committed.events[0]), joined);
    let change = MembershipChange::Joined(vec![bob.id()]);
    assert_eq!(committed.events[0].change, Some(change.clone()));
    assert_eq!(committed.events.len(), 1);
    assert_eq!(world.accept(request).await.1, 3);
    let again = join(tea, 1);
    assert_eq!(world.refused(&bob, again).await, Refusal::NothingToDo);
    assert_eq!(world.invites(&alice, tea).await, [(2, 1)]);
    let page = world
        .page(&bob, magpie_protocol::seq::Position::ZERO, ALL)
        .await;
    assert_eq!(seqs(&page.events), [3]);
    assert_eq!(page.events[0].change, Some(change));
    let described = world.described(&bob, tea).await;
    assert_eq!((described.first_seq, described.member_count), (3, 2));
    let own = described.members.iter().find(|it| {
        let user = it.user.as_ref();
        user.is_some_and(|user| user.name == "bob")
    });
    assert_eq!(own.unwrap().role, i32::from(v1::Role::Member));
    world.accept(world.post(&bob, tea, "here I am")).await;
    // Who left comes back by it, and counts again.
    let leave = Command::LeaveGroup { conversation: tea };
    world.make(&bob, leave).await;
    world.make(&bob, join(tea, 1)).await;
    assert_eq!(world.invites(&alice, tea).await, [(2, 2)]);
    assert_eq!(world.refused(&carol, join(tea, 7)).await, Refusal::NoInvite);
}

pub(in crate::store) async fn an_invite_is_of_use_so_long_and_so_often(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, dave) = (world.player("carol").await, world.player("dave").await);
    let tea = world.group(&alice, &[]).await;
    world.make(&alice, invite(tea, 1, so_often(1))).await;
    world.make(&alice, invite(tea, 2, until(NOON + 1))).await;
    // Two at once: there is room for one.
    let both = [
        world.request(&bob, join(tea, 1)),
        world.request(&carol, join(tea, 1)),
    ];
    let committed = world.append(&both).await;
    let no = Outcome::Refused(Refusal::NoInvite);
    assert_eq!((committed.events.len(), &committed.outcomes[1]), (1, &no));
    assert_eq!(world.preview(&carol, tea, 1, NOON).await, None);
    let is_there = world.preview(&carol, tea, 2, NOON).await.is_some();
    assert!(is_there);
    assert_eq!(world.preview(&carol, tea, 2, NOON + 1).await, None);
    world.make(&carol, join(tea, 2)).await;
    let past = invite(tea, 3, until(NOON));
    assert_eq!(world.refused(&alice, past).await, Refusal::TooLate);
    world.make(&alice, open(tea, 4)).await;
    let at = world.make(&alice, open(tea, 5)).await;
    // What is used up is forgotten.
    assert_eq!(
        world.invites(&alice, tea).await,
        [(3, 1), (at - 1, 0), (at, 0)]
    );
    world.make(&alice, revoke(tea, at - 1)).await;
    assert_eq!(world.preview(&dave, tea, 4, NOON).await, None);
    assert_eq!(world.refused(&dave, join(tea, 4)).await, Refusal::NoInvite);
    world.make(&dave, join(tea, 5)).await;
}

/// D12.
pub(in crate::store) async fn who_looks_after_a_group_invites(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let tea = world.group(&alice, &[&bob]).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    let at = world.make(&alice, open(tea, 1)).await;
    for (by, command, expected) in [
        (&bob, open(tea, 2), Refusal::NotAllowed),
        (&bob, revoke(tea, at), Refusal::NotAllowed),
        (&eve, open(tea, 2), Refusal::NotFound),
        (&eve, revoke(tea, at), Refusal::NotFound),
        (&alice, open(direct, 2), Refusal::NotPossible),
        (&eve, join(direct, 1), Refusal::NoInvite),
        (&alice, revoke(tea, 1), Refusal::NotPossible),
        (&alice, revoke(tea, 9), Refusal::NotFound),
    ] {
        assert_eq!(
            world.refused(by, command.clone()).await,
            expected,
            "{command:?}"
        );
    }
    let request = FetchListed {
        conversation: tea,
        after: seq(0),
        limit: 1,
    };
    let listed = async |of: &Player| world.store.invites(of.id(), request).await.unwrap();
    assert_eq!(listed(&bob).await, Err(Refusal::NotAllowed));
    assert_eq!(listed(&eve).await, Err(Refusal::NotFound));
    let role = Command::SetRole {
        conversation: tea,
        name: bob.name(),
        role: Role::Admin,
    };
    world.make(&alice, role).await;
    // Whoever made it.
    let request = world.request(&bob, revoke(tea, at));
    let committed = world.append(std::slice::from_ref(&request)).await;
    let revoked = Kind::InviteRevoked(v1::InviteRevoked { seq: at });
    assert_eq!(kind(&committed.events[0]), revoked);
    world.accept(request).await;
    let again = revoke(tea, at);
    assert_eq!(world.refused(&alice, again).await, Refusal::NothingToDo);
    assert_eq!(world.invites(&bob, tea).await, []);
}

/// D10.
pub(in crate::store) async fn an_invite_lets_nobody_in_who_may_not(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let carol = world.player("carol").await;
    let tea = world.group(&alice, &[]).await;
    world.make(&alice, open(tea, 1)).await;
    world.make(&alice, ban(tea, &bob, true)).await;
    assert_eq!(world.preview(&bob, tea, 1, NOON).await, None);
    assert_eq!(world.refused(&bob, join(tea, 1)).await, Refusal::NoInvite);
    world.make(&alice, ban(tea, &bob, false)).await;
    world.store.bound_groups(2);
    world.make(&bob, join(tea, 1)).await;
    assert_eq!(
        world.refused(&carol, join(tea, 1)).await,
        Refusal::GroupFull
    );
    // The invite of another group is none of this one.
    let other = world.group(&alice, &[]).await;
    world.make(&alice, open(other, 2)).await;
    assert_eq!(world.refused(&carol, join(tea, 2)).await, Refusal::NoInvite);
    // A group that everybody has left is nobody's.
    let leave = Command::LeaveGroup {
        conversation: other,
    };
    world.make(&alice, leave).await;
    assert_eq!(world.preview(&carol, other, 2, NOON).await, None);
    assert_eq!(
        world.refused(&carol, join(other, 2)).await,
        Refusal::NoInvite
    );
}

/// D9.
pub(in crate::store) async fn so_many_invites_are_of_use_at_a_time(world: World) {
    let alice = world.player("alice").await;
    let bob = world.player("bob").await;
    let tea = world.group(&alice, &[]).await;
    let secrets = u8::try_from(INVITES_MAX).unwrap();
    for secret in 1..=secrets {
        world.make(&alice, invite(tea, secret, so_often(1))).await;
    }
    let one_more = open(tea, secrets + 1);
    let refusal = world.refused(&alice, one_more.clone()).await;
    assert_eq!(refusal, Refusal::TooManyInvites);
    world.make(&bob, join(tea, 7)).await;
    world.make(&alice, one_more).await;
    let there = world.invites(&alice, tea).await;
    assert_eq!(there.len() as u64, INVITES_MAX);
}

pub(in crate::store) async fn who_joins_by_an_invite_reads_what_the_group_lets_them(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[]).await;
    let history = GroupUpdate {
        history_for_newcomers: Some(true),
        ..GroupUpdate::default()
    };
    world.make(&alice, update(tea, history)).await;
    world.make(&alice, open(tea, 1)).await;
    world.make(&bob, join(tea, 1)).await;
    let described = world.described(&bob, tea).await;
    assert_eq!((described.first_seq, described.joined_seq), (1, 4));
}
