//! `outbox`, `outbox discard`: what is queued and not done.

use magpie_client::{MessageId, OutboxState};

use crate::{
    args::OutboxCommand,
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
};

pub(crate) fn run(context: &Context, command: Option<OutboxCommand>) -> Result<Exit, Failure> {
    context.account()?;
    match command {
        None => list(context),
        Some(OutboxCommand::Discard { all: true, .. }) => discard_all(context),
        Some(OutboxCommand::Discard { ids, .. }) => discard(context, ids),
    }
}

fn list(context: &Context) -> Result<Exit, Failure> {
    for entry in context.home.outbox() {
        context.output.line(&Line::outbox(entry?))?;
    }
    Ok(Exit::Done)
}

fn discard_all(context: &Context) -> Result<Exit, Failure> {
    for entry in context.home.outbox() {
        let entry = entry?;
        if matches!(entry.state, OutboxState::Failed(_)) {
            discard_one(context, entry.id)?;
        }
    }
    Ok(Exit::Done)
}

fn discard(context: &Context, ids: Vec<MessageId>) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for id in ids {
        if !discard_one(context, id)? {
            exit = Exit::Refused;
            let failure = Failure::NotRefused { id };
            context.output.line(&Line::failure_of(Some(id), &failure))?;
        }
    }
    Ok(exit)
}

fn discard_one(context: &Context, id: MessageId) -> Result<bool, Failure> {
    let discarded = context.home.discard(id)?;
    if discarded {
        context.output.line(&Line::Discarded {
            message_id: Shown(id),
        })?;
    }
    Ok(discarded)
}
