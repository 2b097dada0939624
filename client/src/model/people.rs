//! People, and what they are to the user.

use magpie_protocol::{
    friendship::Friendship,
    id::{ConversationId, MediaId, UserId},
    profile,
    seq::Seq,
};

/// A person. The name never changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name, without `@`.
    pub name: String,
}

/// What another user is to this one, who alone learns of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contact {
    /// Who; the name is empty if no conversation here has them.
    pub user: User,
    /// One of the favourites.
    pub favourite: bool,
    /// What the user calls them; may be empty.
    pub nickname: String,
    /// The user blocks them. What they do in the direct conversation meanwhile is hidden
    /// ([`Content::Hidden`](crate::Content::Hidden)); what they say in groups is marked
    /// ([`MessageState::is_blocked`](crate::MessageState::is_blocked)).
    pub blocked: bool,
}

/// Somebody with whom the user is friends, or who has asked, or was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Friend {
    /// Who.
    pub user: User,
    /// How the two stand, what waits in the outbox included.
    pub friendship: Friendship,
    /// The event of their direct conversation that says so.
    pub seq: Seq,
    /// Something of it waits in the outbox.
    pub is_pending: bool,
    /// They have asked, and the user has declined: they are not told, and it may be accepted
    /// still.
    pub is_declined: bool,
    /// Their direct conversation.
    pub conversation: ConversationId,
    /// What they are to the user besides, if anything.
    pub contact: Option<Contact>,
    /// What they say of themself, as far as it is known.
    pub profile: Profile,
}

/// What somebody says of themself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Profile {
    /// What they want to be called; empty: by the user name.
    pub display_name: String,
    /// What they say in a line; may be empty.
    pub status: String,
    /// Their photo.
    pub photo: Option<MediaId>,
}

impl From<profile::Profile> for Profile {
    fn from(it: profile::Profile) -> Self {
        Self {
            display_name: it.display_name.as_str().to_owned(),
            status: it.status.as_str().to_owned(),
            photo: it.photo,
        }
    }
}
