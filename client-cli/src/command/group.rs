//! `group create`, `add`, `remove`, `ban`, `unban`, `leave`, `role`, `update`: through the outbox,
//! like messages; and `group bans`.

use magpie_client::{
    Attached, AttachmentKind, ConversationId, GroupUpdate, NewRequest, Role, Seq, UserName,
};

use super::{devices::connected, media::attach, message::queued};
use crate::{
    args::{GroupChange, GroupCommand},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) async fn run(context: &Context, command: GroupCommand) -> Result<Exit, Failure> {
    context.signed_in()?;
    let mut attached = Vec::new();
    let (request, only) = match command {
        GroupCommand::Bans { conversation } => return bans(context, conversation).await,
        GroupCommand::Create {
            title,
            names,
            queue,
        } => (NewRequest::CreateGroup { title, names }, queue),
        GroupCommand::Add {
            conversation,
            names,
            queue,
        } => (add(conversation, names), queue),
        GroupCommand::Remove {
            conversation,
            name,
            queue,
        } => (NewRequest::RemoveMember { conversation, name }, queue),
        GroupCommand::Ban {
            conversation,
            name,
            queue,
        } => (ban(conversation, name, true), queue),
        GroupCommand::Unban {
            conversation,
            name,
            queue,
        } => (ban(conversation, name, false), queue),
        GroupCommand::Leave {
            conversation,
            queue,
        } => (NewRequest::Leave { conversation }, queue),
        GroupCommand::Update {
            conversation,
            change,
            queue,
        } => {
            let update = update(context, change, &mut attached).await?;
            (update_group(conversation, update), queue)
        }
        GroupCommand::Role {
            conversation,
            name,
            role,
            queue,
        } => (set_role(conversation, name, role), queue),
    };
    let id = context.home.queue_with(request, attached)?;
    queued(context, id, only).await
}

/// What is to be otherwise; a new photo goes to those that are to be uploaded.
async fn update(
    context: &Context,
    change: GroupChange,
    attached: &mut Vec<Attached>,
) -> Result<GroupUpdate, Failure> {
    let mut photo = change.no_photo.then_some(None);
    if let Some(path) = change.photo {
        let picture = attach(context, path, AttachmentKind::Photo).await?;
        photo = Some(Some(picture.media().id));
        attached.push(picture);
    }
    Ok(GroupUpdate {
        title: change.title,
        description: change.description,
        announcement_only: change.announcement_only,
        photo,
        history_for_newcomers: change.history,
    })
}

const fn add(conversation: ConversationId, names: Vec<UserName>) -> NewRequest {
    NewRequest::AddMembers {
        conversation,
        names,
    }
}

const fn set_role(conversation: ConversationId, name: UserName, role: Role) -> NewRequest {
    NewRequest::SetRole {
        conversation,
        name,
        role,
    }
}

const fn update_group(conversation: ConversationId, update: GroupUpdate) -> NewRequest {
    NewRequest::UpdateGroup {
        conversation,
        update,
    }
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
