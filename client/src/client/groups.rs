//! What admins ask of their groups.

use magpie_protocol::{
    id::ConversationId,
    limits::MEMBERS_COUNT_MAX,
    seq::Seq,
    session::Answer,
    wire::v1::{self, client_frame::Body},
};

use super::Client;
use crate::{database::wire_user, error::RequestError, model::BannedUser};

impl Client {
    /// Asks the server who is banned from a group, behind the event `after`, in the order in
    /// which they were. Whether these are all.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; who is neither an admin nor the owner is refused.
    pub async fn bans(
        &self,
        conversation: ConversationId,
        after: Seq,
    ) -> Result<(Vec<BannedUser>, bool), RequestError> {
        let request = v1::FetchBans {
            conversation_id: conversation.to_wire(),
            after_seq: after.get(),
            limit: MEMBERS_COUNT_MAX,
        };
        let answered = self.ask(Body::FetchBans(request)).await?;
        let Answer::Bans(page) = answered.answer else {
            return Err(RequestError::WrongAnswer);
        };
        let users = page.users.into_iter().map(|it| {
            Some(BannedUser {
                user: it.user.and_then(wire_user)?,
                seq: Seq::new(it.seq),
            })
        });
        let users: Option<Vec<_>> = users.collect();
        let goes_on = |users: &Vec<_>| page.complete || !users.is_empty();
        let users = users.filter(goes_on).ok_or(RequestError::WrongAnswer)?;
        Ok((users, page.complete))
    }
}
