//! `invite create`, `list`, `revoke`, `show`, and `join`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use magpie_client::{ConversationId, InviteBounds, InviteLink, NewRequest, Seq};

use super::{devices::connected, message::queue};
use crate::{
    args::invite::{InviteCommand, Join},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) async fn run(context: &Context, command: InviteCommand) -> Result<Exit, Failure> {
    match command {
        InviteCommand::Create {
            conversation,
            time,
            uses,
            queue,
        } => create(context, conversation, (time, uses), queue).await,
        InviteCommand::List { conversation } => list(context, conversation).await,
        InviteCommand::Revoke {
            conversation,
            seq,
            queue: only,
        } => {
            context.signed_in()?;
            queue(
                context,
                NewRequest::RevokeInvite { conversation, seq },
                only,
            )
            .await
        }
        InviteCommand::Show { link } => show(context, link).await,
    }
}

pub(crate) async fn join(context: &Context, asked: Join) -> Result<Exit, Failure> {
    context.signed_in()?;
    let link = asked.link;
    queue(context, NewRequest::Join { link }, asked.queue).await
}

async fn create(
    context: &Context,
    conversation: ConversationId,
    (time, uses_max): (Option<Duration>, Option<u32>),
    only: bool,
) -> Result<Exit, Failure> {
    context.signed_in()?;
    let link = context.home.new_invite(conversation)?;
    let expires_at_ms = time.and_then(|time| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.checked_add(time)?.as_millis()).ok()
    });
    let bounds = InviteBounds {
        expires_at_ms,
        uses_max,
    };
    // First: whoever is interrupted has it.
    context.output.line(&Line::link(link))?;
    queue(context, NewRequest::CreateInvite { link, bounds }, only).await
}

async fn list(context: &Context, conversation: ConversationId) -> Result<Exit, Failure> {
    let carrier = connected(context).await?;
    let mut after = Seq::ZERO;
    loop {
        let (invites, complete) = carrier.client()?.invites(conversation, after).await?;
        for invite in invites {
            after = invite.seq;
            context.output.line(&Line::invite(conversation, invite))?;
        }
        if complete {
            break;
        }
    }
    carrier.shutdown().await;
    Ok(Exit::Done)
}

async fn show(context: &Context, link: InviteLink) -> Result<Exit, Failure> {
    let carrier = connected(context).await?;
    let preview = carrier.client()?.look_up_invite(link).await?;
    carrier.shutdown().await;
    context.output.line(&Line::preview(link, preview))?;
    Ok(Exit::Done)
}
