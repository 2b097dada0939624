//! What both engines derive alike: the ids of direct conversations and account logs,
//! and what tells a repeated request from a conflict.

use aws_lc_rs::digest::{Context, SHA256};
use magpie_protocol::{
    id::{ConversationId, UserId},
    text::{Description, Title, UserName},
    wire::{GroupUpdate, Target},
};

use super::{Append, Command, InviteDeed};

// Where a UUID says its version and variant (RFC 9562, sections 4.1 and 4.2).
const VERSION: u128 = 0xf << 76;
const VERSION_8: u128 = 0x8 << 76;
const VARIANT: u128 = 0b11 << 62;
const VARIANT_RFC: u128 = 0b10 << 62;

/// The direct conversation of two users, or of one with themself: the same id
/// whoever writes first.
///
/// It has the shape of a UUIDv8, which no group may have: see
/// `is_direct_shaped`.
#[must_use]
pub fn direct_conversation(a: UserId, b: UserId) -> ConversationId {
    derived(b"magpie direct", &[a.min(b), a.max(b)])
}

/// The account log of a user. It has the same shape.
#[must_use]
pub fn account_log(user: UserId) -> ConversationId {
    derived(b"magpie account", &[user])
}

fn derived(what: &[u8], users: &[UserId]) -> ConversationId {
    let mut context = Context::new(&SHA256);
    context.update(what);
    for user in users {
        context.update(&user.bytes());
    }
    let bits = u128::from_be_bytes(finish(context)) & !VERSION & !VARIANT;
    ConversationId::new((bits | VERSION_8 | VARIANT_RFC).to_be_bytes())
}

/// Where a request goes, if it says so and to somebody who is found.
#[must_use]
pub(super) fn destination(
    append: &Append,
    find: impl Fn(&UserName) -> Option<UserId>,
) -> Option<ConversationId> {
    match &append.command {
        Command::SendMessage { to, .. } => match to {
            Target::Conversation(id) => Some(*id),
            Target::User(name) => Some(direct_conversation(append.actor.user, find(name)?)),
        },
        Command::ChangeAccount { .. } => Some(account_log(append.actor.user)),
        Command::ChangeFriendship { name, .. } => {
            Some(direct_conversation(append.actor.user, find(name)?))
        }
        Command::CreateGroup { .. } => Some(ConversationId::new(append.id.bytes())),
        Command::EditMessage { conversation, .. }
        | Command::DeleteMessage { conversation, .. }
        | Command::React { conversation, .. }
        | Command::Pin { conversation, .. }
        | Command::AddMembers { conversation, .. }
        | Command::RemoveMember { conversation, .. }
        | Command::Ban { conversation, .. }
        | Command::Invite { conversation, .. }
        | Command::LeaveGroup { conversation }
        | Command::SetRole { conversation, .. }
        | Command::UpdateGroup { conversation, .. } => Some(*conversation),
    }
}

/// Whether an id has the shape of a direct conversation's, or an account log's.
///
/// A group's id is made by a client. Without this rule somebody could make a
/// group under the id that two others' direct conversation is going to have.
#[must_use]
pub(super) fn is_direct_shaped(id: ConversationId) -> bool {
    let bits = u128::from_be_bytes(id.bytes());
    bits & VERSION == VERSION_8 && bits & VARIANT == VARIANT_RFC
}

/// What a request asks for, in 16 bytes: the same id with another digest is a
/// conflict.
///
/// `conversation` is where the request goes. A message to a user's name and one
/// to the direct conversation with that user are the same.
#[must_use]
pub(super) fn request_digest(conversation: ConversationId, command: &Command) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    context.update(&conversation.bytes());
    match command {
        Command::SendMessage { to: _, message } => {
            context.update(b"send");
            context.update(&message.encoded());
        }
        Command::EditMessage { seq, message, .. } => {
            context.update(b"edit");
            context.update(&seq.get().to_be_bytes());
            context.update(&message.message().encoded());
        }
        Command::DeleteMessage { seq, .. } => {
            context.update(b"delete");
            context.update(&seq.get().to_be_bytes());
        }
        Command::React {
            seq,
            emoji,
            removed,
            ..
        } => {
            context.update(if *removed { b"unreact" } else { b"react" });
            context.update(&seq.get().to_be_bytes());
            context.update(emoji.as_str().as_bytes());
        }
        Command::Pin { seq, pinned, .. } => {
            context.update(if *pinned { b"pin" } else { b"unpin" });
            context.update(&seq.get().to_be_bytes());
        }
        Command::ChangeAccount { setting } => {
            context.update(b"account");
            context.update(&setting.encoded());
        }
        Command::ChangeFriendship { name: _, action } => {
            context.update(b"friend");
            context.update(&[action.number()]);
        }
        Command::CreateGroup { title, names } => {
            context.update(b"create");
            context.update(title.as_str().as_bytes());
            update_names(&mut context, names);
        }
        Command::AddMembers { names, .. } => {
            context.update(b"add");
            update_names(&mut context, names);
        }
        Command::RemoveMember { name, .. } => {
            context.update(b"remove");
            context.update(name.as_str().as_bytes());
        }
        Command::Ban { name, banned, .. } => {
            context.update(if *banned { b"ban" } else { b"unban" });
            context.update(name.as_str().as_bytes());
        }
        Command::Invite { deed, .. } => update_invite(&mut context, deed),
        Command::LeaveGroup { conversation: _ } => context.update(b"leave"),
        Command::UpdateGroup { update, .. } => {
            context.update(b"update");
            update_group(&mut context, update);
        }
        Command::SetRole { name, role, .. } => {
            context.update(b"role");
            context.update(&[role.number()]);
            context.update(name.as_str().as_bytes());
        }
    }
    finish(context)
}

fn update_invite(context: &mut Context, deed: &InviteDeed) {
    match deed {
        InviteDeed::Create { hash, bounds } => {
            context.update(b"invite");
            context.update(&hash.bytes());
            context.update(&bounds.expires_at_ms.unwrap_or(0).to_be_bytes());
            context.update(&bounds.uses_max.unwrap_or(0).to_be_bytes());
        }
        InviteDeed::Revoke(seq) => {
            context.update(b"revoke");
            context.update(&seq.get().to_be_bytes());
        }
        InviteDeed::Join(hash) => {
            context.update(b"join");
            context.update(&hash.bytes());
        }
    }
}

fn update_group(context: &mut Context, update: &GroupUpdate) {
    let title = update.title.as_ref().map(Title::as_str);
    let description = update.description.as_ref().map(Description::as_str);
    for text in [title, description] {
        context.update(if text.is_some() { b"\0+" } else { b"\0-" });
        context.update(text.unwrap_or_default().as_bytes());
    }
    for flag in [update.announcement_only, update.history_for_newcomers] {
        context.update(match flag {
            None => b"-",
            Some(false) => b"0",
            Some(true) => b"1",
        });
    }
    match update.photo {
        None => context.update(b"-"),
        Some(None) => context.update(b"0"),
        Some(Some(photo)) => context.update(&photo.bytes()),
    }
}

// The order of names means nothing. Neither a title nor a name holds NUL.
fn update_names(context: &mut Context, names: &[UserName]) {
    let mut names: Vec<&UserName> = names.iter().collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        context.update(b"\0");
        context.update(name.as_str().as_bytes());
    }
}

fn finish(context: Context) -> [u8; 16] {
    let digest = context.finish();
    // SHA-256 has 32 bytes.
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: UserId = UserId::new([1; 16]);
    const BOB: UserId = UserId::new([2; 16]);

    #[test]
    fn a_direct_conversation_has_one_id_whoever_writes_first() {
        assert_eq!(
            direct_conversation(ALICE, BOB),
            direct_conversation(BOB, ALICE)
        );
        assert_ne!(
            direct_conversation(ALICE, BOB),
            direct_conversation(ALICE, ALICE)
        );
        assert_eq!(
            direct_conversation(ALICE, BOB).to_string(),
            "32cf2950-a5d8-874a-ba88-9b9f7590831c"
        );
    }

    #[test]
    fn everybody_has_an_account_log_of_their_own() {
        assert_ne!(account_log(ALICE), account_log(BOB));
        assert_ne!(account_log(ALICE), direct_conversation(ALICE, ALICE));
        assert_eq!(
            account_log(ALICE).to_string(),
            "334f4c7a-3b40-8767-9b61-0fc143ff701d"
        );
    }

    #[test]
    fn no_uuid_v7_has_the_shape_of_a_direct_conversation() {
        assert!(is_direct_shaped(direct_conversation(ALICE, BOB)));
        assert!(is_direct_shaped(account_log(ALICE)));
        let group = ConversationId::new(uuid::Uuid::now_v7().into_bytes());
        assert!(!is_direct_shaped(group));
    }

    #[test]
    fn the_order_of_names_does_not_make_another_request() {
        let create = |names: &[&str]| {
            let title = Title::try_from("Tea".to_owned()).unwrap();
            let names = names.iter().map(|name| UserName::parse(name).unwrap());
            let names = names.collect();
            let command = Command::CreateGroup { title, names };
            request_digest(ConversationId::new([3; 16]), &command)
        };
        assert_eq!(create(&["bob", "eve"]), create(&["eve", "bob"]));
        assert_ne!(create(&["bob", "eve"]), create(&["bob"]));
    }
}
