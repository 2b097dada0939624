//! Commands that only read the local database: `whoami`, `conversations`.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) fn whoami(context: &Context) -> Result<Exit, Failure> {
    let account = context.account()?;
    context.output.line(&Line::Whoami(account.into()))?;
    Ok(Exit::Done)
}

pub(crate) fn conversations(context: &Context) -> Result<Exit, Failure> {
    context.account()?;
    for line in context.home.conversations()? {
        context.output.line(&Line::conversation(line))?;
    }
    Ok(Exit::Done)
}
