//! What is said, and what is done to what was said.

use std::time::Duration;

use magpie_protocol::{
    id::{ConversationId, MessageId},
    limits::{BODY_SIZE_MAX, EDITS_MAX, SERVER_FRAME_SIZE_MAX},
    message::{Emoji, NewMessage},
    wire::{
        FetchHistory, HistoryFrom, Target,
        v1::{self, event_content::Kind},
    },
};

use super::{ALL, NOON, Player, World, decoded, seq, seqs};
use crate::store::{Append, Command, HistoryPage, LogEvent, Outcome, Positions, Refusal, Shard};

const DAY: Option<Duration> = Some(Duration::from_secs(86_400));

fn said(message: v1::Message) -> NewMessage {
    message.try_into().unwrap()
}

fn send(to: ConversationId, message: v1::Message) -> Command {
    Command::SendMessage {
        to: Target::Conversation(to),
        message: said(message),
    }
}

pub(super) fn edit(conversation: ConversationId, at: u64, text: &str) -> Command {
    Command::EditMessage {
        conversation,
        seq: seq(at),
        message: v1::Message::from(text).try_into().unwrap(),
        within: DAY,
    }
}

pub(super) fn delete(conversation: ConversationId, at: u64) -> Command {
    Command::DeleteMessage {
        conversation,
        seq: seq(at),
    }
}

pub(super) fn react(conversation: ConversationId, at: u64, emoji: &str) -> Command {
    Command::React {
        conversation,
        seq: seq(at),
        emoji: Emoji::try_from(emoji.to_owned()).unwrap(),
        removed: false,
    }
}

pub(super) fn unreact(conversation: ConversationId, at: u64, emoji: &str) -> Command {
    Command::React {
        conversation,
        seq: seq(at),
        emoji: Emoji::try_from(emoji.to_owned()).unwrap(),
        removed: true,
    }
}

pub(super) fn kind(event: &LogEvent) -> Kind {
    decoded(event).content.unwrap().kind.unwrap()
}

impl World {
    pub(super) async fn make(&self, by: &Player, command: Command) -> u64 {
        self.accept(self.request(by, command)).await.1
    }

    pub(super) async fn refused(&self, by: &Player, command: Command) -> Refusal {
        self.refuse(self.request(by, command)).await
    }

    /// All that a user may read of a conversation.
    pub(super) async fn all(&self, of: &Player, conversation: ConversationId) -> HistoryPage {
        let request = FetchHistory {
            conversation,
            from: HistoryFrom::After(seq(0)),
            limit: 200,
        };
        let page = self.store.history(of.id(), request).await.unwrap();
        page.expect("the user may read it")
    }
}

pub(in crate::store) async fn all_of_a_message_is_stored_as_it_was_sent(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    let message = v1::Message {
        text: "@bob look".to_owned(),
        reply_to_seq: 1,
        forwarded: Some(v1::Forwarded {
            author: Some(v1::User {
                user_id: bob.id().to_wire(),
                name: "bob".to_owned(),
            }),
            sent_at_ms: NOON,
        }),
        mentions: vec![v1::Mention {
            user_id: bob.id().to_wire(),
            start: 0,
            length: 4,
        }],
        mentions_everybody: true,
        content_type: "application/x".to_owned(),
        body: vec![0xff; BODY_SIZE_MAX].into(),
        media: Vec::new(),
    };
    let request = world.request(&alice, send(direct, message.clone()));
    let committed = world.append(std::slice::from_ref(&request)).await;
    assert_eq!(kind(&committed.events[0]), Kind::Message(message.clone()));
    let page = world.all(&bob, direct).await;
    assert_eq!(kind(&page.events[1]), Kind::Message(message.clone()));
    // The same id with anything else in it is a conflict.
    let other = v1::Message {
        mentions_everybody: false,
        ..message
    };
    let other = Append {
        command: send(direct, other),
        ..request.clone()
    };
    assert_eq!(world.refuse(other).await, Refusal::Conflict);
    assert_eq!(world.accept(request).await.1, 2);
}

pub(in crate::store) async fn an_answer_is_to_an_event_that_is_there(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    let answer = |to: u64| {
        let message = v1::Message {
            reply_to_seq: to,
            ..v1::Message::from("yes")
        };
        send(tea, message)
    };
    assert_eq!(world.make(&bob, answer(1)).await, 2);
    assert_eq!(world.refused(&bob, answer(3)).await, Refusal::NotFound);
    let batch = [answer(2), answer(9), answer(1)].map(|command| world.request(&alice, command));
    let committed = world.append(&batch).await;
    assert_eq!(seqs(&committed.events), [3, 4]);
    assert_eq!(committed.outcomes[1], Outcome::Refused(Refusal::NotFound));
    // Of what is not begun yet there is nothing to answer.
    let early = Command::SendMessage {
        to: Target::User(bob.name()),
        message: said(v1::Message {
            reply_to_seq: 1,
            ..v1::Message::from("yes")
        }),
    };
    assert_eq!(world.refused(&alice, early).await, Refusal::NotFound);
}

/// D3, D4.
pub(in crate::store) async fn an_edit_is_an_event_and_the_message_stays(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "helo")).await;
    let request = world.request(&alice, edit(tea, 2, "hello"));
    let committed = world.append(std::slice::from_ref(&request)).await;
    let edited = |text: &str| {
        Kind::MessageEdited(v1::MessageEdited {
            seq: 2,
            message: Some(text.into()),
        })
    };
    assert_eq!(kind(&committed.events[0]), edited("hello"));
    assert_eq!(world.make(&alice, edit(tea, 2, "hello!")).await, 4);
    // Again with the same id: the same answer, and nothing new.
    assert_eq!(world.accept(request).await.1, 3);

    let page = world.all(&bob, tea).await;
    assert_eq!(seqs(&page.events), [1, 2, 3, 4]);
    assert_eq!(kind(&page.events[1]), Kind::Message("helo".into()));
    let state = v1::MessageState {
        seq: 2,
        edited_seq: 4,
        edited_at_ms: NOON,
        message: Some("hello!".into()),
        reactions: vec![],
    };
    assert_eq!((page.states, page.states_seq), (vec![state], seq(4)));
}

pub(in crate::store) async fn only_its_sender_edits_or_deletes_a_message(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "mine")).await;
    for command in [edit(tea, 2, "yours"), delete(tea, 2)] {
        assert_eq!(world.refused(&bob, command).await, Refusal::NotAllowed);
    }
    for command in [edit(tea, 1, "x"), delete(tea, 1), react(tea, 1, "👍")] {
        assert_eq!(world.refused(&alice, command).await, Refusal::NotPossible);
    }
    for command in [edit(tea, 7, "x"), delete(tea, 7), react(tea, 7, "👍")] {
        assert_eq!(world.refused(&alice, command).await, Refusal::NotFound);
    }
}

pub(in crate::store) async fn a_message_is_edited_for_so_long_and_so_often(world: World) {
    let alice = world.player("alice").await;
    let (notes, _) = world.accept(world.to(&alice, &alice, "a note")).await;
    let at = async |after_ms: i64, within: Option<Duration>| {
        let mut command = edit(notes, 1, "another");
        if let Command::EditMessage { within: it, .. } = &mut command {
            *it = within;
        }
        let batch = [world.request(&alice, command)].into();
        let shard = Shard::of_conversation(notes, world.store.shard_count());
        let committed = world.store.append(shard, batch, NOON + after_ms).await;
        committed.unwrap().outcomes[0].clone()
    };
    let minute = Some(Duration::from_secs(60));
    let late = Outcome::Refused(Refusal::TooLate);
    let is_accepted = |outcome| matches!(outcome, Outcome::Accepted { .. });
    assert!(is_accepted(at(60_000, minute).await));
    assert_eq!(at(60_001, minute).await, late);
    assert_eq!(at(60_001, Some(Duration::ZERO)).await, late);
    assert!(is_accepted(at(86_400_000, None).await));
    for _ in 2..EDITS_MAX {
        assert!(is_accepted(at(86_400_000, None).await));
    }
    let refused = Outcome::Refused(Refusal::TooMany);
    assert_eq!(at(86_400_000, None).await, refused);
}

/// D3, D4. What was said is gone wherever the log is read; place, id and answer stay.
pub(in crate::store) async fn a_deleted_message_keeps_its_place_and_says_nothing(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "before")).await;
    let secret = world.post(&alice, direct, "secret");
    world.accept(secret.clone()).await;
    world.make(&alice, edit(direct, 2, "secret too")).await;
    world.make(&bob, react(direct, 2, "👍")).await;
    let request = world.request(&alice, delete(direct, 2));
    let committed = world.append(std::slice::from_ref(&request)).await;
    let deleted = Kind::MessageDeleted(v1::MessageDeleted { seq: 2 });
    assert_eq!(kind(&committed.events[0]), deleted);

    let page = world.all(&bob, direct).await;
    let origin = Shard::of_conversation(direct, world.store.shard_count()).origin();
    let stretch = world.store.stretch(origin, ALL).await.unwrap();
    let origins = Positions::origin(world.store.shard_count());
    let pages = world.page(&bob, origins, ALL).await;
    for events in [&page.events, &stretch.events, &pages.events] {
        assert_eq!(seqs(events), [1, 2, 3, 4, 5]);
        assert_eq!(kind(&events[1]), Kind::Message(v1::Message::default()));
        let blank = v1::MessageEdited {
            seq: 2,
            message: None,
        };
        assert_eq!(kind(&events[2]), Kind::MessageEdited(blank));
        assert_eq!(decoded(&events[1]).message_id, secret.id.to_wire());
        for event in events {
            assert!(!event.encoded.windows(6).any(|it| it == b"secret"));
        }
    }
    assert_eq!(page.states, []);
    // What was answered once is answered for ever.
    assert_eq!(world.accept(secret.clone()).await.1, 2);
    assert_eq!(world.accept(request).await.1, 5);
    let other = Append {
        id: secret.id,
        ..world.post(&alice, direct, "another")
    };
    assert_eq!(world.refuse(other).await, Refusal::Conflict);
}

pub(in crate::store) async fn a_deleted_message_is_not_changed_any_more(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "gone")).await;
    world.make(&bob, react(tea, 2, "👍")).await;
    world.make(&alice, delete(tea, 2)).await;
    for (by, command, refusal) in [
        (&alice, edit(tea, 2, "back"), Refusal::Deleted),
        (&bob, react(tea, 2, "👍"), Refusal::Deleted),
        (&bob, unreact(tea, 2, "👍"), Refusal::NothingToDo),
        (&alice, delete(tea, 2), Refusal::NothingToDo),
        (&bob, delete(tea, 2), Refusal::NotAllowed),
    ] {
        assert_eq!(world.refused(by, command).await, refusal);
    }
}

/// D10.
pub(in crate::store) async fn nobody_changes_what_they_may_not_read(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&bob, tea, "before eve")).await;
    let commands = |at| [edit(tea, at, "x"), delete(tea, at), react(tea, at, "👍")];
    for command in commands(2) {
        assert_eq!(world.refused(&eve, command).await, Refusal::NotFound);
    }
    world.add(&alice, tea, &[&eve]).await;
    for command in commands(2) {
        assert_eq!(world.refused(&eve, command).await, Refusal::NotFound);
    }
    // Who was removed does nothing any more, not even to their own.
    world.remove(&alice, tea, &bob).await;
    for command in commands(2) {
        assert_eq!(world.refused(&bob, command).await, Refusal::NotFound);
    }
    // Who is back may read what they read before.
    world.add(&alice, tea, &[&bob]).await;
    world.make(&bob, edit(tea, 2, "as bob said")).await;
}

/// D10. What became of a message is what the events say that the user may read.
pub(in crate::store) async fn who_left_learns_of_no_later_change(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "one")).await;
    world.make(&bob, react(tea, 2, "👍")).await;
    world.make(&alice, edit(tea, 2, "two")).await;
    world.remove(&alice, tea, &bob).await;
    world.make(&alice, edit(tea, 2, "three")).await;
    world.make(&alice, react(tea, 2, "❤")).await;
    let expected = v1::MessageState {
        seq: 2,
        edited_seq: 4,
        edited_at_ms: NOON,
        message: Some("two".into()),
        reactions: vec![v1::Reaction {
            emoji: "👍".to_owned(),
            count: 1,
            own: true,
        }],
    };
    let page = world.all(&bob, tea).await;
    assert_eq!(page.states_seq, seq(5));
    assert_eq!(page.states, std::slice::from_ref(&expected));
    // Nor does who comes back, of what was done in between.
    world.add(&alice, tea, &[&bob]).await;
    let page = world.all(&bob, tea).await;
    assert_eq!(page.states, std::slice::from_ref(&expected));
    // Deleted for everybody it is all the same.
    world.make(&alice, delete(tea, 2)).await;
    assert_eq!(world.all(&bob, tea).await.states, []);
}

/// D9. Whatever became of messages, an answer fits into a frame.
pub(in crate::store) async fn history_leaves_out_what_does_not_fit_with_its_state(world: World) {
    let alice = world.player("alice").await;
    let (notes, _) = world.accept(world.to(&alice, &alice, "a note")).await;
    let text = "x".repeat(16_384);
    for number in 0..20 {
        world.accept(world.post(&alice, notes, "short")).await;
        world.make(&alice, edit(notes, number * 2 + 2, &text)).await;
    }
    let read = async |from| {
        let request = FetchHistory {
            conversation: notes,
            from,
            limit: 200,
        };
        let page = world.store.history(alice.id(), request).await.unwrap();
        let page = page.unwrap();
        let events: usize = page.events.iter().map(|event| event.encoded.len()).sum();
        let states: usize = page.states.iter().map(prost::Message::encoded_len).sum();
        assert!(events + states < SERVER_FRAME_SIZE_MAX);
        for state in &page.states {
            assert!(seqs(&page.events).contains(&state.seq));
        }
        page
    };
    let mut up: Vec<u64> = Vec::new();
    loop {
        let page = read(HistoryFrom::After(seq(up.last().copied().unwrap_or(0)))).await;
        up.extend(seqs(&page.events));
        if page.complete {
            break;
        }
    }
    assert_eq!(up, (1..=41).collect::<Vec<_>>());
    let mut down: Vec<u64> = Vec::new();
    loop {
        let below = down.first().copied().unwrap_or(u64::MAX);
        let page = read(HistoryFrom::Before(seq(below))).await;
        down.splice(0..0, seqs(&page.events));
        if page.complete {
            break;
        }
    }
    assert_eq!(down, up);
}

/// D8. Nobody is woken by what is done to a message, and no wake shows what was
/// deleted or said otherwise.
pub(in crate::store) async fn changes_wake_nobody_and_previews_follow_them(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    let mut places = Vec::new();
    for text in ["helo", "secret", "as it is"] {
        let committed = world.append(&[world.post(&alice, tea, text)]).await;
        places.push(committed.events[0].position);
    }
    let body = v1::Message {
        content_type: "application/x".to_owned(),
        body: vec![1].into(),
        ..v1::Message::default()
    };
    let committed = world
        .append(&[world.request(&alice, send(tea, body))])
        .await;
    places.push(committed.events[0].position);
    let before = committed.events[0].position;
    world.make(&alice, edit(tea, 2, "hello")).await;
    world.make(&alice, delete(tea, 3)).await;
    world.make(&bob, react(tea, 4, "👍")).await;
    let worthy = world.store.worthy_events(before, 100).await.unwrap();
    assert_eq!(worthy.events, []);
    let previews = world.store.previews(&places).await.unwrap();
    let mut texts: Vec<_> = previews.into_iter().map(|it| (it.seq, it.text)).collect();
    texts.sort();
    let expected = [(seq(2), "hello"), (seq(4), "as it is")];
    assert_eq!(texts, expected.map(|(seq, text)| (seq, text.to_owned())));
}

/// D3. Two users' ids have nothing to do with each other, nor have two kinds of requests.
pub(in crate::store) async fn the_id_of_a_message_is_not_that_of_a_change(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    let id = MessageId::new(world.fresh());
    let with_id = |command| Append {
        id,
        ..world.request(&alice, command)
    };
    assert_eq!(world.accept(with_id(react(direct, 1, "👍"))).await.1, 2);
    for command in [
        unreact(direct, 1, "👍"),
        react(direct, 1, "❤"),
        delete(direct, 1),
        edit(direct, 1, "👍"),
        send(direct, "👍".into()),
    ] {
        assert_eq!(world.refuse(with_id(command)).await, Refusal::Conflict);
    }
}
