//! Users, devices and where devices are.

use magpie_protocol::{id::DeviceId, seq::Position};

use super::{NOON, Player, World};
use crate::store::{Account, Confirm, Connect, CreateUser, Generation, NewDevice, PutDevice};

pub(in crate::store) async fn a_name_is_given_once(world: World) {
    let alice = world.player("alice").await;
    let again = world.new_account("alice");
    let device = world.new_device();
    let created = world.store.create_user(&again, Some(&device), NOON).await;
    assert_eq!(created, Ok(CreateUser::NameTaken));
    assert!(world.store.device(device.id).await.unwrap().is_none());

    let found: Account = world.store.account(&alice.name()).await.unwrap().unwrap();
    assert_eq!(found.user, alice.user);
    assert_eq!(found.password_hash, again.password_hash);
    let nobody = world.new_account("nobody").user.name;
    assert!(world.store.account(&nobody).await.unwrap().is_none());
}

pub(in crate::store) async fn a_device_belongs_to_one_user(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let stolen = NewDevice {
        id: alice.actor.device,
        ..world.new_device()
    };
    let put = world.store.put_device(&bob.account(), &stolen, NOON).await;
    assert_eq!(put, Ok(PutDevice::Refused));
    let eve = world.new_account("eve");
    let created = world.store.create_user(&eve, Some(&stolen), NOON).await;
    assert_eq!(created, Ok(CreateUser::DeviceRefused));
    assert!(world.store.account(&eve.user.name).await.unwrap().is_none());
    let nobody = world
        .store
        .put_device(&eve, &world.new_device(), NOON)
        .await;
    assert_eq!(nobody, Ok(PutDevice::Stale));
    let revoked = world
        .store
        .revoke_device(bob.id(), alice.actor.device)
        .await;
    assert_eq!(revoked, Ok(false));
}

pub(in crate::store) async fn a_new_token_replaces_the_old_one(world: World) {
    let alice = world.player("alice").await;
    let renewed = NewDevice {
        id: alice.actor.device,
        token_hash: [8; 32],
        ..world.new_device()
    };
    world.accept(world.to(&alice, &alice, "since then")).await;
    let put = world
        .store
        .put_device(&alice.account(), &renewed, NOON)
        .await;
    assert_eq!(put, Ok(PutDevice::Done));
    let device = world.store.device(renewed.id).await.unwrap().unwrap();
    assert_eq!(device.token_hash, [8; 32]);
    assert_eq!(device.made_at, Position::ZERO, "it is the same device");
    assert_eq!(device.user, alice.user);
    assert_eq!(world.store.devices(alice.id()).await.unwrap().len(), 1);

    let second = world.new_device();
    let put = world
        .store
        .put_device(&alice.account(), &second, NOON)
        .await;
    assert_eq!(put, Ok(PutDevice::Done));
    let second = world.store.device(second.id).await.unwrap().unwrap();
    assert_eq!(second.made_at, world.head().await);
}

pub(in crate::store) async fn a_revoked_device_is_of_no_use(world: World) {
    let alice = world.player("alice").await;
    let device = alice.actor.device;
    assert_eq!(connect(&world, device, 0).await, Some(Generation(1)));
    for was_there in [true, false] {
        let revoked = world.store.revoke_device(alice.id(), device).await;
        assert_eq!(revoked, Ok(was_there));
    }
    assert!(world.store.device(device).await.unwrap().is_none());
    assert_eq!(world.store.devices(alice.id()).await, Ok(Vec::new()));
    assert_eq!(connect(&world, device, 0).await, None);
    assert_eq!(confirm(&world, device, 1, 0).await, [device]);
    let again = NewDevice {
        id: device,
        ..world.new_device()
    };
    let put = world.store.put_device(&alice.account(), &again, NOON).await;
    assert_eq!(put, Ok(PutDevice::Refused));
}

pub(in crate::store) async fn devices_are_listed_oldest_first(world: World) {
    let alice = world.player("alice").await;
    let tablet = world.new_device();
    world
        .store
        .put_device(&alice.account(), &tablet, NOON + 1)
        .await
        .unwrap();
    connect(&world, tablet.id, 0).await;
    let lines = world.store.devices(alice.id()).await.unwrap();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line.id, line.last_seen_at_ms))
        .collect();
    assert_eq!(seen, [(alice.actor.device, None), (tablet.id, Some(NOON))]);
    assert_eq!(lines[1].created_at_ms, NOON + 1);
    assert_eq!(lines[1].name, "phone");
}

pub(in crate::store) async fn hello_sets_the_cursor_also_downwards(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let device = bob.actor.device;
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    assert_eq!(connect(&world, device, 0).await, Some(Generation(1)));
    assert_eq!(confirm(&world, device, 1, 2).await, []);
    assert_eq!(delivered(&world, &alice, &bob).await, 2);

    // The phone's database was set back: what others were shown stays.
    assert_eq!(connect(&world, device, 0).await, Some(Generation(2)));
    assert_eq!(confirm(&world, device, 2, 1).await, []);
    assert_eq!(delivered(&world, &alice, &bob).await, 2);
    assert_eq!(world.described(&bob, direct).await.head_seq, 2);
    let nobody = DeviceId::new([9; 16]);
    assert_eq!(connect(&world, nobody, 0).await, None);
}

pub(in crate::store) async fn an_older_connection_is_fenced(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    world.accept(world.to(&alice, &bob, "one")).await;
    let device = bob.actor.device;
    let hello = Connect {
        device,
        cursor: Position::ZERO.into(),
        at_ms: NOON,
        attachment: crate::store::Attachment::Foreground,
    };
    let generations = world.store.connect(&[hello, hello]).await.unwrap();
    assert_eq!(generations, [Some(Generation(1)), Some(Generation(2))]);
    assert_eq!(confirm(&world, device, 1, 1).await, [device]);
    assert_eq!(delivered(&world, &alice, &bob).await, 0);
    assert_eq!(confirm(&world, device, 2, 1).await, []);
    assert_eq!(delivered(&world, &alice, &bob).await, 1);
}

pub(in crate::store) async fn the_history_has_an_identity_and_a_key(world: World) {
    let state = world.store.state().await.unwrap();
    assert_eq!((state.history.epoch, state.history.base), (1, state.heads));
    assert_ne!(world.store.cursor_key().await.unwrap(), [0; 32]);
    assert_eq!(world.head().await, Position::ZERO);
}

async fn connect(world: &World, device: DeviceId, cursor: u64) -> Option<Generation> {
    let hello = Connect {
        device,
        cursor: Position::new(cursor).into(),
        at_ms: NOON,
        attachment: crate::store::Attachment::Foreground,
    };
    world.store.connect(&[hello]).await.unwrap()[0]
}

async fn confirm(world: &World, device: DeviceId, generation: u64, cursor: u64) -> Vec<DeviceId> {
    let confirm = Confirm {
        device,
        generation: Generation(generation),
        cursor: Position::new(cursor).into(),
    };
    world.store.confirm(&[confirm]).await.unwrap()
}

/// How far one has got what the other sent, as the sender sees it.
async fn delivered(world: &World, sender: &Player, reader: &Player) -> u64 {
    let direct = crate::store::direct_conversation(sender.id(), reader.id());
    let described = world.described(sender, direct).await;
    let reader = reader.id().to_wire();
    let mut members = described.members.into_iter();
    let member = members.find(|member| member.user.as_ref().unwrap().user_id == reader);
    member.unwrap().delivered_seq
}
