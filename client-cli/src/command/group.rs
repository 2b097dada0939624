//! `group create`, `add`, `remove`, `ban`, `unban`, `leave`, `role`, `update`: through the outbox,
//! like messages; and `group bans`.

use magpie_client::{ConversationId, GroupUpdate, NewRequest, Seq, UserName};

use super::devices::connected;
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
            history,
        } => NewRequest::UpdateGroup {
            conversation,
            update: GroupUpdate {
                title,
                description,
                announcement_only,
                photo: photo.map(|it| it.0),
                history_for_newcomers: history,
            },
        },
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
    queue(context, request).await
}

async fn queue(context: &Context, request: NewRequest) -> Result<Exit, Failure> {
    // Before anything is queued: beside another process nothing is.
    let carrier = Carrier::own(context)?;
    let mut open = Open::default();
    open.push(context.home.queue(request)?);
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
