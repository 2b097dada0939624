//! What people type, checked once: whoever holds one of these holds a good one.

use std::fmt;

use crate::limits::{
    DESCRIPTION_LENGTH_MAX, DEVICE_NAME_LENGTH_MAX, INVITATION_SIZE_MAX, NICKNAME_LENGTH_MAX,
    PASSWORD_LENGTH_MIN, PASSWORD_SIZE_MAX, REPORT_SIZE_MAX, TEXT_SIZE_MAX, TITLE_LENGTH_MAX,
    USER_NAME_LENGTH_MAX, USER_NAME_LENGTH_MIN,
};

/// Why a name, title, text or password is not acceptable. Never carries what
/// was typed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing in it.
    #[error("{what} is empty")]
    Empty {
        /// Which one.
        what: &'static str,
    },
    /// Too short.
    #[error("{what} of {length} characters is shorter than {min}")]
    TooShort {
        /// Which one.
        what: &'static str,
        /// Characters.
        length: usize,
        /// Characters.
        min: usize,
    },
    /// Too long.
    #[error("{what} of {length} {unit} exceeds the limit of {max}")]
    TooLong {
        /// Which one.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
        /// What is counted: bytes or characters.
        unit: &'static str,
    },
    /// A character that may not be there.
    #[error("{what} holds {character:?}; allowed is {allowed}")]
    Character {
        /// Which one.
        what: &'static str,
        /// The first offending character.
        character: char,
        /// What would be right.
        allowed: &'static str,
    },
}

/// A user's name: `[a-z0-9_.]{3,32}`, folded to lower case.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserName(String);

impl UserName {
    /// Checks and folds what a person typed.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] names the length or the first character that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        const WHAT: &str = "user name";
        let length = text.chars().count();
        if let Some(character) = text
            .chars()
            .find(|character| !matches!(character, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.'))
        {
            let allowed = "a-z, 0-9, '_' and '.'";
            return Err(InvalidText::Character {
                what: WHAT,
                character,
                allowed,
            });
        }
        if length < USER_NAME_LENGTH_MIN {
            return Err(InvalidText::TooShort {
                what: WHAT,
                length,
                min: USER_NAME_LENGTH_MIN,
            });
        }
        at_most(WHAT, length, USER_NAME_LENGTH_MAX, "characters")?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The folded name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The text of a message: 1 to [`TEXT_SIZE_MAX`] bytes of UTF-8 without NUL.
#[derive(Clone, Eq, PartialEq)]
pub struct MessageText(String);

impl MessageText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, given away.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// Whether a text is one.
    pub(crate) fn check(text: &str) -> Result<(), InvalidText> {
        const WHAT: &str = "message text";
        if text.is_empty() {
            return Err(InvalidText::Empty { what: WHAT });
        }
        at_most(WHAT, text.len(), TEXT_SIZE_MAX, "bytes")?;
        no_nul(WHAT, text)
    }
}

impl TryFrom<String> for MessageText {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        Self::check(&text)?;
        Ok(Self(text))
    }
}

/// Says how long it is, and no more: texts do not belong into logs.
impl fmt::Debug for MessageText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MessageText({} bytes)", self.0.len())
    }
}

/// The title of a group: 1 to [`TITLE_LENGTH_MAX`] characters without NUL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Title(String);

impl Title {
    /// The title.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Title {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "title";
        if text.is_empty() {
            return Err(InvalidText::Empty { what: WHAT });
        }
        at_most(WHAT, text.chars().count(), TITLE_LENGTH_MAX, "characters")?;
        no_nul(WHAT, &text)?;
        Ok(Self(text))
    }
}

/// What a group says of itself: at most [`DESCRIPTION_LENGTH_MAX`] characters without NUL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description(String);

impl Description {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Description {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "description";
        at_most(
            WHAT,
            text.chars().count(),
            DESCRIPTION_LENGTH_MAX,
            "characters",
        )?;
        no_nul(WHAT, &text)?;
        Ok(Self(text))
    }
}

/// The name of a device: at most [`DEVICE_NAME_LENGTH_MAX`] characters, without
/// control characters; may be empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceName(String);

impl DeviceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DeviceName {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "device name";
        at_most(
            WHAT,
            text.chars().count(),
            DEVICE_NAME_LENGTH_MAX,
            "characters",
        )?;
        no_control(WHAT, &text)?;
        Ok(Self(text))
    }
}

/// What a user calls another: at most [`NICKNAME_LENGTH_MAX`] characters, without
/// control characters; may be empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nickname(String);

impl Nickname {
    /// The nickname.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Nickname {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "nickname";
        let length = text.chars().count();
        at_most(WHAT, length, NICKNAME_LENGTH_MAX, "characters")?;
        no_control(WHAT, &text)?;
        Ok(Self(text))
    }
}

/// A password: at least [`PASSWORD_LENGTH_MIN`] characters of any kind, at most
/// [`PASSWORD_SIZE_MAX`] bytes; never shortened, never printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Password {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "password";
        let length = text.chars().count();
        if length < PASSWORD_LENGTH_MIN {
            return Err(InvalidText::TooShort {
                what: WHAT,
                length,
                min: PASSWORD_LENGTH_MIN,
            });
        }
        at_most(WHAT, text.len(), PASSWORD_SIZE_MAX, "bytes")?;
        Ok(Self(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(***)")
    }
}

/// What lets somebody register where only those who are invited may: at most
/// [`INVITATION_SIZE_MAX`] bytes, empty where nobody asks for one; never printed.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Invitation(String);

impl Invitation {
    /// The token itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Invitation {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        at_most("invitation", text.len(), INVITATION_SIZE_MAX, "bytes")?;
        Ok(Self(text))
    }
}

/// What somebody says to a report: at most [`REPORT_SIZE_MAX`] bytes without NUL; may
/// be empty; never printed.
#[derive(Clone, Eq, PartialEq)]
pub struct ReportText(String);

impl ReportText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReportText {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "text of a report";
        at_most(WHAT, text.len(), REPORT_SIZE_MAX, "bytes")?;
        no_nul(WHAT, &text)?;
        Ok(Self(text))
    }
}

impl fmt::Debug for ReportText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ReportText({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Invitation(***)")
    }
}

pub(crate) fn at_most(
    what: &'static str,
    length: usize,
    max: usize,
    unit: &'static str,
) -> Result<(), InvalidText> {
    if length > max {
        return Err(InvalidText::TooLong {
            what,
            length,
            max,
            unit,
        });
    }
    Ok(())
}

fn no_control(what: &'static str, text: &str) -> Result<(), InvalidText> {
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(InvalidText::Character {
            what,
            character,
            allowed: "any printable character",
        }),
        None => Ok(()),
    }
}

// PostgreSQL's text cannot hold U+0000; both stores refuse it alike.
fn no_nul(what: &'static str, text: &str) -> Result<(), InvalidText> {
    if text.contains('\0') {
        let allowed = "any character but NUL";
        return Err(InvalidText::Character {
            what,
            character: '\0',
            allowed,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_folded_to_lower_case() {
        assert_eq!(UserName::parse("Al.ice_9").unwrap().as_str(), "al.ice_9");
    }

    #[test]
    fn user_names_outside_the_alphabet_or_the_length_are_refused() {
        for text in ["", "ab", "al ice", "älice", "alice\n", &"a".repeat(33)] {
            assert!(UserName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_text_may_have_16384_bytes_and_not_one_more() {
        assert!(MessageText::try_from("x".repeat(16_384)).is_ok());
        let refused = MessageText::try_from("x".repeat(16_385)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "message text of 16385 bytes exceeds the limit of 16384"
        );
        assert!(MessageText::try_from(String::new()).is_err());
        assert!(MessageText::try_from("a\0b".to_owned()).is_err());
    }

    #[test]
    fn secrets_and_texts_do_not_print_themselves() {
        let password = Password::try_from("correct horse".to_owned()).unwrap();
        let text = MessageText::try_from("secret".to_owned()).unwrap();
        assert!(!format!("{password:?}{text:?}").contains("horse"));
        assert!(!format!("{password:?}{text:?}").contains("secret"));
    }
}
