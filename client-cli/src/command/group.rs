//! `group create`, `add`, `remove`, `leave`, `role`, `update`: through the outbox, like messages.

use magpie_client::{GroupUpdate, NewRequest};

use crate::{
    args::GroupCommand,
    carrier::Carrier,
    context::Context,
    failure::{Exit, Failure},
    wait::{Open, until_answered},
};

pub(crate) async fn run(context: &Context, command: GroupCommand) -> Result<Exit, Failure> {
    // Before anything is queued: beside another process nothing is.
    let carrier = Carrier::own(context)?;
    let mut open = Open::default();
    open.push(context.home.queue(request(command))?);
    until_answered(context, carrier, open).await
}

fn request(command: GroupCommand) -> NewRequest {
    match command {
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
    }
}
