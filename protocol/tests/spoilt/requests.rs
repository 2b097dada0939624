//! Requests of some kinds.

use magpie_protocol::wire::v1::{self, client_frame};

use super::id;

/// One of each kind that is about an account.
pub(super) fn accounts() -> Vec<client_frame::Body> {
    use client_frame::Body;
    use v1::account_change::Kind as Change;
    let setting = |kind| {
        let change = Some(v1::AccountChange { kind: Some(kind) });
        let message_id = id(1);
        Body::ChangeAccount(v1::ChangeAccount { message_id, change })
    };
    vec![
        Body::ChangePassword(v1::ChangePassword {
            current: "correct horse".to_owned(),
            new: "battery staple".to_owned(),
            sign_out_others: true,
        }),
        Body::DeleteAccount(v1::DeleteAccount {
            password: "correct horse".to_owned(),
        }),
        setting(Change::Contact(v1::Contact {
            user_id: id(4),
            favourite: true,
            nickname: "Mum".to_owned(),
        })),
        Body::FetchProfiles(v1::FetchProfiles {
            known: vec![v1::KnownProfile::default(); 2],
        }),
        Body::Typing(v1::Typing::default()),
        Body::WatchPresence(v1::WatchPresence {
            user_ids: vec![id(4), id(5)],
        }),
        Body::FindUsers(v1::FindUsers {
            by: Some(v1::find_users::By::Link(v1::UserLink {
                user_name: "alice".to_owned(),
                secret: id(5),
            })),
        }),
        setting(Change::Privacy(v1::Privacy {
            messages: v1::Reach::Friends.into(),
        })),
        setting(Change::DeclinedRequest(v1::DeclinedRequest {
            user_id: id(4),
            seq: 300,
        })),
        Body::ChangeFriendship(v1::ChangeFriendship {
            message_id: id(1),
            user_name: "bob".to_owned(),
            action: v1::FriendAction::Request.into(),
        }),
        setting(Change::Receipts(v1::Receipts { hidden: true })),
        Body::Report(v1::Report {
            about: Some(v1::report::About::Event(v1::EventPlace {
                conversation_id: id(2),
                seq: 300,
            })),
            reason: v1::ReportReason::Spam.into(),
            text: "again".to_owned(),
        }),
    ]
}

/// One of each kind that is about an invite.
pub(super) fn invites() -> Vec<client_frame::Body> {
    use client_frame::Body;
    let (message_id, conversation_id) = (id(1), id(2));
    vec![
        Body::CreateInvite(v1::CreateInvite {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            secret: id(5),
            expires_at_ms: 1_700_000_000_000,
            uses_max: 7,
        }),
        Body::RevokeInvite(v1::RevokeInvite {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            seq: 300,
        }),
        Body::JoinByInvite(v1::JoinByInvite {
            message_id,
            conversation_id,
            secret: id(5),
        }),
    ]
}
