//! What messages of this world say.

use magpie_audit::Digest;
use magpie_protocol::id::{DeviceId, MessageId, UserId};

/// What a message says, or does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// A text of so many bytes, at least.
    Text(usize),
    /// Somebody becomes a member.
    Join(UserId),
    /// Somebody is a member no more; they still see this.
    Leave(UserId),
}

impl Content {
    pub(crate) fn text(&self, id: MessageId) -> String {
        match self {
            Self::Text(size) => format!("{id:?}{}", "x".repeat(size.saturating_sub(36))),
            Self::Join(user) => format!("+{user}"),
            Self::Leave(user) => format!("-{user}"),
        }
    }

    pub(crate) fn digest(&self, id: MessageId) -> Digest {
        match self {
            Self::Text(_) => Digest::of(&id.bytes()),
            Self::Join(_) | Self::Leave(_) => Digest::of(self.text(id).as_bytes()),
        }
    }

    /// Whether its `accepted` stands for the event.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Reads a text back; `None` if it is none of this world.
    pub(crate) fn parse(text: &str, id: MessageId) -> Option<Self> {
        let user = |text: &str| text.parse::<UserId>().ok();
        if let Some(name) = text.strip_prefix('+') {
            user(name).map(Self::Join)
        } else if let Some(name) = text.strip_prefix('-') {
            user(name).map(Self::Leave)
        } else {
            let begins = text.get(..36).and_then(|it| it.parse::<MessageId>().ok());
            (begins == Some(id)).then_some(Self::Text(text.len()))
        }
    }
}

/// Every 16th message of a device is one that the server refuses for good.
pub(crate) fn is_refusable(id: MessageId) -> bool {
    id.bytes().last().is_some_and(|last| last % 16 == 15)
}

/// The id of a device's message: when it was made, by the device's clock, whose it
/// is, and its place in the person's order.
pub(crate) fn message_id(device: DeviceId, at_ms: i64, place: u32) -> MessageId {
    let mut bytes = device.bytes();
    bytes.rotate_right(6);
    let [_, _, time @ ..] = at_ms.to_be_bytes();
    let (head, rest) = bytes.split_at_mut(time.len());
    head.copy_from_slice(&time);
    let (_, tail) = rest.split_at_mut(6);
    tail.copy_from_slice(&place.to_be_bytes());
    MessageId::new(bytes)
}
