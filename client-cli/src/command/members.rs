//! `members`: who is in a conversation; works offline. The list of a large group
//! is fetched the first time, if the server can be reached, and kept up to date
//! from then on.

use std::time::Duration;

use magpie_client::{ConversationId, LocalMembers, Recipient};

use crate::{
    carrier::{Carrier, Patience},
    command::history::is_offline,
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

/// What is listed is there without the server: do not let a person wait for long.
const CONNECT_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn run(context: &Context, of: &Recipient) -> Result<Exit, Failure> {
    context.account()?;
    let conversation = context.conversation(of)?;
    let mut members = context.home.members(conversation)?;
    if members.rest.is_some() {
        match load(context, conversation).await {
            Ok(()) => {}
            Err(failure) if is_offline(&failure) => {
                context
                    .output
                    .note(&format!("some of them are not here: {failure}"));
            }
            Err(failure) => return Err(failure),
        }
        members = context.home.members(conversation)?;
    }
    print(context, conversation, members)?;
    Ok(Exit::Done)
}

async fn load(context: &Context, conversation: ConversationId) -> Result<(), Failure> {
    let mut carrier = Carrier::own(context)?;
    let timeout = context.timeout().unwrap_or(CONNECT_MAX);
    let patience = Patience::new(Some(timeout.min(CONNECT_MAX)));
    let result = async {
        carrier.until_caught_up(&patience).await?;
        while let Some(rest) = context.home.members(conversation)?.rest {
            carrier.client()?.load_members(rest).await?;
        }
        Ok(())
    }
    .await;
    carrier.shutdown().await;
    result
}

fn print(
    context: &Context,
    conversation: ConversationId,
    members: LocalMembers,
) -> Result<(), Failure> {
    let (count, listed) = (members.count, members.members.len() as u64);
    for member in members.members {
        let profile = context.home.profile(member.user.id)?;
        let name = profile.map_or_else(String::new, |(_, profile)| profile.display_name);
        context
            .output
            .line(&Line::member(conversation, member, name))?;
    }
    context
        .output
        .line(&Line::members(conversation, count, listed))?;
    Ok(())
}
