//! The answers to requests that do not change the log.

use std::sync::Arc;

use magpie_protocol::{
    id::{ConversationId, DeviceId, MediaId},
    limits::CONVERSATIONS_COUNT_MAX,
    seq::Seq,
    session::Reply,
    wire::{EncodedHistory, FetchHistory, Report, v1},
};

use super::{
    Dispatch,
    replies::{no_media, presences_reply, profiles_reply, rate_limited, reader_counts, refused},
    sorting::Other,
};
use crate::{
    handler::SignInError,
    hub::Mailbox,
    store::{InviteHash, MarkRead, ReadLimit, Refusal, StoreError},
};

/// Bytes of conversations' descriptions in one answer.
const CONVERSATIONS_SIZE_MAX: usize = 128 * 1024;

impl Dispatch {
    /// Answers a request; adds the devices whose credentials it ended.
    pub(super) async fn answer(
        &self,
        from: &Arc<Mailbox>,
        request: Other,
        revoked: &mut Vec<DeviceId>,
    ) -> Result<Reply, StoreError> {
        match request {
            Other::MarkRead { conversation, seq } => self.mark_read(from, conversation, seq).await,
            Other::FetchHistory(request) => self.history(from, request).await,
            Other::FetchConversations { after, limit } => {
                self.conversations(from, after, limit).await
            }
            Other::FetchMembers(request) => {
                let members = self.store.members(from.user, request).await?;
                Ok(match members {
                    Some(members) => Reply::Members(members),
                    None => Reply::Error(refused(Refusal::NotFound)),
                })
            }
            Other::FetchBans(request) => {
                let bans = self.store.bans(from.user, request).await?;
                Ok(bans.map_or_else(|refusal| Reply::Error(refused(refusal)), Reply::Bans))
            }
            Other::LookUpInvite { conversation, hash } => {
                self.look_up_invite(from, (conversation, hash)).await
            }
            Other::FetchInvites(request) => {
                let invites = self.store.invites(from.user, request).await?;
                Ok(invites.map_or_else(|refusal| Reply::Error(refused(refusal)), Reply::Invites))
            }
            Other::FetchProfiles(known) => {
                let profiles = self.store.profiles(from.user, &known).await?;
                Ok(profiles_reply(profiles))
            }
            Other::FindUsers(by) => {
                Ok(profiles_reply(self.store.find_users(from.user, &by).await?))
            }
            Other::WatchPresence(users) => {
                let presences = self.presences.ask(from, &users).await?;
                Ok(presences_reply(presences))
            }
            Other::CountReaders(request) => {
                let seqs = request.seqs.clone();
                let counts = self.store.count_readers(from.user, request).await?;
                Ok(reader_counts(&seqs, counts))
            }
            Other::FetchMediaToken => Ok(self.media_token(from)),
            Other::FetchMediaUrls(ids) => self.media_urls(from, &ids).await,
            Other::FetchDevices => self.devices(from).await,
            Other::Push(request) => {
                self.pushes.handle(from, request).await?;
                Ok(Reply::Done)
            }
            Other::RevokeDevice(device) => {
                self.store.revoke_device(from.user, device).await?;
                self.tokens.forget(device);
                revoked.push(device);
                Ok(Reply::Done)
            }
            Other::ChangePassword(it) => {
                let changed = self.accounts.change_password(from, it).await;
                Ok(self.changed(changed, revoked))
            }
            Other::DeleteAccount(password) => {
                let deleted = self.accounts.delete(from, password).await;
                Ok(self.changed(deleted, revoked))
            }
            Other::Report(report) => self.report(from, report).await,
        }
    }

    async fn report(&self, from: &Mailbox, report: Report) -> Result<Reply, StoreError> {
        if let Err(limited) = self.limiter.report(from.user, self.clock.now()) {
            return Ok(Reply::Error(rate_limited(limited)));
        }
        self.reports.handle(from.user, report).await?;
        Ok(Reply::Done)
    }

    fn media_token(&self, from: &Mailbox) -> Reply {
        match &self.media {
            Some(media) => Reply::MediaToken(media.token(from.user, from.device)),
            None => Reply::Error(no_media()),
        }
    }

    async fn media_urls(&self, from: &Mailbox, ids: &[MediaId]) -> Result<Reply, StoreError> {
        Ok(match &self.media {
            Some(media) => Reply::MediaUrls(media.urls(from.user, ids).await?),
            None => Reply::Error(no_media()),
        })
    }

    /// The answer to a change of an account.
    fn changed(
        &self,
        changed: Result<Vec<DeviceId>, SignInError>,
        revoked: &mut Vec<DeviceId>,
    ) -> Reply {
        match changed {
            Ok(devices) => {
                revoked.extend(devices);
                Reply::Done
            }
            Err(error) => Reply::Error(self.sign_in_refused(&error)),
        }
    }

    async fn mark_read(
        &self,
        from: &Mailbox,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Reply, StoreError> {
        let mark = MarkRead {
            user: from.user,
            conversation,
            seq,
        };
        Ok(match self.marks.move_mark(mark).await? {
            Some(_) => Reply::Done,
            None => Reply::Error(refused(Refusal::NotFound)),
        })
    }

    async fn history(&self, from: &Mailbox, request: FetchHistory) -> Result<Reply, StoreError> {
        let Some(page) = self.store.history(from.user, request).await? else {
            return Ok(Reply::Error(refused(Refusal::NotFound)));
        };
        let events = page.events.iter().map(|it| it.encoded_for(from.user));
        Ok(Reply::History(EncodedHistory {
            in_reply_to: 0,
            events: events.collect(),
            complete: page.complete,
            states: page.states,
            states_seq: page.states_seq.get(),
        }))
    }

    async fn conversations(
        &self,
        from: &Mailbox,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<Reply, StoreError> {
        let count = limit.min(CONVERSATIONS_COUNT_MAX) as usize;
        let limit = ReadLimit {
            count,
            size: CONVERSATIONS_SIZE_MAX,
        };
        let (conversations, complete) = self.store.conversations(from.user, after, limit).await?;
        Ok(Reply::Conversations(v1::Conversations {
            conversations,
            complete,
            ..Default::default()
        }))
    }

    async fn look_up_invite(
        &self,
        from: &Mailbox,
        invite: (ConversationId, InviteHash),
    ) -> Result<Reply, StoreError> {
        let now_ms = self.clock.wall_ms();
        let found = self.store.invite_preview(from.user, invite, now_ms).await?;
        Ok(found.map_or_else(
            || Reply::Error(refused(Refusal::NoInvite)),
            Reply::InvitePreview,
        ))
    }

    async fn devices(&self, from: &Mailbox) -> Result<Reply, StoreError> {
        let devices = self.store.devices(from.user).await?;
        let devices = devices
            .into_iter()
            .map(|line| v1::Device {
                device_id: line.id.to_wire(),
                name: line.name,
                created_at_ms: line.created_at_ms,
                last_seen_at_ms: line.last_seen_at_ms.unwrap_or_default(),
                current: line.id == from.device,
            })
            .collect();
        Ok(Reply::Devices(v1::Devices {
            devices,
            ..Default::default()
        }))
    }
}
