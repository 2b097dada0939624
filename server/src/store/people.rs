//! What users say of themselves, and by what they are found.

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use magpie_protocol::{
    id::{ConversationId, UserId},
    profile::{FindUsers, LinkSecret},
    wire::{KnownProfile, v1},
};

use super::StoreError;

/// The part of a store that knows what users let others know.
#[async_trait]
pub trait PeopleStore {
    /// Of these, the profiles that are not as they are known, of users with whom this one
    /// shares a conversation now. Who says nothing (any more) has version 0.
    async fn profiles(
        &self,
        user: UserId,
        known: &[KnownProfile],
    ) -> Result<Vec<v1::UserProfile>, StoreError>;

    /// The users whom this one finds: with what they say of themselves if they gave a link,
    /// are discoverable, or share a conversation with this one.
    async fn find_users(
        &self,
        user: UserId,
        by: &FindUsers,
    ) -> Result<Vec<v1::UserProfile>, StoreError>;

    /// The others in a conversation of at most so many members in which this user may
    /// write, but for whom this one blocks and who blocks them; nobody if there is no such
    /// conversation for them.
    async fn companions(
        &self,
        user: UserId,
        conversation: ConversationId,
        members_max: usize,
    ) -> Result<Vec<UserId>, StoreError>;

    /// Whether these two are friends.
    async fn are_friends(&self, user: UserId, other: UserId) -> Result<bool, StoreError>;

    /// The user's friends: at most `count`.
    async fn friends(&self, user: UserId, count: usize) -> Result<Vec<UserId>, StoreError>;

    /// Those with whom this user shares a conversation of at most so many members: at most
    /// `count`.
    async fn acquaintances(
        &self,
        user: UserId,
        members_max: usize,
        count: usize,
    ) -> Result<Vec<UserId>, StoreError>;
}

/// What is stored of what is in a link.
pub(super) fn link_hash(secret: &LinkSecret) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.reveal()).as_ref());
    hash
}
