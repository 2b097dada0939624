//! What users tell the operators of others.

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
    wire::{
        FetchHistory, HistoryFrom, Report, Reported,
        v1::{self, event_content::Kind},
    },
};
use prost::Message as _;

use crate::{
    clock::Clock,
    store::{NewReport, SharedStore, StoreError},
};

/// Takes reports.
pub struct Reports {
    /// Where they are kept.
    pub store: SharedStore,
    /// For when they came.
    pub clock: Clock,
}

impl Reports {
    /// Keeps a report, if it is of somebody else who exists, or of a message that the
    /// reporter may read. Which of it is not told (D10).
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it is not kept.
    pub async fn handle(&self, reporter: UserId, report: Report) -> Result<(), StoreError> {
        let (user, event) = match report.about {
            Reported::User(name) => {
                let account = self.store.account(&name).await?;
                (account.map(|account| account.user.id), None)
            }
            Reported::Event(conversation, seq) => {
                let event = self.event(reporter, conversation, seq).await?;
                (event.as_ref().and_then(sender), event)
            }
        };
        let Some(user) = user.filter(|user| *user != reporter) else {
            return Ok(());
        };
        let report = NewReport {
            reporter,
            user,
            event,
            reason: report.reason,
            text: report.text,
            at_ms: self.clock.wall_ms(),
        };
        self.store.add_report(&report).await
    }

    /// The event at this place, if the user may read it. A message says what its
    /// newest edit says.
    async fn event(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<v1::Event>, StoreError> {
        let request = FetchHistory {
            conversation,
            from: HistoryFrom::After(Seq::new(seq.get().saturating_sub(1))),
            limit: 1,
        };
        let Some(page) = self.store.history(user, request).await? else {
            return Ok(None);
        };
        let mut events = page.events.into_iter();
        let Some(event) = events.next().filter(|event| event.seq == seq) else {
            return Ok(None);
        };
        let mut event =
            v1::Event::decode(event.encoded_for(user)).map_err(|reason| StoreError::Corrupt {
                what: format!("an event that cannot be decoded: {reason}"),
            })?;
        let mut states = page.states.into_iter();
        let edited = states.find(|state| state.seq == seq.get());
        if let (Some(content), Some(message)) =
            (&mut event.content, edited.and_then(|state| state.message))
        {
            content.kind = Some(Kind::Message(message));
        }
        Ok(Some(event))
    }
}

fn sender(event: &v1::Event) -> Option<UserId> {
    let sender = event.sender.as_ref()?;
    UserId::try_from(sender.user_id.as_ref()).ok()
}
