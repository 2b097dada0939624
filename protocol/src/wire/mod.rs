//! The generated types of the schema, and their conversion into checked ones:
//! parse, don't validate.

mod account;
mod convert;
pub mod elements;
mod encoded;
mod fetch;
mod groups;
mod hello;
mod invites;
mod messages;
mod people;

pub use self::{
    account::{Authenticate, ChangeAccount, ChangePassword, Report, ReportReason, Reported},
    convert::{AddMembers, CreateGroup, InvalidRequest, Request, device_id, parse_request},
    encoded::{EncodedHistory, EncodedPage, write_frame},
    fetch::{CountReaders, FetchHistory, FetchListed, FetchMembers, HistoryFrom},
    groups::{Ban, GroupUpdate, SetRole, UpdateGroup},
    hello::Hello,
    invites::{CreateInvite, InviteBounds, JoinByInvite, RevokeInvite},
    messages::{DeleteMessage, EditMessage, Pin, React, SendMessage, Target},
    people::{ChangeFriendship, KnownProfile},
};

pub(crate) use self::convert::event_seq;

/// The schema, package `magpie.v1`, as generated.
#[expect(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated; the schema's comments are its documentation"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/magpie.v1.rs"));
}

/// A text alone, unchecked.
impl From<String> for v1::Message {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

/// A text alone, unchecked.
impl From<&str> for v1::Message {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}
