//! One line of each type, with everything that others choose written by an enemy.

use magpie_client::{ConversationId, DeviceId, Friendship, MessageId};

use super::{
    AccountFields, AuditFields, BegunFields, ConversationFields, DeviceFields, DroppedFields,
    EventFields, FaultFields, HealedFields, InviteFields, Line, MessageFields, OutboxFields, Shown,
    StruckFields, TortureFields,
    members::ReadersFields,
    message::{CalledFields, MediaFields, MoreFields, ReactionFields},
    setting::SettingFields,
};

/// Clears the screen, colours, ends the line, writes backwards, rings.
pub(crate) const HOSTILE: &str =
    "x\u{1b}[2J\u{9b}31m\r\n\u{202e}\u{2066}\u{7}\u{7f}\u{2028}\u{200f}";

const MOMENT: &str = "2026-11-23T03:04:05.678Z";

fn hostile() -> String {
    HOSTILE.to_owned()
}

fn message_id() -> Shown<MessageId> {
    Shown(MessageId::new([1; 16]))
}

fn conversation_id() -> Shown<ConversationId> {
    Shown(ConversationId::new([2; 16]))
}

fn device_id() -> Shown<DeviceId> {
    Shown(DeviceId::new([3; 16]))
}

fn account(signed_in: bool) -> AccountFields {
    AccountFields {
        user: hostile(),
        user_id: hostile(),
        device_id: device_id(),
        device_name: hostile(),
        server: hostile(),
        signed_in,
    }
}

fn called(is_nickname: bool) -> CalledFields {
    CalledFields {
        sender_name: Some(hostile()),
        is_nickname,
    }
}

fn event(kind: &'static str) -> Line {
    Line::Event(EventFields {
        kind,
        message_id: Some(message_id()),
        conversation_id: conversation_id(),
        seq: 7,
        sender: Some(hostile()),
        called: called(false),
        sent_at: MOMENT.to_owned(),
        title: Some(hostile()),
        members: Some(vec![hostile(), hostile()]),
        role: Some("admin"),
        heir: Some(hostile()),
        description: Some(hostile()),
        announcement_only: Some(true),
        friends: Some(true),
        photo: Some(None),
        history_for_newcomers: Some(true),
        target_seq: Some(3),
        text: Some(hostile()),
        emoji: Some(hostile()),
        removed: Some(true),
        expires_at: Some(MOMENT.to_owned()),
        uses_max: Some(3),
        blocked: None,
        setting: SettingFields {
            messages: Some("friends"),
            setting: Some("contact"),
            about: Some(hostile()),
            level: Some("none"),
            until: Some(MOMENT.to_owned()),
            favourite: Some(true),
            nickname: Some(hostile()),
            display_name: Some(hostile()),
            status: Some(hostile()),
            discoverable: Some(true),
            hidden: Some(true),
        },
        place: Some(hostile()),
    })
}

/// Whatever a message can have.
fn more() -> MoreFields {
    MoreFields {
        blocked: false,
        deleted: false,
        reply_to_seq: Some(3),
        forwarded_from: Some(hostile()),
        forwarded_sent_at: Some(MOMENT.to_owned()),
        mentions: vec![hostile()],
        mentions_everybody: true,
        content_type: Some(hostile()),
        body: Some("00ff".to_owned()),
        media: vec![MediaFields {
            media_id: hostile(),
            media_type: hostile(),
            size: 7,
            sha256: "00ff".to_owned(),
            width: Some(640),
            height: Some(480),
            file_name: Some(hostile()),
        }],
        edited_at: Some(MOMENT.to_owned()),
        reactions: vec![ReactionFields {
            emoji: hostile(),
            count: 2,
            own: true,
        }],
        pending: true,
    }
}

/// What is printed of photos and files.
fn media() -> Vec<Line> {
    vec![
        Line::Progress {
            message_id: message_id(),
            sent: 7,
            size: 8,
        },
        Line::Fetching {
            media_id: Shown(magpie_client::MediaId::new([6; 16])),
            received: 7,
            size: 8,
        },
        Line::Saved {
            message_id: Some(message_id()),
            media_id: Shown(magpie_client::MediaId::new([6; 16])),
            path: hostile(),
            size: 8,
        },
    ]
}

/// What is printed of accounts, devices and requests.
fn answers() -> Vec<Line> {
    vec![
        Line::Registered(account(true)),
        Line::LoggedIn(account(true)),
        Line::Whoami(account(false)),
        Line::LoggedOut { user: hostile() },
        Line::PasswordChanged {
            user: hostile(),
            others_signed_out: true,
        },
        Line::AccountDeleted { user: hostile() },
        Line::Reported {
            about: hostile(),
            seq: Some(7),
        },
        Line::Exported {
            directory: hostile(),
            conversations: 7,
            events: 7,
            media: Some(7),
        },
        Line::Device(DeviceFields {
            device_id: device_id(),
            device_name: hostile(),
            created_at: MOMENT.to_owned(),
            last_seen_at: Some(MOMENT.to_owned()),
            current: true,
        }),
        Line::Revoked {
            device_id: device_id(),
        },
        Line::Queued {
            message_id: message_id(),
        },
        Line::Discarded {
            message_id: message_id(),
        },
        Line::Accepted {
            message_id: message_id(),
            conversation_id: conversation_id(),
            seq: 7,
            sent_at: MOMENT.to_owned(),
        },
        Line::Pending {
            message_id: message_id(),
        },
        Line::Error {
            code: hostile(),
            action: hostile(),
            message: hostile(),
            message_id: Some(message_id()),
        },
        Line::NothingToDo {
            message_id: message_id(),
            conversation_id: conversation_id(),
            seq: 7,
        },
        Line::Read {
            message_id: message_id(),
            conversation_id: conversation_id(),
            seq: 7,
        },
    ]
}

/// What is printed of pushes.
fn pushes() -> Vec<Line> {
    vec![
        Line::PushSet { app_id: hostile() },
        Line::PushCleared,
        Line::Asleep,
        Line::Wake {
            wake_id: Some(hostile()),
            delay_ms: 7,
            priority: "high",
        },
        Line::Emulator {
            url: hostile(),
            account: hostile(),
            ca: Some(hostile()),
        },
    ]
}

/// What is printed of how far this home has come.
fn progress() -> Vec<Line> {
    vec![
        Line::Gap {
            conversation_id: conversation_id(),
            from_seq: 1,
            to_seq: 6,
        },
        Line::Dropped(DroppedFields {
            conversation_id: conversation_id(),
            above_seq: 6,
            events: 5,
            resent: 3,
            changes: 1,
            place: hostile(),
        }),
        Line::CaughtUp,
        Line::Synced {
            events: 1,
            sent: 2,
            failed: 3,
        },
    ]
}

/// What is printed of torture.
fn torture() -> Vec<Line> {
    vec![
        Line::TortureBegun(BegunFields {
            seed: 7,
            users: 2,
            devices: 4,
            processes: 1,
            conversations: 2,
            directory: hostile(),
        }),
        Line::Fault(StruckFields {
            kind: "kill-server",
            at_ms: 5_000,
            lasted_ms: 7,
        }),
        Line::Healed(HealedFields {
            kind: "kill-server",
            after_ms: 1_234,
        }),
        Line::Faults(FaultFields {
            kind: "kill-server",
            count: 2,
            after_ms_median: 1_234,
            after_ms_max: 2_345,
        }),
        Line::Violation { message: hostile() },
        Line::Torture(TortureFields {
            seconds: 30,
            faults: 2,
            sent: 9,
            accepted: 8,
            refused: 0,
            unanswered: 1,
            recovered: 1,
            stored: 40,
            shown: 40,
            caught_up_ms: None,
            violations: 1,
            kept: Some(hostile()),
        }),
    ]
}

fn people() -> [Line; 11] {
    [
        Line::Privacy {
            messages: "friends",
        },
        Line::Friend(super::friends::sample(&hostile(), Friendship::WasAsked)),
        Line::Profile(super::profile::sample(hostile())),
        Line::Link {
            link: Some(hostile()),
        },
        Line::Typing {
            conversation_id: conversation_id(),
            user: hostile(),
            typing: true,
            place: hostile(),
        },
        Line::Receipts { hidden: true },
        Line::OwnPresence { hidden: true },
        Line::Presence(super::presence::sample(hostile())),
        Line::Readers(ReadersFields {
            read: Some(vec![hostile()]),
            delivered: Some(vec![hostile()]),
            ..ReadersFields::default()
        }),
        Line::Contact {
            user: hostile(),
            user_id: Shown(magpie_client::UserId::new([3; 16])),
            favourite: true,
            nickname: hostile(),
            blocked: true,
        },
        Line::Member {
            conversation_id: conversation_id(),
            user: hostile(),
            user_id: Shown(magpie_client::UserId::new([3; 16])),
            display_name: hostile(),
            role: Some("owner"),
            read_seq: 7,
        },
    ]
}

fn conversations() -> [Line; 6] {
    [
        Line::Conversation(ConversationFields {
            conversation_id: conversation_id(),
            kind: "direct",
            title: hostile(),
            description: hostile(),
            announcement_only: true,
            photo: Some(Shown(magpie_client::MediaId::new([4; 16]))),
            history_for_newcomers: true,
            members: vec![hostile()],
            member_count: 2,
            first_seq: 1,
            last_seq: Some(7),
            head_seq: 9,
            unread: 2,
            unread_mentions: 1,
            last_event_at: Some(MOMENT.to_owned()),
            notify: "none",
            notify_until: Some(MOMENT.to_owned()),
            friendship: "friends",
            request: true,
            favourite: true,
            blocked: true,
            nickname: hostile(),
            display_name: hostile(),
        }),
        Line::link(magpie_client::InviteLink {
            conversation: magpie_client::ConversationId::new([2; 16]),
            secret: magpie_client::InviteSecret::new([5; 16]),
        }),
        Line::Invite(InviteFields {
            conversation_id: conversation_id(),
            seq: 7,
            creator: Some(hostile()),
            created_at: MOMENT.to_owned(),
            expires_at: Some(MOMENT.to_owned()),
            uses: 2,
            uses_max: Some(3),
        }),
        Line::InvitePreview {
            conversation_id: conversation_id(),
            title: hostile(),
            member_count: 7,
        },
        Line::Banned {
            conversation_id: conversation_id(),
            user: hostile(),
            user_id: Shown(magpie_client::UserId::new([3; 16])),
            seq: 7,
        },
        Line::Members {
            conversation_id: conversation_id(),
            count: 10_000,
            listed: 500,
        },
    ]
}

/// One line of each type, and of each kind of event.
pub(crate) fn all() -> Vec<Line> {
    let mut lines = answers();
    lines.extend(media());
    lines.extend(pushes());
    lines.extend(progress());
    lines.extend(torture());
    lines.extend(people());
    lines.extend(conversations());
    lines.extend(
        [
            "group_created",
            "members_added",
            "member_removed",
            "member_left",
            "message_edited",
            "message_deleted",
            "reacted",
            "account_changed",
            "friend_requested",
            "friendship_changed",
            "hidden",
            "unknown",
        ]
        .map(event),
    );
    lines.extend([
        Line::Message(MessageFields {
            message_id: Some(message_id()),
            conversation_id: conversation_id(),
            seq: 7,
            sender: Some(hostile()),
            called: called(true),
            text: hostile(),
            sent_at: MOMENT.to_owned(),
            more: more(),
            place: Some(hostile()),
        }),
        Line::Message(MessageFields {
            more: MoreFields {
                deleted: true,
                ..MoreFields::default()
            },
            sent_at: MOMENT.to_owned(),
            ..MessageFields::default()
        }),
        Line::Outbox(OutboxFields {
            message_id: message_id(),
            state: "failed",
            kind: "send",
            to: Some(hostile()),
            users: Some(vec![hostile()]),
            text: Some(hostile()),
            queued_at: MOMENT.to_owned(),
            code: Some(hostile()),
            message: Some(hostile()),
        }),
        Line::Difference {
            kind: "missing",
            conversation_id: conversation_id(),
            seq: 7,
            message_id: Some(message_id()),
            message: hostile(),
        },
        Line::Audit(AuditFields {
            missing: 1,
            ..AuditFields::default()
        }),
    ]);
    lines
}
