//! `read`: marks all of a conversation that is here as read.

use magpie_client::{NewRequest, Recipient};

use super::message;
use crate::{
    context::Context,
    failure::{Exit, Failure},
};

pub(crate) async fn run(context: &Context, of: &Recipient, only: bool) -> Result<Exit, Failure> {
    context.signed_in()?;
    let to = Recipient::Conversation(context.conversation(of)?);
    message::queue(context, NewRequest::MarkRead { to, seq: None }, only).await
}
