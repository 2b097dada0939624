//! What people say, checked once: a text, a body of the app's own, or both, and what
//! belongs to it.

use std::fmt;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    id::UserId,
    limits::{
        BODY_SIZE_MAX, CONTENT_TYPE_SIZE_MAX, EMOJI_SIZE_MAX, MENTIONS_MAX, MESSAGE_SIZE_MAX,
    },
    media::{self, InvalidMedia, MediaReference},
    seq::Seq,
    text::{InvalidText, MessageText, UserName, at_most},
    wire::v1,
};

/// Why a message is not acceptable. Never carries what was said.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidMessage {
    /// Nothing is in it.
    #[error("a message has a text, a body, photos or files; this one has nothing")]
    Empty,
    /// The text, the name of an author, or a reaction.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// Bytes above a limit.
    #[error("the {what} has {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        size: usize,
        /// How many there may be.
        max: usize,
    },
    /// A body without a content type, a content type without a body, or one that is
    /// not 1 to 127 printable ASCII characters.
    #[error(
        "a body, and nothing else, has a content type of 1 to {CONTENT_TYPE_SIZE_MAX} printable \
         ASCII characters"
    )]
    ContentType,
    /// The seq of what is answered is none.
    #[error("reply_to_seq is {seq}, which no event has")]
    ReplyTo {
        /// What it is.
        seq: u64,
    },
    /// More mentions than there may be.
    #[error("{count} mentions exceed the limit of {MENTIONS_MAX}")]
    TooManyMentions {
        /// How many.
        count: usize,
    },
    /// A mention that means no part of the text: outside it, empty, not on the
    /// boundaries of characters, or not behind the one before.
    #[error(
        "mention {number} is at {start} with length {length}: mentions are parts of the text, in \
         its order"
    )]
    Mention {
        /// Which one, counted from 1.
        number: usize,
        /// Where it begins.
        start: u32,
        /// Its length.
        length: u32,
    },
    /// A user without an id of 16 bytes.
    #[error("the id of {who} does not have 16 bytes")]
    User {
        /// Who.
        who: &'static str,
    },
    /// Photos and files.
    #[error(transparent)]
    Media(#[from] InvalidMedia),
    /// An edit says what the message answers, where it comes from, or what is in it.
    #[error(
        "an edit changes neither what the message answers, nor where it comes from, nor its \
         photos and files"
    )]
    EditedOrigin,
}

/// A message to be sent: acceptable as a whole. At most [`MESSAGE_SIZE_MAX`] bytes.
#[derive(Clone, PartialEq)]
pub struct NewMessage(Box<v1::Message>);

/// Nothing in it is unequal to itself.
impl Eq for NewMessage {}

impl NewMessage {
    /// As it goes over the wire.
    #[must_use]
    pub const fn as_wire(&self) -> &v1::Message {
        &self.0
    }

    /// As it goes over the wire, given away.
    #[must_use]
    pub fn into_wire(self) -> v1::Message {
        *self.0
    }

    /// Encoded: the same message always gives the same bytes.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    /// The text; may be empty if there is something else.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Bytes of it all, encoded.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.encoded_len()
    }

    /// The event that it answers.
    #[must_use]
    pub fn reply_to(&self) -> Option<Seq> {
        (self.0.reply_to_seq > 0).then(|| Seq::new(self.0.reply_to_seq))
    }

    /// It is meant for all members.
    #[must_use]
    pub fn mentions_everybody(&self) -> bool {
        self.0.mentions_everybody
    }

    /// The photos and files that it refers to.
    #[must_use]
    pub fn media(&self) -> Vec<MediaReference> {
        media::references(&self.0)
    }

    /// The same, as an answer to an event.
    #[must_use]
    pub fn answering(mut self, seq: Seq) -> Self {
        self.0.reply_to_seq = seq.get();
        self
    }
}

/// A text alone.
impl From<MessageText> for NewMessage {
    fn from(text: MessageText) -> Self {
        Self(Box::new(v1::Message {
            text: text.into_string(),
            ..Default::default()
        }))
    }
}

/// A text alone.
impl TryFrom<String> for NewMessage {
    type Error = InvalidMessage;

    fn try_from(text: String) -> Result<Self, InvalidMessage> {
        Ok(MessageText::try_from(text)?.into())
    }
}

/// A text alone.
impl TryFrom<&str> for NewMessage {
    type Error = InvalidMessage;

    fn try_from(text: &str) -> Result<Self, InvalidMessage> {
        text.to_owned().try_into()
    }
}

impl TryFrom<v1::Message> for NewMessage {
    type Error = InvalidMessage;

    fn try_from(it: v1::Message) -> Result<Self, InvalidMessage> {
        if it.text.is_empty() && it.body.is_empty() && it.media.is_empty() {
            return Err(InvalidMessage::Empty);
        }
        if !it.text.is_empty() {
            MessageText::check(&it.text)?;
        }
        check_body(&it)?;
        if i64::try_from(it.reply_to_seq).is_err() {
            let seq = it.reply_to_seq;
            return Err(InvalidMessage::ReplyTo { seq });
        }
        check_mentions(&it)?;
        media::check(&it)?;
        if let Some(forwarded) = &it.forwarded {
            let author = forwarded.author.as_ref();
            let author = author.ok_or(InvalidMessage::User { who: "the author" })?;
            check_user("the author", &author.user_id)?;
            UserName::parse(&author.name)?;
        }
        at_most_bytes("message", it.encoded_len(), MESSAGE_SIZE_MAX)?;
        Ok(Self(Box::new(it)))
    }
}

/// Says how long it is, and no more: what people say does not belong into logs.
impl fmt::Debug for NewMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NewMessage({} bytes)", self.size())
    }
}

/// What a message says instead, in an edit: neither an answer nor forwarded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edit(NewMessage);

impl Edit {
    /// The message itself.
    #[must_use]
    pub const fn message(&self) -> &NewMessage {
        &self.0
    }

    /// The message itself, given away.
    #[must_use]
    pub fn into_message(self) -> NewMessage {
        self.0
    }
}

impl TryFrom<NewMessage> for Edit {
    type Error = InvalidMessage;

    fn try_from(message: NewMessage) -> Result<Self, InvalidMessage> {
        let it = message.as_wire();
        if it.reply_to_seq > 0 || it.forwarded.is_some() || !it.media.is_empty() {
            return Err(InvalidMessage::EditedOrigin);
        }
        Ok(Self(message))
    }
}

impl TryFrom<v1::Message> for Edit {
    type Error = InvalidMessage;

    fn try_from(message: v1::Message) -> Result<Self, InvalidMessage> {
        NewMessage::try_from(message)?.try_into()
    }
}

/// A reaction: 1 to [`EMOJI_SIZE_MAX`] bytes of UTF-8 without control characters or
/// white space.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Emoji(String);

impl Emoji {
    /// The reaction.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Emoji {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "reaction";
        if text.is_empty() {
            return Err(InvalidText::Empty { what: WHAT });
        }
        at_most(WHAT, text.len(), EMOJI_SIZE_MAX, "bytes")?;
        let mut characters = text.chars();
        if let Some(character) = characters.find(|it| it.is_control() || it.is_whitespace()) {
            let allowed = "any printable character but white space";
            return Err(InvalidText::Character {
                what: WHAT,
                character,
                allowed,
            });
        }
        Ok(Self(text))
    }
}

fn check_body(it: &v1::Message) -> Result<(), InvalidMessage> {
    at_most_bytes("body", it.body.len(), BODY_SIZE_MAX)?;
    let size = it.content_type.len();
    let is_printable = it
        .content_type
        .bytes()
        .all(|byte| (b' '..=b'~').contains(&byte));
    let has_body = !it.body.is_empty();
    if has_body == (size > 0) && size <= CONTENT_TYPE_SIZE_MAX && is_printable {
        return Ok(());
    }
    Err(InvalidMessage::ContentType)
}

fn check_mentions(it: &v1::Message) -> Result<(), InvalidMessage> {
    let count = it.mentions.len();
    if count > MENTIONS_MAX {
        return Err(InvalidMessage::TooManyMentions { count });
    }
    let mut free_from = 0_usize;
    for (number, mention) in (1..).zip(&it.mentions) {
        let wrong = InvalidMessage::Mention {
            number,
            start: mention.start,
            length: mention.length,
        };
        let Some(range) = range(mention).filter(|range| range.start >= free_from) else {
            return Err(wrong);
        };
        if it.text.get(range.clone()).is_none_or(str::is_empty) {
            return Err(wrong);
        }
        check_user("a mentioned user", &mention.user_id)?;
        free_from = range.end;
    }
    Ok(())
}

fn range(mention: &v1::Mention) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(mention.start).ok()?;
    let length = usize::try_from(mention.length).ok()?;
    Some(start..start.checked_add(length)?)
}

fn check_user(who: &'static str, id: &Bytes) -> Result<(), InvalidMessage> {
    UserId::try_from(id.as_ref())
        .map(drop)
        .map_err(|_| InvalidMessage::User { who })
}

fn at_most_bytes(what: &'static str, size: usize, max: usize) -> Result<(), InvalidMessage> {
    if size > max {
        return Err(InvalidMessage::TooLarge { what, size, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> v1::Message {
        v1::Message {
            text: text.to_owned(),
            ..Default::default()
        }
    }

    fn mention(start: u32, length: u32) -> v1::Mention {
        v1::Mention {
            user_id: vec![1; 16].into(),
            start,
            length,
        }
    }

    fn refused(message: v1::Message) -> InvalidMessage {
        NewMessage::try_from(message).unwrap_err()
    }

    #[test]
    fn a_message_has_a_text_a_body_or_both() {
        let body = v1::Message {
            content_type: "application/octet-stream".to_owned(),
            body: vec![0; BODY_SIZE_MAX].into(),
            ..Default::default()
        };
        let both = v1::Message {
            text: "x".repeat(16_384),
            ..body.clone()
        };
        for message in [text("hi"), body.clone(), both] {
            NewMessage::try_from(message).unwrap();
        }
        assert_eq!(refused(v1::Message::default()), InvalidMessage::Empty);
        let larger = v1::Message {
            body: vec![0; BODY_SIZE_MAX + 1].into(),
            ..body.clone()
        };
        assert!(matches!(refused(larger), InvalidMessage::TooLarge { .. }));
        for (content_type, body) in [
            ("", b"x".as_slice()),
            ("text/plain", b""),
            ("text\n", b"x"),
            (&"x".repeat(128), b"x"),
        ] {
            let odd = v1::Message {
                content_type: content_type.to_owned(),
                body: body.to_vec().into(),
                ..text("hi")
            };
            assert_eq!(refused(odd), InvalidMessage::ContentType);
        }
    }

    #[test]
    fn a_mention_is_a_part_of_the_text_in_its_order() {
        let with = |mentions: Vec<v1::Mention>| v1::Message {
            mentions,
            ..text("ä @bob @eve")
        };
        // "ä" has two bytes.
        NewMessage::try_from(with(vec![mention(3, 4), mention(8, 4)])).unwrap();
        for wrong in [
            vec![mention(8, 4), mention(3, 4)],
            vec![mention(3, 4), mention(6, 4)],
            vec![mention(1, 2)],
            vec![mention(3, 0)],
            vec![mention(8, 5)],
            vec![mention(u32::MAX, u32::MAX)],
        ] {
            assert!(matches!(
                refused(with(wrong)),
                InvalidMessage::Mention { .. }
            ));
        }
        let many = with(vec![mention(3, 4); 65]);
        assert_eq!(refused(many), InvalidMessage::TooManyMentions { count: 65 });
    }

    #[test]
    fn an_edit_is_no_answer_and_not_forwarded() {
        Edit::try_from(text("hi")).unwrap();
        let answer = v1::Message {
            reply_to_seq: 3,
            ..text("hi")
        };
        assert_eq!(
            Edit::try_from(answer).unwrap_err(),
            InvalidMessage::EditedOrigin
        );
    }

    #[test]
    fn a_reaction_is_short_and_printable() {
        for good in ["👍", "👩‍👩‍👧‍👦", "+1"] {
            Emoji::try_from(good.to_owned()).unwrap();
        }
        for bad in ["", "a b", "a\n", &"x".repeat(65)] {
            Emoji::try_from(bad.to_owned()).unwrap_err();
        }
    }

    #[test]
    fn what_was_said_does_not_print_itself() {
        let message = NewMessage::try_from(text("secret")).unwrap();
        assert_eq!(format!("{message:?}"), "NewMessage(8 bytes)");
    }
}
