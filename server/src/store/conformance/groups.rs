//! Who may do and read what.

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Position,
    wire::{FetchHistory, HistoryFrom, v1},
};

use super::{ALL, Player, World, add, create, decoded, remove, seq, seqs};
use crate::store::{
    Append, Command, Membership, MembershipChange, Recency, Refusal, SnapshotPlace,
    direct_conversation,
};

pub(in crate::store) async fn a_group_begins_with_its_members(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let request = world.request(&alice, create("Tea", &[&bob, &alice]));
    let committed = world.append(std::slice::from_ref(&request)).await;
    let event = &committed.events[0];
    assert_eq!(event.conversation.bytes(), request.id.bytes());
    let members = MembershipChange::Joined(vec![alice.id(), bob.id()]);
    assert_eq!(event.change, Some(members));
    let content = decoded(event).content.unwrap().kind.unwrap();
    let v1::event_content::Kind::GroupCreated(created) = content else {
        panic!("{content:?}");
    };
    assert_eq!(created.title, "Tea");
    assert_eq!(created.members.len(), 2);
}

pub(in crate::store) async fn a_group_id_that_is_taken_is_a_conflict(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let tea = world.group(&alice, &[&bob]).await;
    let taken = |id: ConversationId| Append {
        id: MessageId::new(id.bytes()),
        ..world.request(&eve, create("Mine", &[]))
    };
    assert_eq!(world.refuse(taken(tea)).await, Refusal::Conflict);
    // Nor may anybody sit down where two others are going to talk.
    let direct = direct_conversation(alice.id(), bob.id());
    assert_eq!(world.refuse(taken(direct)).await, Refusal::Conflict);
}

pub(in crate::store) async fn only_new_members_are_added(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let tea = world.group(&alice, &[&bob]).await;
    let request = world.request(&bob, add(tea, &[&alice, &eve, &eve]));
    let committed = world.append(&[request]).await;
    let joined = Some(MembershipChange::Joined(vec![eve.id()]));
    assert_eq!(committed.events[0].change, joined);
    let again = world.request(&bob, add(tea, &[&alice, &eve]));
    assert_eq!(world.refuse(again).await, Refusal::NothingToDo);
}

pub(in crate::store) async fn a_full_group_takes_nobody(world: World) {
    let alice = world.player("alice").await;
    let mut others: Vec<Player> = Vec::new();
    world.store.bound_groups(20);
    for number in 0..20 {
        others.push(world.player(&format!("user{number}")).await);
    }
    let all: Vec<&Player> = others.iter().collect();
    let too_many = world.request(&alice, create("Crowd", &all));
    assert_eq!(world.refuse(too_many).await, Refusal::GroupFull);

    let crowd = world.group(&alice, &all[1..]).await;
    let one_more = world.request(&alice, add(crowd, &all[..1]));
    assert_eq!(world.refuse(one_more).await, Refusal::GroupFull);
    world.remove(&alice, crowd, all[7]).await;
    world.add(&alice, crowd, &all[..1]).await;
}

pub(in crate::store) async fn a_direct_conversation_has_no_members_to_change(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    let leave = Command::LeaveGroup {
        conversation: direct,
    };
    for command in [add(direct, &[&eve]), remove(direct, &bob), leave] {
        let request = world.request(&alice, command);
        assert_eq!(world.refuse(request).await, Refusal::NotPossible);
    }
    let tea = world.group(&alice, &[&bob]).await;
    let oneself = world.request(&alice, remove(tea, &alice));
    assert_eq!(world.refuse(oneself).await, Refusal::NotPossible);
}

/// D10.
pub(in crate::store) async fn a_stranger_finds_nothing(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    let tea = world.group(&alice, &[&bob]).await;
    let nowhere = ConversationId::new([9; 16]);
    for conversation in [direct, tea, nowhere] {
        let leave = Command::LeaveGroup { conversation };
        for request in [
            world.post(&eve, conversation, "hello"),
            world.request(&eve, add(conversation, &[&eve])),
            world.request(&eve, remove(conversation, &alice)),
            world.request(&eve, leave),
        ] {
            assert_eq!(world.refuse(request).await, Refusal::NotFound);
        }
        assert_eq!(history(&world, &eve, conversation).await, None);
        assert_eq!(world.mark(&eve, conversation, 1).await, None);
    }
    let page = world.page(&eve, Position::ZERO, ALL).await;
    assert_eq!((page.events, page.conversations), (vec![], vec![]));
    let not_there = world.request(&alice, remove(tea, &eve));
    assert_eq!(world.refuse(not_there).await, Refusal::NotFound);
}

/// D10.
pub(in crate::store) async fn a_removed_member_reads_up_to_the_removal(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[]).await;
    world.accept(world.post(&alice, tea, "before bob")).await;
    assert_eq!(world.add(&alice, tea, &[&bob]).await, 3);
    world.accept(world.post(&alice, tea, "for bob")).await;
    assert_eq!(world.remove(&alice, tea, &bob).await, 5);
    world.accept(world.post(&alice, tea, "after bob")).await;

    let page = world.page(&bob, Position::ZERO, ALL).await;
    assert_eq!(seqs(&page.events), [3, 4, 5]);
    assert_eq!(history(&world, &bob, tea).await, Some(vec![3, 4, 5]));
    let described = world.described(&bob, tea).await;
    let range = (described.first_seq, described.last_seq, described.head_seq);
    assert_eq!(range, (3, 5, 5));
    assert_eq!(world.mark(&bob, tea, 6).await, Some(5));
}

/// D10.
pub(in crate::store) async fn who_comes_back_has_two_memberships(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    let leave = Command::LeaveGroup { conversation: tea };
    world.accept(world.request(&bob, leave)).await;
    let left_at = world.head().await;
    world.accept(world.post(&alice, tea, "without bob")).await;
    assert_eq!(world.add(&alice, tea, &[&bob]).await, 4);

    assert_eq!(history(&world, &bob, tea).await, Some(vec![1, 2, 4]));
    let described = world.described(&bob, tea).await;
    // The whole range: what lies before the hole can be fetched.
    assert_eq!((described.first_seq, described.last_seq), (1, 0));
    let place = SnapshotPlace {
        since: Position::ZERO.into(),
        at: world.heads().await,
        below: Recency::LAST,
    };
    let page = world.store.snapshot_page(bob.id(), place, None, ALL).await;
    let page = page.unwrap();
    assert_eq!(page.conversations[0].first_seq, 1);
    assert_eq!(seqs(&page.events), [4]);
    let of_bob = |from, to| Membership {
        user: bob.id(),
        from_seq: seq(from),
        to_seq: to,
    };
    let memberships = world
        .store
        .memberships(tea, left_at.previous())
        .await
        .unwrap();
    assert!(memberships.contains(&of_bob(1, Some(seq(2)))));
    assert!(memberships.contains(&of_bob(4, None)));
    let memberships = world.store.memberships(tea, left_at).await.unwrap();
    assert_eq!(memberships.len(), 2);
    assert!(
        memberships
            .iter()
            .all(|membership| membership.to_seq.is_none())
    );
}

/// D10.
pub(in crate::store) async fn who_left_does_not_learn_who_came_later(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let tea = world.group(&alice, &[&bob]).await;
    world.remove(&alice, tea, &bob).await;
    world.add(&alice, tea, &[&eve]).await;
    world.accept(world.post(&alice, tea, "welcome")).await;
    world.mark(&alice, tea, 4).await;
    let described = world.described(&bob, tea).await;
    let [alone] = &described.members[..] else {
        panic!("{described:?}");
    };
    assert_eq!(alone.user.as_ref().unwrap().name, "alice");
    assert_eq!(alone.read_seq, 2);
}

/// D10.
pub(in crate::store) async fn a_revoked_device_changes_nothing(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    world.accept(world.to(&alice, &bob, "hello")).await;
    let revoked = world
        .store
        .revoke_device(alice.id(), alice.actor.device)
        .await;
    assert_eq!(revoked, Ok(true));
    let request = world.to(&alice, &bob, "still me");
    assert_eq!(world.refuse(request).await, Refusal::DeviceRevoked);
    // Nor does another user's device help.
    let mut borrowed = world.to(&bob, &bob, "not me");
    borrowed.actor.user = alice.id();
    assert_eq!(world.refuse(borrowed).await, Refusal::DeviceRevoked);
}

/// All that a user may read of a conversation.
async fn history(world: &World, of: &Player, conversation: ConversationId) -> Option<Vec<u64>> {
    let request = FetchHistory {
        conversation,
        from: HistoryFrom::After(seq(0)),
        limit: 200,
    };
    let page = world.store.history(of.id(), request).await.unwrap()?;
    Some(seqs(&page.events))
}
