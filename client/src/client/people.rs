//! Other people, found.

use magpie_protocol::{
    id::{ConversationId, MediaId, UserId},
    profile::FindUsers,
    session::Answer,
    wire::v1::{self, client_frame::Body, find_users::By},
};

use super::Client;
use crate::{
    driver::Command,
    error::RequestError,
    model::{Presence, Profile, User},
};

impl Client {
    /// Tells the others in a conversation of at most 64 members that the user types, or
    /// does not any more: those who are connected. Call it as often as a key is pressed: it
    /// is told every three seconds, and forgotten by the others after six.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotConnected`]; else it may be lost as well.
    pub async fn typing(
        &self,
        conversation: ConversationId,
        typing: bool,
    ) -> Result<(), RequestError> {
        self.request(|reply| Command::Typing {
            conversation,
            typing,
            reply,
        })
        .await
    }

    /// Watches whether these users are there, and no others any more: those who are on the
    /// screen, at most 64 (of more, the first ones). Each change comes as
    /// [`Event::Presence`](super::Event::Presence), the first with what is so now. It holds over all connections until
    /// others are watched.
    ///
    /// The server says nothing but [`PresenceState::Hidden`](crate::PresenceState::Hidden) of whoever has not both written
    /// to the user and been written to, hides their presence, or is blocked by or blocks the
    /// user; and of everybody while the user hides their own
    /// ([`Setting::Presence`](crate::Setting::Presence)).
    pub fn watch_presence(&self, users: &[UserId]) {
        self.bells.watched.set(users);
    }

    /// What is known of those who are watched. Of whom nothing was told on this connection
    /// is not among them.
    #[must_use]
    pub fn presences(&self) -> Vec<Presence> {
        self.bells.watched.known()
    }

    /// Looks for users: by a whole name or a link at most one, by the beginning of a name
    /// at most 20 of those who allow it. With what they say of themselves, as far as they
    /// let this user know.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; [`RequestError::Refused`] with `RATE_LIMITED` after too many.
    pub async fn find_users(&self, by: &FindUsers) -> Result<Vec<(User, Profile)>, RequestError> {
        let by = match by {
            FindUsers::Name(name) => By::UserName(name.as_str().to_owned()),
            FindUsers::Link(link) => By::Link(v1::UserLink {
                user_name: link.name.as_str().to_owned(),
                secret: link.secret.reveal().to_vec().into(),
            }),
            FindUsers::Prefix(prefix) => By::Prefix(prefix.as_str().to_owned()),
        };
        let body = Body::FindUsers(v1::FindUsers { by: Some(by) });
        let Answer::Profiles(found) = self.ask(body).await?.answer else {
            return Err(RequestError::WrongAnswer);
        };
        let users = found.profiles.into_iter().map(|it| {
            let user = it.user.unwrap_or_default();
            let id = UserId::try_from(user.user_id.as_ref());
            let user = User {
                id: id.map_err(|_| RequestError::WrongAnswer)?,
                name: user.name,
            };
            let profile = Profile {
                display_name: it.display_name,
                status: it.status,
                photo: MediaId::try_from(it.photo_id.as_ref()).ok(),
            };
            Ok((user, profile))
        });
        users.collect()
    }
}
