//! What each role may, and how roles change hands.

use magpie_protocol::{
    id::ConversationId,
    role::Role,
    wire::{
        FetchMembers, GroupUpdate, Target,
        v1::{self, event_content::Kind},
    },
};

use super::{
    ALL, Player, World, add,
    messages::{delete, edit, kind, react},
    remove, seqs,
};
use crate::store::{Append, Command, Outcome, Refusal};

fn set_role(conversation: ConversationId, who: &Player, role: Role) -> Command {
    Command::SetRole {
        conversation,
        name: who.name(),
        role,
    }
}

fn leave(conversation: ConversationId) -> Command {
    Command::LeaveGroup { conversation }
}

fn to_everybody(conversation: ConversationId) -> Command {
    let message = v1::Message {
        mentions_everybody: true,
        .."all of you".into()
    };
    Command::SendMessage {
        to: Target::Conversation(conversation),
        message: message.try_into().unwrap(),
    }
}

impl World {
    /// What the description says, by name; 0 for none.
    async fn roles(&self, of: &Player, conversation: ConversationId) -> Vec<(String, i32)> {
        let described = self.described(of, conversation).await;
        let roles = described.members.into_iter().map(|it| {
            let name = it.user.unwrap().name;
            (name, it.role)
        });
        let mut roles: Vec<_> = roles.collect();
        roles.sort_unstable();
        roles
    }

    async fn set(&self, by: &Player, conversation: ConversationId, who: &Player, role: Role) {
        self.make(by, set_role(conversation, who, role)).await;
    }
}

fn are(expected: &[(&str, Role)]) -> Vec<(String, i32)> {
    let roles = expected
        .iter()
        .map(|(name, role)| ((*name).to_owned(), role.number().into()));
    roles.collect()
}

pub(in crate::store) async fn a_group_is_its_creators_until_it_is_handed_over(world: World) {
    use Role::{Admin, Member, Owner};
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let carol = world.player("carol").await;
    let tea = world.group(&alice, &[&bob, &carol]).await;
    let expected = are(&[("alice", Owner), ("bob", Member), ("carol", Member)]);
    assert_eq!(world.roles(&carol, tea).await, expected);

    let request = world.request(&alice, set_role(tea, &bob, Admin));
    let committed = world.append(std::slice::from_ref(&request)).await;
    let changed = v1::RoleChanged {
        member: Some(v1::User {
            user_id: bob.id().to_wire(),
            name: "bob".to_owned(),
        }),
        role: v1::Role::Admin.into(),
    };
    assert_eq!(kind(&committed.events[0]), Kind::RoleChanged(changed));
    assert_eq!(committed.events[0].change, None);
    // Once, whatever is sent again.
    assert_eq!(world.accept(request).await.1, 2);
    let again = set_role(tea, &bob, Admin);
    assert_eq!(world.refused(&alice, again).await, Refusal::NothingToDo);

    world.set(&alice, tea, &carol, Owner).await;
    let expected = are(&[("alice", Admin), ("bob", Admin), ("carol", Owner)]);
    assert_eq!(world.roles(&alice, tea).await, expected);
    let back = set_role(tea, &alice, Owner);
    assert_eq!(world.refused(&alice, back).await, Refusal::NotPossible);
    world.set(&carol, tea, &alice, Member).await;
    // Who catches up reads the same.
    let page = world
        .page(&bob, magpie_protocol::seq::Position::ZERO, ALL)
        .await;
    assert_eq!(seqs(&page.events), [1, 2, 3, 4]);
    let request = FetchMembers {
        conversation: tea,
        after: None,
        limit: 10,
    };
    let listed = world.store.members(bob.id(), request).await.unwrap();
    let roles = listed.unwrap().members.into_iter().map(|it| it.role);
    let expected = [Member, Admin, Owner].map(|role| i32::from(role.number()));
    assert_eq!(roles.collect::<Vec<_>>(), expected);
}

/// D12.
pub(in crate::store) async fn each_role_may_what_it_may(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, eve) = (world.player("carol").await, world.player("eve").await);
    let tea = world.group(&alice, &[&bob, &carol]).await;
    world.accept(world.post(&alice, tea, "the owner's")).await;
    world.accept(world.post(&carol, tea, "a member's")).await;
    let refused = async |by: &Player, commands: Vec<Command>| {
        for command in commands {
            let refusal = world.refused(by, command.clone()).await;
            assert_eq!(refusal, Refusal::NotAllowed, "{command:?}");
        }
    };
    let of_a_member = vec![
        remove(tea, &carol),
        remove(tea, &alice),
        set_role(tea, &carol, Role::Admin),
        delete(tea, 3),
        to_everybody(tea),
    ];
    refused(&bob, of_a_member).await;
    // Who is no member has no role to lose.
    assert_eq!(
        world.refused(&bob, remove(tea, &eve)).await,
        Refusal::NotFound
    );
    let given = set_role(tea, &eve, Role::Admin);
    assert_eq!(world.refused(&alice, given).await, Refusal::NotFound);

    world.set(&alice, tea, &bob, Role::Admin).await;
    let of_an_admin = vec![
        remove(tea, &alice),
        set_role(tea, &carol, Role::Admin),
        set_role(tea, &alice, Role::Member),
    ];
    refused(&bob, of_an_admin).await;
    for command in [
        to_everybody(tea),
        delete(tea, 3),
        delete(tea, 2),
        add(tea, &[&eve]),
        remove(tea, &carol),
    ] {
        world.make(&bob, command).await;
    }
    world.make(&alice, remove(tea, &bob)).await;
    // Who comes back begins anew, as does who adds others.
    world.make(&eve, add(tea, &[&bob])).await;
    refused(&bob, vec![to_everybody(tea)]).await;
}

/// A group is never without an owner.
pub(in crate::store) async fn an_owner_who_leaves_has_an_heir(world: World) {
    use Role::{Admin, Member, Owner};
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, dave) = (world.player("carol").await, world.player("dave").await);
    let tea = world.group(&alice, &[&carol]).await;
    world.add(&alice, tea, &[&dave]).await;
    world.add(&alice, tea, &[&bob]).await;
    world.set(&alice, tea, &bob, Admin).await;
    world.set(&alice, tea, &dave, Admin).await;
    let heir = async |by: &Player| {
        let committed = world.append(&[world.request(by, leave(tea))]).await;
        let Kind::MemberLeft(left) = kind(&committed.events[0]) else {
            panic!("{committed:?}");
        };
        left.heir.map(|heir| heir.name)
    };
    // The admin who has been there for longest, though bob's key is lower and was one first.
    assert_eq!(heir(&alice).await.as_deref(), Some("dave"));
    let expected = are(&[("bob", Admin), ("carol", Member), ("dave", Owner)]);
    assert_eq!(world.roles(&carol, tea).await, expected);
    // Who is not the owner leaves nothing behind.
    assert_eq!(heir(&bob).await, None);
    assert_eq!(heir(&dave).await.as_deref(), Some("carol"));
    assert_eq!(world.roles(&carol, tea).await, are(&[("carol", Owner)]));
    world.add(&carol, tea, &[&alice]).await;
    world.set(&carol, tea, &alice, Owner).await;
    assert_eq!(heir(&carol).await, None);
    assert_eq!(heir(&alice).await, None);
}

/// D10.
pub(in crate::store) async fn who_left_does_not_learn_who_has_which_role(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let carol = world.player("carol").await;
    let tea = world.group(&alice, &[&bob, &carol]).await;
    world.remove(&alice, tea, &bob).await;
    world.set(&alice, tea, &carol, Role::Owner).await;
    let roles = world.roles(&bob, tea).await.into_iter();
    assert!(roles.map(|(_, role)| role).all(|role| role == 0));
    let command = set_role(tea, &carol, Role::Member);
    assert_eq!(world.refused(&bob, command).await, Refusal::NotFound);
}

pub(in crate::store) async fn in_a_direct_conversation_there_are_no_roles(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    for (_, role) in world.roles(&alice, direct).await {
        assert_eq!(role, 0);
    }
    let command = set_role(direct, &bob, Role::Admin);
    assert_eq!(world.refused(&alice, command).await, Refusal::NotPossible);
    for by in [&alice, &bob] {
        world.make(by, to_everybody(direct)).await;
    }
    let of_alice = delete(direct, 1);
    assert_eq!(world.refused(&bob, of_alice).await, Refusal::NotAllowed);
}

pub(in crate::store) fn update(conversation: ConversationId, update: GroupUpdate) -> Command {
    Command::UpdateGroup {
        conversation,
        update,
    }
}

fn title(text: &str) -> GroupUpdate {
    GroupUpdate {
        title: Some(text.to_owned().try_into().unwrap()),
        ..GroupUpdate::default()
    }
}

fn announcing(on: bool) -> GroupUpdate {
    GroupUpdate {
        announcement_only: Some(on),
        ..GroupUpdate::default()
    }
}

pub(in crate::store) async fn a_group_is_changed_by_who_looks_after_it(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    let photo = world.photo_of(&alice).await;
    let all = GroupUpdate {
        title: Some("Coffee".to_owned().try_into().unwrap()),
        description: Some("since 1652".to_owned().try_into().unwrap()),
        announcement_only: Some(false),
        photo: Some(Some(photo)),
        history_for_newcomers: Some(false),
    };
    let command = update(tea, all.clone());
    assert_eq!(
        world.refused(&bob, command.clone()).await,
        Refusal::NotAllowed
    );
    let request = world.request(&alice, command);
    let committed = world.append(std::slice::from_ref(&request)).await;
    // What was so already is not in it.
    let changed = v1::GroupUpdated {
        title: Some("Coffee".to_owned()),
        description: Some("since 1652".to_owned()),
        announcement_only: None,
        photo: Some(photo.to_wire()),
        history_for_newcomers: None,
    };
    assert_eq!(kind(&committed.events[0]), Kind::GroupUpdated(changed));
    assert_eq!(world.accept(request.clone()).await.1, 2);
    let other = Append {
        command: update(tea, title("Coffee")),
        ..request
    };
    assert_eq!(world.refuse(other).await, Refusal::Conflict);
    let again = update(tea, all);
    assert_eq!(world.refused(&alice, again).await, Refusal::NothingToDo);
    world.set(&alice, tea, &bob, Role::Admin).await;
    assert_eq!(world.described(&bob, tea).await.photo, photo.to_wire());
    let nothing = GroupUpdate {
        photo: Some(None),
        description: Some(String::new().try_into().unwrap()),
        ..GroupUpdate::default()
    };
    world.make(&bob, update(tea, nothing)).await;
    let described = world.described(&bob, tea).await;
    let said = (described.title.as_str(), described.description.as_str());
    assert_eq!(said, ("Coffee", ""));
    assert_eq!(described.photo, "");
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    let command = update(direct, title("Us"));
    assert_eq!(world.refused(&alice, command).await, Refusal::NotPossible);
}

pub(in crate::store) async fn where_announcements_are_made_admins_alone_write(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&bob, tea, "before")).await;
    // Known to whoever remembers what was.
    world.make(&alice, update(tea, announcing(true))).await;
    for request in [
        world.post(&bob, tea, "may I?"),
        world.request(&bob, edit(tea, 2, "may I?")),
    ] {
        assert_eq!(world.refuse(request).await, Refusal::NotAllowed);
    }
    world.accept(world.post(&alice, tea, "hear, hear")).await;
    // In one batch with what is something else.
    let batch = [
        world.request(&alice, update(tea, title("News"))),
        world.post(&bob, tea, "and now?"),
        world.post(&alice, tea, "no"),
    ];
    let committed = world.append(&batch).await;
    assert_eq!(committed.outcomes[1], Outcome::Refused(Refusal::NotAllowed));
    assert_eq!(seqs(&committed.events), [5, 6]);
    world.make(&bob, react(tea, 4, "👍")).await;
    world.make(&bob, delete(tea, 2)).await;
    assert!(world.described(&bob, tea).await.announcement_only);
    world.set(&alice, tea, &bob, Role::Admin).await;
    world.accept(world.post(&bob, tea, "thanks")).await;
    world.set(&alice, tea, &bob, Role::Member).await;
    world.make(&alice, update(tea, announcing(false))).await;
    world.accept(world.post(&bob, tea, "all of us")).await;
}

/// D10.
pub(in crate::store) async fn who_left_does_not_learn_what_a_group_is_called_now(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.make(&alice, update(tea, title("Black tea"))).await;
    world.remove(&alice, tea, &bob).await;
    let photo = world.photo_of(&alice).await;
    let secret = GroupUpdate {
        description: Some("a secret".to_owned().try_into().unwrap()),
        announcement_only: Some(true),
        photo: Some(Some(photo)),
        history_for_newcomers: Some(true),
        ..title("Green tea")
    };
    world.make(&alice, update(tea, secret)).await;
    let described = world.described(&bob, tea).await;
    assert_eq!(described.title, "Black tea");
    assert_eq!(described.description, "");
    assert!(!described.announcement_only && !described.history_for_newcomers);
    assert_eq!(described.photo, "");
    assert_eq!(world.described(&alice, tea).await.title, "Green tea");
    let command = update(tea, title("Mine"));
    assert_eq!(world.refused(&bob, command).await, Refusal::NotFound);
}
