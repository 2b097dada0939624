//! What a user sets for themself, on all their devices: the changes that their account
//! log holds.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    id::{ConversationId, MediaId, UserId},
    media::MediaReference,
    profile::{LinkSecret, Profile},
    seq::Seq,
    text::Nickname,
    wire::{InvalidRequest, v1},
};

/// A setting, as it is to be from now on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Setting {
    /// For what the user is woken.
    Notify {
        /// In which conversation; `None`: in all.
        conversation: Option<ConversationId>,
        /// For what.
        notify: Notify,
    },
    /// The user does not want to see a message any more.
    Hide {
        /// Where the message is.
        conversation: ConversationId,
        /// Its place there.
        seq: Seq,
    },
    /// What another user is to this one.
    Contact {
        /// Whom it is about.
        user: UserId,
        /// One of the favourites.
        favourite: bool,
        /// What the user calls them; may be empty.
        nickname: Nickname,
    },
    /// What the user says of themself.
    Profile(Profile),
    /// Whether a search by the beginning of a name finds the user.
    Discoverable(bool),
    /// What finds the user, until another one is set.
    Link(Option<LinkSecret>),
    /// Whether another user is blocked.
    Block {
        /// Whom.
        user: UserId,
        /// They are.
        blocked: bool,
    },
    /// Who reaches the user without being asked to.
    Privacy {
        /// Whose messages are more than requests, and who adds the user to groups.
        messages: Reach,
    },
    /// The user does not want to be friends with who asked them.
    Declined {
        /// Who asked.
        user: UserId,
        /// The event of their direct conversation with which they did.
        seq: Seq,
    },
    /// Whether others learn how far the user has read, and the user how far they have.
    Receipts {
        /// Neither.
        hidden: bool,
    },
    /// Whether others learn when the user is there, and the user when they are.
    Presence {
        /// Neither.
        hidden: bool,
    },
}

/// For what a user is woken, and until when. The default is what holds where nothing
/// is set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Notify {
    /// For what.
    pub level: NotifyLevel,
    /// Until when, milliseconds since 1970; `None`: until it is changed.
    pub until_ms: Option<i64>,
}

impl Notify {
    /// What holds at a time.
    #[must_use]
    pub fn at(self, now_ms: i64) -> NotifyLevel {
        match self.until_ms {
            Some(until_ms) if until_ms <= now_ms => NotifyLevel::All,
            Some(_) | None => self.level,
        }
    }
}

/// For what a user is woken; the later, the stricter.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum NotifyLevel {
    /// For every message.
    #[default]
    All,
    /// For what mentions the user, or all members, or answers a message of theirs.
    Mentions,
    /// For nothing.
    None,
}

impl NotifyLevel {
    /// The level with this number in the schema.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::All,
            2 => Self::Mentions,
            3 => Self::None,
            _ => return None,
        })
    }

    /// Its number in the schema.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::All => 1,
            Self::Mentions => 2,
            Self::None => 3,
        }
    }

    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Mentions => "mentions",
            Self::None => "none",
        }
    }
}

/// Who reaches a user without being asked to.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Reach {
    /// Everybody.
    #[default]
    Everybody,
    /// Friends alone.
    Friends,
}

impl Reach {
    /// The one with this number in the schema.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Everybody,
            2 => Self::Friends,
            _ => return None,
        })
    }

    /// Its number in the schema.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Everybody => 1,
            Self::Friends => 2,
        }
    }

    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Everybody => "everybody",
            Self::Friends => "friends",
        }
    }
}

impl Setting {
    /// As it goes over the wire.
    #[must_use]
    pub fn to_wire(&self) -> v1::AccountChange {
        use v1::account_change::Kind;
        let kind = match self {
            Self::Notify {
                conversation,
                notify,
            } => Kind::Notify(v1::Notify {
                conversation_id: conversation.map_or_else(Bytes::new, |id| id.to_wire()),
                level: i32::from(notify.level.number()),
                until_ms: notify.until_ms.unwrap_or(0),
            }),
            Self::Hide { conversation, seq } => Kind::HideMessage(v1::HideMessage {
                conversation_id: conversation.to_wire(),
                seq: seq.get(),
            }),
            Self::Contact {
                user,
                favourite,
                nickname,
            } => Kind::Contact(v1::Contact {
                user_id: user.to_wire(),
                favourite: *favourite,
                nickname: nickname.as_str().to_owned(),
            }),
            Self::Block { user, blocked } => Kind::Block(v1::Block {
                user_id: user.to_wire(),
                blocked: *blocked,
            }),
            Self::Privacy { messages } => Kind::Privacy(v1::Privacy {
                messages: messages.number().into(),
            }),
            Self::Declined { user, seq } => Kind::DeclinedRequest(v1::DeclinedRequest {
                user_id: user.to_wire(),
                seq: seq.get(),
            }),
            Self::Profile(it) => Kind::Profile(v1::Profile {
                display_name: it.display_name.as_str().to_owned(),
                status: it.status.as_str().to_owned(),
                photo_id: it.photo.map_or_else(Bytes::new, MediaId::to_wire),
            }),
            Self::Discoverable(it) => Kind::Discoverable(v1::Discoverable { discoverable: *it }),
            Self::Link(it) => Kind::Link(v1::Link {
                secret: it.map_or_else(Bytes::new, |it| it.reveal().to_vec().into()),
            }),
            Self::Receipts { hidden } => Kind::Receipts(v1::Receipts { hidden: *hidden }),
            Self::Presence { hidden } => Kind::OwnPresence(v1::OwnPresence { hidden: *hidden }),
        };
        v1::AccountChange { kind: Some(kind) }
    }

    /// The photo that it refers to, if there is one.
    #[must_use]
    pub fn media(&self) -> Vec<MediaReference> {
        let photo = match self {
            Self::Profile(it) => it.photo,
            Self::Notify { .. }
            | Self::Hide { .. }
            | Self::Contact { .. }
            | Self::Block { .. }
            | Self::Discoverable(_)
            | Self::Link(_)
            | Self::Receipts { .. }
            | Self::Privacy { .. }
            | Self::Declined { .. }
            | Self::Presence { .. } => None,
        };
        photo.into_iter().map(MediaReference::of).collect()
    }

    /// Encoded: the same setting always gives the same bytes.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        self.to_wire().encode_to_vec()
    }
}

impl TryFrom<v1::AccountChange> for Setting {
    type Error = InvalidRequest;

    fn try_from(it: v1::AccountChange) -> Result<Self, InvalidRequest> {
        use v1::account_change::Kind;
        let missing = |field| InvalidRequest::Missing { field };
        let conversation = |bytes: &[u8]| {
            let field = "conversation_id";
            let id = ConversationId::try_from(bytes);
            id.map_err(|reason| InvalidRequest::Id { field, reason })
        };
        let user = |bytes: &[u8]| {
            let field = "user_id";
            let id = UserId::try_from(bytes);
            id.map_err(|reason| InvalidRequest::Id { field, reason })
        };
        Ok(match it.kind.ok_or(missing("change"))? {
            Kind::Notify(it) => Self::Notify {
                conversation: match it.conversation_id.is_empty() {
                    true => None,
                    false => Some(conversation(&it.conversation_id)?),
                },
                notify: Notify {
                    level: NotifyLevel::from_number(it.level.into()).ok_or(missing("level"))?,
                    until_ms: (it.until_ms > 0).then_some(it.until_ms),
                },
            },
            Kind::HideMessage(it) => Self::Hide {
                conversation: conversation(&it.conversation_id)?,
                seq: crate::wire::event_seq(it.seq)?,
            },
            Kind::Contact(it) => Self::Contact {
                user: user(&it.user_id)?,
                favourite: it.favourite,
                nickname: it.nickname.try_into()?,
            },
            Kind::Block(it) => Self::Block {
                user: user(&it.user_id)?,
                blocked: it.blocked,
            },
            Kind::Privacy(it) => Self::Privacy {
                messages: Reach::from_number(it.messages.into()).ok_or(missing("messages"))?,
            },
            Kind::DeclinedRequest(it) => Self::Declined {
                user: user(&it.user_id)?,
                seq: crate::wire::event_seq(it.seq)?,
            },
            Kind::Profile(it) => Self::Profile(Profile {
                display_name: it.display_name.try_into()?,
                status: it.status.try_into()?,
                photo: match it.photo_id.is_empty() {
                    true => None,
                    false => Some(photo(&it.photo_id)?),
                },
            }),
            Kind::Discoverable(it) => Self::Discoverable(it.discoverable),
            Kind::Link(it) => Self::Link(match it.secret.is_empty() {
                true => None,
                false => Some(it.secret.as_ref().try_into()?),
            }),
            Kind::Receipts(it) => Self::Receipts { hidden: it.hidden },
            Kind::OwnPresence(it) => Self::Presence { hidden: it.hidden },
        })
    }
}

fn photo(bytes: &[u8]) -> Result<MediaId, InvalidRequest> {
    MediaId::try_from(bytes).map_err(|reason| InvalidRequest::Id {
        field: "photo_id",
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_comes_back_from_the_wire() {
        let chat = ConversationId::new([1; 16]);
        let notify = Notify {
            level: NotifyLevel::Mentions,
            until_ms: Some(5),
        };
        for setting in [
            Setting::Notify {
                conversation: None,
                notify,
            },
            Setting::Notify {
                conversation: Some(chat),
                notify: Notify::default(),
            },
            Setting::Hide {
                conversation: chat,
                seq: Seq::new(3),
            },
            Setting::Contact {
                user: UserId::new([2; 16]),
                favourite: true,
                nickname: "Mum".to_owned().try_into().unwrap(),
            },
            Setting::Profile(Profile::default()),
            Setting::Profile(Profile {
                display_name: "Ann".to_owned().try_into().unwrap(),
                status: "at sea".to_owned().try_into().unwrap(),
                photo: Some(MediaId::new([3; 16])),
            }),
            Setting::Discoverable(true),
            Setting::Link(None),
            Setting::Link(Some(LinkSecret::new([4; 16]))),
            Setting::Block {
                user: UserId::new([2; 16]),
                blocked: true,
            },
            Setting::Privacy {
                messages: Reach::Friends,
            },
            Setting::Declined {
                user: UserId::new([2; 16]),
                seq: Seq::new(3),
            },
            Setting::Receipts { hidden: true },
            Setting::Receipts { hidden: false },
            Setting::Presence { hidden: true },
            Setting::Presence { hidden: false },
        ] {
            assert_eq!(Setting::try_from(setting.to_wire()), Ok(setting));
        }
        let nothing = Setting::try_from(v1::AccountChange::default());
        assert_eq!(nothing.unwrap_err().to_string(), "change is missing");
    }

    #[test]
    fn a_level_holds_until_its_time_has_come() {
        let notify = |until_ms| Notify {
            level: NotifyLevel::None,
            until_ms,
        };
        assert_eq!(notify(Some(5)).at(4), NotifyLevel::None);
        assert_eq!(notify(Some(5)).at(5), NotifyLevel::All);
        assert_eq!(notify(None).at(i64::MAX), NotifyLevel::None);
    }

    #[test]
    fn a_reach_has_the_number_of_the_schema() {
        for number in 1..=2 {
            let reach = Reach::from_number(number).unwrap();
            assert_eq!(i64::from(reach.number()), number);
            let wire = v1::Reach::try_from(i32::from(reach.number())).unwrap();
            let name = format!("REACH_{}", reach.name().to_ascii_uppercase());
            assert_eq!(wire.as_str_name(), name);
        }
        assert_eq!(Reach::from_number(0), None);
    }

    #[test]
    fn a_level_has_the_number_of_the_schema() {
        for number in 1..=3 {
            let level = NotifyLevel::from_number(number).unwrap();
            assert_eq!(i64::from(level.number()), number);
            let wire = v1::NotifyLevel::try_from(i32::from(level.number())).unwrap();
            let name = format!("NOTIFY_LEVEL_{}", level.name().to_ascii_uppercase());
            assert_eq!(wire.as_str_name(), name);
        }
        assert_eq!(NotifyLevel::from_number(0), None);
    }
}
