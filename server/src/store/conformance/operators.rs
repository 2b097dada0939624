//! What becomes of accounts after they were made, and what operators do and read.

use magpie_protocol::{
    id::{DeviceId, MessageId},
    push::{AppId, Platform, PushAddress, PushToken},
    seq::Seq,
    wire::{FetchHistory, HistoryFrom, ReportReason, v1},
};

use super::{ALL, NOON, Player, World, decoded};
use crate::store::{
    Account, AccountChange, AdminAct, Append, Command, CreateUser, Departure, NewDevice, NewReport,
    Outcome, PutDevice, Refusal, SignOut, Standing, Statistics,
};

/// More than there are.
const MANY: usize = 1_000;

fn password(hash: &str, sign_out: SignOut) -> AccountChange {
    AccountChange::Password {
        hash: hash.to_owned(),
        sign_out,
    }
}

impl World {
    async fn second_device(&self, of: &Player) -> DeviceId {
        let device = self.new_device();
        let put = self.store.put_device(&of.account(), &device, NOON).await;
        assert_eq!(put, Ok(PutDevice::Done));
        device.id
    }

    async fn change(&self, of: &Player, change: AccountChange) -> Option<Vec<DeviceId>> {
        let changed = self.store.change_account(of.id(), None, &change).await;
        changed.unwrap()
    }

    async fn device_ids(&self, of: &Player) -> Vec<DeviceId> {
        let lines = self.store.devices(of.id()).await.unwrap();
        lines.iter().map(|line| line.id).collect()
    }
}

pub(in crate::store) async fn a_changed_password_ends_the_devices_that_it_should(world: World) {
    let alice = world.player("alice").await;
    let (phone, tablet) = (alice.actor.device, world.second_device(&alice).await);
    let bob = world.player("bob").await;
    let before = world.head().await;
    let changed = world.change(&alice, password("one", SignOut::Nobody)).await;
    assert_eq!(changed, Some(vec![]));
    assert_eq!(world.device_ids(&alice).await, [phone, tablet]);
    assert_eq!(world.head().await, before, "there is nothing to learn");

    let others = password("two", SignOut::Others(tablet));
    assert_eq!(world.change(&alice, others).await, Some(vec![phone]));
    assert_eq!(world.device_ids(&alice).await, [tablet]);
    assert!(world.store.device(phone).await.unwrap().is_none());
    let stretch = world.store.stretch(before, ALL).await.unwrap();
    let learnt: Vec<_> = stretch
        .devices
        .iter()
        .map(|it| (it.user, it.device, it.is_revoked))
        .collect();
    assert_eq!(learnt, [(alice.id(), phone, true)]);
    assert_eq!(stretch.deleted, []);

    let all = password("three", SignOut::Everybody);
    assert_eq!(world.change(&alice, all).await, Some(vec![tablet]));
    assert_eq!(world.device_ids(&alice).await, []);
    assert_eq!(world.device_ids(&bob).await, [bob.actor.device]);
    let account: Account = world.store.account(&alice.name()).await.unwrap().unwrap();
    assert_eq!(account.password_hash, "three");
    let same = world.store.account_of(alice.id()).await.unwrap().unwrap();
    assert_eq!(same.user, account.user);
}

pub(in crate::store) async fn a_password_is_changed_by_who_proved_the_last_one(world: World) {
    let alice = world.player("alice").await;
    let mine = alice.account().password_hash;
    let change = async |proven: &str, new| {
        let change = password(new, SignOut::Nobody);
        let changed = world
            .store
            .change_account(alice.id(), Some(proven), &change);
        changed.await.unwrap()
    };
    assert_eq!(change("another", "one").await, None);
    assert_eq!(change(&mine, "one").await, Some(vec![]));
    assert_eq!(change(&mine, "two").await, None);
    world.change(&alice, AccountChange::Suspend).await;
    assert_eq!(change("one", "two").await, None);
}

pub(in crate::store) async fn no_device_is_made_by_who_proved_another_password(world: World) {
    let alice = world.player("alice").await;
    let old = alice.account();
    world.change(&alice, password("new", SignOut::Nobody)).await;
    let again = NewDevice {
        id: alice.actor.device,
        ..world.new_device()
    };
    for device in [world.new_device(), again] {
        let put = world.store.put_device(&old, &device, NOON).await;
        assert_eq!(put, Ok(PutDevice::Stale));
    }
    assert_eq!(world.device_ids(&alice).await, [alice.actor.device]);
}

pub(in crate::store) async fn who_is_suspended_has_no_device_until_they_are_resumed(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let device = alice.actor.device;
    let suspended = world.change(&alice, AccountChange::Suspend).await;
    assert_eq!(suspended, Some(vec![device]));
    let account: Account = world.store.account(&alice.name()).await.unwrap().unwrap();
    assert_eq!(account.standing, Standing::Suspended);
    let fresh = world.new_device();
    let put = world.store.put_device(&account, &fresh, NOON).await;
    assert_eq!(put, Ok(PutDevice::Stale));
    let refused = world.refuse(world.to(&alice, &bob, "hello")).await;
    assert_eq!(refused, Refusal::DeviceRevoked);
    // Others may write to them.
    world.accept(world.to(&bob, &alice, "are you there?")).await;

    assert_eq!(
        world.change(&alice, AccountChange::Resume).await,
        Some(vec![])
    );
    let put = world.store.put_device(&account, &fresh, NOON).await;
    assert_eq!(put, Ok(PutDevice::Done));
}

pub(in crate::store) async fn who_is_deleted_leaves_a_place_without_a_name(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "remember me")).await;
    let deleted = world.change(&alice, AccountChange::Delete).await;
    assert_eq!(deleted, Some(vec![alice.actor.device]));
    assert_eq!(world.change(&alice, AccountChange::Delete).await, None);
    let by_name = world.store.account(&alice.name()).await.unwrap();
    let by_id = world.store.account_of(alice.id()).await.unwrap();
    assert!(by_name.is_none() && by_id.is_none());
    let (account, device) = (alice.account(), world.new_device());
    let put = world.store.put_device(&account, &device, NOON).await;
    assert_eq!(put, Ok(PutDevice::Stale));

    let request = FetchHistory {
        conversation: direct,
        from: HistoryFrom::After(Seq::new(0)),
        limit: 10,
    };
    let page = world
        .store
        .history(bob.id(), request)
        .await
        .unwrap()
        .unwrap();
    let event = decoded(&page.events[0]);
    let sender = event.sender.unwrap();
    assert_eq!(sender.user_id, alice.id().to_wire());
    assert_eq!(sender.name, "");
    let described = world.described(&bob, direct).await;
    let names: Vec<_> = described
        .members
        .iter()
        .map(|member| member.user.as_ref().unwrap().name.as_str())
        .collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"") && names.contains(&"bob"), "{names:?}");
    // Nobody is found by the name, and the conversation is there.
    let refused = world.refuse(world.to(&bob, &alice, "hello?")).await;
    assert_eq!(refused, Refusal::NotFound);
    world.accept(world.post(&bob, direct, "farewell")).await;
}

pub(in crate::store) async fn a_users_end_is_learnt_also_without_a_device(world: World) {
    let alice = world.new_account("alice");
    let created = world.store.create_user(&alice, None, NOON).await;
    assert_eq!(created, Ok(CreateUser::Done));
    let bob = world.player("bob").await;
    for (user, devices) in [(alice.user.id, vec![]), (bob.id(), vec![bob.actor.device])] {
        let before = world.head().await;
        let delete = &AccountChange::Delete;
        let deleted = world.store.change_account(user, None, delete).await;
        assert_eq!(deleted, Ok(Some(devices.clone())));
        let stretch = world.store.stretch(before, ALL).await.unwrap();
        assert_eq!(stretch.deleted, [user]);
        let revoked: Vec<_> = stretch.devices.iter().map(|it| it.device).collect();
        assert_eq!(revoked, devices);
        let later = world.store.stretch(stretch.upto, ALL).await.unwrap();
        assert_eq!(later.deleted, []);
    }
}

pub(in crate::store) async fn a_deleted_users_name_is_given_to_nobody(world: World) {
    let alice = world.player("alice").await;
    let carol = world.player("carol").await;
    world.change(&alice, AccountChange::Delete).await;
    world.change(&carol, AccountChange::Delete).await;
    for name in ["alice", "carol"] {
        let again = world.new_account(name);
        let device = world.new_device();
        let created = world.store.create_user(&again, Some(&device), NOON).await;
        assert_eq!(created, Ok(CreateUser::NameTaken));
    }
    let dave = world.new_account("dave");
    let created = world.store.create_user(&dave, None, NOON).await;
    assert_eq!(created, Ok(CreateUser::Done));
    assert_eq!(world.store.devices(dave.user.id).await, Ok(vec![]));
}

pub(in crate::store) async fn who_is_deleted_leaves_their_groups_once(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&bob, &[&alice]).await;
    let chess = world.group(&alice, &[&bob]).await;
    world
        .accept(world.to(&alice, &bob, "a direct one stays"))
        .await;
    assert_eq!(world.store.departures(None, MANY).await, Ok(vec![]));
    world.change(&alice, AccountChange::Delete).await;
    let departures = world.store.departures(None, MANY).await.unwrap();
    for (count, departure) in departures.iter().enumerate() {
        let rest = world.store.departures(Some(*departure), MANY).await;
        assert_eq!(rest.unwrap(), departures[count + 1..]);
    }
    assert_eq!(
        world.store.departures(None, 1).await.unwrap(),
        departures[..1]
    );
    let mut groups: Vec<_> = departures.iter().map(|it| it.conversation).collect();
    groups.sort();
    let mut expected = [tea, chess];
    expected.sort();
    assert_eq!(groups, expected);

    let nobody = DeviceId::new([0; 16]);
    let leave = |departure: &Departure| Append {
        actor: crate::store::Actor {
            user: departure.user,
            device: nobody,
        },
        id: MessageId::new(world.fresh()),
        command: Command::LeaveGroup {
            conversation: departure.conversation,
        },
    };
    let batch: Vec<Append> = departures.iter().map(leave).collect();
    let appended = world.append(&batch).await;
    assert_eq!(appended.events.len(), 2);
    for event in &appended.events {
        assert_eq!(decoded(event).sender.unwrap().name, "");
    }
    let batch: Vec<Append> = departures.iter().map(leave).collect();
    let again = world.append(&batch).await;
    let refused = Outcome::Refused(Refusal::NotFound);
    assert_eq!(again.outcomes, [refused.clone(), refused], "another node");
    assert_eq!(world.store.departures(None, MANY).await, Ok(vec![]));
    let described = world.described(&bob, tea).await;
    assert_eq!(described.members.len(), 1);
    // What was theirs is somebody else's.
    let described = world.described(&bob, chess).await;
    assert_eq!(described.members[0].role(), v1::Role::Owner);
    // It is the server's right alone, and that for who is deleted.
    let forged = Append {
        actor: crate::store::Actor {
            user: bob.id(),
            device: nobody,
        },
        id: MessageId::new(world.fresh()),
        command: Command::LeaveGroup { conversation: tea },
    };
    assert_eq!(world.refuse(forged).await, Refusal::DeviceRevoked);
}

/// D8.
pub(in crate::store) async fn who_is_deleted_gets_no_wake(world: World) {
    let alice = world.player("alice").await;
    let address = PushAddress {
        platform: Platform::Android,
        app: AppId::parse("chat").unwrap(),
        token: PushToken::parse("token").unwrap(),
    };
    let device = alice.actor.device;
    world.store.set_push(device, &address, NOON).await.unwrap();
    assert!(world.store.push_address(device).await.unwrap().is_some());
    world.change(&alice, AccountChange::Delete).await;
    assert_eq!(world.store.push_address(device).await, Ok(None));
}

pub(in crate::store) async fn a_report_is_listed_until_it_is_closed(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let report = |event: Option<v1::Event>, reason| NewReport {
        reporter: alice.id(),
        user: bob.id(),
        event,
        reason,
        text: "look at this".to_owned().try_into().unwrap(),
        at_ms: NOON,
    };
    let event = v1::Event {
        seq: 7,
        ..Default::default()
    };
    for new in [
        report(None, ReportReason::Other),
        report(Some(event.clone()), ReportReason::Spam),
    ] {
        world.store.add_report(&new).await.unwrap();
    }
    let listed = world.store.reports(0, MANY).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1].event, Some(event));
    assert_eq!(listed[1].reason, ReportReason::Spam);
    assert_eq!(listed[0].reporter, "alice");
    assert_eq!(listed[0].user, (bob.id(), "bob".to_owned()));
    assert_eq!(
        (listed[0].text.as_str(), listed[0].at_ms),
        ("look at this", NOON)
    );
    let rest = world.store.reports(listed[0].id, MANY).await.unwrap();
    assert_eq!(rest, listed[1..]);

    for was_open in [true, false] {
        let closed = world.store.close_report(listed[0].id, NOON).await;
        assert_eq!(closed, Ok(was_open));
    }
    assert_eq!(world.store.reports(0, MANY).await.unwrap(), listed[1..]);
    world.change(&bob, AccountChange::Delete).await;
    let kept = world.store.reports(0, MANY).await.unwrap();
    assert_eq!(kept[0].user, (bob.id(), String::new()));
}

pub(in crate::store) async fn acts_are_listed_newest_first(world: World) {
    let act = |action: &str| AdminAct {
        uid: 1_000,
        at_ms: NOON,
        action: action.to_owned(),
        target: "alice".to_owned(),
    };
    for action in ["users create", "users suspend"] {
        world.store.note_act(&act(action)).await.unwrap();
    }
    let newest_first = vec![act("users suspend"), act("users create")];
    assert_eq!(world.store.acts(MANY).await, Ok(newest_first.clone()));
    assert_eq!(world.store.acts(1).await.unwrap(), newest_first[..1]);
}

pub(in crate::store) async fn what_there_is_is_counted(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let carol = world.player("carol").await;
    world.accept(world.to(&alice, &bob, "one")).await;
    world.group(&alice, &[&bob]).await;
    world.change(&bob, AccountChange::Suspend).await;
    world.change(&carol, AccountChange::Delete).await;
    let counted = Statistics {
        users_active: 1,
        users_suspended: 1,
        users_deleted: 1,
        devices: 1,
        direct_conversations: 1,
        groups: 1,
        ..Default::default()
    };
    assert_eq!(world.store.statistics().await, Ok(counted));
}
