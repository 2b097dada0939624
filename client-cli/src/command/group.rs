//! `group create`, `add`, `remove`, `ban`, `unban`, `leave`, `role`, `update`: through the outbox,
//! like messages; and `group bans`.

use magpie_client::{
    Attached, AttachmentKind, ConversationId, GroupUpdate, NewRequest, Seq, UserName,
};

use super::{devices::connected, media::attach};
use crate::{
    args::GroupCommand,
    carrier::Carrier,
    context::Context,
    failure::{Exit, Failure},
    line::Line,
    wait::{Open, until_answered},
};

pub(crate) async fn run(context: &Context, command: GroupCommand) -> Result<Exit, Failure> {
    let request = match command {
        GroupCommand::Bans { conversation } => return bans(context, conversation).await,
        GroupCommand::Create { title, names } => NewRequest::CreateGroup { title, names },
        GroupCommand::Add {
            conversation,
            names,
        } => NewRequest::AddMembers {
            conversation,
            names,
        },
        GroupCommand::Remove { conversation, name } => {
            NewRequest::RemoveMember { conversation, name }
        }
        GroupCommand::Ban { conversation, name } => ban(conversation, name, true),
        GroupCommand::Unban { conversation, name } => ban(conversation, name, false),
        GroupCommand::Leave { conversation } => NewRequest::Leave { conversation },
        GroupCommand::Update {
            conversation,
            title,
            description,
            announcement_only,
            photo,
            no_photo,
            history,
        } => {
            let attached = match photo {
                Some(path) => Some(attach(context, path, AttachmentKind::Photo).await?),
                None => None,
            };
            let photo = attached.as_ref().map(|it| Some(it.media().id));
            let update = GroupUpdate {
                title,
                description,
                announcement_only,
                photo: photo.or_else(|| no_photo.then_some(None)),
                history_for_newcomers: history,
            };
            let request = NewRequest::UpdateGroup {
                conversation,
                update,
            };
            return queue(context, request, attached).await;
        }
        GroupCommand::Role {
            conversation,
            name,
            role,
        } => NewRequest::SetRole {
            conversation,
            name,
            role,
        },
    };
    queue(context, request, None).await
}

async fn queue(
    context: &Context,
    request: NewRequest,
    photo: Option<Attached>,
) -> Result<Exit, Failure> {
    // Before anything is queued: beside another process nothing is.
    let carrier = Carrier::own(context)?;
    let attached = photo.into_iter().collect();
    let mut open = Open::default();
    open.push(context.home.queue_with(request, attached)?);
    until_answered(context, carrier, open).await
}

const fn ban(conversation: ConversationId, name: UserName, banned: bool) -> NewRequest {
    NewRequest::Ban {
        conversation,
        name,
        banned,
    }
}

async fn bans(context: &Context, conversation: ConversationId) -> Result<Exit, Failure> {
    let carrier = connected(context).await?;
    let mut after = Seq::ZERO;
    loop {
        let (users, complete) = carrier.client()?.bans(conversation, after).await?;
        for banned in users {
            after = banned.seq;
            context.output.line(&Line::banned(conversation, banned))?;
        }
        if complete {
            break;
        }
    }
    carrier.shutdown().await;
    Ok(Exit::Done)
}
