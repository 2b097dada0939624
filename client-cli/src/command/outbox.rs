//! `outbox`: what is queued and not done.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    context.account()?;
    for entry in context.home.outbox() {
        context.output.line(&Line::outbox(entry?))?;
    }
    Ok(Exit::Done)
}
