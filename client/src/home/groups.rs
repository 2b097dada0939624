//! What belongs to a conversation besides its history.

use magpie_protocol::{
    id::ConversationId,
    invite::{InviteLink, InviteSecret},
};

use super::Home;
use crate::{
    error::LocalError,
    message::MessagePlace,
    model::{LocalMembers, PinnedMessage, Readers},
};

impl Home {
    /// The members of a conversation, as far as they are listed here. Those of a
    /// large group come when they are asked for
    /// ([`Client::load_members`](crate::Client::load_members)), and are kept up to
    /// date from then on.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn members(&self, conversation: ConversationId) -> Result<LocalMembers, LocalError> {
        self.database.lock().members(conversation)
    }

    /// Who has read a message, by the marks that have come here; `None` if it is not
    /// stored. Marks come by themselves while the device is connected; those that moved
    /// while it was away come with [`Client::load_marks`](crate::Client::load_marks).
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn readers(&self, place: MessagePlace) -> Result<Option<Readers>, LocalError> {
        self.database.lock().readers(place)
    }

    /// What is pinned in a conversation, in ascending order of seq. None of it that the user
    /// has hidden, and nothing once they are no longer a member.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn pins(&self, conversation: ConversationId) -> Result<Vec<PinnedMessage>, LocalError> {
        self.database.lock().pins(conversation)
    }

    /// A new link for an invite to a group, of random bytes. It is of use once a
    /// [`NewRequest::CreateInvite`](crate::NewRequest::CreateInvite) with it is accepted.
    ///
    /// # Errors
    ///
    /// [`LocalError::NoRandomness`].
    pub fn new_invite(&self, conversation: ConversationId) -> Result<InviteLink, LocalError> {
        let mut secret = [0; 16];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| LocalError::NoRandomness)?;
        Ok(InviteLink {
            conversation,
            secret: InviteSecret::new(secret),
        })
    }
}
