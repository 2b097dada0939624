//! What a request takes, and what it is called.

use magpie_protocol::{
    limits::FOUND_COUNT_MAX,
    profile::FindUsers,
    text::UserName,
    wire::{GroupUpdate, Reported, Request, SendMessage, Target},
};

use crate::limits::Cost;

/// As many plain requests as counting readers costs.
const COUNT_READERS_COST: u32 = 10;

/// As many plain requests as watching costs: it looks some things up of each of up to 64.
const WATCH_PRESENCE_COST: u32 = 4;

/// What the request takes out of the buckets of who asks.
pub(super) fn cost(request: &Request) -> Cost<'_> {
    use std::slice::from_ref;
    let (appends, size, names) = match request {
        Request::SendMessage(SendMessage { to, message, .. }) => {
            let names = match to {
                Target::User(name) => from_ref(name),
                Target::Conversation(_) => &[],
            };
            (true, message.size(), names)
        }
        Request::EditMessage(it) => (true, it.message.message().size(), [].as_slice()),
        Request::DeleteMessage(_) => (true, 0, [].as_slice()),
        Request::Pin(_) => (true, 0, [].as_slice()),
        Request::React(it) => (true, it.emoji.as_str().len(), [].as_slice()),
        Request::ChangeAccount(it) => (true, it.setting.encoded().len(), [].as_slice()),
        Request::ChangeFriendship(it) => (true, 0, from_ref(&it.name)),
        Request::CreateGroup(it) => (true, it.title.as_str().len(), it.names.as_slice()),
        Request::AddMembers(it) => (true, 0, it.names.as_slice()),
        Request::RemoveMember { name, .. } => (true, 0, from_ref(name)),
        Request::SetRole(it) => (true, 0, from_ref(&it.name)),
        Request::Ban(it) => (true, 0, from_ref(&it.name)),
        Request::CreateInvite(_) | Request::RevokeInvite(_) | Request::JoinByInvite(_) => {
            (true, 0, [].as_slice())
        }
        Request::UpdateGroup(it) => (true, size_of(&it.update), [].as_slice()),
        Request::LeaveGroup { .. } => (true, 0, [].as_slice()),
        Request::MarkRead { .. }
        | Request::FetchHistory(_)
        | Request::FetchConversations { .. }
        | Request::FetchMembers(_)
        | Request::FetchBans(_)
        | Request::LookUpInvite { .. }
        | Request::FetchInvites(_)
        | Request::CountReaders(_)
        | Request::FetchMediaToken
        | Request::FetchMediaUrls(_)
        | Request::FetchDevices
        | Request::RevokeDevice(_)
        | Request::SignOut
        | Request::SetPush(_)
        | Request::ClearPush
        | Request::Detach
        | Request::ChangePassword(_)
        | Request::DeleteAccount(_) => (false, 0, [].as_slice()),
        Request::FetchProfiles(_) | Request::WatchPresence(_) => (false, 0, [].as_slice()),
        Request::Report(it) => (false, 0, named(&it.about)),
        Request::FindUsers(by) => (false, 0, sought(by)),
    };
    let of_names: usize = names.iter().map(|it| it.as_str().len()).sum();
    Cost {
        requests: requests(request),
        appends,
        size: size + of_names,
        names,
        look_ups: look_ups(request),
    }
}

/// As how many requests it counts.
const fn requests(request: &Request) -> u32 {
    if matches!(request, Request::CountReaders(_)) {
        // It may look at every member of a large group.
        COUNT_READERS_COST
    } else if matches!(request, Request::WatchPresence(_)) {
        WATCH_PRESENCE_COST
    } else {
        1
    }
}

fn size_of(update: &GroupUpdate) -> usize {
    let title = update.title.as_ref().map_or(0, |it| it.as_str().len());
    let description = update.description.as_ref();
    let photo = update.photo.map_or(0, |_| 16);
    title + description.map_or(0, |it| it.as_str().len()) + photo
}

/// The users whom a report names: whether they exist is not told, but looked up.
const fn named(about: &Reported) -> &[UserName] {
    match about {
        Reported::User(name) => std::slice::from_ref(name),
        Reported::Event(..) => &[],
    }
}

/// The user who is looked for by name.
const fn sought(by: &FindUsers) -> &[UserName] {
    match by {
        FindUsers::Name(name) => std::slice::from_ref(name),
        FindUsers::Link(_) | FindUsers::Prefix(_) => &[],
    }
}

/// How many look-ups the request counts as, besides those of the names in it.
const fn look_ups(request: &Request) -> u32 {
    // A secret, which may be anybody's.
    if let Request::JoinByInvite(_) | Request::LookUpInvite { .. } = request {
        return 1;
    }
    let Request::FindUsers(by) = request else {
        return 0;
    };
    match by {
        FindUsers::Name(_) => 0,
        FindUsers::Link(_) => 1,
        // It tells of as many that they exist.
        FindUsers::Prefix(_) => FOUND_COUNT_MAX as u32,
    }
}

/// The request's name in the metrics.
pub(super) const fn kind(request: &Request) -> &'static str {
    match request {
        Request::SendMessage(_) => "send_message",
        Request::EditMessage(_) => "edit_message",
        Request::DeleteMessage(_) => "delete_message",
        Request::React(_) => "react",
        Request::Pin(_) => "pin",
        Request::ChangeAccount(_) => "change_account",
        Request::ChangeFriendship(_) => "change_friendship",
        Request::CreateGroup(_) => "create_group",
        Request::AddMembers(_) => "add_members",
        Request::RemoveMember { .. } => "remove_member",
        Request::LeaveGroup { .. } => "leave_group",
        Request::SetRole(_) => "set_role",
        Request::Ban(_) => "ban",
        Request::UpdateGroup(_) => "update_group",
        Request::MarkRead { .. } => "mark_read",
        Request::FetchHistory(_) => "fetch_history",
        Request::FetchConversations { .. } => "fetch_conversations",
        Request::FetchMembers(_) => "fetch_members",
        Request::FetchBans(_) => "fetch_bans",
        Request::CreateInvite(_) => "create_invite",
        Request::RevokeInvite(_) => "revoke_invite",
        Request::JoinByInvite(_) => "join_by_invite",
        Request::LookUpInvite { .. } => "look_up_invite",
        Request::FetchInvites(_) => "fetch_invites",
        Request::CountReaders(_) => "count_readers",
        Request::FetchMediaToken => "fetch_media_token",
        Request::FetchMediaUrls(_) => "fetch_media_urls",
        Request::FetchDevices => "fetch_devices",
        Request::RevokeDevice(_) => "revoke_device",
        Request::SignOut => "sign_out",
        Request::SetPush(_) => "set_push",
        Request::ClearPush => "clear_push",
        Request::Detach => "detach",
        Request::ChangePassword(_) => "change_password",
        Request::DeleteAccount(_) => "delete_account",
        Request::Report(_) => "report",
        Request::FetchProfiles(_) => "fetch_profiles",
        Request::FindUsers(_) => "find_users",
        Request::WatchPresence(_) => "watch_presence",
    }
}
