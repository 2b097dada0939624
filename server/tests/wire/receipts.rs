//! Read receipts that are hidden, while everybody looks.

use bytes::Bytes;
use magpie_protocol::{
    seq::Seq,
    wire::v1::{self, account_change::Kind as Change, server_frame},
};
use magpie_server::store::{MarkRead, Shard};

use crate::peer::{Device, Peer, World, text_to};

async fn hide(of: &mut Peer, hidden: bool) {
    of.set(Change::Receipts(v1::Receipts { hidden })).await;
}

/// The read marks that come up to the one of this user at `seq`. Only to a device that
/// asks for nothing: answers come between them.
async fn marks_until(to: &mut Peer, user: &Device, seq: u64) -> Vec<(Bytes, u64)> {
    let mut marks = Vec::new();
    loop {
        let server_frame::Body::Page(page) = to.body().await else {
            panic!("something else than a page");
        };
        to.ack().await;
        let read = page.marks.into_iter().filter(|mark| mark.read_seq > 0);
        marks.extend(read.map(|mark| (mark.user_id, mark.read_seq)));
        if marks.contains(&(user.user_id.clone(), seq)) {
            return marks;
        }
    }
}

/// Both ways, the moment that it is accepted; one's own devices are told still, and what
/// is stored is told to all.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_read_mark_reaches_ones_own_devices_alone() {
    let world = World::start().await;
    let ([alice, bob], [mut a, mut b], [mut of_alice, mut of_bob]) = world.two_of_two().await;
    let conversation = a.send(text_to("bob", "one")).await.conversation_id;
    for text in ["two", "three", "four"] {
        a.send(text_to("bob", text)).await;
    }
    b.mark_read(&conversation, 1).await;
    let shown = |user: &Device, seq| (user.user_id.clone(), seq);
    let marks = marks_until(&mut of_alice, &bob, 1).await;
    assert_eq!(marks, [shown(&bob, 1)]);

    hide(&mut b, true).await;
    b.mark_read(&conversation, 2).await;
    // Of others Bob is told nothing either, though Alice hides nothing.
    a.mark_read(&conversation, 3).await;
    let marks = marks_until(&mut of_alice, &alice, 3).await;
    assert_eq!(marks, [shown(&alice, 3)]);
    // Behind what was passed over: so it will not come any more.
    b.mark_read(&conversation, 3).await;
    let marks = marks_until(&mut of_bob, &bob, 3).await;
    assert_eq!(marks, [shown(&bob, 1), shown(&bob, 2), shown(&bob, 3)]);

    hide(&mut b, false).await;
    b.mark_read(&conversation, 4).await;
    let marks = marks_until(&mut of_alice, &bob, 4).await;
    assert_eq!(marks, [shown(&bob, 4)]);
    a.mark_read(&conversation, 4).await;
    let marks = marks_until(&mut of_bob, &alice, 4).await;
    assert_eq!(marks, [shown(&bob, 4), shown(&alice, 4)]);
}

/// How far devices have stored is told as ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_told_of_who_hides_what_is_read() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let tablet = world.sign_in("bob").await;
    let (mut of_bob, _) = world.connect(&tablet, Bytes::new()).await;
    hide(&mut of_bob, true).await;
    a.send(text_to("bob", "one")).await;
    // The setting comes first.
    b.events(2).await;
    let stored = a.mark(|mark| mark.user_id == bob.user_id).await;
    assert_eq!((stored.delivered_seq, stored.read_seq), (1, 0));
}

/// What another node moved, and hid: this one asks the log's database, and knows nothing
/// by heart.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_another_node_moved_is_hidden_too() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let conversation = a.send(text_to("bob", "one")).await.conversation_id;
    a.send(text_to("bob", "two")).await;
    a.send(text_to("bob", "three")).await;
    hide(&mut b, true).await;
    let elsewhere = async |user: &Device, seq| {
        let mark = MarkRead {
            user: user.user_id.as_ref().try_into().unwrap(),
            conversation: conversation.as_ref().try_into().unwrap(),
            seq: Seq::new(seq),
        };
        let marked = world.store.mark_read(Shard::FIRST, &[mark]).await;
        marked.unwrap();
    };
    elsewhere(&bob, 2).await;
    elsewhere(&alice, 3).await;
    let marks = marks_until(&mut a, &alice, 3).await;
    assert_eq!(marks, [(alice.user_id.clone(), 3)]);
    hide(&mut b, false).await;
    elsewhere(&bob, 3).await;
    let marks = marks_until(&mut a, &bob, 3).await;
    assert_eq!(marks, [(bob.user_id.clone(), 3)]);
}
