//! Groups of many members, and who is told of them.

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    seq::Position,
    wire::{FetchMembers, v1},
};

use super::{ALL, Player, World, remove};
use crate::store::Command;

/// Alice, so many others, and their group.
async fn crowd(world: &World, others: usize) -> (Player, Vec<Player>, ConversationId) {
    let alice = world.player("alice").await;
    let mut players = Vec::new();
    for number in 0..others {
        players.push(world.player(&format!("user{number}")).await);
    }
    let all: Vec<&Player> = players.iter().collect();
    let crowd = world.group(&alice, &all).await;
    (alice, players, crowd)
}

async fn ask(
    world: &World,
    of: &Player,
    conversation: ConversationId,
    (after, limit): (Option<UserId>, u32),
) -> Option<v1::Members> {
    let request = FetchMembers {
        conversation,
        after,
        limit,
    };
    world.store.members(of.id(), request).await.unwrap()
}

fn ids(members: &[v1::Member]) -> Vec<UserId> {
    let user = |it: &v1::Member| UserId::try_from(it.user.as_ref().unwrap().user_id.as_ref());
    members.iter().map(|it| user(it).unwrap()).collect()
}

pub(in crate::store) async fn the_members_are_listed_in_pages(world: World) {
    let (alice, others, crowd) = crowd(&world, 9).await;
    world.mark(&alice, crowd, 1).await;
    let whole = ask(&world, &alice, crowd, (None, 10)).await.unwrap();
    assert!(whole.complete);
    assert_eq!((whole.members.len(), whole.at_seq), (10, 1));
    let all = ids(&whole.members);
    let place = all.iter().position(|id| *id == alice.id()).unwrap();
    assert_eq!(whole.members[place].read_seq, 1);
    let mut paged = Vec::new();
    loop {
        let page = ask(&world, &alice, crowd, (paged.last().copied(), 4)).await;
        let page = page.unwrap();
        paged.extend(ids(&page.members));
        if page.complete {
            break;
        }
        assert_eq!(page.members.len(), 4);
    }
    assert_eq!(paged, all, "the order stays");
    // Also behind one who is gone by now.
    let gone = others
        .iter()
        .find(|it| it.id() == all[3] || it.id() == all[4]);
    let gone = gone.unwrap();
    world.remove(&alice, crowd, gone).await;
    let rest = ask(&world, &alice, crowd, (Some(gone.id()), 10))
        .await
        .unwrap();
    let place = all.iter().position(|id| *id == gone.id()).unwrap();
    assert_eq!(ids(&rest.members), all[place + 1..]);
    assert_eq!(rest.at_seq, 2);
}

pub(in crate::store) async fn a_description_of_a_large_group_names_its_reader_alone(world: World) {
    let (alice, others, crowd) = crowd(&world, MARKED_MEMBERS_MAX - 1).await;
    let described = world.described(&alice, crowd).await;
    assert_eq!(described.members.len(), MARKED_MEMBERS_MAX);
    assert_eq!(described.member_count, MARKED_MEMBERS_MAX as u64);

    let one_more = world.player("one_more").await;
    world.add(&alice, crowd, &[&one_more]).await;
    world.mark(&alice, crowd, 2).await;
    let described = world.described(&alice, crowd).await;
    assert_eq!(ids(&described.members), [alice.id()]);
    let own = (described.members[0].read_seq, described.member_count);
    assert_eq!(own, (2, MARKED_MEMBERS_MAX as u64 + 1));
    // The page in which somebody joins says the same.
    let page = world.page(&one_more, Position::ZERO, ALL).await;
    let [described] = &page.conversations[..] else {
        panic!("{page:?}");
    };
    assert_eq!(ids(&described.members), [one_more.id()]);
    assert_eq!(described.member_count, MARKED_MEMBERS_MAX as u64 + 1);

    // Who goes sees how many were left, whoever came later; below the bound also whom.
    world.remove(&alice, crowd, &others[0]).await;
    let leave = Command::LeaveGroup {
        conversation: crowd,
    };
    world.accept(world.request(&others[1], leave)).await;
    world.add(&alice, crowd, &[&others[2], &others[0]]).await;
    let page = world.page(&others[1], Position::ZERO, ALL).await;
    assert_eq!(page.conversations.len(), 1);
    let described = world.described(&others[1], crowd).await;
    assert_eq!(described.member_count, MARKED_MEMBERS_MAX as u64 - 1);
    assert_eq!(described.members.len(), MARKED_MEMBERS_MAX - 1);
    let described = world.described(&alice, crowd).await;
    assert_eq!(described.member_count, MARKED_MEMBERS_MAX as u64);
}

/// D10.
pub(in crate::store) async fn the_members_are_told_to_members_alone(world: World) {
    let (alice, others, crowd) = crowd(&world, 3).await;
    let [bob, carl, dora] = &others[..] else {
        panic!("three others");
    };
    let eve = world.player("eve").await;
    world.remove(&alice, crowd, bob).await;
    let leave = Command::LeaveGroup {
        conversation: crowd,
    };
    world.accept(world.request(carl, leave)).await;
    for stranger in [&eve, bob, carl] {
        assert_eq!(ask(&world, stranger, crowd, (None, 10)).await, None);
    }
    let nowhere = ConversationId::new([9; 16]);
    assert_eq!(ask(&world, &alice, nowhere, (None, 10)).await, None);

    // Nor does a member learn where others are in the order, or were before.
    world.add(&alice, crowd, &[&eve]).await;
    let nobody = UserId::new([9; 16]);
    let frank = world.player("frank").await;
    for unknown in [nobody, frank.id(), bob.id(), carl.id()] {
        assert_eq!(ask(&world, &eve, crowd, (Some(unknown), 10)).await, None);
    }
    assert!(
        ask(&world, &alice, crowd, (Some(bob.id()), 10))
            .await
            .is_some()
    );
    world
        .accept(world.request(&alice, remove(crowd, dora)))
        .await;
    assert!(
        ask(&world, &eve, crowd, (Some(dora.id()), 10))
            .await
            .is_some()
    );
}
