//! What a step asks of the log.

use magpie_protocol::{
    id::ConversationId,
    setting::{Reach, Setting},
    wire::{GroupUpdate, InviteBounds, Target, v1},
};

use super::{
    BATCH_MS, Model, Step,
    step::{Own, Update},
};
use crate::store::{
    Append, Command,
    conformance::{
        Player, add,
        bans::ban,
        create,
        invites::{invite, join, revoke},
        remove,
        roles::update,
        send, seq,
    },
    direct_conversation,
};

/// A message that mentions somebody, or everybody.
fn mentioning(to: ConversationId, whom: Option<&Player>) -> Command {
    let mentions = whom.map(|whom| v1::Mention {
        user_id: whom.id().to_wire(),
        start: 0,
        length: 1,
    });
    let message = v1::Message {
        text: "@".to_owned(),
        mentions: mentions.into_iter().collect(),
        mentions_everybody: whom.is_none(),
        ..v1::Message::default()
    };
    Command::SendMessage {
        to: Target::Conversation(to),
        message: message.try_into().unwrap(),
    }
}

impl Update {
    fn asked(self) -> GroupUpdate {
        let mut asked = GroupUpdate::default();
        match self {
            Self::Title(tea) => {
                let title = if tea { "Tea" } else { "Chess" };
                asked.title = Some(title.to_owned().try_into().unwrap());
            }
            Self::AnnouncementOnly(on) => asked.announcement_only = Some(on),
            Self::HistoryForNewcomers(on) => asked.history_for_newcomers = Some(on),
        }
        asked
    }
}

impl Own {
    fn asked(self, players: &[Player]) -> Setting {
        match self {
            Self::Hide => Setting::Hide {
                conversation: ConversationId::new([7; 16]),
                seq: seq(1),
            },
            Self::Block { whom, blocked } => Setting::Block {
                user: players[whom].id(),
                blocked,
            },
            Self::Close(closed) => Setting::Privacy {
                messages: match closed {
                    true => Reach::Friends,
                    false => Reach::Everybody,
                },
            },
            Self::HideReceipts(hidden) => Setting::Receipts { hidden },
            Self::HidePresence(hidden) => Setting::Presence { hidden },
        }
    }
}

impl Model<'_> {
    /// A group, if it was asked for yet, or a direct conversation.
    pub(super) fn place(&self, by: usize, place: usize) -> Option<ConversationId> {
        match place.checked_sub(3) {
            None => self.group(place),
            Some(other) => {
                let other = &self.players[other % self.players.len()];
                Some(direct_conversation(self.players[by].id(), other.id()))
            }
        }
    }

    fn group(&self, number: usize) -> Option<ConversationId> {
        let number = number.checked_rem(self.groups.len())?;
        self.groups.get(number).copied()
    }

    /// The event with this number, or one that is not there yet.
    pub(super) fn at(&self, conversation: ConversationId, seq: u64) -> u64 {
        (seq % (self.head(conversation) + 2)).max(1)
    }

    /// The request of a step; none if there is no such group yet.
    pub(super) fn request(&mut self, by: usize, step: &Step) -> Option<Append> {
        let request = self
            .world
            .request(&self.players[by], self.command(by, step)?);
        if let Step::Create { .. } = step {
            self.groups.push(ConversationId::new(request.id.bytes()));
        }
        Some(request)
    }

    fn command(&self, by: usize, step: &Step) -> Option<Command> {
        let player = |number: usize| &self.players[number];
        let group = |number| self.group(number);
        Some(match *step {
            Step::Write { to } => send(Target::User(player(to).name()), "word"),
            Step::WriteToGroup { group: number } => {
                send(Target::Conversation(group(number)?), "word")
            }
            Step::Mention { place, whom } => mentioning(self.place(by, place)?, whom.map(player)),
            Step::Create { with } => create("Tea", &[player(with)]),
            Step::Add { who, group: number } => add(group(number)?, &[player(who)]),
            Step::Remove { who, group: number } => remove(group(number)?, player(who)),
            Step::Leave { group: number } => Command::LeaveGroup {
                conversation: group(number)?,
            },
            Step::Ban {
                who,
                group: number,
                banned,
            } => ban(group(number)?, player(who), banned),
            Step::Invite {
                group: number,
                secret,
                batches,
                uses,
            } => {
                // The last one would have expired already.
                let until = self.world.now_ms() + i64::from(batches % 4) * BATCH_MS;
                let bounds = InviteBounds {
                    expires_at_ms: (batches > 0).then_some(until),
                    uses_max: (uses > 0).then_some(uses),
                };
                invite(group(number)?, secret, bounds)
            }
            Step::Revoke { group: number, seq } => {
                let group = group(number)?;
                revoke(group, self.invite_at(group, seq))
            }
            Step::Join {
                group: number,
                secret,
            } => join(group(number)?, secret),
            Step::Update {
                group: number,
                update: it,
            } => update(group(number)?, it.asked()),
            Step::Change { place, seq, deed } => {
                let place = self.place(by, place)?;
                deed.command(place, self.at(place, seq))
            }
            Step::Befriend { whom, action } => Command::ChangeFriendship {
                name: player(whom).name(),
                action,
            },
            Step::SetRole {
                who,
                group: number,
                role,
            } => Command::SetRole {
                conversation: group(number)?,
                name: player(who).name(),
                role,
            },
            Step::Set(own) => Command::ChangeAccount {
                setting: own.asked(&self.players),
            },
            Step::Read { .. } | Step::Vanish => return None,
        })
    }
}
