//! Who is blocked, while everybody looks.

use magpie_protocol::wire::v1::{self, account_change::Kind as Change, event_content::Kind};

use crate::peer::{Device, Peer, World, text_to, texts};

async fn block(of: &mut Peer, whom: &Device, blocked: bool) {
    let user_id = whom.user_id.clone();
    of.set(Change::Block(v1::Block { user_id, blocked })).await;
}

/// D10. Live, as everywhere else: the one who blocks gets the place alone, the other all of
/// it on their devices, and no mark until the block has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_blocked_says_live_is_a_place_alone() {
    let world = World::start().await;
    let ([alice, bob], [mut a, mut b], [mut of_alice, mut of_bob]) = world.two_of_two().await;
    let conversation = a.send(text_to("bob", "one")).await.conversation_id;
    assert_eq!(texts(&of_bob.events(1).await), ["one"]);
    assert_eq!(texts(&of_alice.events(1).await), ["one"]);

    block(&mut b, &alice, true).await;
    let of_log = of_bob.events(1).await;
    assert_ne!(of_log[0].conversation_id, conversation);
    assert_eq!(a.send(text_to("bob", "two")).await.seq, 2);
    let hidden = v1::Event {
        conversation_id: conversation.clone(),
        seq: 2,
        content: Some(v1::EventContent {
            kind: Some(Kind::Hidden(v1::Hidden {})),
        }),
        ..v1::Event::default()
    };
    assert_eq!(of_bob.events(1).await, [hidden]);
    assert_eq!(texts(&of_alice.events(1).await), ["two"]);
    b.mark_read(&conversation, 2).await;

    block(&mut b, &alice, false).await;
    a.send(text_to("bob", "three")).await;
    b.mark_read(&conversation, 3).await;
    let first = of_alice
        .mark(|mark| mark.user_id == bob.user_id && mark.read_seq > 0)
        .await;
    assert_eq!(first.read_seq, 3, "nothing was told before");
}
