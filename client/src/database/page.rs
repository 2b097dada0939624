//! What the server sent, checked, before it is stored.

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
    wire::v1,
};

use super::NewEvent;

/// How far a member has come.
#[derive(Clone, Debug)]
pub(super) struct NewMark {
    pub(super) conversation: ConversationId,
    pub(super) user: UserId,
    pub(super) delivered: Seq,
    pub(super) read: Seq,
    /// Of the user's own.
    pub(super) read_counts: Option<v1::Counts>,
}

/// What of a page has a place.
#[derive(Clone, Debug)]
pub(crate) struct NewPage {
    pub(super) descriptions: Vec<(ConversationId, v1::Conversation)>,
    pub(super) events: Vec<NewEvent>,
    pub(super) marks: Vec<NewMark>,
    /// Empty: unchanged.
    pub(super) cursor: Bytes,
    pub(super) caught_up: bool,
    /// What came without ids, and is left out: the device goes past it, or it
    /// would never get past it.
    pub(crate) unplaced_count: usize,
}

impl NewPage {
    /// Takes a page whose events are `raw` byte for byte; `Err` says what is
    /// wrong.
    pub(crate) fn parse(page: v1::Page, raw: Vec<Bytes>) -> Result<Self, &'static str> {
        let came_count = page.conversations.len() + page.marks.len();
        let conversation = |id: &Bytes| ConversationId::try_from(id.as_ref()).ok();
        let descriptions: Vec<_> = page
            .conversations
            .into_iter()
            .filter_map(|it| Some((conversation(&it.conversation_id)?, it)))
            .collect();
        let marks: Vec<_> = page
            .marks
            .into_iter()
            .filter_map(|it| {
                Some(NewMark {
                    conversation: conversation(&it.conversation_id)?,
                    user: UserId::try_from(it.user_id.as_ref()).ok()?,
                    delivered: Seq::new(it.delivered_seq),
                    read: Seq::new(it.read_seq),
                    read_counts: it.read_counts,
                })
            })
            .collect();
        let (events, unplaced_count) = NewEvent::parse_all(page.events, raw)?;
        Ok(Self {
            unplaced_count: unplaced_count + came_count - descriptions.len() - marks.len(),
            descriptions,
            events,
            marks,
            cursor: page.cursor,
            caught_up: page.caught_up,
        })
    }
}
