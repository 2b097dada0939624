//! Stories of a server that was restored from an older backup.

use super::{
    script::{CHAT, begin},
    *,
};

/// D6, D11.
#[tokio::test]
async fn nothing_leaves_before_the_device_knows_what_it_must_send_again() {
    let mut story = begin();
    let forgotten = story.send("forgotten");
    let (mut first, hello) = story.connection().await;
    assert_eq!(hello.epoch, 0);
    first.welcome(true).await;
    first.page(&[], "first", true).await;
    let (number, id, _) = first.message().await;
    first.accept(number, id, 1).await;
    let is_accepted = |event: &Event| matches!(event, Event::Accepted { .. });
    story.event(is_accepted).await;
    drop(first);

    let waiting = story.send("waiting");
    let (mut second, hello) = story.connection().await;
    assert_eq!(hello.epoch, 1);
    second.welcome_to(2, true).await;
    story.event(|event| *event == Event::BeganAnew).await;
    drop(second);

    let (mut third, hello) = story.connection().await;
    assert_eq!(hello.epoch, 1, "it still holds what the first history had");
    third.welcome_to(2, true).await;
    third.page(&[], "second", true).await;
    let dropped = story
        .event(|event| matches!(event, Event::Dropped(_)))
        .await;
    assert!(matches!(dropped, Event::Dropped(it) if it.conversation == CHAT && it.resent == 1));
    for (seq, expected) in (1..).zip([forgotten, waiting]) {
        let (number, id, _) = third.message().await;
        assert_eq!(id, expected);
        third.accept(number, id, seq).await;
        story.event(is_accepted).await;
    }
    assert_eq!(story.home.credential().unwrap().epoch, 2);
    assert_eq!(story.home.outbox_count().unwrap(), 0);
}
