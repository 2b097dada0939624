//! Stories of friends, on whichever of the user's devices.

use magpie_protocol::{
    friendship::{FriendAction, Friendship},
    setting::{Reach, Setting},
    text::UserName,
    wire::v1::event_content::Kind,
};

use super::*;

fn by(sender: UserId, seq: u64, kind: Kind) -> v1::Event {
    let name = if sender == BOB { "bob" } else { "alice" };
    v1::Event {
        conversation_id: CHAT.to_wire(),
        seq,
        sender: Some(user(sender, name)),
        message_id: message_id(600 + seq).to_wire(),
        committed_at_ms: 1_000,
        content: Some(v1::EventContent { kind: Some(kind) }),
    }
}

fn asks(sender: UserId, seq: u64) -> v1::Event {
    by(sender, seq, Kind::FriendRequested(v1::FriendRequested {}))
}

fn says(sender: UserId, seq: u64, friends: bool) -> v1::Event {
    let changed = v1::FriendshipChanged { friends };
    by(sender, seq, Kind::FriendshipChanged(changed))
}

fn page(described: Option<v1::Conversation>, events: Vec<v1::Event>) -> v1::Page {
    v1::Page {
        conversations: described.into_iter().collect(),
        events,
        ..Default::default()
    }
}

fn bob() -> UserName {
    UserName::parse("bob").unwrap()
}

impl Device {
    fn stands(&mut self) -> (Friendship, u64) {
        let friend = self.database.friend(&bob()).unwrap().unwrap();
        let line = self.database.conversations().unwrap().remove(0);
        assert_eq!(line.friendship, friend.friendship);
        (friend.friendship, friend.seq.get())
    }

    fn befriend(&mut self, action: FriendAction) -> MessageId {
        let name = bob();
        let request = NewRequest::ChangeFriendship { name, action };
        self.database.queue_all(vec![request]).unwrap()[0]
    }

    fn listed(&mut self) -> Vec<Friendship> {
        let friends = self.database.friends().unwrap();
        friends.iter().map(|it| it.friendship).collect()
    }
}

#[test]
fn the_newest_event_says_who_is_whose_friend() {
    let mut device = device();
    device.page(page(Some(description(0)), vec![event(1)]));
    assert_eq!(device.listed(), []);
    device.page(page(None, vec![asks(BOB, 2)]));
    assert_eq!(device.stands(), (Friendship::WasAsked, 2));
    device.page(page(None, vec![says(ALICE, 3, true), says(BOB, 4, false)]));
    assert_eq!(device.stands(), (Friendship::None, 4));
    device.page(page(None, vec![asks(ALICE, 5)]));
    assert_eq!(device.stands(), (Friendship::Asked, 5));
    assert_eq!(device.listed(), [Friendship::Asked]);
    // A description knows what is not here, and not what came behind it.
    let described = |head, friendship: v1::Friendship, seq| v1::Conversation {
        friendship: friendship.into(),
        friendship_seq: seq,
        ..description(head)
    };
    let was_asked = described(3, v1::Friendship::Friends, 3);
    device.page(page(Some(was_asked), vec![]));
    assert_eq!(device.stands(), (Friendship::Asked, 5));
    let friends = described(9, v1::Friendship::Friends, 8);
    device.page(page(Some(friends), vec![]));
    assert_eq!(device.stands(), (Friendship::Friends, 8));
}

/// On all devices, and until they ask again.
#[test]
fn what_was_declined_is_not_listed_and_may_be_accepted() {
    let mut device = device();
    device.page(page(Some(description(0)), vec![asks(BOB, 1)]));
    let decline = |seq| {
        NewRequest::Set(Setting::Declined {
            user: BOB,
            seq: Seq::new(seq),
        })
    };
    device.database.queue_all(vec![decline(1)]).unwrap();
    assert_eq!(device.listed(), []);
    let friend = device.database.friend(&bob()).unwrap().unwrap();
    assert_eq!(
        (friend.friendship, friend.is_declined),
        (Friendship::WasAsked, true)
    );
    device.page(page(None, vec![says(BOB, 2, false), asks(BOB, 3)]));
    assert_eq!(device.listed(), [Friendship::WasAsked]);
    device.database.queue_all(vec![decline(3)]).unwrap();
    assert_eq!(device.listed(), []);
    device.befriend(FriendAction::Accept);
    assert_eq!(device.listed(), [Friendship::Friends]);
}

/// At once; and what is so already is done.
#[test]
fn what_waits_in_the_outbox_is_shown() {
    let mut device = device();
    device.page(page(Some(description(0)), vec![event(1)]));
    let asked = device.befriend(FriendAction::Request);
    assert_eq!(device.listed(), [Friendship::Asked]);
    assert!(device.database.friends().unwrap()[0].is_pending);
    device.work(vec![Work::Accepted {
        id: asked,
        at: at(2),
    }]);
    // Its event comes in a page, and says the same, or more.
    for event in [None, Some(asks(ALICE, 2))] {
        device.page(page(None, event.into_iter().collect()));
        let friend = device.database.friends().unwrap().remove(0);
        assert_eq!(friend.friendship, Friendship::Asked);
        assert_eq!((friend.seq, friend.is_pending), (Seq::new(2), false));
    }
    // Another device took it back.
    let cancelled = device.befriend(FriendAction::Cancel);
    assert_eq!(device.listed(), []);
    let refusal = Refusal {
        code: v1::ErrorCode::NothingToDo,
        action: v1::Action::Never,
        after: std::time::Duration::ZERO,
        message: String::new(),
    };
    device.work(vec![Work::Refused {
        id: cancelled,
        refusal,
    }]);
    let place = crate::message::MessagePlace {
        conversation: CHAT,
        seq: Seq::new(2),
    };
    let outcome = device.database.outcome(cancelled).unwrap();
    assert_eq!(outcome, Some(crate::request::Outcome::NothingToDo(place)));
    assert_eq!(device.database.outbox_count().unwrap(), 0);
}

/// Until it is answered, or they are friends; then it is a conversation like others.
#[test]
fn what_a_stranger_writes_is_a_request_where_friends_alone_write() {
    let mut device = device();
    device.page(page(Some(description(0)), vec![event(1), event(2)]));
    let is_request = |device: &mut Device| {
        let line = device.database.conversations().unwrap().remove(0);
        let (unread, _) = device.database.unread().unwrap();
        assert_eq!(unread, if line.request { 0 } else { line.unread });
        line.request
    };
    assert!(!is_request(&mut device));
    let messages = Reach::Friends;
    let request = NewRequest::Set(Setting::Privacy { messages });
    device.database.queue_all(vec![request]).unwrap();
    assert!(is_request(&mut device), "at once");
    device.page(page(None, vec![asks(BOB, 3)]));
    assert!(is_request(&mut device));
    device.befriend(FriendAction::Accept);
    assert!(!is_request(&mut device));
    device.page(page(None, vec![says(ALICE, 4, true), says(BOB, 5, false)]));
    // What waits still says that they accept, to what is not asked any more.
    assert!(is_request(&mut device));

    let id = device.send("who are you?");
    device.work(vec![Work::Accepted { id, at: at(6) }]);
    assert!(!is_request(&mut device));
    // A new description does not know of it, and the next one does.
    device.page(page(Some(description(5)), vec![]));
    assert!(!is_request(&mut device));
}

/// What was said before this device was there.
#[test]
fn a_description_says_that_the_user_has_answered() {
    let mut device = device();
    let messages = Reach::Friends;
    let request = NewRequest::Set(Setting::Privacy { messages });
    device.database.queue_all(vec![request]).unwrap();
    for (answered, expected) in [(false, true), (true, false)] {
        let described = v1::Conversation {
            answered,
            ..description(9)
        };
        device.page(page(Some(described), vec![]));
        let line = device.database.conversations().unwrap().remove(0);
        assert_eq!(line.request, expected);
    }
}

/// D11.
#[test]
fn another_history_says_who_is_a_friend_there() {
    let mut device = device();
    device.work(vec![welcome(1)]);
    device.page(page(
        Some(description(0)),
        vec![asks(BOB, 1), says(ALICE, 2, true)],
    ));
    assert_eq!(device.stands().0, Friendship::Friends);
    device.work(vec![welcome(2)]);
    let described = v1::Conversation {
        common_seq: Some(1),
        friendship: v1::Friendship::WasAsked.into(),
        friendship_seq: 1,
        ..description(1)
    };
    device.page(page(Some(described), vec![]));
    assert_eq!(device.stands(), (Friendship::WasAsked, 1));
}
