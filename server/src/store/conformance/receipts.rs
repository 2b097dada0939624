//! Who is told how far others have read.

use std::collections::HashSet;

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    setting::Setting,
    wire::{FetchMembers, v1},
};

use super::{ALL, Player, World};
use crate::store::{Append, Command, Positions, Recency, SnapshotPlace};

fn receipts(world: &World, of: &Player, hidden: bool) -> Append {
    let setting = Setting::Receipts { hidden };
    world.request(of, Command::ChangeAccount { setting })
}

/// Alice, Bob and Carol in a group, of which each has read so much.
async fn read_so_far(world: &World, read: [u64; 3]) -> ([Player; 3], ConversationId) {
    let alice = world.player("alice").await;
    let (bob, carol) = (world.player("bob").await, world.player("carol").await);
    let group = world.group(&alice, &[&bob, &carol]).await;
    for text in ["two", "three", "four"] {
        world.accept(world.post(&alice, group, text)).await;
    }
    let players = [alice, bob, carol];
    for (player, seq) in players.iter().zip(read) {
        world.mark(player, group, seq).await;
    }
    (players, group)
}

fn read_by(members: &[v1::Member], of: &[Player; 3]) -> [u64; 3] {
    of.each_ref().map(|player| {
        let user_id = player.id().to_wire();
        let is_theirs = |it: &&v1::Member| it.user.as_ref().unwrap().user_id == user_id;
        members.iter().find(is_theirs).map_or(0, |it| it.read_seq)
    })
}

/// How far the three have read, as one of them is told in each way there is.
async fn told(world: &World, to: &Player, of: &[Player; 3], group: ConversationId) -> [u64; 3] {
    let described = world.described(to, group).await;
    let read = read_by(&described.members, of);
    // The page in which the membership begins.
    let origin = Positions::origin(world.store.shard_count());
    let page = world.page(to, origin, ALL).await;
    let place = SnapshotPlace {
        since: origin,
        at: world.heads().await,
        below: Recency::LAST,
    };
    let snapshot = world.store.snapshot_page(to.id(), place, None, ALL).await;
    for described in [page.conversations, snapshot.unwrap().conversations] {
        let found = described.iter().find(|it| it.title == "Tea").unwrap();
        assert_eq!(read_by(&found.members, of), read);
    }
    let request = FetchMembers {
        conversation: group,
        after: None,
        limit: 10,
    };
    let members = world.store.members(to.id(), request).await;
    assert_eq!(read_by(&members.unwrap().unwrap().members, of), read);
    read
}

/// In no way there is; what devices have stored is told all the same.
pub(in crate::store) async fn hidden_receipts_are_told_to_nobody(world: World) {
    let (players, group) = read_so_far(&world, [4, 3, 2]).await;
    let [alice, bob, carol] = &players;
    for player in &players {
        assert_eq!(told(&world, player, &players, group).await, [4, 3, 2]);
    }
    world.accept(receipts(&world, alice, true)).await;
    assert_eq!(told(&world, alice, &players, group).await, [4, 0, 0]);
    assert_eq!(told(&world, bob, &players, group).await, [0, 3, 2]);
    assert_eq!(told(&world, carol, &players, group).await, [0, 3, 2]);
    // Nor to who is gone.
    world.remove(alice, group, carol).await;
    let described = world.described(carol, group).await;
    assert_eq!(read_by(&described.members, &players), [0, 3, 0]);
    world.accept(receipts(&world, alice, false)).await;
    world.add(alice, group, &[carol]).await;
    assert_eq!(told(&world, bob, &players, group).await, [4, 3, 2]);
}

pub(in crate::store) async fn who_hides_receipts_is_told_nobodys(world: World) {
    let (players, group) = read_so_far(&world, [1, 2, 3]).await;
    let [alice, bob, carol] = &players;
    let hiding = async |users: &[&Player]| {
        let users: Vec<UserId> = users.iter().map(|it| it.id()).collect();
        world.store.hiding_receipts(&users).await.unwrap()
    };
    assert_eq!(hiding(&[alice, bob, carol]).await, HashSet::new());
    world.accept(receipts(&world, bob, true)).await;
    let both = HashSet::from([bob.id()]);
    assert_eq!(hiding(&[alice, bob, carol]).await, both);
    assert_eq!(hiding(&[alice, carol]).await, HashSet::new());
    assert_eq!(told(&world, bob, &players, group).await, [0, 2, 0]);
    assert_eq!(told(&world, alice, &players, group).await, [1, 0, 3]);
    // Their own mark goes on, and counts for their devices.
    let marked = world.mark(bob, group, 4).await;
    assert_eq!(marked, Some(4));
    assert_eq!(told(&world, bob, &players, group).await, [0, 4, 0]);
    world.accept(receipts(&world, bob, false)).await;
    assert_eq!(told(&world, bob, &players, group).await, [1, 4, 3]);

    // Of a large group the list alone says it.
    let mut more = Vec::new();
    for number in 0..MARKED_MEMBERS_MAX {
        more.push(world.player(&format!("user{number}")).await);
    }
    world
        .add(alice, group, &more.iter().collect::<Vec<_>>())
        .await;
    world.accept(receipts(&world, alice, true)).await;
    let request = FetchMembers {
        conversation: group,
        after: None,
        limit: 100,
    };
    let members = async |of: &Player| {
        let members = world.store.members(of.id(), request).await;
        read_by(&members.unwrap().unwrap().members, &players)
    };
    assert_eq!(members(alice).await, [1, 0, 0]);
    assert_eq!(members(bob).await, [0, 4, 3]);
    assert_eq!(members(&more[0]).await, [0, 4, 3]);
}

/// Also of two changes in one batch, and a repeat is not a later word.
pub(in crate::store) async fn the_last_word_on_receipts_holds(world: World) {
    let (players, group) = read_so_far(&world, [1, 2, 3]).await;
    let [alice, bob, _] = &players;
    let hide = receipts(&world, alice, true);
    let show = receipts(&world, alice, false);
    world.append(&[hide.clone(), show.clone()]).await;
    assert_eq!(told(&world, bob, &players, group).await, [1, 2, 3]);
    world.append(&[hide.clone()]).await;
    assert_eq!(told(&world, bob, &players, group).await, [1, 2, 3]);
    let hide = receipts(&world, alice, true);
    world.append(&[show, hide.clone()]).await;
    assert_eq!(told(&world, bob, &players, group).await, [0, 2, 3]);
    world.accept(receipts(&world, alice, true)).await;
    world.accept(receipts(&world, alice, false)).await;
    world.append(&[hide]).await;
    assert_eq!(told(&world, bob, &players, group).await, [1, 2, 3]);
}

/// What they read in secret is not told behind their back.
pub(in crate::store) async fn receipts_stay_hidden_when_their_user_is_deleted(world: World) {
    let (players, group) = read_so_far(&world, [1, 2, 3]).await;
    let [alice, bob, _] = &players;
    world.accept(receipts(&world, alice, true)).await;
    let delete = crate::store::AccountChange::Delete;
    let deleted = world.store.change_account(alice.id(), None, &delete).await;
    assert_eq!(deleted, Ok(Some(vec![alice.actor.device])));
    let described = world.described(bob, group).await;
    assert_eq!(read_by(&described.members, &players), [0, 2, 3]);
}
