//! `reply`, `forward`, `edit`, `delete`, `react`, `pin`, `unpin`, `pins`, `edits`: what is done
//! to messages that are there; through the outbox, like messages.

use std::{fs, io::Read as _, path::Path};

use magpie_client::{
    Body, Content, Forwarded, Gap, Message, MessageId, MessagePlace, NewMessage, NewRequest,
    PinnedMessage, Recipient, StoredEvent,
};

use crate::{
    args::message::{Attached, Delete, Edit, Edits, Forward, Pins, React, Reply, Which},
    carrier::Carrier,
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
    wait::{Open, until_answered},
};

/// Bytes read of a file: more than a message may have.
const FILE_SIZE_MAX: u64 = 64 * 1024;

pub(crate) async fn reply(context: &Context, asked: Reply) -> Result<Exit, Failure> {
    context.signed_in()?;
    let place = place(context, &asked.which)?;
    let to = Recipient::Conversation(place.conversation);
    let message = Message {
        reply_to: Some(place.seq),
        ..compose(context, &to, &asked.text, &asked.attached)?
    };
    let message = message.try_into()?;
    queue(context, NewRequest::Send { to, message }, asked.queue).await
}

pub(crate) async fn forward(context: &Context, asked: Forward) -> Result<Exit, Failure> {
    context.signed_in()?;
    let (event, _) = stored(context, place(context, &asked.which)?)?;
    let message = forwarded(event)?.try_into()?;
    let to = asked.to;
    queue(context, NewRequest::Send { to, message }, asked.queue).await
}

pub(crate) async fn edit(context: &Context, asked: Edit) -> Result<Exit, Failure> {
    context.signed_in()?;
    let place = place(context, &asked.which)?;
    let to = Recipient::Conversation(place.conversation);
    let message = compose(context, &to, &asked.text, &asked.attached)?;
    let message = NewMessage::try_from(message)?.try_into()?;
    queue(context, NewRequest::Edit { place, message }, asked.queue).await
}

pub(crate) async fn delete(context: &Context, asked: Delete) -> Result<Exit, Failure> {
    context.signed_in()?;
    let place = place(context, &asked.which)?;
    queue(context, NewRequest::Delete { place }, asked.queue).await
}

pub(crate) async fn react(context: &Context, asked: React) -> Result<Exit, Failure> {
    context.signed_in()?;
    let request = NewRequest::React {
        place: place(context, &asked.which)?,
        emoji: asked.emoji,
        removed: asked.remove,
    };
    queue(context, request, asked.queue).await
}

pub(crate) async fn pin(
    context: &Context,
    which: &Which,
    pinned: bool,
    only: bool,
) -> Result<Exit, Failure> {
    context.signed_in()?;
    let place = place(context, which)?;
    queue(context, NewRequest::Pin { place, pinned }, only).await
}

pub(crate) fn pins(context: &Context, asked: &Pins) -> Result<Exit, Failure> {
    context.account()?;
    let conversation = context.conversation(&asked.of)?;
    for PinnedMessage { seq, event } in context.home.pins(conversation)? {
        let gap = Gap {
            conversation,
            from: seq,
            to: seq,
            on_demand: true,
        };
        let line = event.map_or_else(|| Line::gap(&gap), Line::event);
        context.output.line(&line)?;
    }
    Ok(Exit::Done)
}

pub(crate) fn edits(context: &Context, asked: &Edits) -> Result<Exit, Failure> {
    context.account()?;
    let (event, edits) = stored(context, place(context, &asked.which)?)?;
    context.output.line(&Line::as_sent(event))?;
    for edit in edits {
        context.output.line(&Line::event(edit))?;
    }
    Ok(Exit::Done)
}

/// A message of this text, which may mention members, and what goes with it.
pub(super) fn compose(
    context: &Context,
    to: &Recipient,
    text: &str,
    attached: &Attached,
) -> Result<Message, Failure> {
    let (mentions, mentions_everybody) = context.home.mentioned(to, text)?;
    let body = match (&attached.body, &attached.content_type) {
        (Some(path), Some(content_type)) => Some(Body {
            content_type: content_type.clone(),
            bytes: read(path)?.into(),
        }),
        (None, _) | (_, None) => None,
    };
    Ok(Message {
        text: text.to_owned(),
        mentions,
        mentions_everybody,
        body,
        ..Message::default()
    })
}

/// A file, as far as it may be one of a message.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| file.take(FILE_SIZE_MAX).read_to_end(&mut bytes))
        .map_err(|error| Failure::File {
            path: path.display().to_string(),
            error,
        });
    read.map(|_| bytes)
}

pub(super) fn place(context: &Context, which: &Which) -> Result<MessagePlace, Failure> {
    Ok(MessagePlace {
        conversation: context.conversation(&which.of)?,
        seq: which.seq,
    })
}

fn stored(
    context: &Context,
    place: MessagePlace,
) -> Result<(StoredEvent, Vec<StoredEvent>), Failure> {
    context
        .home
        .event(place)?
        .ok_or(Failure::UnknownMessage { seq: place.seq })
}

/// What the message says now, with who said it first. Whom it mentions are members
/// of another conversation, and what it answers is there.
fn forwarded(event: StoredEvent) -> Result<Message, Failure> {
    let seq = event.seq;
    let Content::Message(message) = event.content else {
        return Err(Failure::UnknownMessage { seq });
    };
    let origin = match (message.forwarded.clone(), event.sender) {
        (Some(origin), _) => Some(origin),
        (None, Some(author)) => Some(Forwarded {
            author,
            sent_at_ms: event.committed_at_ms,
        }),
        (None, None) => None,
    };
    // An edit has none of these.
    let media = message.media.clone();
    let said = event.state.edit.map_or(message, |edit| edit.message);
    Ok(Message {
        text: said.text,
        body: said.body,
        media,
        forwarded: origin,
        ..Message::default()
    })
}

/// Queues a request, and waits for what becomes of it unless it is only queued.
pub(super) async fn queue(
    context: &Context,
    request: NewRequest,
    only: bool,
) -> Result<Exit, Failure> {
    let id = context.home.queue(request)?;
    queued(context, id, only).await
}

/// The same for what is queued already.
pub(super) async fn queued(context: &Context, id: MessageId, only: bool) -> Result<Exit, Failure> {
    if only {
        context.output.line(&Line::Queued {
            message_id: Shown(id),
        })?;
        return Ok(Exit::Done);
    }
    let mut open = Open::default();
    open.push(id);
    until_answered(context, Carrier::any(context)?, open).await
}
