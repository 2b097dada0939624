//! `friends`, `privacy`: through the outbox, like messages.

use magpie_client::{FriendAction, Friendship, NewRequest, Setting};

use super::message::queue;
use crate::{
    args::friends::{FriendsCommand, Privacy, Whom},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) async fn run(
    context: &Context,
    command: Option<FriendsCommand>,
) -> Result<Exit, Failure> {
    match command.unwrap_or(FriendsCommand::List) {
        FriendsCommand::List => list(context),
        FriendsCommand::Request(whom) => change(context, whom, FriendAction::Request).await,
        FriendsCommand::Accept(whom) => change(context, whom, FriendAction::Accept).await,
        FriendsCommand::Decline(whom) => decline(context, whom).await,
        FriendsCommand::Cancel(whom) => change(context, whom, FriendAction::Cancel).await,
        FriendsCommand::Remove(whom) => change(context, whom, FriendAction::Remove).await,
    }
}

fn list(context: &Context) -> Result<Exit, Failure> {
    context.account()?;
    for friend in context.home.friends()? {
        context.output.line(&Line::friend(friend))?;
    }
    Ok(Exit::Done)
}

pub(crate) async fn privacy(context: &Context, asked: &Privacy) -> Result<Exit, Failure> {
    context.signed_in()?;
    let Some(messages) = asked.messages else {
        let messages = context.home.messages_from()?.name();
        context.output.line(&Line::Privacy { messages })?;
        return Ok(Exit::Done);
    };
    let messages = messages.into();
    let setting = Setting::Privacy { messages };
    queue(context, NewRequest::Set(setting), asked.queue).await
}

async fn change(context: &Context, whom: Whom, action: FriendAction) -> Result<Exit, Failure> {
    context.signed_in()?;
    let name = whom.name;
    let request = NewRequest::ChangeFriendship { name, action };
    queue(context, request, whom.queue).await
}

async fn decline(context: &Context, whom: Whom) -> Result<Exit, Failure> {
    context.signed_in()?;
    let asked = context.home.friend(&whom.name)?;
    let asked = asked.filter(|it| it.friendship == Friendship::WasAsked);
    let asked = asked.ok_or_else(|| Failure::NotAsked {
        name: whom.name.clone(),
    })?;
    let setting = Setting::Declined {
        user: asked.user.id,
        seq: asked.seq,
    };
    queue(context, NewRequest::Set(setting), whom.queue).await
}
