//! How much there is for a user, and how much of it is read.

use magpie_protocol::{
    id::ConversationId,
    wire::{Target, v1},
};

use super::{ALL, NOON, Player, World, messages::delete, seq};
use crate::store::{Append, Command, Counts, MarkRead, ReadMark, Shard};

const fn counts(messages: u64, mentions: u64) -> Counts {
    Counts { messages, mentions }
}

/// What there is for a user, and what they have read of it.
async fn seen(world: &World, by: &Player, of: ConversationId) -> (Counts, Counts) {
    let described = world.described(by, of).await;
    let [there, read] = [described.counts, described.read_counts].map(|it| {
        let it = it.unwrap();
        counts(it.messages, it.mentions)
    });
    (there, read)
}

async fn read(world: &World, of: &Player, conversation: ConversationId, to: u64) -> ReadMark {
    let shard = Shard::of_conversation(conversation, world.store.shard_count());
    let mark = MarkRead {
        user: of.id(),
        conversation,
        seq: seq(to),
    };
    let marked = world.store.mark_read(shard, &[mark]).await.unwrap();
    marked.marks[0].unwrap()
}

/// A message to a conversation that mentions somebody.
fn naming(world: &World, by: &Player, to: ConversationId, whom: &[&Player]) -> Append {
    let mentions = whom.iter().zip(0..).map(|(it, start)| v1::Mention {
        user_id: it.id().to_wire(),
        start,
        length: 1,
    });
    let message = v1::Message {
        text: "@@@@".to_owned(),
        mentions: mentions.collect(),
        ..v1::Message::default()
    };
    world.request(by, said(to, message))
}

fn naming_all(world: &World, by: &Player, to: ConversationId) -> Append {
    let message = v1::Message {
        text: "all".to_owned(),
        mentions_everybody: true,
        ..v1::Message::default()
    };
    world.request(by, said(to, message))
}

fn said(to: ConversationId, message: v1::Message) -> Command {
    Command::SendMessage {
        to: Target::Conversation(to),
        message: message.try_into().unwrap(),
    }
}

/// What nobody said to others, and what is no message, counts for nobody.
pub(in crate::store) async fn messages_of_others_are_there_for_each(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    // One batch, and one by one.
    let by = [&alice, &bob, &alice, &alice, &bob];
    let said: Vec<_> = by.map(|by| world.post(by, tea, "word")).into();
    world.append(&said).await;
    assert_eq!(seen(&world, &alice, tea).await.0, counts(2, 0));
    assert_eq!(seen(&world, &bob, tea).await, (counts(3, 0), counts(0, 0)));
    let (_, last) = world.accept(world.post(&alice, tea, "more")).await;
    world.accept(world.request(&alice, delete(tea, last))).await;
    // It keeps its place: where it is not stored nobody could take it away again.
    assert_eq!(seen(&world, &bob, tea).await.0, counts(4, 0));
    let mark = read(&world, &bob, tea, 4).await;
    assert_eq!((mark.seq, mark.counts), (seq(4), counts(2, 0)));
    assert_eq!(seen(&world, &bob, tea).await.1, counts(2, 0));

    // The same message again is none.
    world.append(&said[..1]).await;
    assert_eq!(seen(&world, &bob, tea).await.0, counts(4, 0));
    world.accept(world.to(&alice, &bob, "hello")).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello again")).await;
    assert_eq!(seen(&world, &bob, direct).await.0, counts(2, 0));
    assert_eq!(seen(&world, &alice, direct).await.0, counts(0, 0));
}

/// D10. What was said before is nothing that they have not read.
pub(in crate::store) async fn who_joins_has_read_what_came_before(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[]).await;
    world.accept(world.post(&alice, tea, "one")).await;
    world.add(&alice, tea, &[&bob]).await;
    let unread = async || {
        let (there, read) = seen(&world, &bob, tea).await;
        there.messages - read.messages
    };
    assert_eq!(unread().await, 0);
    world.accept(world.post(&alice, tea, "two")).await;
    assert_eq!(unread().await, 1);
    world.remove(&alice, tea, &bob).await;
    world.accept(world.post(&alice, tea, "without bob")).await;
    assert_eq!(unread().await, 1, "what they left is still to be read");
    world.add(&alice, tea, &[&bob]).await;
    assert_eq!(unread().await, 0, "another membership");
    world.accept(world.post(&alice, tea, "three")).await;
    assert_eq!(unread().await, 1);
}

/// A mark carries what there is up to it, to whoever reads the log.
pub(in crate::store) async fn a_mark_says_what_there_is_up_to_it(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    world.accept(world.to(&bob, &alice, "mine")).await;
    world.accept(naming(&world, &alice, direct, &[&bob])).await;
    let after = world.heads().await;
    let mark = read(&world, &bob, direct, 3).await;
    assert_eq!((mark.seq, mark.counts), (seq(3), counts(2, 1)));
    assert_eq!(read(&world, &bob, direct, 1).await, mark, "it never falls");
    let page = world.page(&bob, after, ALL).await;
    assert_eq!(page.marks[0].read_counts, Some(mark.counts.to_wire()));
    let shard = Shard::of_conversation(direct, world.store.shard_count());
    let stretch = world.store.stretch(after.in_shard(shard), ALL).await;
    assert_eq!(stretch.unwrap().marks[0].read, mark);
}

pub(in crate::store) async fn mentions_are_there_for_those_who_are_meant(world: World) {
    let (alice, bob, carol) = (
        world.player("alice").await,
        world.player("bob").await,
        world.player("carol").await,
    );
    let tea = world.group(&alice, &[&bob, &carol]).await;
    let of = async |who: &Player| seen(&world, who, tea).await.0.mentions;
    let batch = [
        naming(&world, &alice, tea, &[&bob, &bob, &alice]),
        naming_all(&world, &alice, tea),
        world.post(&alice, tea, "nobody"),
        naming(&world, &carol, tea, &[&bob]),
    ];
    world.append(&batch).await;
    assert_eq!(
        [of(&alice).await, of(&bob).await, of(&carol).await],
        [0, 3, 1]
    );
    world
        .accept(naming(&world, &bob, tea, &[&alice, &carol]))
        .await;
    assert_eq!(
        [of(&alice).await, of(&bob).await, of(&carol).await],
        [1, 3, 2]
    );
    let mark = read(&world, &bob, tea, 3).await;
    assert_eq!(mark.counts, counts(2, 2));
    // A repeat counts for nobody, and strangers are mentioned in vain.
    let stranger = world.player("dave").await;
    let again = [batch[0].clone(), naming(&world, &alice, tea, &[&stranger])];
    world.append(&again).await;
    assert_eq!(of(&bob).await, 3);
    let last = world.store.append(
        Shard::of_conversation(tea, world.store.shard_count()),
        [naming(&world, &carol, tea, &[&alice])].into(),
        NOON,
    );
    assert_eq!(last.await.unwrap().events.len(), 1);
    assert_eq!(of(&alice).await, 2);
}
