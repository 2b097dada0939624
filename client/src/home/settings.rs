//! What the user has set for themself, on all their devices.

use magpie_protocol::{
    id::UserId,
    setting::{Notify, Reach},
    text::UserName,
};

use super::Home;
use crate::{error::LocalError, model::Contact};

impl Home {
    /// For what the user is woken in all conversations; what is set for one counts
    /// besides, and the stricter holds.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn notify(&self) -> Result<Notify, LocalError> {
        self.database.lock().notify(None)
    }

    /// Whether the user hides their read receipts: nobody else is told how far they have
    /// read, and they are not told how far others have.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn hides_receipts(&self) -> Result<bool, LocalError> {
        self.database.lock().hides_receipts()
    }

    /// Whether the user hides their presence: nobody else is told when they are there, and
    /// they are not told when others are.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn hides_presence(&self) -> Result<bool, LocalError> {
        self.database.lock().hides_presence()
    }

    /// Whose messages are more than requests, and who adds the user to groups
    /// ([`Setting::Privacy`](crate::Setting::Privacy)).
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn messages_from(&self) -> Result<Reach, LocalError> {
        self.database.lock().messages_from()
    }

    /// How many messages of others are unread in all conversations, and how many of them mention
    /// the user, or everybody; those of requests
    /// ([`ConversationLine::request`](crate::ConversationLine::request)) not included.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn unread(&self) -> Result<(u64, u64), LocalError> {
        self.database.lock().unread()
    }

    /// Those who are favourites, have a nickname, or are blocked.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn contacts(&self) -> Result<Vec<Contact>, LocalError> {
        self.database.lock().contacts()
    }

    /// The id of a user who is known here: somebody with whom the user shares a
    /// conversation.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub fn user_named(&self, name: &UserName) -> Result<Option<UserId>, LocalError> {
        self.database.lock().user_named(name)
    }
}
