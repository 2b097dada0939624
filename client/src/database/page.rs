//! What the server sent, checked, before it is stored.

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
    wire::v1,
};

use super::NewEvent;

/// A page whose ids are ids.
#[derive(Clone, Debug)]
pub(crate) struct NewPage {
    pub(super) descriptions: Vec<(ConversationId, v1::Conversation)>,
    pub(super) events: Vec<NewEvent>,
    pub(super) marks: Vec<(ConversationId, UserId, Seq, Seq)>,
    /// Empty: unchanged.
    pub(super) cursor: Bytes,
    pub(super) caught_up: bool,
}

impl NewPage {
    /// Checks a page whose events are `raw` byte for byte; `Err` says what is
    /// wrong.
    pub(crate) fn parse(page: v1::Page, raw: Vec<Bytes>) -> Result<Self, &'static str> {
        let conversation = |id: &Bytes| {
            ConversationId::try_from(id.as_ref()).map_err(|_| "a conversation without an id")
        };
        let descriptions = page
            .conversations
            .into_iter()
            .map(|it| Ok((conversation(&it.conversation_id)?, it)))
            .collect::<Result<_, &'static str>>()?;
        let marks = page
            .marks
            .into_iter()
            .map(|it| {
                let user = UserId::try_from(it.user_id.as_ref()).map_err(|_| "a mark of nobody")?;
                let (delivered, read) = (Seq::new(it.delivered_seq), Seq::new(it.read_seq));
                Ok((conversation(&it.conversation_id)?, user, delivered, read))
            })
            .collect::<Result<_, &'static str>>()?;
        Ok(Self {
            descriptions,
            events: NewEvent::parse_all(page.events, raw)?,
            marks,
            cursor: page.cursor,
            caught_up: page.caught_up,
        })
    }
}
