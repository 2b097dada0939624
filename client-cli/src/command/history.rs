//! `history`: the newest events, oldest first; works offline. What is not here
//! is fetched if the server can be reached, else shown as a gap.

use std::time::Duration;

use magpie_client::{ConversationId, Gap, LocalHistory, Recipient, Seq};

use crate::{
    carrier::{Carrier, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

/// Events fetched at once.
const FETCH_MAX: usize = 200;

/// History is there without the server: do not let a person wait for long.
const CONNECT_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    context: &Context,
    of: &Recipient,
    before: Option<Seq>,
    limit: usize,
) -> Result<Exit, Failure> {
    context.account()?;
    let asked = Asked {
        context,
        conversation: context.conversation(of)?,
        before,
        limit,
    };
    let mut history = asked.local()?;
    if !history.gaps.is_empty() {
        match asked.fill().await {
            Ok(()) => {}
            Err(failure) if is_offline(&failure) => {
                context
                    .output
                    .note(&format!("some of it is not here: {failure}"));
            }
            Err(failure) => return Err(failure),
        }
        history = asked.local()?;
    }
    print(context, history)?;
    Ok(Exit::Done)
}

struct Asked<'context> {
    context: &'context Context,
    conversation: ConversationId,
    before: Option<Seq>,
    limit: usize,
}

impl Asked<'_> {
    /// What is here, with those gaps that hide something that was asked for.
    fn local(&self) -> Result<LocalHistory, Failure> {
        let home = &self.context.home;
        let mut history = home.history(self.conversation, self.before, self.limit)?;
        let oldest = history.events.first().map(|event| event.seq);
        let full = history.events.len() >= self.limit;
        history
            .gaps
            .retain(|gap| !(full && oldest.is_some_and(|oldest| gap.to < oldest)));
        Ok(history)
    }

    /// Fetches what is missing, the newest first.
    async fn fill(&self) -> Result<(), Failure> {
        let mut carrier = Carrier::own(self.context)?;
        let timeout = self.context.timeout().unwrap_or(CONNECT_MAX);
        let patience = Patience::new(Some(timeout.min(CONNECT_MAX)));
        let result = async {
            carrier.until_caught_up(&patience).await?;
            while let Some(gap) = self.newest_gap()? {
                let count = u32::try_from(self.limit.min(FETCH_MAX)).unwrap_or(1);
                if carrier.client()?.fill(gap, count).await? == 0 {
                    return Ok(());
                }
            }
            Ok(())
        }
        .await;
        carrier.shutdown().await;
        result
    }

    fn newest_gap(&self) -> Result<Option<Gap>, Failure> {
        let gap = self.local()?.gaps.pop();
        // The gap is cut at `before`: nothing above it was asked for.
        Ok(gap.map(|gap| match self.before {
            Some(before) if gap.to >= before => Gap {
                to: before.previous(),
                ..gap
            },
            Some(_) | None => gap,
        }))
    }
}

pub(super) fn is_offline(failure: &Failure) -> bool {
    matches!(failure.exit(), Exit::NotReached | Exit::NotSignedIn)
        || matches!(failure, Failure::InUse { .. })
}

/// Events and gaps in the order of seq.
fn print(context: &Context, history: LocalHistory) -> Result<(), Failure> {
    let mut gaps = history.gaps.into_iter().peekable();
    for event in history.events {
        while let Some(gap) = gaps.next_if(|gap| gap.from < event.seq) {
            context.output.line(&Line::gap(&gap))?;
        }
        context.output.line(&Line::event(event))?;
    }
    for gap in gaps {
        context.output.line(&Line::gap(&gap))?;
    }
    Ok(())
}
