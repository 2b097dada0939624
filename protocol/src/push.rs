//! Where a device's pushes go.

use std::fmt;

use crate::{
    limits::{APP_ID_SIZE_MAX, PUSH_TOKEN_SIZE_MAX},
    text::{InvalidText, at_most},
};

/// What a device runs on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Platform {
    /// Android.
    Android,
    /// iOS and its relatives.
    Ios,
    /// A browser.
    Web,
}

impl Platform {
    /// The number by which it is known on the wire and stored.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Android => 1,
            Self::Ios => 2,
            Self::Web => 3,
        }
    }

    /// The platform with this number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Android,
            2 => Self::Ios,
            3 => Self::Web,
            _ => return None,
        })
    }
}

/// FCM's name for an app on a device: 1 to [`PUSH_TOKEN_SIZE_MAX`] printable
/// ASCII characters; never printed.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct PushToken(String);

impl PushToken {
    /// Checks a token.
    ///
    /// # Errors
    ///
    /// [`InvalidText`].
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        parse("push token", text, PUSH_TOKEN_SIZE_MAX).map(Self)
    }

    /// The token itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PushToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PushToken(***)")
    }
}

/// Which app it is, as its store calls it (`org.example.chat`): 1 to
/// [`APP_ID_SIZE_MAX`] printable ASCII characters.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AppId(String);

impl AppId {
    /// Checks an app's id.
    ///
    /// # Errors
    ///
    /// [`InvalidText`].
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        parse("app id", text, APP_ID_SIZE_MAX).map(Self)
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn parse(what: &'static str, text: &str, size_max: usize) -> Result<String, InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::Empty { what });
    }
    at_most(what, text.len(), size_max, "bytes")?;
    if let Some(character) = text.chars().find(|it| !it.is_ascii_graphic()) {
        let allowed = "printable ASCII without spaces";
        return Err(InvalidText::Character {
            what,
            character,
            allowed,
        });
    }
    Ok(text.to_owned())
}

/// Where a device's pushes go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PushAddress {
    /// What it runs on.
    pub platform: Platform,
    /// Which app.
    pub app: AppId,
    /// Where FCM finds it.
    pub token: PushToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printable_and_does_not_print_itself() {
        let token = PushToken::parse("abc:APA91b-x_y").unwrap();
        assert!(!format!("{token:?}").contains("APA91b"));
        for text in ["", "a b", "ä", "a\n", &"a".repeat(PUSH_TOKEN_SIZE_MAX + 1)] {
            assert!(PushToken::parse(text).is_err(), "{text:?}");
        }
        assert!(PushToken::parse(&"a".repeat(PUSH_TOKEN_SIZE_MAX)).is_ok());
    }

    #[test]
    fn platforms_keep_their_numbers() {
        for platform in [Platform::Android, Platform::Ios, Platform::Web] {
            assert_eq!(
                Platform::from_number(platform.number().into()),
                Some(platform)
            );
        }
        assert_eq!(Platform::from_number(0), None);
        assert_eq!(Platform::from_number(4), None);
    }
}
