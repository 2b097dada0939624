//! What users let others know of themselves.

use magpie_protocol::{
    id::ConversationId,
    profile::{FindUsers, LinkSecret, NamePrefix, Profile, UserLink},
    setting::Setting,
    text::UserName,
    wire::{GroupUpdate, KnownProfile, v1},
};

use super::{
    Player, World,
    blocks::{block, unblock},
    remove,
};
use crate::store::{AccountChange, Command};

/// The seq of the event that it is.
async fn set(world: &World, player: &Player, setting: Setting) -> u64 {
    let command = Command::ChangeAccount { setting };
    let (_, seq) = world.accept(world.request(player, command)).await;
    seq
}

fn called(name: &str) -> Setting {
    Setting::Profile(Profile {
        display_name: name.to_owned().try_into().unwrap(),
        status: "at sea".to_owned().try_into().unwrap(),
        photo: None,
    })
}

async fn ask(world: &World, asker: &Player, of: &Player, version: u64) -> Vec<(u64, String)> {
    let user = of.id();
    let known = [KnownProfile { user, version }];
    let found = world.store.profiles(asker.id(), &known).await.unwrap();
    names(found)
}

fn names(found: Vec<v1::UserProfile>) -> Vec<(u64, String)> {
    let name = |it: v1::UserProfile| (it.version, it.display_name);
    found.into_iter().map(name).collect()
}

async fn find(world: &World, asker: &Player, by: FindUsers) -> Vec<(u64, String)> {
    names(world.store.find_users(asker.id(), &by).await.unwrap())
}

/// D10.
pub(in crate::store) async fn a_profile_is_told_to_whom_its_user_knows(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let (first, second) = (
        set(&world, &alice, called("Ann")).await,
        set(&world, &alice, called("Ann Lee")).await,
    );
    assert!(first < second);
    let newest = vec![(second, "Ann Lee".to_owned())];
    assert_eq!(ask(&world, &bob, &alice, 0).await, []);
    assert_eq!(ask(&world, &alice, &alice, 0).await, newest);
    world.accept(world.to(&alice, &bob, "hi")).await;
    assert_eq!(ask(&world, &bob, &alice, 0).await, newest);
    assert_eq!(ask(&world, &bob, &alice, first).await, newest);
    assert_eq!(ask(&world, &bob, &alice, second).await, []);
    assert_eq!(ask(&world, &bob, &alice, u64::MAX).await, newest);
    assert_eq!(ask(&world, &eve, &alice, 0).await, []);
    // Who says nothing is told of to who believes that they do.
    assert_eq!(ask(&world, &alice, &bob, 0).await, []);
    assert_eq!(ask(&world, &alice, &bob, 5).await, [(0, String::new())]);

    // For as long as they are in a group together.
    let group = world.group(&bob, &[&alice, &eve]).await;
    assert_eq!(ask(&world, &eve, &alice, 0).await, newest);
    world.accept(world.request(&bob, remove(group, &eve))).await;
    assert_eq!(ask(&world, &eve, &alice, 0).await, []);

    let asked = [alice.id(), bob.id(), eve.id()];
    let asked = asked.map(|user| KnownProfile { user, version: 0 });
    let all = world.store.profiles(bob.id(), &asked).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].status, "at sea");
}

/// D10.
pub(in crate::store) async fn users_are_found_as_they_allow(world: World) {
    let (alice, eve) = (world.player("alice").await, world.player("eve").await);
    let other = world.player("alina").await;
    let version = set(&world, &alice, called("Ann")).await;
    let by_name = |name: &str| FindUsers::Name(UserName::parse(name).unwrap());
    let prefix = |text: &str| FindUsers::Prefix(NamePrefix::parse(text).unwrap());
    let told = vec![(version, "Ann".to_owned())];
    // That there is such a user, and no more.
    let nothing = vec![(0, String::new())];
    assert_eq!(find(&world, &eve, by_name("alice")).await, nothing);
    assert_eq!(find(&world, &eve, by_name("alicia")).await, []);
    assert_eq!(find(&world, &eve, prefix("ali")).await, []);
    set(&world, &alice, Setting::Discoverable(true)).await;
    set(&world, &alice, Setting::Discoverable(true)).await;
    assert_eq!(find(&world, &eve, prefix("ali")).await, told);
    assert_eq!(find(&world, &eve, prefix("alice")).await, told);
    assert_eq!(find(&world, &eve, prefix("alicex")).await, []);
    assert_eq!(find(&world, &eve, by_name("alice")).await, told);
    set(&world, &other, Setting::Discoverable(true)).await;
    let both = find(&world, &eve, prefix("ali")).await;
    assert_eq!(both.len(), 2);
    set(&world, &alice, Setting::Discoverable(false)).await;
    assert_eq!(find(&world, &eve, prefix("alice")).await, []);

    let link = |secret| {
        FindUsers::Link(UserLink {
            name: UserName::parse("alice").unwrap(),
            secret: LinkSecret::new([secret; 16]),
        })
    };
    assert_eq!(find(&world, &eve, link(1)).await, []);
    for secret in [1, 2] {
        let setting = Setting::Link(Some(LinkSecret::new([secret; 16])));
        set(&world, &alice, setting).await;
    }
    // The same secret in another's link is another link.
    set(
        &world,
        &other,
        Setting::Link(Some(LinkSecret::new([1; 16]))),
    )
    .await;
    assert_eq!(find(&world, &eve, link(1)).await, []);
    assert_eq!(find(&world, &eve, link(2)).await, told);
    set(&world, &alice, Setting::Link(None)).await;
    assert_eq!(find(&world, &eve, link(2)).await, []);
}

pub(in crate::store) async fn a_search_finds_so_many_and_no_more(world: World) {
    for number in 10..32 {
        let player = world.player(&format!("bob{number}")).await;
        set(&world, &player, Setting::Discoverable(true)).await;
    }
    let eve = world.player("eve").await;
    let by = FindUsers::Prefix(NamePrefix::parse("bob").unwrap());
    let found = world.store.find_users(eve.id(), &by).await.unwrap();
    let names = found.into_iter().map(|it| it.user.unwrap_or_default().name);
    let expected = (10..30).map(|number| format!("bob{number}"));
    assert_eq!(names.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

pub(in crate::store) async fn of_who_is_deleted_nothing_is_told(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    world.accept(world.to(&alice, &bob, "hi")).await;
    let version = set(&world, &alice, called("Ann")).await;
    let secret = LinkSecret::new([1; 16]);
    set(&world, &alice, Setting::Discoverable(true)).await;
    set(&world, &alice, Setting::Link(Some(secret))).await;
    let delete = world
        .store
        .change_account(alice.id(), None, &AccountChange::Delete);
    delete.await.unwrap().unwrap();
    let name = UserName::parse("alice").unwrap();
    let prefix = NamePrefix::parse("ali").unwrap();
    for by in [
        FindUsers::Name(name.clone()),
        FindUsers::Prefix(prefix),
        FindUsers::Link(UserLink { name, secret }),
    ] {
        assert_eq!(find(&world, &bob, by).await, []);
    }
    let gone = vec![(0, String::new())];
    assert_eq!(ask(&world, &bob, &alice, version).await, gone);
}

pub(in crate::store) async fn acquaintances_share_a_small_conversation(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, dave) = (world.player("carol").await, world.player("dave").await);
    world.accept(world.to(&alice, &bob, "hi")).await;
    world.group(&alice, &[&bob, &carol, &dave]).await;
    let known = |members_max, count| {
        let store = world.store.clone();
        let user = alice.id();
        async move {
            let mut known = store.acquaintances(user, members_max, count).await.unwrap();
            known.sort_unstable();
            known
        }
    };
    let mut all = vec![bob.id(), carol.id(), dave.id()];
    all.sort_unstable();
    assert_eq!(known(4, 10).await, all);
    assert_eq!(known(3, 10).await, [bob.id()]);
    assert_eq!(known(4, 2).await.len(), 2);
}

/// D10.
pub(in crate::store) async fn companions_are_told_to_who_may_write_there(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let group = world.group(&alice, &[&bob, &eve]).await;
    let companions = |of: &Player, members_max| {
        let (store, user) = (world.store.clone(), of.id());
        async move { store.companions(user, group, members_max).await.unwrap() }
    };
    let mut of_alice = companions(&alice, 3).await;
    of_alice.sort_unstable();
    let mut expected = vec![bob.id(), eve.id()];
    expected.sort_unstable();
    assert_eq!(of_alice, expected);
    assert_eq!(companions(&alice, 2).await, []);
    world
        .accept(world.request(&alice, remove(group, &eve)))
        .await;
    assert_eq!(companions(&eve, 3).await, []);
    assert_eq!(companions(&bob, 3).await, [alice.id()]);
    let update = GroupUpdate {
        announcement_only: Some(true),
        ..GroupUpdate::default()
    };
    let command = Command::UpdateGroup {
        conversation: group,
        update,
    };
    world.accept(world.request(&alice, command)).await;
    assert_eq!(companions(&bob, 3).await, []);
    assert_eq!(companions(&alice, 3).await, [bob.id()]);
    // Neither learns that the other types.
    block(&world, &bob, &alice).await;
    assert_eq!(companions(&alice, 3).await, []);
    unblock(&world, &bob, &alice).await;
    block(&world, &alice, &bob).await;
    assert_eq!(companions(&alice, 3).await, []);
    let nowhere = ConversationId::new([9; 16]);
    let found = world.store.companions(alice.id(), nowhere, 3).await;
    assert_eq!(found, Ok(vec![]));
}
