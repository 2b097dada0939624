//! Other people, found.

use magpie_protocol::{
    id::UserId,
    profile::FindUsers,
    session::Answer,
    wire::v1::{self, client_frame::Body, find_users::By},
};

use super::Client;
use crate::{
    error::RequestError,
    model::{Profile, User},
};

impl Client {
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
                photo: it.photo_id.as_ref().try_into().ok(),
            };
            Ok((user, profile))
        });
        users.collect()
    }
}
