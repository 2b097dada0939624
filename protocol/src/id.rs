//! Identities: 16 bytes each, in types that cannot be swapped.

use std::{fmt, str::FromStr};

use bytes::Bytes;

/// What was given is not an id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidId {
    /// The wrong number of bytes.
    #[error("an id has 16 bytes, not {size}")]
    Size {
        /// How many there were.
        size: usize,
    },
    /// Not the text form: 32 hexadecimal digits, with or without hyphens.
    #[error("an id is written as 32 hexadecimal digits")]
    Text,
}

/// Writes 16 bytes as a UUID is written (RFC 9562, section 4).
fn write_uuid(bytes: [u8; 16], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            formatter.write_str("-")?;
        }
        write!(formatter, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Result<[u8; 16], InvalidId> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| *character != '-')
        .map(|character| {
            character
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()
        .ok_or(InvalidId::Text)?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit))
        .collect();
    if digits.len() != 32 {
        return Err(InvalidId::Text);
    }
    bytes.try_into().map_err(|_| InvalidId::Text)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id with these bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn bytes(&self) -> [u8; 16] {
                self.0
            }

            /// Its bytes, as a field of a frame.
            #[must_use]
            pub fn to_wire(self) -> Bytes {
                Bytes::copy_from_slice(&self.0)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;

            fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
                let size = bytes.len();
                bytes.try_into().map(Self).map_err(|_| InvalidId::Size { size })
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_uuid(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(self.0, formatter)
            }
        }
    };
}

id! {
    /// A person's account.
    UserId
}

id! {
    /// One installation of a client: it holds one credential, one local database.
    DeviceId
}

id! {
    /// A direct chat or a group.
    ConversationId
}

id! {
    /// A photo or file, of which the server gave it.
    MediaId
}

id! {
    /// A request's identity, made by the client before its first try: what it
    /// asks for happens at most once per sending user and message id.
    MessageId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_and_read_as_a_uuid() {
        let text = "0190163d-8694-739b-aea5-966c26f8ad91";
        let id: MessageId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.bytes()[0..2], [0x01, 0x90]);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "0190163d", "zz90163d-8694-739b-aea5-966c26f8ad91", "é"] {
            assert_eq!(text.parse::<UserId>(), Err(InvalidId::Text), "{text:?}");
        }
        assert_eq!(
            UserId::try_from(&[1, 2][..]),
            Err(InvalidId::Size { size: 2 })
        );
    }
}
