//! A user who answers every message with the same text.
//!
//! ```text
//! cargo run --release --bin magpied &
//! cargo run -p magpie-client --example echo -- 127.0.0.1:7443 magpie-data/ca.pem echo-home echo 'a long password'
//! cargo run --bin magpie -- --home ./alice send @echo hello
//! ```
//!
//! It may be killed at any moment and started again: what it has queued is sent,
//! and no message goes without an answer.

use std::{error::Error, path::Path};

use magpie_client::{
    Client, Content, ConversationId, Event, Home, NewRequest, Options, Recipient, Seq, Server,
    Trust,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, ca, directory, name, password] = arguments.as_slice() else {
        return Err("usage: echo HOST:PORT CA.PEM DIRECTORY NAME PASSWORD".into());
    };
    let home = Home::open(Path::new(directory))?;
    let server = Server {
        address: address.clone(),
        trust: Trust::CaFile(ca.into()),
    };
    if home.account()?.is_none() {
        magpie_client::register(&home, &server, name, password, "echo").await?;
    }
    let lock = home
        .try_lock_connection()?
        .ok_or("another process holds the connection of this home")?;
    let client = Client::start(home.clone(), lock, server, Options::default());

    answer(&home, &client)?;
    while let Some(event) = client.next_event().await {
        match event {
            Event::CaughtUp => println!("caught up"),
            Event::Stored { .. } | Event::Missed => answer(&home, &client)?,
            Event::Disconnected { reason, retry_in } => {
                println!("{reason}; again in {} ms", retry_in.as_millis());
            }
            Event::SignedOut { refusal } => return Err(refusal.to_string().into()),
            Event::UpgradeRequired { .. } | Event::Replaced => break,
            Event::Connected { .. }
            | Event::Accepted { .. }
            | Event::NothingToDo { .. }
            | Event::Read { .. }
            | Event::Failed { .. }
            | Event::Marks { .. }
            | Event::Refreshed
            | Event::Profile { .. }
            | Event::Uploading { .. }
            | Event::Downloading { .. }
            | Event::Typing { .. }
            | Event::Presence { .. }
            | Event::BeganAnew
            | Event::Dropped(_) => {}
        }
    }
    Ok(())
}

/// Answers what was not answered yet. The mark moves after the answers are
/// queued: a crash in between repeats an answer, and never forgets one.
fn answer(home: &Home, client: &Client) -> Result<(), Box<dyn Error>> {
    let me = home.account()?.ok_or("signed out")?.user_id;
    loop {
        let events = home.unprinted(100)?;
        let Some(last) = events.last() else {
            return Ok(());
        };
        println!("{} new, the last in {}", events.len(), last.conversation);
        let mut answers = Vec::new();
        let mut marks: Vec<(ConversationId, Seq)> = Vec::new();
        for event in events {
            marks.push((event.conversation, event.seq));
            if let Content::Message(message) = event.content
                && event.sender.is_some_and(|sender| sender.id != me)
            {
                answers.push(NewRequest::Send {
                    to: Recipient::Conversation(event.conversation),
                    message: message.text.try_into()?,
                });
            }
        }
        home.queue_all(answers)?;
        home.mark_printed(&marks)?;
        client.wake_outbox();
    }
}
