//! Who has read what.

use magpie_protocol::{
    id::ConversationId,
    seq::Seq,
    session::Answer,
    wire::v1::{self, client_frame::Body},
};

use super::Client;
use crate::{error::RequestError, model::MembersPlace};

impl Client {
    /// Asks how many have read each of these messages, 1 to 50 in ascending order, of a
    /// conversation of any size: members since it was sent, without its sender and those
    /// who hide read receipts. In the same order.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; who is no member, may not read one of them, or hides their own
    /// read receipts is refused.
    pub async fn count_readers(
        &self,
        conversation: ConversationId,
        seqs: &[Seq],
    ) -> Result<Vec<u64>, RequestError> {
        let request = v1::CountReaders {
            conversation_id: conversation.to_wire(),
            seqs: seqs.iter().map(|seq| seq.get()).collect(),
        };
        let answered = self.ask(Body::CountReaders(request)).await?;
        let Answer::ReaderCounts(answer) = answered.answer else {
            return Err(RequestError::WrongAnswer);
        };
        let counted = answer.counts.iter().map(|it| it.seq);
        match counted.eq(seqs.iter().map(|seq| seq.get())) {
            true => Ok(answer.counts.iter().map(|it| it.count).collect()),
            false => Err(RequestError::WrongAnswer),
        }
    }

    /// Asks how far the members of a conversation of at most 64 have read by now, and
    /// stores it: marks that move while a device is away do not follow it.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; who is no member (any more) is refused.
    pub async fn load_marks(&self, conversation: ConversationId) -> Result<(), RequestError> {
        let first = MembersPlace {
            conversation,
            after: None,
        };
        // Whether they were listed before does not matter: it says how far each has read.
        self.load_members(first).await.map(drop)
    }
}
