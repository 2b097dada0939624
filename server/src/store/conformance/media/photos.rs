//! The photos of users.

use bytes::Bytes;
use magpie_protocol::{
    profile::Profile,
    setting::Setting,
    wire::{GroupUpdate, KnownProfile, Target, v1},
};

use super::{
    super::{Player, World},
    id_of,
};
use crate::store::{AccountChange, Command, Refusal};

impl World {
    /// The photo of which a user is told.
    async fn told_photo(&self, to: &Player, of: &Player) -> Bytes {
        let user = of.id();
        let known = [KnownProfile {
            user,
            version: u64::MAX,
        }];
        let found = self.store.profiles(to.id(), &known).await.unwrap();
        found[0].photo_id.clone()
    }
}

/// D10.
pub(in crate::store) async fn a_profile_photo_is_for_who_may_see_the_profile(world: World) {
    let [alice, bob, eve] = world.people(["alice", "bob", "eve"]).await;
    let (first, second) = (
        world.photo(&alice, [1; 32]).await,
        world.photo(&alice, [2; 32]).await,
    );
    let says = |photo: Option<&v1::Media>| Command::ChangeAccount {
        setting: Setting::Profile(Profile {
            photo: photo.map(id_of),
            ..Profile::default()
        }),
    };
    let foreign = world.request(&eve, says(Some(&first)));
    assert_eq!(world.refuse(foreign).await, Refusal::NoMedia);
    world
        .accept(world.request(&alice, says(Some(&first))))
        .await;
    assert!(!world.has(&bob, &first).await);
    world.accept(world.to(&alice, &bob, "hi")).await;
    assert!(world.has(&bob, &first).await);
    assert!(!world.has(&eve, &first).await);
    assert_eq!(world.told_photo(&bob, &alice).await, first.media_id);
    assert_eq!(world.expire().await, 1, "the second, of no use yet");

    let second = world.photo(&alice, second.sha256.as_ref().try_into().unwrap());
    let second = second.await;
    let both = [Some(&second), Some(&second)];
    for photo in both {
        world.accept(world.request(&alice, says(photo))).await;
    }
    assert!(!world.has(&bob, &first).await, "at once");
    assert_eq!(world.expire().await, 1);
    assert!(world.has(&bob, &second).await);
    // Whoever is found by the beginning of their name shows it to everybody.
    let discoverable = Command::ChangeAccount {
        setting: Setting::Discoverable(true),
    };
    world.accept(world.request(&alice, discoverable)).await;
    assert!(world.has(&eve, &second).await);

    // What a message refers to as well stays.
    let show = world.show(&alice, Target::User(bob.name()), &[&second]);
    world.accept(show).await;
    world.accept(world.request(&alice, says(None))).await;
    assert_eq!(world.told_photo(&bob, &alice).await, "");
    assert!(!world.has(&eve, &second).await);
    assert!(world.has(&bob, &second).await);
    assert_eq!(world.expire().await, 0);
}

/// D12.
pub(in crate::store) async fn the_photo_of_who_is_deleted_goes(world: World) {
    let [alice, bob] = world.people(["alice", "bob"]).await;
    let (own, told) = (
        world.photo(&alice, [1; 32]).await,
        world.photo(&bob, [2; 32]).await,
    );
    let show = world.show(&bob, Target::User(alice.name()), &[&told]);
    world.accept(show).await;
    for (player, photo) in [(&alice, &told), (&bob, &own)] {
        let setting = Setting::Profile(Profile {
            photo: Some(id_of(photo)),
            ..Profile::default()
        });
        let asked = world.request(player, Command::ChangeAccount { setting });
        if player.id() == bob.id() {
            assert_eq!(world.refuse(asked).await, Refusal::NoMedia);
        } else {
            world.accept(asked).await;
        }
    }
    let deleted = world
        .store
        .change_account(alice.id(), None, &AccountChange::Delete);
    deleted.await.unwrap();
    assert_eq!(world.expire().await, 1, "but not what a message refers to");
    assert!(world.has(&bob, &told).await);
    assert_eq!(world.expire().await, 0);
}

/// D10.
pub(in crate::store) async fn a_groups_photo_is_for_its_members(world: World) {
    let [alice, bob, carol, eve] = world.people(["alice", "bob", "carol", "eve"]).await;
    let (first, second) = (
        world.photo(&alice, [1; 32]).await,
        world.photo(&alice, [2; 32]).await,
    );
    let group = world.group(&alice, &[&bob, &eve]).await;
    let shows = |photo: Option<&v1::Media>| Command::UpdateGroup {
        conversation: group,
        update: GroupUpdate {
            photo: Some(photo.map(id_of)),
            ..GroupUpdate::default()
        },
    };
    let foreign = world.photo(&bob, [3; 32]).await;
    let asked = world.request(&alice, shows(Some(&foreign)));
    assert_eq!(world.refuse(asked).await, Refusal::NoMedia);
    // Who may not change the group learns nothing of photos.
    let asked = world.request(&bob, shows(Some(&first)));
    assert_eq!(world.refuse(asked).await, Refusal::NotAllowed);

    world
        .accept(world.request(&alice, shows(Some(&first))))
        .await;
    assert_eq!(world.expire().await, 2, "but not what the group shows");
    assert!(world.has(&bob, &first).await);
    world.remove(&alice, group, &eve).await;
    assert!(!world.has(&eve, &first).await);
    assert!(!world.has(&carol, &first).await);
    world.add(&alice, group, &[&carol]).await;
    assert!(world.has(&carol, &first).await, "who came after");

    let second = world.photo(&alice, second.sha256.as_ref().try_into().unwrap());
    let second = second.await;
    world
        .accept(world.request(&alice, shows(Some(&second))))
        .await;
    assert!(!world.has(&bob, &first).await, "at once");
    assert_eq!(world.expire().await, 1);
    assert!(world.has(&bob, &second).await);
    // A member may show it elsewhere, where it stays.
    let said = Setting::Profile(Profile {
        photo: Some(id_of(&second)),
        ..Profile::default()
    });
    let setting = Command::ChangeAccount { setting: said };
    world.accept(world.request(&bob, setting)).await;
    world.accept(world.request(&alice, shows(None))).await;
    assert_eq!(world.expire().await, 0);
    assert!(world.has(&carol, &second).await, "as the photo of bob");
}
