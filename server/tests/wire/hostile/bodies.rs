//! What is asked of a conversation or a user, whoever's they are.

use super::*;

/// Of an invite.
const SECRET: &[u8] = &[7; 16];

pub(super) fn conversations_behind(after_conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::FetchConversations(v1::FetchConversations {
        after_conversation_id,
        limit: 10,
    })
}

pub(super) fn watch(user_id: Bytes) -> client_frame::Body {
    let user_ids = vec![user_id];
    client_frame::Body::WatchPresence(v1::WatchPresence { user_ids })
}

pub(super) fn profile(user_id: Bytes) -> client_frame::Body {
    let known = v1::KnownProfile {
        user_id,
        version: 0,
    };
    client_frame::Body::FetchProfiles(v1::FetchProfiles { known: vec![known] })
}

pub(super) fn count_readers(conversation_id: Bytes) -> client_frame::Body {
    // One that those who are gone could read as long as they were there.
    client_frame::Body::CountReaders(v1::CountReaders {
        conversation_id,
        seqs: vec![1],
    })
}

pub(super) fn update_group(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::UpdateGroup(v1::UpdateGroup {
        message_id: fresh_id(),
        conversation_id,
        title: Some("ours".to_owned()),
        ..Default::default()
    })
}

pub(super) fn set_role(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::SetRole(v1::SetRole {
        message_id: fresh_id(),
        conversation_id,
        user_name: "bob".to_owned(),
        role: v1::Role::Admin.into(),
    })
}

pub(super) fn remove_member(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::RemoveMember(v1::RemoveMember {
        message_id: fresh_id(),
        conversation_id,
        user_name: "alice".to_owned(),
    })
}

pub(super) fn report(conversation_id: Bytes) -> client_frame::Body {
    // Of what came after the ones who left were gone.
    let place = v1::EventPlace {
        conversation_id,
        seq: 4,
    };
    client_frame::Body::Report(v1::Report {
        about: Some(v1::report::About::Event(place)),
        reason: v1::ReportReason::Spam.into(),
        text: String::new(),
    })
}

pub(super) fn edit(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::EditMessage(v1::EditMessage {
        message_id: fresh_id(),
        conversation_id,
        seq: 5,
        message: Some("not mine".into()),
    })
}

pub(super) fn delete(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::DeleteMessage(v1::DeleteMessage {
        message_id: fresh_id(),
        conversation_id,
        seq: 5,
    })
}

/// To what is not deleted.
pub(super) fn react(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::React(v1::React {
        message_id: fresh_id(),
        conversation_id,
        seq: 6,
        emoji: "👍".to_owned(),
        removed: false,
    })
}

pub(super) fn pin(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::Pin(v1::Pin {
        message_id: fresh_id(),
        conversation_id,
        seq: 6,
        pinned: true,
    })
}

/// Somebody who is never a member.
pub(super) fn ban(conversation_id: Bytes) -> client_frame::Body {
    ban_of("fay", conversation_id)
}

pub(super) fn ban_of(name: &str, conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::Ban(v1::Ban {
        message_id: fresh_id(),
        conversation_id,
        user_name: name.to_owned(),
        banned: true,
    })
}

pub(super) fn fetch_bans(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::FetchBans(v1::FetchBans {
        conversation_id,
        limit: 10,
        ..Default::default()
    })
}

pub(super) fn create_invite(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::CreateInvite(v1::CreateInvite {
        message_id: fresh_id(),
        conversation_id,
        secret: SECRET.into(),
        ..Default::default()
    })
}

pub(super) fn revoke_invite(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::RevokeInvite(v1::RevokeInvite {
        message_id: fresh_id(),
        conversation_id,
        seq: 7,
    })
}

/// By one that is not there.
pub(super) fn join_by_invite(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::JoinByInvite(v1::JoinByInvite {
        message_id: fresh_id(),
        conversation_id,
        secret: SECRET.into(),
    })
}

pub(super) fn look_up_invite(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::LookUpInvite(v1::LookUpInvite {
        conversation_id,
        secret: SECRET.into(),
    })
}

pub(super) fn fetch_invites(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::FetchInvites(v1::FetchInvites {
        conversation_id,
        limit: 10,
        ..Default::default()
    })
}

pub(super) fn add_members(conversation_id: Bytes) -> client_frame::Body {
    client_frame::Body::AddMembers(v1::AddMembers {
        message_id: fresh_id(),
        conversation_id,
        user_names: vec!["eve".to_owned()],
    })
}

/// Of oneself.
pub(super) async fn say_something(peer: &mut Peer) {
    let profile = v1::Profile {
        display_name: "Ann".to_owned(),
        ..Default::default()
    };
    peer.set(v1::account_change::Kind::Profile(profile)).await;
}
