//! `readers`: who has read a message; of a conversation of few members what is here is
//! shown without the server, too.

use std::time::Duration;

use magpie_client::{MessagePlace, Readers};

use super::{audit::in_time, history::is_offline, message::place};
use crate::{
    args::message::Which,
    carrier::{Carrier, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::{Line, ReadersFields, Shown},
};

/// What is here is shown without the server: do not let a person wait for long.
const CONNECT_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn run(context: &Context, which: &Which) -> Result<Exit, Failure> {
    context.account()?;
    let place = place(context, which)?;
    let find = || {
        let found = context.home.readers(place)?;
        found.ok_or(Failure::UnknownMessage { seq: place.seq })
    };
    let fields = match find()? {
        Readers::Many => counted(context, place).await?,
        Readers::Hidden => fields(place, Readers::Hidden),
        Readers::Named { .. } => {
            match load(context, place).await {
                Ok(()) => {}
                Err(failure) if is_offline(&failure) => {
                    let note = format!("some may have read it since: {failure}");
                    context.output.note(&note);
                }
                Err(failure) => return Err(failure),
            }
            fields(place, find()?)
        }
    };
    context.output.line(&Line::Readers(fields))?;
    Ok(Exit::Done)
}

async fn load(context: &Context, place: MessagePlace) -> Result<(), Failure> {
    let mut carrier = Carrier::own(context)?;
    let timeout = context.timeout().unwrap_or(CONNECT_MAX);
    let patience = Patience::new(Some(timeout.min(CONNECT_MAX)));
    let result = async {
        carrier.until_caught_up(&patience).await?;
        let client = carrier.client()?;
        in_time(context, client.load_marks(place.conversation)).await
    }
    .await;
    carrier.shutdown().await;
    result
}

async fn counted(context: &Context, place: MessagePlace) -> Result<ReadersFields, Failure> {
    let mut carrier = Carrier::own(context)?;
    let patience = Patience::new(context.timeout());
    let result = async {
        carrier.until_caught_up(&patience).await?;
        let client = carrier.client()?;
        let seqs = [place.seq];
        in_time(context, client.count_readers(place.conversation, &seqs)).await
    }
    .await;
    carrier.shutdown().await;
    let counts = result?;
    Ok(ReadersFields {
        read_count: Some(counts.into_iter().sum()),
        ..fields(place, Readers::Many)
    })
}

fn fields(place: MessagePlace, readers: Readers) -> ReadersFields {
    let (read, delivered, hidden) = match readers {
        Readers::Named { read, delivered } => (Some(read), Some(delivered), false),
        Readers::Many => (None, None, false),
        Readers::Hidden => (None, None, true),
    };
    let names = |users: Vec<magpie_client::User>| -> Vec<String> {
        users.into_iter().map(|user| user.name).collect()
    };
    ReadersFields {
        conversation_id: Shown(place.conversation),
        seq: place.seq.get(),
        read_count: read.as_ref().map(|read| read.len() as u64),
        read: read.map(names),
        delivered: delivered.map(names),
        hidden,
    }
}
