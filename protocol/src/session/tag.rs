//! Field numbers of `ServerFrame`'s body, as in frame.proto.

pub(super) const WELCOME: u32 = 10;
pub(super) const SIGNED_IN: u32 = 11;
pub(super) const REFUSED: u32 = 12;
pub(super) const PONG: u32 = 13;
pub(super) const GOODBYE: u32 = 14;
pub(super) const PAGE: u32 = 20;
pub(super) const ACCEPTED: u32 = 30;
pub(super) const DONE: u32 = 31;
pub(super) const ERROR: u32 = 32;
pub(super) const HISTORY: u32 = 33;
pub(super) const CONVERSATIONS: u32 = 34;
pub(super) const DEVICES: u32 = 35;
pub(super) const MEMBERS: u32 = 40;
pub(super) const BANS: u32 = 70;
pub(super) const INVITES: u32 = 71;
pub(super) const INVITE_PREVIEW: u32 = 72;
pub(super) const PROFILES: u32 = 80;
pub(super) const PROFILE_CHANGED: u32 = 81;
pub(super) const TYPING: u32 = 82;
pub(super) const PRESENCES: u32 = 83;
pub(super) const PRESENCE: u32 = 84;
pub(super) const READER_COUNTS: u32 = 90;
pub(super) const MEDIA_TOKEN: u32 = 100;
pub(super) const MEDIA_URLS: u32 = 101;
