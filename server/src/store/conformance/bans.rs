//! Who is kept out of a group.

use magpie_protocol::{
    id::ConversationId,
    role::Role,
    wire::{
        FetchListed,
        v1::{self, event_content::Kind},
    },
};

use super::{ALL, Player, World, add, messages::kind, seq, seqs};
use crate::store::{Append, Command, MembershipChange, Refusal};

pub(in crate::store) fn ban(conversation: ConversationId, who: &Player, banned: bool) -> Command {
    Command::Ban {
        conversation,
        name: who.name(),
        banned,
    }
}

fn page(conversation: ConversationId, after: u64, limit: u32) -> FetchListed {
    FetchListed {
        conversation,
        after: seq(after),
        limit,
    }
}

impl World {
    async fn bans(
        &self,
        of: &Player,
        request: FetchListed,
    ) -> Result<(Vec<(String, u64)>, bool), Refusal> {
        let bans = self.store.bans(of.id(), request).await.unwrap()?;
        let users = bans.users.into_iter();
        let users = users.map(|it| (it.user.unwrap().name, it.seq));
        Ok((users.collect(), bans.complete))
    }
}

/// D3, D10.
pub(in crate::store) async fn who_is_banned_is_out_until_that_ends(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, dave) = (world.player("carol").await, world.player("dave").await);
    let tea = world.group(&alice, &[&bob, &carol]).await;
    let request = world.request(&alice, ban(tea, &bob, true));
    let committed = world.append(std::slice::from_ref(&request)).await;
    let banned = |removed| {
        Kind::MemberBanned(v1::MemberBanned {
            member: Some(v1::User {
                user_id: bob.id().to_wire(),
                name: "bob".to_owned(),
            }),
            banned: true,
            removed,
        })
    };
    assert_eq!(kind(&committed.events[0]), banned(true));
    let left = MembershipChange::Left(bob.id());
    assert_eq!(committed.events[0].change, Some(left.clone()));
    assert_eq!(world.accept(request.clone()).await.1, 2);
    let other = Append {
        command: ban(tea, &bob, false),
        ..request
    };
    assert_eq!(world.refuse(other).await, Refusal::Conflict);
    let again = ban(tea, &bob, true);
    assert_eq!(world.refused(&alice, again).await, Refusal::NothingToDo);
    // It is the last event that they may read.
    world.accept(world.post(&alice, tea, "behind")).await;
    let read = world
        .page(&bob, magpie_protocol::seq::Position::ZERO, ALL)
        .await;
    assert_eq!(seqs(&read.events), [1, 2]);
    assert_eq!(read.events[1].change, Some(left));
    assert_eq!(world.described(&alice, tea).await.member_count, 2);
    // Neither alone nor among others.
    for named in [[&bob].as_slice(), &[&dave, &bob]] {
        let command = add(tea, named);
        assert_eq!(world.refused(&carol, command).await, Refusal::Banned);
    }
    world.make(&alice, ban(tea, &bob, false)).await;
    let again = ban(tea, &bob, false);
    assert_eq!(world.refused(&alice, again).await, Refusal::NothingToDo);
    world.add(&carol, tea, &[&dave, &bob]).await;
    // Who is no member is banned before they come.
    world.remove(&alice, tea, &bob).await;
    let committed = world
        .append(&[world.request(&alice, ban(tea, &bob, true))])
        .await;
    assert_eq!(kind(&committed.events[0]), banned(false));
    assert_eq!(committed.events[0].change, None);
    assert_eq!(
        world.refused(&alice, add(tea, &[&bob])).await,
        Refusal::Banned
    );
    assert_eq!(world.described(&alice, tea).await.member_count, 3);
}

/// D12.
pub(in crate::store) async fn who_may_remove_may_ban(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, eve) = (world.player("carol").await, world.player("eve").await);
    let tea = world.group(&alice, &[&bob, &carol]).await;
    let role = Command::SetRole {
        conversation: tea,
        name: bob.name(),
        role: Role::Admin,
    };
    world.make(&alice, role).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    for (by, command, expected) in [
        (&carol, ban(tea, &bob, true), Refusal::NotAllowed),
        (&carol, ban(tea, &eve, true), Refusal::NotAllowed),
        (&bob, ban(tea, &alice, true), Refusal::NotAllowed),
        (&bob, ban(tea, &bob, true), Refusal::NotPossible),
        (&eve, ban(tea, &carol, true), Refusal::NotFound),
        (&alice, ban(direct, &eve, true), Refusal::NotPossible),
    ] {
        assert_eq!(world.refused(by, command).await, expected);
    }
    world.make(&bob, ban(tea, &carol, true)).await;
    world.make(&alice, ban(tea, &bob, true)).await;
    // Whoever was banned by somebody who is gone.
    world.make(&alice, ban(tea, &carol, false)).await;
}

/// D10.
pub(in crate::store) async fn bans_are_listed_for_who_looks_after_the_group(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, dave) = (world.player("carol").await, world.player("dave").await);
    let tea = world.group(&alice, &[&bob]).await;
    for who in [&dave, &carol] {
        world.make(&alice, ban(tea, who, true)).await;
    }
    let all = world.bans(&alice, page(tea, 0, 10)).await;
    let is = |name: &str, at| (name.to_owned(), at);
    assert_eq!(all, Ok((vec![is("dave", 2), is("carol", 3)], true)));
    let first = world.bans(&alice, page(tea, 0, 1)).await;
    assert_eq!(first, Ok((vec![is("dave", 2)], false)));
    world.make(&alice, ban(tea, &dave, false)).await;
    let rest = world.bans(&alice, page(tea, 2, 1)).await;
    assert_eq!(rest, Ok((vec![is("carol", 3)], true)));
    let of = async |who: &Player, conversation| world.bans(who, page(conversation, 0, 9)).await;
    assert_eq!(of(&bob, tea).await, Err(Refusal::NotAllowed));
    assert_eq!(of(&carol, tea).await, Err(Refusal::NotFound));
    let nowhere = ConversationId::new([9; 16]);
    assert_eq!(of(&alice, nowhere).await, Err(Refusal::NotFound));
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    assert_eq!(of(&alice, direct).await, Err(Refusal::NotPossible));
    world.remove(&alice, tea, &bob).await;
    assert_eq!(of(&bob, tea).await, Err(Refusal::NotFound));
}
