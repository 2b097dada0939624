//! The generated types of the schema, and their conversion into checked ones:
//! parse, don't validate.

mod account;
mod convert;
pub mod elements;
mod encoded;

pub use self::{
    account::{Authenticate, ChangePassword, Report, ReportReason, Reported},
    convert::{
        AddMembers, CreateGroup, FetchHistory, Hello, HistoryFrom, InvalidRequest, Request,
        SendMessage, Target, device_id, parse_request,
    },
    encoded::{EncodedPage, write_frame},
};

/// The schema, package `magpie.v1`, as generated.
#[expect(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated; the schema's comments are its documentation"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/magpie.v1.rs"));
}
