//! What people say, as the SDK gives it: leniently, for a newer server may let more
//! pass than this version knows.

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, MediaId, UserId},
    media::is_file_name,
    message::{InvalidMessage, NewMessage},
    seq::Seq,
    text::UserName,
    wire::v1,
};

use crate::model::{Member, User};

/// What a message says: a text, a body, photos and files, or several of these.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Message {
    /// The text; may be empty if there is something else.
    pub text: String,
    /// The event of the same conversation that it answers.
    pub reply_to: Option<Seq>,
    /// Where it comes from, as its sender says.
    pub forwarded: Option<Forwarded>,
    /// Whom the text names, in its order.
    pub mentions: Vec<Mention>,
    /// It is meant for all members.
    pub mentions_everybody: bool,
    /// What the server and the SDK do not look at.
    pub body: Option<Body>,
    /// Photos and files, of which an edit has none: they stay as they were.
    pub media: Vec<Media>,
}

/// A photo or file, as its sender says. Whoever fetches it compares size and SHA-256.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Media {
    /// What names it.
    pub id: MediaId,
    /// Bytes.
    pub size: u64,
    /// What they are.
    pub sha256: [u8; 32],
    /// What it is.
    pub content_type: String,
    /// Width and height in pixels, of a picture.
    pub pixels: Option<(u32, u32)>,
    /// A blurred picture of it (thumbhash); may be empty.
    pub thumbhash: Bytes,
    /// Smaller pictures of it, the smallest first.
    pub thumbnails: Vec<MediaId>,
    /// Under which name to save it, if it has one that can be one.
    pub file_name: Option<String>,
}

impl Media {
    fn of(it: v1::Media) -> Option<Self> {
        let thumbnails = it.thumbnail_ids.iter();
        let thumbnails = thumbnails.filter_map(|id| MediaId::try_from(id.as_ref()).ok());
        Some(Self {
            id: MediaId::try_from(it.media_id.as_ref()).ok()?,
            size: it.size,
            sha256: it.sha256.as_ref().try_into().ok()?,
            content_type: it.content_type,
            pixels: (it.width > 0 && it.height > 0).then_some((it.width, it.height)),
            thumbhash: it.thumbhash,
            thumbnails: thumbnails.collect(),
            file_name: Some(it.file_name).filter(|name| !name.is_empty() && is_file_name(name)),
        })
    }

    fn to_wire(&self) -> v1::Media {
        let (width, height) = self.pixels.unwrap_or_default();
        v1::Media {
            media_id: self.id.to_wire(),
            size: self.size,
            sha256: Bytes::copy_from_slice(&self.sha256),
            content_type: self.content_type.clone(),
            width,
            height,
            thumbhash: self.thumbhash.clone(),
            thumbnail_ids: self.thumbnails.iter().map(|id| id.to_wire()).collect(),
            file_name: self.file_name.clone().unwrap_or_default(),
        }
    }
}

/// Where a forwarded message comes from. Nobody checks it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forwarded {
    /// Who said it.
    pub author: User,
    /// When, milliseconds since 1970.
    pub sent_at_ms: i64,
}

/// A part of a text that means a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mention {
    /// Whom.
    pub user: UserId,
    /// Where it begins, in bytes.
    pub start: usize,
    /// How long it is, in bytes.
    pub length: usize,
}

/// A body of the app's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Body {
    /// What it is, for the app.
    pub content_type: String,
    /// The body itself.
    pub bytes: Bytes,
}

/// What became of a message: what is known of it here, and what waits to be sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MessageState {
    /// What it says now, if it was edited.
    pub edit: Option<Edited>,
    /// How many react how, the oldest first.
    pub reactions: Vec<Reaction>,
    /// The user has deleted it; it is not committed yet.
    pub is_deleted: bool,
    /// Some of it is the user's own, and is not committed yet.
    pub is_pending: bool,
    /// The user blocks its sender: an app shows it folded, if at all. Edits say so too.
    pub is_blocked: bool,
}

/// What a message says now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edited {
    /// Since when, milliseconds since 1970.
    pub at_ms: i64,
    /// What it says. What it answers and where it comes from is said by the message
    /// itself.
    pub message: Message,
}

/// How many users react alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reaction {
    /// How.
    pub emoji: String,
    /// How many.
    pub count: u32,
    /// The user is one of them.
    pub own: bool,
}

impl Message {
    /// Whether there is nothing in it: it was deleted.
    pub(crate) const fn is_blank(it: &v1::Message) -> bool {
        it.text.is_empty() && it.body.is_empty() && it.media.is_empty()
    }

    /// `None` if there is nothing in it: it was deleted.
    pub(crate) fn of(it: v1::Message) -> Option<Self> {
        if Self::is_blank(&it) {
            return None;
        }
        let mention = |it: v1::Mention| {
            Some(Mention {
                user: UserId::try_from(it.user_id.as_ref()).ok()?,
                start: usize::try_from(it.start).ok()?,
                length: usize::try_from(it.length).ok()?,
            })
        };
        let forwarded = |it: v1::Forwarded| {
            let author = it.author?;
            Some(Forwarded {
                author: User {
                    id: UserId::try_from(author.user_id.as_ref()).ok()?,
                    name: author.name,
                },
                sent_at_ms: it.sent_at_ms,
            })
        };
        Some(Self {
            text: it.text,
            reply_to: (it.reply_to_seq > 0).then(|| Seq::new(it.reply_to_seq)),
            forwarded: it.forwarded.and_then(forwarded),
            mentions: it.mentions.into_iter().filter_map(mention).collect(),
            mentions_everybody: it.mentions_everybody,
            body: (!it.body.is_empty()).then(|| Body {
                content_type: it.content_type,
                bytes: it.body,
            }),
            media: it.media.into_iter().filter_map(Media::of).collect(),
        })
    }

    /// The parts of the text that name one of these members, and whether it names
    /// `@everybody`, in which case no member of that name is meant. In a group that means
    /// something if an admin or the owner says so.
    #[must_use]
    pub fn mentioned(text: &str, members: &[Member]) -> (Vec<Mention>, bool) {
        let (mut mentions, mut everybody) = (Vec::new(), false);
        for (start, name) in names(text) {
            let length = name.len() + 1;
            let Ok(name) = UserName::parse(name) else {
                continue;
            };
            let mut members = members.iter();
            match members.find(|member| member.user.name == name.as_str()) {
                Some(member) => mentions.push(Mention {
                    user: member.user.id,
                    start,
                    length,
                }),
                None => everybody |= name.as_str() == EVERYBODY,
            }
        }
        mentions.truncate(magpie_protocol::limits::MENTIONS_MAX);
        (mentions, everybody)
    }
}

const EVERYBODY: &str = "everybody";

/// The names behind `@` at the beginnings of words, and where the `@` is.
fn names(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('@').filter_map(|(start, _)| {
        let before = text.get(..start)?.chars().next_back();
        if before.is_some_and(char::is_alphanumeric) {
            return None;
        }
        let rest = text.get(start + 1..)?;
        let is_of_name = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '.');
        let end = rest.find(|it| !is_of_name(it)).unwrap_or(rest.len());
        // A full stop ends a sentence more often than a name.
        Some((start, rest.get(..end)?.trim_end_matches('.')))
    })
}

/// Checks it: see [`InvalidMessage`].
impl TryFrom<Message> for NewMessage {
    type Error = InvalidMessage;

    fn try_from(it: Message) -> Result<Self, InvalidMessage> {
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let (content_type, body) = it
            .body
            .map(|it| (it.content_type, it.bytes))
            .unwrap_or_default();
        let mentions = it.mentions.iter().map(|it| v1::Mention {
            user_id: it.user.to_wire(),
            start: number(it.start),
            length: number(it.length),
        });
        let message = v1::Message {
            text: it.text,
            reply_to_seq: it.reply_to.map_or(0, Seq::get),
            forwarded: it.forwarded.map(|it| v1::Forwarded {
                author: Some(v1::User {
                    user_id: it.author.id.to_wire(),
                    name: it.author.name,
                }),
                sent_at_ms: it.sent_at_ms,
            }),
            mentions: mentions.collect(),
            mentions_everybody: it.mentions_everybody,
            content_type,
            body,
            media: it.media.iter().map(Media::to_wire).collect(),
        };
        message.try_into()
    }
}

/// A message of a conversation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MessagePlace {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u8, name: &str) -> Member {
        Member {
            user: User {
                id: UserId::new([id; 16]),
                name: name.to_owned(),
            },
            delivered_seq: Seq::ZERO,
            read_seq: Seq::ZERO,
            role: None,
        }
    }

    #[test]
    fn a_text_mentions_members_by_their_names() {
        let members = [member(1, "bob"), member(2, "eve.x")];
        let text = "ä @Bob, write to x@bob.example, @eve.x. @nobody @everybody!";
        let (mentions, everybody) = Message::mentioned(text, &members);
        let found: Vec<&str> = mentions
            .iter()
            .map(|it| text.get(it.start..it.start + it.length).unwrap())
            .collect();
        assert_eq!(found, ["@Bob", "@eve.x"]);
        assert!(everybody);
        let message = Message {
            text: text.to_owned(),
            mentions,
            ..Message::default()
        };
        NewMessage::try_from(message).unwrap();
    }
}
