//! Who is in a conversation.

use magpie_protocol::{
    id::{ConversationId, UserId},
    role::Role,
    seq::Seq,
};

use super::User;

/// A member of a conversation, and how far they have come in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Who.
    pub user: User,
    /// How far their devices have stored.
    pub delivered_seq: Seq,
    /// How far they have read.
    pub read_seq: Seq,
    /// What they may do in a group; `None` in a direct conversation, and in a group that the
    /// user is no longer in.
    pub role: Option<Role>,
}

/// The members of a conversation, as far as they are listed in the local database.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LocalMembers {
    /// In ascending order of their names.
    pub members: Vec<Member>,
    /// How many there are, listed or not.
    pub count: u64,
    /// Where the list goes on, unless all are here: see
    /// [`Client::load_members`](crate::Client::load_members).
    pub rest: Option<MembersPlace>,
}

/// Where a long list of members goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MembersPlace {
    /// Whose members.
    pub conversation: ConversationId,
    /// The last one whom the server has named; `None` if nobody yet.
    pub after: Option<UserId>,
}

/// Who has read a message, as far as this device was told. Its sender is never among them,
/// nor is who became a member after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Readers {
    /// Of a conversation of at most 64 members, in ascending order of their names.
    Named {
        /// They have read it. Those who hide their read receipts are never here.
        read: Vec<User>,
        /// Their devices have stored it, and they are not known to have read it.
        delivered: Vec<User>,
    },
    /// Of more members: how many, the server says
    /// ([`Client::count_readers`](crate::Client::count_readers)).
    Many,
    /// The user hides their read receipts, and is not told those of others.
    Hidden,
}
