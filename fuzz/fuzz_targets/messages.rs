//! Each type of the schema, from any bytes: what can be decoded is encoded in one
//! way, and that way is decoded to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use magpie_protocol::wire::v1;
use prost::Message;

fn is_fixed_point<T: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(message) = T::decode(bytes) else { return };
    let encoded = message.encode_to_vec();
    assert_eq!(encoded.len(), message.encoded_len());
    let again = T::decode(encoded.as_slice()).expect("what is encoded can be decoded");
    assert!(again == message, "{message:?} became {again:?}");
    assert_eq!(again.encode_to_vec(), encoded);
}

/// All of them: the first byte of the input chooses.
const TYPES: &[fn(&[u8])] = &[
    is_fixed_point::<v1::ClientFrame>,
    is_fixed_point::<v1::ServerFrame>,
    is_fixed_point::<v1::Event>,
    is_fixed_point::<v1::EventContent>,
    is_fixed_point::<v1::Message>,
    is_fixed_point::<v1::Forwarded>,
    is_fixed_point::<v1::Mention>,
    is_fixed_point::<v1::MessageEdited>,
    is_fixed_point::<v1::MessageDeleted>,
    is_fixed_point::<v1::Reacted>,
    is_fixed_point::<v1::AccountChanged>,
    is_fixed_point::<v1::Privacy>,
    is_fixed_point::<v1::DeclinedRequest>,
    is_fixed_point::<v1::FriendRequested>,
    is_fixed_point::<v1::FriendshipChanged>,
    is_fixed_point::<v1::AccountChange>,
    is_fixed_point::<v1::Notify>,
    is_fixed_point::<v1::HideMessage>,
    is_fixed_point::<v1::Contact>,
    is_fixed_point::<v1::MessageState>,
    is_fixed_point::<v1::Reaction>,
    is_fixed_point::<v1::GroupCreated>,
    is_fixed_point::<v1::MembersAdded>,
    is_fixed_point::<v1::MemberRemoved>,
    is_fixed_point::<v1::MemberLeft>,
    is_fixed_point::<v1::RoleChanged>,
    is_fixed_point::<v1::GroupUpdated>,
    is_fixed_point::<v1::Conversation>,
    is_fixed_point::<v1::Member>,
    is_fixed_point::<v1::Mark>,
    is_fixed_point::<v1::Page>,
    is_fixed_point::<v1::SendMessage>,
    is_fixed_point::<v1::EditMessage>,
    is_fixed_point::<v1::DeleteMessage>,
    is_fixed_point::<v1::React>,
    is_fixed_point::<v1::ChangeAccount>,
    is_fixed_point::<v1::ChangeFriendship>,
    is_fixed_point::<v1::CreateGroup>,
    is_fixed_point::<v1::AddMembers>,
    is_fixed_point::<v1::RemoveMember>,
    is_fixed_point::<v1::LeaveGroup>,
    is_fixed_point::<v1::SetRole>,
    is_fixed_point::<v1::UpdateGroup>,
    is_fixed_point::<v1::Pin>,
    is_fixed_point::<v1::Ban>,
    is_fixed_point::<v1::FetchBans>,
    is_fixed_point::<v1::Bans>,
    is_fixed_point::<v1::CreateInvite>,
    is_fixed_point::<v1::RevokeInvite>,
    is_fixed_point::<v1::JoinByInvite>,
    is_fixed_point::<v1::LookUpInvite>,
    is_fixed_point::<v1::FetchInvites>,
    is_fixed_point::<v1::Invites>,
    is_fixed_point::<v1::InvitePreview>,
    is_fixed_point::<v1::MarkRead>,
    is_fixed_point::<v1::FetchHistory>,
    is_fixed_point::<v1::FetchConversations>,
    is_fixed_point::<v1::FetchDevices>,
    is_fixed_point::<v1::FetchMembers>,
    is_fixed_point::<v1::CountReaders>,
    is_fixed_point::<v1::ReaderCounts>,
    is_fixed_point::<v1::Receipts>,
    is_fixed_point::<v1::Members>,
    is_fixed_point::<v1::Media>,
    is_fixed_point::<v1::FetchMediaUrls>,
    is_fixed_point::<v1::MediaToken>,
    is_fixed_point::<v1::MediaUrls>,
    is_fixed_point::<v1::RevokeDevice>,
    is_fixed_point::<v1::SignOut>,
    is_fixed_point::<v1::SetPush>,
    is_fixed_point::<v1::ClearPush>,
    is_fixed_point::<v1::Detach>,
    is_fixed_point::<v1::ChangePassword>,
    is_fixed_point::<v1::DeleteAccount>,
    is_fixed_point::<v1::Report>,
    is_fixed_point::<v1::EventPlace>,
    is_fixed_point::<v1::FetchProfiles>,
    is_fixed_point::<v1::FindUsers>,
    is_fixed_point::<v1::Profiles>,
    is_fixed_point::<v1::ProfileChanged>,
    is_fixed_point::<v1::Typing>,
    is_fixed_point::<v1::WatchPresence>,
    is_fixed_point::<v1::Presences>,
    is_fixed_point::<v1::Presence>,
    is_fixed_point::<v1::OwnPresence>,
    is_fixed_point::<v1::Accepted>,
    is_fixed_point::<v1::Done>,
    is_fixed_point::<v1::History>,
    is_fixed_point::<v1::Conversations>,
    is_fixed_point::<v1::Devices>,
    is_fixed_point::<v1::Device>,
    is_fixed_point::<v1::Hello>,
    is_fixed_point::<v1::Welcome>,
    is_fixed_point::<v1::Limits>,
    is_fixed_point::<v1::Register>,
    is_fixed_point::<v1::SignIn>,
    is_fixed_point::<v1::SignedIn>,
    is_fixed_point::<v1::User>,
    is_fixed_point::<v1::Ping>,
    is_fixed_point::<v1::Pong>,
    is_fixed_point::<v1::Checkpoint>,
    is_fixed_point::<v1::Goodbye>,
    is_fixed_point::<v1::Error>,
    is_fixed_point::<v1::Block>,
    is_fixed_point::<v1::Hidden>,
];

fuzz_target!(|input: &[u8]| {
    if let Some((first, bytes)) = input.split_first() {
        TYPES[usize::from(*first) % TYPES.len()](bytes);
    }
});
