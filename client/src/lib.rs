//! The Magpie client SDK: one device's local database, its outbox, and a driver
//! that keeps a connection.
//!
//! A [`Home`] is one device: a directory with a SQLite file. What a person wants
//! to send is [queued](Home::queue) there first, durably, under an id that stays
//! the same for every try. A [`Client`] keeps a connection to the server, sends
//! what is queued, in the person's order, and stores what arrives: a page of
//! events and its cursor in one transaction, and only then the acknowledgement.
//! Both may be killed at any moment; what is in the file is always right.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use magpie_client::{Client, Event, Home, NewRequest, Options, Server, Trust};
//!
//! let home = Home::open("./alice".as_ref())?;
//! let server = Server {
//!     address: "chat.example.org:7443".to_owned(),
//!     trust: Trust::System,
//! };
//! if home.account()?.is_none() {
//!     magpie_client::register(&home, &server, "alice", "correct horse", "laptop").await?;
//! }
//! let lock = home.try_lock_connection()?.ok_or("another process is connected")?;
//! let client = Client::start(home.clone(), lock, server, Options::default());
//! home.queue(NewRequest::Send {
//!     to: "@bob".parse()?,
//!     message: "hello".try_into()?,
//! })?;
//! client.wake_outbox();
//! while let Some(event) = client.next_event().await {
//!     if let Event::Accepted { id, acceptance } = event {
//!         println!("{id} is number {}", acceptance.seq);
//!         break;
//!     }
//! }
//! client.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Methods of [`Home`] read and write a local file and return at once; they
//! block for as long as a write to the disk takes. A message's way, its promises
//! (D1 to D12) and the words used here are in `docs/contract.md`.

mod client;
mod database;
mod driver;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod home;
mod media;
mod message;
mod model;
mod raw;
mod request;
mod server;
mod sign_in;

pub use magpie_protocol::{
    date,
    friendship::{FriendAction, Friendship},
    id::{ConversationId, DeviceId, InvalidId, MediaId, MessageId, UserId},
    invite::{InvalidInviteLink, InviteLink, InviteSecret},
    message::{Edit, Emoji, InvalidMessage, NewMessage},
    profile::{
        DisplayName, FindUsers, InvalidUserLink, LinkSecret, NamePrefix, StatusLine, UserLink,
    },
    push::{AppId, Platform, PushAddress, PushToken},
    role::Role,
    seq::Seq,
    setting::{Notify, NotifyLevel, Reach, Setting},
    text::{
        Description, DeviceName, InvalidText, MessageText, Nickname, Password, Title, UserName,
    },
    wire::{
        GroupUpdate, InviteBounds, ReportReason,
        v1::{Action, ErrorCode},
    },
};

pub use self::{
    client::{Client, Event, From, Options, Reported},
    error::{ConnectError, DisconnectReason, HomeError, LocalError, RequestError, SignInError},
    home::{ConnectionLock, Home, Outbox},
    media::{
        Attached, Attachment, AttachmentKind, InvalidAttachment, InvalidPicture, MediaError, Unfit,
        WantedMedia,
    },
    message::{
        Body, Edited, Forwarded, Media, Mention, Message, MessagePlace, MessageState, Reaction,
    },
    model::{
        Account, AuditConversation, AuditLine, BannedUser, Called, Contact, Content,
        ConversationKind, ConversationLine, ConversationPage, DeviceLine, Dropped, Friend, Gap,
        History, HistoryPage, Invite, InvitePreview, LocalHistory, LocalMembers, Member,
        MembersPlace, PinnedMessage, Presence, PresenceState, Profile, Readers, Refusal,
        StoredEvent, User,
    },
    request::{
        Acceptance, InvalidRecipient, NewRequest, Operation, OutboxEntry, OutboxState, Outcome,
        Recipient,
    },
    server::{Server, Trust},
    sign_in::{register, register_invited, sign_in},
};
