//! Invites to groups: the secret of one, and the link that holds it.

use std::{fmt, str::FromStr};

use bytes::Bytes;

use crate::id::{ConversationId, InvalidId};

/// What proves that somebody was invited: 16 random bytes, never printed but in a link.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct InviteSecret([u8; 16]);

impl InviteSecret {
    /// The secret with these bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn reveal(&self) -> [u8; 16] {
        self.0
    }

    /// Its bytes, as a field of a frame.
    #[must_use]
    pub fn to_wire(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl TryFrom<&[u8]> for InviteSecret {
    type Error = InvalidId;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
        let size = bytes.len();
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| InvalidId::Size { size })
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InviteSecret")
    }
}

/// What a link begins with.
const PREFIX: &str = "magpie:join/";

/// How an invite is handed on: `magpie:join/`, and 64 hexadecimal digits, which are those of the
/// group's id and of the secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InviteLink {
    /// The group.
    pub conversation: ConversationId,
    /// What lets into it.
    pub secret: InviteSecret,
}

/// What was given is no link of an invite.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a link of an invite is {PREFIX} and 64 hexadecimal digits")]
pub struct InvalidInviteLink;

impl fmt::Display for InviteLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(PREFIX)?;
        let (group, secret) = (self.conversation.bytes(), self.secret.reveal());
        for byte in group.iter().chain(&secret) {
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for InviteLink {
    type Err = InvalidInviteLink;

    fn from_str(text: &str) -> Result<Self, InvalidInviteLink> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(InvalidInviteLink)?;
        if digits.len() != 64 || digits.contains('-') {
            return Err(InvalidInviteLink);
        }
        let (group, secret) = digits.split_at_checked(32).ok_or(InvalidInviteLink)?;
        let id = |digits: &str| {
            digits
                .parse::<ConversationId>()
                .map_err(|_| InvalidInviteLink)
        };
        Ok(Self {
            conversation: id(group)?,
            secret: InviteSecret::new(id(secret)?.bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_it_was_written() {
        let link = InviteLink {
            conversation: ConversationId::new([0xab; 16]),
            secret: InviteSecret::new([0x0c; 16]),
        };
        let text = link.to_string();
        let expected = format!("magpie:join/{}{}", "ab".repeat(16), "0c".repeat(16));
        assert_eq!(text, expected);
        assert_eq!(text.parse(), Ok(link));
        assert_eq!(format!(" {text}\n").parse(), Ok(link));
        // Nowhere else.
        assert!(!format!("{link:?}").contains("0c0c"));
    }

    #[test]
    fn what_is_no_link_is_refused() {
        let digits = "0".repeat(64);
        for wrong in [
            String::new(),
            digits.clone(),
            format!("magpie:join/{}", "0".repeat(63)),
            format!("magpie:join/{digits}0"),
            format!("magpie:join/{}-{}", "0".repeat(32), "0".repeat(31)),
            format!("magpie:join/{}", "g".repeat(64)),
            format!("magpie:join/{}", "é".repeat(32)),
            format!("magpie:leave/{digits}"),
        ] {
            assert_eq!(
                wrong.parse::<InviteLink>(),
                Err(InvalidInviteLink),
                "{wrong}"
            );
        }
    }
}
