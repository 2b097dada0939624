//! `presence`: who is there, and whether others see when the user is.

use std::collections::HashMap;

use magpie_client::{NewRequest, PresenceState, Setting, UserId};

use super::{devices::connected, listen::Stop, message::queue, setting::known};
use crate::{
    args::people::Presence,
    carrier::{Noticed, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) async fn run(context: &Context, asked: Presence) -> Result<Exit, Failure> {
    context.signed_in()?;
    if asked.hide || asked.show {
        let setting = Setting::Presence { hidden: asked.hide };
        return queue(context, NewRequest::Set(setting), asked.queue).await;
    }
    if asked.of.is_empty() {
        let hidden = context.home.hides_presence()?;
        context.output.line(&Line::OwnPresence { hidden })?;
        return Ok(Exit::Done);
    }
    let mut people = HashMap::new();
    for name in &asked.of {
        people.insert(known(context, name, false).await?, name.to_string());
    }
    watch(context, people, asked.follow).await
}

/// Prints how each of them is, once, or whenever it is otherwise until the end is asked for.
async fn watch(
    context: &Context,
    people: HashMap<UserId, String>,
    follow: bool,
) -> Result<Exit, Failure> {
    let mut carrier = connected(context).await?;
    let mut stop = Stop::new()?;
    let patience = Patience::new(context.timeout().filter(|_| !follow));
    let users: Vec<UserId> = people.keys().copied().collect();
    carrier.client()?.watch_presence(&users);
    let mut printed: HashMap<UserId, PresenceState> = HashMap::new();
    while follow || printed.len() < people.len() {
        let noticed = tokio::select! {
            biased;
            () = stop.asked() => break,
            noticed = carrier.next() => noticed?,
            () = patience.over() => {
                let failure = carrier.timed_out(&patience);
                carrier.shutdown().await;
                return Err(failure);
            }
        };
        if let Noticed::Presence { presence } = noticed
            && let Some(name) = people.get(&presence.user)
            && printed.insert(presence.user, presence.state) != Some(presence.state)
        {
            let line = Line::presence(name.clone(), &presence);
            context.output.line(&line)?;
        }
    }
    carrier.shutdown().await;
    Ok(Exit::Done)
}
