//! What becomes of the account, and what is told of others.

use magpie_protocol::{
    id::ConversationId,
    seq::Seq,
    text::{Password, UserName},
    wire::{
        ReportReason,
        v1::{self, client_frame::Body},
    },
};

use super::Client;
use crate::{driver::Command, error::RequestError};

/// Whom or what to report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reported {
    /// A user.
    User(UserName),
    /// A message, and who wrote it.
    Message(ConversationId, Seq),
}

impl Client {
    /// Changes the password; also ends the credentials of the user's other devices if
    /// `sign_out_others`.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; [`RequestError::Refused`] with `WRONG_CREDENTIALS` if `current`
    /// is not the password.
    pub async fn change_password(
        &self,
        current: &Password,
        new: &Password,
        sign_out_others: bool,
    ) -> Result<(), RequestError> {
        let request = v1::ChangePassword {
            current: current.reveal().to_owned(),
            new: new.reveal().to_owned(),
            sign_out_others,
        };
        self.ask_done(Body::ChangePassword(request)).await
    }

    /// Deletes the user for ever, then forgets the account and all that is stored for it
    /// ([`crate::Home::forget`]). The driver ends.
    ///
    /// # Errors
    ///
    /// [`RequestError`], as above; the home is as before.
    pub async fn delete_account(&self, password: &Password) -> Result<(), RequestError> {
        let password = password.reveal().to_owned();
        let body = Box::new(Body::DeleteAccount(v1::DeleteAccount { password }));
        self.request(|reply| Command::SignOut { body, reply }).await
    }

    /// Tells the operators of a user or a message. Whether there is such a user, or such
    /// a message, is not told. `text` has at most 2,000 bytes.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn report(
        &self,
        about: &Reported,
        reason: ReportReason,
        text: &str,
    ) -> Result<(), RequestError> {
        use v1::report::About;
        let about = match about {
            Reported::User(name) => About::UserName(name.as_str().to_owned()),
            Reported::Message(conversation, seq) => About::Event(v1::EventPlace {
                conversation_id: conversation.to_wire(),
                seq: seq.get(),
            }),
        };
        let request = v1::Report {
            about: Some(about),
            reason: i32::from(reason.number()),
            text: text.to_owned(),
        };
        self.ask_done(Body::Report(request)).await
    }
}
