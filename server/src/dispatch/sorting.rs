//! Which requests go to the log.

use std::time::Duration;

use magpie_protocol::{
    id::{ConversationId, DeviceId, MediaId, MessageId, UserId},
    profile::FindUsers,
    seq::Seq,
    text::Password,
    wire::{
        AddMembers, Ban, ChangeFriendship, ChangePassword, CountReaders, CreateGroup, CreateInvite,
        EditMessage, FetchHistory, FetchListed, FetchMembers, JoinByInvite, KnownProfile, Pin,
        React, Report, Request, RevokeInvite, SendMessage, SetRole, UpdateGroup,
    },
};

use crate::{
    handler::PushRequest,
    hub::Mailbox,
    store::{Actor, Append, Command, InviteDeed, InviteHash},
};

/// Requests that do not append to the log.
#[derive(Debug)]
pub(super) enum Other {
    MarkRead {
        conversation: ConversationId,
        seq: Seq,
    },
    FetchHistory(FetchHistory),
    FetchConversations {
        after: Option<ConversationId>,
        limit: u32,
    },
    FetchMembers(FetchMembers),
    FetchBans(FetchListed),
    LookUpInvite {
        conversation: ConversationId,
        hash: InviteHash,
    },
    FetchInvites(FetchListed),
    CountReaders(CountReaders),
    FetchMediaToken,
    FetchMediaUrls(Vec<MediaId>),
    FetchDevices,
    RevokeDevice(DeviceId),
    Push(PushRequest),
    ChangePassword(ChangePassword),
    DeleteAccount(Password),
    Report(Report),
    FetchProfiles(Vec<KnownProfile>),
    FindUsers(FindUsers),
    WatchPresence(Vec<UserId>),
}

impl Other {
    /// Whether it waits for its turn to read. A mark waits for others, and a password
    /// for those that are hashed; neither reads much.
    pub(super) const fn reads(&self) -> bool {
        match self {
            Self::MarkRead { .. } | Self::ChangePassword(_) | Self::DeleteAccount(_) => false,
            Self::FetchHistory(_)
            | Self::FetchConversations { .. }
            | Self::FetchMembers(_)
            | Self::FetchBans(_)
            | Self::LookUpInvite { .. }
            | Self::FetchInvites(_)
            | Self::CountReaders(_)
            | Self::FetchMediaToken
            | Self::FetchMediaUrls(_)
            | Self::FetchDevices
            | Self::RevokeDevice(_)
            | Self::Push(_)
            | Self::Report(_)
            | Self::FetchProfiles(_)
            | Self::FindUsers(_)
            | Self::WatchPresence(_) => true,
        }
    }
}

/// Whether it means something in one history alone: what is written comes behind
/// what was written before, and a place is one in it.
#[must_use]
pub const fn is_of_one_history(request: &Request) -> bool {
    match request {
        Request::SendMessage(_)
        | Request::EditMessage(_)
        | Request::DeleteMessage(_)
        | Request::React(_)
        | Request::Pin(_)
        | Request::ChangeAccount(_)
        | Request::ChangeFriendship(_)
        | Request::CreateGroup(_)
        | Request::AddMembers(_)
        | Request::RemoveMember { .. }
        | Request::LeaveGroup { .. }
        | Request::SetRole(_)
        | Request::Ban(_)
        | Request::CreateInvite(_)
        | Request::RevokeInvite(_)
        | Request::JoinByInvite(_)
        | Request::UpdateGroup(_)
        | Request::MarkRead { .. } => true,
        Request::FetchHistory(_)
        | Request::FetchConversations { .. }
        | Request::FetchMembers(_)
        | Request::FetchBans(_)
        | Request::LookUpInvite { .. }
        | Request::FetchInvites(_)
        | Request::FetchMediaToken
        | Request::FetchMediaUrls(_)
        | Request::FetchDevices
        | Request::RevokeDevice(_)
        | Request::SignOut
        | Request::SetPush(_)
        | Request::ClearPush
        | Request::Detach
        | Request::ChangePassword(_)
        | Request::DeleteAccount(_)
        | Request::FindUsers(_)
        | Request::WatchPresence(_) => false,
        // Of their versions.
        Request::FetchProfiles(_) => true,
        // Of messages by their places in it.
        Request::Report(_) | Request::CountReaders(_) => true,
    }
}

/// The request as one for the log, or what else it is. A message may be edited
/// within so long.
pub(super) fn to_append(
    from: &Mailbox,
    request: Request,
    within: Option<Duration>,
) -> Result<Append, Other> {
    let (id, command) = match request {
        Request::SendMessage(SendMessage { id, to, message }) => {
            (id, Command::SendMessage { to, message })
        }
        Request::EditMessage(it) => edit_message(it, within),
        Request::DeleteMessage(it) => {
            let (conversation, seq) = (it.conversation, it.seq);
            (it.id, Command::DeleteMessage { conversation, seq })
        }
        Request::React(it) => react(it),
        Request::Pin(it) => pin(it),
        Request::ChangeAccount(it) => {
            let setting = it.setting;
            (it.id, Command::ChangeAccount { setting })
        }
        Request::ChangeFriendship(it) => change_friendship(it),
        Request::CreateGroup(CreateGroup { id, title, names }) => {
            (id, Command::CreateGroup { title, names })
        }
        Request::AddMembers(it) => add_members(it),
        Request::RemoveMember {
            id,
            conversation,
            name,
        } => (id, Command::RemoveMember { conversation, name }),
        Request::LeaveGroup { id, conversation } => (id, Command::LeaveGroup { conversation }),
        Request::UpdateGroup(it) => update_group(it),
        Request::SetRole(it) => set_role(it),
        Request::Ban(it) => ban(it),
        Request::CreateInvite(it) => create_invite(&it),
        Request::RevokeInvite(it) => revoke_invite(&it),
        Request::JoinByInvite(it) => join_by_invite(&it),
        Request::MarkRead { conversation, seq } => {
            return Err(Other::MarkRead { conversation, seq });
        }
        Request::FetchHistory(request) => return Err(Other::FetchHistory(request)),
        Request::FetchConversations { after, limit } => {
            return Err(Other::FetchConversations { after, limit });
        }
        Request::FetchMembers(request) => return Err(Other::FetchMembers(request)),
        Request::FetchBans(request) => return Err(Other::FetchBans(request)),
        Request::LookUpInvite {
            conversation,
            secret,
        } => {
            let hash = InviteHash::of(&secret);
            return Err(Other::LookUpInvite { conversation, hash });
        }
        Request::FetchInvites(request) => return Err(Other::FetchInvites(request)),
        Request::CountReaders(request) => return Err(Other::CountReaders(request)),
        Request::FetchMediaToken => return Err(Other::FetchMediaToken),
        Request::FetchMediaUrls(ids) => return Err(Other::FetchMediaUrls(ids)),
        Request::FetchDevices => return Err(Other::FetchDevices),
        Request::RevokeDevice(device) => return Err(Other::RevokeDevice(device)),
        Request::SignOut => return Err(Other::RevokeDevice(from.device)),
        Request::SetPush(address) => return Err(Other::Push(PushRequest::Set(address))),
        Request::ClearPush => return Err(Other::Push(PushRequest::Clear)),
        Request::Detach => return Err(Other::Push(PushRequest::Detach)),
        Request::ChangePassword(it) => return Err(Other::ChangePassword(it)),
        Request::DeleteAccount(password) => return Err(Other::DeleteAccount(password)),
        Request::Report(report) => return Err(Other::Report(report)),
        Request::FetchProfiles(known) => return Err(Other::FetchProfiles(known)),
        Request::FindUsers(by) => return Err(Other::FindUsers(by)),
        Request::WatchPresence(users) => return Err(Other::WatchPresence(users)),
    };
    let actor = Actor {
        user: from.user,
        device: from.device,
    };
    Ok(Append { actor, id, command })
}

fn edit_message(it: EditMessage, within: Option<Duration>) -> (MessageId, Command) {
    let command = Command::EditMessage {
        conversation: it.conversation,
        seq: it.seq,
        message: it.message,
        within,
    };
    (it.id, command)
}

fn react(it: React) -> (MessageId, Command) {
    let command = Command::React {
        conversation: it.conversation,
        seq: it.seq,
        emoji: it.emoji,
        removed: it.removed,
    };
    (it.id, command)
}

fn change_friendship(it: ChangeFriendship) -> (MessageId, Command) {
    let (name, action) = (it.name, it.action);
    (it.id, Command::ChangeFriendship { name, action })
}

fn pin(it: Pin) -> (MessageId, Command) {
    let command = Command::Pin {
        conversation: it.conversation,
        seq: it.seq,
        pinned: it.pinned,
    };
    (it.id, command)
}

fn add_members(it: AddMembers) -> (MessageId, Command) {
    let command = Command::AddMembers {
        conversation: it.conversation,
        names: it.names,
    };
    (it.id, command)
}

fn update_group(it: UpdateGroup) -> (MessageId, Command) {
    let command = Command::UpdateGroup {
        conversation: it.conversation,
        update: it.update,
    };
    (it.id, command)
}

fn ban(it: Ban) -> (MessageId, Command) {
    let command = Command::Ban {
        conversation: it.conversation,
        name: it.name,
        banned: it.banned,
    };
    (it.id, command)
}

fn create_invite(it: &CreateInvite) -> (MessageId, Command) {
    let deed = InviteDeed::Create {
        hash: InviteHash::of(&it.secret),
        bounds: it.bounds,
    };
    (it.id, invite(it.conversation, deed))
}

const fn revoke_invite(it: &RevokeInvite) -> (MessageId, Command) {
    (it.id, invite(it.conversation, InviteDeed::Revoke(it.seq)))
}

fn join_by_invite(it: &JoinByInvite) -> (MessageId, Command) {
    let deed = InviteDeed::Join(InviteHash::of(&it.secret));
    (it.id, invite(it.conversation, deed))
}

const fn invite(conversation: ConversationId, deed: InviteDeed) -> Command {
    Command::Invite { conversation, deed }
}

fn set_role(it: SetRole) -> (MessageId, Command) {
    let command = Command::SetRole {
        conversation: it.conversation,
        name: it.name,
        role: it.role,
    };
    (it.id, command)
}
