//! Who joins groups by themself.

use std::collections::BTreeMap;

use magpie_protocol::{
    id::{ConversationId, UserId},
    wire::{FetchListed, v1::event_content::Kind},
};

use super::{Model, changes::kind};
use crate::store::{
    Append, Command, InviteDeed, InviteHash, LogEvent,
    conformance::{Player, decoded, invites::hash, seq},
};

/// What events do not say: the hashes of the secrets of invites.
pub(super) type Secrets = BTreeMap<(ConversationId, u64), InviteHash>;

/// An invite that was not revoked.
#[derive(Clone, Copy, Debug)]
struct Invite {
    seq: u64,
    hash: InviteHash,
    /// 0: without a bound.
    expires_at_ms: i64,
    uses_max: u32,
    uses: u32,
}

impl Invite {
    const fn is_of_use(&self, now_ms: i64) -> bool {
        (self.expires_at_ms == 0 || self.expires_at_ms > now_ms)
            && (self.uses_max == 0 || self.uses < self.uses_max)
    }
}

impl Model<'_> {
    pub(super) fn follow_secrets(&mut self, request: &Append, event: &LogEvent) {
        if let Command::Invite {
            conversation,
            deed: InviteDeed::Create { hash, .. },
        } = request.command
        {
            self.secrets.insert((conversation, event.seq.get()), hash);
        }
    }

    /// Those that are there. Who creates one takes away what is of no use any more.
    fn invites(&self, conversation: ConversationId) -> Vec<Invite> {
        let mut invites: Vec<Invite> = Vec::new();
        for event in self.of(conversation) {
            let kind = kind(event);
            if let Kind::InviteCreated(it) = kind {
                let seq = event.seq.get();
                invites.retain(|it| it.is_of_use(decoded(event).committed_at_ms));
                invites.push(Invite {
                    seq,
                    hash: self.secrets[&(conversation, seq)],
                    expires_at_ms: it.expires_at_ms,
                    uses_max: it.uses_max,
                    uses: 0,
                });
            } else if let Kind::InviteRevoked(it) = kind {
                invites.retain(|invite| invite.seq != it.seq);
            } else if let Kind::MemberJoined(it) = kind {
                let mut used = invites.iter_mut();
                used.find(|invite| invite.seq == it.invite_seq)
                    .unwrap()
                    .uses += 1;
            }
        }
        invites
    }

    /// The event of one of the invites, if there are any.
    pub(super) fn invite_at(&self, conversation: ConversationId, number: u64) -> u64 {
        let invites = self.invites(conversation);
        let found = invites
            .iter()
            .cycle()
            .take(20)
            .nth(usize::try_from(number).unwrap());
        found.map_or_else(|| self.at(conversation, number), |it| it.seq)
    }

    /// Whether an invite lets somebody in, if they are no member.
    fn is_open(&self, conversation: ConversationId, to: UserId, hash: InviteHash) -> bool {
        let now = self.world.now_ms();
        let invites = self.invites(conversation);
        let members = self.members.get(&conversation);
        members.is_some_and(|members| !members.is_empty())
            && !self.bans(conversation).iter().any(|(user, _)| *user == to)
            && (invites.iter()).any(|it| it.hash == hash && it.is_of_use(now))
    }

    pub(super) fn may_invite(
        &self,
        conversation: ConversationId,
        actor: UserId,
        deed: InviteDeed,
    ) -> bool {
        let invites = self.invites(conversation);
        match deed {
            InviteDeed::Create { hash, bounds } => {
                let expires = bounds.expires_at_ms;
                self.is_admin(conversation, actor)
                    && expires.is_none_or(|at| at > self.world.now_ms())
                    && invites.iter().all(|invite| invite.hash != hash)
            }
            InviteDeed::Revoke(at) => {
                self.is_admin(conversation, actor)
                    && invites.iter().any(|invite| invite.seq == at.get())
            }
            InviteDeed::Join(hash) => {
                !self.is_member(conversation, actor) && self.is_open(conversation, actor, hash)
            }
        }
    }

    pub(super) async fn compare_invites(&self, player: &Player) {
        let store = &self.world.store;
        for group in self.groups.iter().copied() {
            let invites = self.invites(group).into_iter();
            let invites = invites.map(|it| (it.seq, it.expires_at_ms, it.uses_max, it.uses));
            let expected = self.may_list(player, group).map(|()| invites.collect());
            let request = FetchListed {
                conversation: group,
                after: seq(0),
                limit: 100,
            };
            let listed = store.invites(player.id(), request).await.unwrap();
            let listed = listed.map(|it| {
                let invites = it.invites.iter();
                let invites = invites.map(|it| (it.seq, it.expires_at_ms, it.uses_max, it.uses));
                invites.collect::<Vec<_>>()
            });
            assert_eq!(listed, expected);
            for secret in 0..3 {
                let hash = hash(secret);
                let seen = store.invite_preview(player.id(), (group, hash), self.world.now_ms());
                let seen = seen.await.unwrap().map(|it| (it.title, it.member_count));
                let expected = self.is_open(group, player.id(), hash).then(|| {
                    let count = self.members[&group].len() as u64;
                    (self.said(group, u64::MAX).title, count)
                });
                assert_eq!(seen, expected);
            }
        }
    }
}
