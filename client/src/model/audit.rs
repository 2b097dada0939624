//! What is compared with the server's log.

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
};

use super::Gap;

/// What a stored event is compared by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditLine {
    /// The event's place.
    pub seq: Seq,
    /// Its message id, if it has one.
    pub message_id: Option<MessageId>,
    /// Its sender, if it has one.
    pub sender: Option<UserId>,
    /// SHA-256 of its encoded content, as [`StoredEvent::digest`](super::StoredEvent::digest).
    pub digest: [u8; 32],
}

/// All that is stored of a conversation, to be compared with the server's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditConversation {
    /// Its id.
    pub id: ConversationId,
    /// The first seq that the user may read.
    pub first_seq: Seq,
    /// The newest seq that is known to exist; events above it came later.
    pub head_seq: Seq,
    /// In ascending order of seq.
    pub events: Vec<AuditLine>,
    /// What is known to be missing.
    pub gaps: Vec<Gap>,
}
