//! Users, what proves who they are, and their devices.

use magpie_protocol::{
    id::{DeviceId, UserId},
    text::{DeviceName, UserName},
};

use super::{Positions, Standing};

/// A person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Random; never re-used.
    pub id: UserId,
    /// Never changes; never given out again.
    pub name: UserName,
}

/// A person and what proves that they are it.
#[derive(Clone, Eq, PartialEq)]
pub struct Account {
    /// Who.
    pub user: User,
    /// In PHC string format (argon2id).
    pub password_hash: String,
    /// What they may do.
    pub standing: Standing,
}

/// A device to make, or to give a new token.
#[derive(Clone, Eq, PartialEq)]
pub struct NewDevice {
    /// Made by the client.
    pub id: DeviceId,
    /// For the list of devices.
    pub name: DeviceName,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
}

/// What became of a [`NewDevice`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PutDevice {
    /// It is the user's now, or was already and has a new token.
    Done,
    /// It was revoked, or belongs to somebody else: the id is of no use.
    Refused,
    /// The user has another password by now, or may not sign in any more.
    Stale,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CreateUser {
    /// User and device exist now.
    Done,
    /// The name is taken; nothing has changed.
    NameTaken,
    /// The device id is of no use; nothing has changed.
    DeviceRefused,
}

/// A device that may connect.
#[derive(Clone, Eq, PartialEq)]
pub struct Device {
    /// Which one.
    pub id: DeviceId,
    /// Whose.
    pub user: User,
    /// SHA-256 of its token.
    pub token_hash: [u8; 32],
    /// The log's heads when it was made: what is older is history to it.
    pub made_at: Positions,
}

/// One line of the list of devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceLine {
    /// Which one.
    pub id: DeviceId,
    /// As given at sign-in.
    pub name: String,
    /// When it signed in, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it last said hello, milliseconds since 1970.
    pub last_seen_at_ms: Option<i64>,
}
