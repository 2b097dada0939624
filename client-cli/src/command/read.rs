//! `read`: marks all of a conversation that is here as read.

use magpie_client::{NewRequest, Recipient};

use crate::{
    carrier::Carrier,
    context::Context,
    failure::{Exit, Failure},
    wait::{Open, until_answered},
};

pub(crate) async fn run(context: &Context, of: Recipient) -> Result<Exit, Failure> {
    context.signed_in()?;
    let to = Recipient::Conversation(context.conversation(&of)?);
    let mut open = Open::default();
    open.push(context.home.queue(NewRequest::MarkRead { to, seq: None })?);
    until_answered(context, Carrier::any(context)?, open).await
}
