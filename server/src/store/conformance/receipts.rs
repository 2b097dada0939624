//! Who is told how far others have read.

use std::collections::HashSet;

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    setting::Setting,
    wire::{CountReaders, FetchMembers, GroupUpdate, v1},
};

use super::{ALL, Player, World, roles::update, seq};
use crate::store::{Append, Command, MarkRead, Positions, Recency, Refusal, Shard, SnapshotPlace};

impl World {
    /// Moves a mark. Where it is now.
    pub(in crate::store) async fn mark(
        &self,
        of: &Player,
        id: ConversationId,
        to: u64,
    ) -> Option<u64> {
        let shard = Shard::of_conversation(id, self.store.shard_count());
        let mark = MarkRead {
            user: of.id(),
            conversation: id,
            seq: seq(to),
        };
        let marked = self.store.mark_read(shard, &[mark]).await.unwrap();
        assert!(marked.head >= marked.after);
        marked.marks[0].map(|mark| mark.seq.get())
    }
}

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

async fn count(
    world: &World,
    of: &Player,
    conversation: ConversationId,
    seqs: &[u64],
) -> Result<Vec<u64>, Refusal> {
    let request = CountReaders {
        conversation,
        seqs: seqs.iter().map(|it| seq(*it)).collect(),
    };
    world.store.count_readers(of.id(), request).await.unwrap()
}

pub(in crate::store) async fn readers_are_counted_of_each_message(world: World) {
    // Of 1 to 4, which Alice sent.
    let (players, group) = read_so_far(&world, [4, 3, 2]).await;
    let [alice, bob, carol] = &players;
    assert_eq!(
        count(&world, alice, group, &[1, 2, 3, 4]).await,
        Ok(vec![2, 2, 1, 0])
    );
    assert_eq!(count(&world, carol, group, &[3]).await, Ok(vec![1]));
    // Who comes later, or comes back, is no reader of what was before.
    let dora = world.player("dora").await;
    world.add(alice, group, &[&dora]).await;
    world.remove(alice, group, carol).await;
    world.accept(world.post(bob, group, "seven")).await;
    world.add(alice, group, &[carol]).await;
    for player in [bob, carol, &dora, alice] {
        world.mark(player, group, 8).await;
    }
    let counted = count(&world, &dora, group, &[5, 7, 8]).await;
    assert_eq!(
        counted,
        Ok(vec![2, 2, 3]),
        "5 and 8 are Alice's, 7 is Bob's"
    );
    assert_eq!(count(&world, alice, group, &[2, 4]).await, Ok(vec![1, 1]));
    // Nor is who is gone, or hides it.
    world.accept(receipts(&world, bob, true)).await;
    assert_eq!(
        count(&world, alice, group, &[4, 7, 8]).await,
        Ok(vec![0, 2, 2])
    );
    world.accept(receipts(&world, bob, false)).await;
    world.remove(alice, group, bob).await;
    assert_eq!(
        count(&world, alice, group, &[4, 7, 8]).await,
        Ok(vec![0, 2, 2])
    );
}

/// D10.
pub(in crate::store) async fn readers_are_told_to_who_may_read_it(world: World) {
    let (players, group) = read_so_far(&world, [4, 3, 2]).await;
    let [alice, bob, carol] = &players;
    let (dora, eve) = (world.player("dora").await, world.player("eve").await);
    world.add(alice, group, &[&dora]).await;
    let refused = Err(Refusal::NotFound);
    let nowhere = ConversationId::new([9; 16]);
    assert_eq!(count(&world, &eve, group, &[1]).await, refused);
    assert_eq!(count(&world, &eve, nowhere, &[1]).await, refused);
    assert_eq!(
        count(&world, alice, group, &[6]).await,
        refused,
        "not there yet"
    );
    // Dora may read from 5 on.
    assert_eq!(count(&world, &dora, group, &[4, 5]).await, refused);
    assert_eq!(count(&world, &dora, group, &[5]).await, Ok(vec![0]));
    // Who left is told of nothing; who came back, of what they may read, before it too.
    world.remove(alice, group, carol).await;
    assert_eq!(count(&world, carol, group, &[2]).await, refused);
    world.accept(world.post(alice, group, "seven")).await;
    world.add(alice, group, &[carol]).await;
    assert_eq!(count(&world, carol, group, &[2, 8]).await, Ok(vec![1, 0]));
    assert_eq!(count(&world, carol, group, &[2, 7]).await, refused);
    world.accept(receipts(&world, carol, true)).await;
    let hidden = Err(Refusal::ReceiptsHidden);
    assert_eq!(count(&world, carol, group, &[2, 8]).await, hidden);
    assert_eq!(count(&world, carol, group, &[2, 7]).await, refused);
    assert_eq!(count(&world, bob, group, &[2, 7]).await, Ok(vec![1, 0]));
}

/// Who may read what was before them.
pub(in crate::store) async fn who_has_read_is_told_to_newcomers(world: World) {
    let (players, group) = read_so_far(&world, [4, 3, 2]).await;
    let [alice, ..] = &players;
    let change = GroupUpdate {
        history_for_newcomers: Some(true),
        ..GroupUpdate::default()
    };
    let change = world.request(alice, update(group, change));
    world.accept(change).await;
    let dora = world.player("dora").await;
    world.add(alice, group, &[&dora]).await;
    world.mark(&dora, group, 6).await;
    let counted = count(&world, &dora, group, &[1, 2, 3, 4, 6]).await;
    assert_eq!(counted, Ok(vec![2, 2, 1, 0, 1]));
}

/// Also of two changes in one batch, and a repeat is not a later word.
pub(in crate::store) async fn the_last_word_on_receipts_holds(world: World) {
    let (players, group) = read_so_far(&world, [1, 2, 3]).await;
    let [alice, bob, _] = &players;
    let hide = receipts(&world, alice, true);
    let show = receipts(&world, alice, false);
    world.append(&[hide.clone(), show.clone()]).await;
    assert_eq!(told(&world, bob, &players, group).await, [1, 2, 3]);
    world.append(std::slice::from_ref(&hide)).await;
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

/// D10. In a conversation of two it is told by marks, to whom they are for.
pub(in crate::store) async fn nobody_counts_the_readers_of_two(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    super::blocks::block(&world, &bob, &alice).await;
    world.mark(&bob, direct, 1).await;
    let counted = count(&world, &alice, direct, &[1]).await;
    assert_eq!(counted, Err(Refusal::NotPossible));
}
