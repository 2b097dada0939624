//! `report`.

use magpie_client::{Recipient, Reported};

use super::devices::connected;
use crate::{
    args::ReportArgs,
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) async fn run(context: &Context, typed: ReportArgs) -> Result<Exit, Failure> {
    context.signed_in()?;
    let about = match (&typed.of, typed.seq) {
        (_, Some(seq)) => Reported::Message(context.conversation(&typed.of)?, seq),
        (Recipient::User(name), None) => Reported::User(name.clone()),
        (Recipient::Conversation(_), None) => return Err(Failure::NothingReported),
    };
    let carrier = connected(context).await?;
    let reported = carrier
        .client()?
        .report(&about, typed.reason.into(), &typed.text)
        .await;
    carrier.shutdown().await;
    reported?;
    context.output.line(&Line::Reported {
        about: typed.of.to_string(),
        seq: typed.seq.map(|seq| seq.get()),
    })?;
    Ok(Exit::Done)
}
