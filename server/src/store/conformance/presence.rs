//! Who is there, and who may know it.

use magpie_protocol::{friendship::FriendAction, id::UserId, seq::Position, setting::Setting};

use super::{
    NOON, Player, World,
    blocks::{block, unblock},
    friends::befriend,
};
use crate::store::{
    AccountChange, Actor, Attachment, Command, Connect, Generation, Look, NODE_TIMEOUT_MS,
    Presence, PutDevice,
};

impl World {
    async fn sees_at(&self, watcher: &Player, watched: &Player, at_ms: i64) -> Option<Presence> {
        let look = Look {
            watcher: watcher.id(),
            watched: watched.id(),
        };
        self.store.presences(&[look], at_ms).await.unwrap()[0]
    }

    async fn may_see(&self, watcher: &Player, watched: &Player) -> bool {
        self.sees_at(watcher, watched, NOON).await.is_some()
    }

    /// The player's device connects.
    async fn comes(&self, player: &Player, attachment: Attachment, at_ms: i64) -> Generation {
        let hello = Connect {
            device: player.actor.device,
            cursor: Position::ZERO.into(),
            at_ms,
            attachment,
        };
        self.store.connect(&[hello]).await.unwrap()[0].unwrap()
    }

    async fn goes(&self, player: &Player, generation: Generation, at_ms: i64) {
        let gone = [(player.actor.device, generation)];
        self.store.detach(&gone, at_ms).await.unwrap();
    }

    async fn another_device(&self, of: &Player) -> Player {
        let device = self.new_device();
        let put = self.store.put_device(&of.account(), &device, NOON).await;
        assert_eq!(put, Ok(PutDevice::Done));
        let actor = Actor {
            device: device.id,
            ..of.actor
        };
        Player {
            actor,
            ..of.clone()
        }
    }

    async fn hides_presence(&self, player: &Player, hidden: bool) {
        let setting = Setting::Presence { hidden };
        let command = Command::ChangeAccount { setting };
        self.accept(self.request(player, command)).await;
    }
}

const THERE: Option<Presence> = Some(Presence {
    is_attached: true,
    last_at_ms: Some(NOON),
});

const fn away_since(at_ms: i64) -> Option<Presence> {
    Some(Presence {
        is_attached: false,
        last_at_ms: Some(at_ms),
    })
}

async fn acquainted(world: &World) -> (Player, Player) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    world.accept(world.to(&alice, &bob, "hi")).await;
    world.accept(world.to(&bob, &alice, "hello")).await;
    (alice, bob)
}

/// D10. Not to a stranger who writes, nor of one.
pub(in crate::store) async fn presence_is_told_to_whom_its_user_writes(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let both = async || {
        let told = world.may_see(&alice, &bob).await;
        assert_eq!(world.may_see(&bob, &alice).await, told);
        told
    };
    world.group(&alice, &[&bob]).await;
    assert!(!both().await, "a group is no acquaintance");
    world.accept(world.to(&alice, &bob, "hi")).await;
    world.accept(world.to(&alice, &bob, "are you there")).await;
    assert!(!both().await, "nothing was answered");
    world.accept(world.to(&bob, &alice, "yes")).await;
    assert!(both().await);

    let eve = world.player("eve").await;
    let looks = [
        (&eve, alice.id()),
        (&alice, bob.id()),
        (&alice, alice.id()),
        (&alice, UserId::new([9; 16])),
        (&bob, alice.id()),
    ];
    let looks = looks.map(|(watcher, watched)| Look {
        watcher: watcher.id(),
        watched,
    });
    let seen = world.store.presences(&looks, NOON).await.unwrap();
    let seen: Vec<bool> = seen.iter().map(Option::is_some).collect();
    assert_eq!(seen, [false, true, false, false, true]);
    assert_eq!(world.store.presences(&[], NOON).await, Ok(Vec::new()));
}

/// Both ways, whoever hides it or blocks the other; and of nobody who is not there any more.
pub(in crate::store) async fn hidden_presence_is_told_to_nobody_and_of_nobody(world: World) {
    let (alice, bob) = acquainted(&world).await;
    let told = async || {
        let told = world.may_see(&alice, &bob).await;
        assert_eq!(world.may_see(&bob, &alice).await, told);
        told
    };
    for player in [&alice, &bob] {
        world.hides_presence(player, true).await;
        assert!(!told().await);
        world.hides_presence(player, true).await;
        world.hides_presence(player, false).await;
        assert!(told().await);
    }
    for (by, whom) in [(&alice, &bob), (&bob, &alice)] {
        block(&world, by, whom).await;
        assert!(!told().await);
        unblock(&world, by, whom).await;
        assert!(told().await);
    }
    let change = async |change| {
        let changed = world.store.change_account(alice.id(), None, &change).await;
        assert!(changed.unwrap().is_some());
    };
    change(AccountChange::Suspend).await;
    assert!(!world.may_see(&bob, &alice).await);
    change(AccountChange::Resume).await;
    assert!(world.may_see(&bob, &alice).await);
    change(AccountChange::Delete).await;
    assert!(!world.may_see(&bob, &alice).await);
}

pub(in crate::store) async fn it_is_kept_when_somebody_was_last_there(world: World) {
    let (alice, bob) = acquainted(&world).await;
    world.store.begin_node(NOON).await.unwrap();
    let seen = async || world.sees_at(&alice, &bob, NOON + 60_000).await;
    let never = Some(Presence {
        is_attached: false,
        last_at_ms: None,
    });
    assert_eq!(seen().await, never);
    let woken = world
        .comes(&bob, Attachment::Background, NOON - 1_000)
        .await;
    assert_eq!(seen().await, never, "nobody looks at it");
    world.goes(&bob, woken, NOON - 500).await;
    assert_eq!(seen().await, never);

    let first = world.comes(&bob, Attachment::Foreground, NOON).await;
    assert_eq!(seen().await, THERE);
    world.goes(&bob, first, NOON + 5_000).await;
    assert_eq!(seen().await, away_since(NOON + 5_000));
    // It counts when somebody looked, not when a push woke it.
    let woken = world
        .comes(&bob, Attachment::Background, NOON + 6_000)
        .await;
    world.goes(&bob, woken, NOON + 7_000).await;
    assert_eq!(seen().await, away_since(NOON + 5_000));
    // A connection that nobody missed when it broke.
    let lost = world
        .comes(&bob, Attachment::Foreground, NOON + 8_000)
        .await;
    world
        .comes(&bob, Attachment::Background, NOON + 9_000)
        .await;
    world.goes(&bob, lost, NOON + 10_000).await;
    assert_eq!(seen().await, away_since(NOON + 9_000));

    let tablet = world.another_device(&bob).await;
    let other = world.comes(&tablet, Attachment::Foreground, NOON).await;
    assert!(seen().await.unwrap().is_attached, "one of two");
    world.goes(&tablet, other, NOON + 4_000).await;
    assert_eq!(seen().await, away_since(NOON + 9_000), "the later one");
}

/// Where nothing told of the end of a node, and where another one tells of its devices.
pub(in crate::store) async fn devices_were_there_until_their_node_ended(world: World) {
    let (alice, bob) = acquainted(&world).await;
    let store = &world.store;
    store.begin_node(NOON).await.unwrap();
    world.comes(&bob, Attachment::Foreground, NOON).await;
    assert_eq!(store.keep_node(NOON + 20_000).await, Ok(false), "alone");

    store.begin_node(NOON + 30_000).await.unwrap();
    let until = NOON + 20_000 + NODE_TIMEOUT_MS;
    assert_eq!(store.keep_node(until - 1).await, Ok(true));
    let seen = world.sees_at(&alice, &bob, until - 1).await;
    assert!(seen.unwrap().is_attached, "to the other one");
    assert_eq!(store.keep_node(until).await, Ok(false));
    let seen = world.sees_at(&alice, &bob, until).await;
    assert_eq!(seen, away_since(NOON + 20_000));
    // Whoever comes back comes to the other one.
    world.comes(&bob, Attachment::Foreground, until).await;
    let seen = world.sees_at(&alice, &bob, until + NODE_TIMEOUT_MS).await;
    assert!(seen.unwrap().is_attached);
}

/// Friends need not have written a word.
pub(in crate::store) async fn friends_see_when_the_other_is_there(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    befriend(&world, &alice, &bob, FriendAction::Request).await;
    assert!(!world.may_see(&alice, &bob).await);
    assert!(!world.may_see(&bob, &alice).await);
    befriend(&world, &bob, &alice, FriendAction::Accept).await;
    assert!(world.may_see(&alice, &bob).await);
    assert!(world.may_see(&bob, &alice).await);
    befriend(&world, &bob, &alice, FriendAction::Remove).await;
    assert!(!world.may_see(&alice, &bob).await);
    assert!(!world.may_see(&bob, &alice).await);
}
