//! What a user says of themself, and by what others find them.
//!
//! A display name is any Unicode that shows itself, and only itself: what cannot be
//! seen, or changes how the text around it is read, is refused. The directional
//! formatting characters are those of UAX #9, section 2; the other cases are those of
//! UTR #36, section 2 (visual security). Names are compared with nothing, so they are
//! not normalised: who somebody is, is said by the user name.

use std::{fmt, str::FromStr};

use crate::{
    limits::{DISPLAY_NAME_LENGTH_MAX, LINK_SECRET_SIZE, STATUS_LENGTH_MAX, USER_NAME_LENGTH_MIN},
    text::{InvalidText, UserName, at_most},
    wire::InvalidRequest,
};

/// Marks in a row that a letter may carry: no writing needs more.
const MARKS_MAX: usize = 4;

/// What a user wants to be called: at most [`DISPLAY_NAME_LENGTH_MAX`] characters; empty:
/// by the user name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DisplayName(String);

impl DisplayName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DisplayName {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "display name";
        let length = text.chars().count();
        at_most(WHAT, length, DISPLAY_NAME_LENGTH_MAX, "characters")?;
        shows_itself(WHAT, &text)?;
        Ok(Self(text))
    }
}

/// What a user says of themself in a line: at most [`STATUS_LENGTH_MAX`] characters; may be
/// empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StatusLine(String);

impl StatusLine {
    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StatusLine {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const WHAT: &str = "status line";
        let length = text.chars().count();
        at_most(WHAT, length, STATUS_LENGTH_MAX, "characters")?;
        shows_itself(WHAT, &text)?;
        Ok(Self(text))
    }
}

/// The id of a photo.
pub type PhotoId = [u8; 16];

/// What a user says of themself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Profile {
    /// What they want to be called.
    pub display_name: DisplayName,
    /// What they say in a line.
    pub status: StatusLine,
    /// The photo, if there is one.
    pub photo: Option<PhotoId>,
}

/// Whether a text shows itself and only itself.
///
/// # Errors
///
/// [`InvalidText`] names the first character that is not to be there.
fn shows_itself(what: &'static str, text: &str) -> Result<(), InvalidText> {
    let refused = |character, allowed| {
        Err(InvalidText::Character {
            what,
            character,
            allowed,
        })
    };
    let ends = [text.chars().next(), text.chars().next_back()];
    if let Some(character) = ends.into_iter().flatten().find(|it| is_blank(*it)) {
        return refused(character, "no space at either end");
    }
    let (mut before, mut marks) = (None, 0);
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if hides(character) {
            return refused(character, "any character that can be seen");
        }
        marks = if is_mark(character) { marks + 1 } else { 0 };
        if marks > MARKS_MAX || (marks > 0 && before.is_none_or(is_blank)) {
            return refused(character, "a mark on a letter, and at most 4 on one");
        }
        let joins = |other: Option<char>| other.is_some_and(|it| !is_blank(it) && !is_joiner(it));
        if is_joiner(character) && !(joins(before) && joins(rest.peek().copied())) {
            return refused(character, "a joiner between two letters or pictures");
        }
        // A flag of a part of a country, as an emoji.
        let in_flag = before.is_some_and(|it| it == '\u{1f3f4}' || is_tag(it));
        if is_tag(character) && !in_flag {
            return refused(character, "a tag behind a black flag");
        }
        before = Some(character);
    }
    Ok(())
}

/// Cannot be seen, and is not a space between words.
const fn hides(character: char) -> bool {
    matches!(
        character,
        // Control characters.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Directional formatting (UAX #9), and the deprecated ones.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{206f}'
        // Ends of lines and paragraphs.
        | '\u{2028}' | '\u{2029}'
        // Of no width, or filling what is not there.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e001f}'
        | '\u{e0080}'..='\u{e0fff}'
        // No characters.
        | '\u{fffe}' | '\u{ffff}' | '\u{fdd0}'..='\u{fdef}'
    )
}

fn is_blank(character: char) -> bool {
    // The last is a braille pattern without a dot.
    character.is_whitespace() || character == '\u{2800}'
}

const fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

const fn is_tag(character: char) -> bool {
    matches!(character, '\u{e0020}'..='\u{e007f}')
}

/// Is drawn onto what stands before it.
const fn is_mark(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}'
    )
}

/// What finds a user, and is told to whom they like: 128 random bits; never printed but by
/// who asks for it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct LinkSecret([u8; LINK_SECRET_SIZE]);

impl LinkSecret {
    /// The secret of these random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; LINK_SECRET_SIZE]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn reveal(&self) -> &[u8; LINK_SECRET_SIZE] {
        &self.0
    }
}

impl TryFrom<&[u8]> for LinkSecret {
    type Error = InvalidRequest;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        let size = LINK_SECRET_SIZE as u64;
        let secret = bytes.try_into().map(Self);
        secret.map_err(|_| InvalidRequest::OutOfBounds {
            field: "secret",
            value: bytes.len() as u64,
            min: size,
            max: size,
        })
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LinkSecret(***)")
    }
}

/// The beginning of a user name, as long as a whole one at least, folded to lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamePrefix(UserName);

impl NamePrefix {
    /// Checks and folds what a person typed.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if it is shorter than [`USER_NAME_LENGTH_MIN`], or no beginning of a
    /// name.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        const { assert!(USER_NAME_LENGTH_MIN >= 3, "too many begin with fewer") };
        UserName::parse(text).map(Self)
    }

    /// The folded beginning.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Behind the last name that begins so, in the order of bytes.
    #[must_use]
    pub fn end(&self) -> String {
        format!("{}\u{7f}", self.0)
    }
}

/// By what a user is looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FindUsers {
    /// Their whole name.
    Name(UserName),
    /// What is in their link.
    Link(UserLink),
    /// The beginning of the names of those who allow it.
    Prefix(NamePrefix),
}

/// What a user gives to whom they like, to be found by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserLink {
    /// Whose link it is.
    pub name: UserName,
    /// What proves that they gave it.
    pub secret: LinkSecret,
}

/// How the text of a link begins.
const LINK: &str = "magpie:user/";

/// As text, and in a QR code.
impl fmt::Display for UserLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = u128::from_be_bytes(*self.secret.reveal());
        write!(formatter, "{LINK}{}/{secret:032x}", self.name)
    }
}

/// A text is not that of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a link is {LINK}NAME/ and 32 hexadecimal digits")]
pub struct InvalidUserLink;

impl FromStr for UserLink {
    type Err = InvalidUserLink;

    fn from_str(text: &str) -> Result<Self, InvalidUserLink> {
        let (name, secret) = text
            .strip_prefix(LINK)
            .and_then(|rest| rest.split_once('/'))
            .ok_or(InvalidUserLink)?;
        if secret.len() != 32 || !secret.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(InvalidUserLink);
        }
        let secret = u128::from_str_radix(secret, 16).map_err(|_| InvalidUserLink)?;
        Ok(Self {
            name: UserName::parse(name).map_err(|_| InvalidUserLink)?,
            secret: LinkSecret::new(secret.to_be_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_name_is_any_unicode_that_can_be_seen() {
        for name in [
            "",
            "Ann",
            "Ann Lee",
            "Ægir Ó Súilleabháin",
            "山田 太郎",
            "山田\u{3000}太郎",
            "김철수",
            "محمد علي",
            "דוד",
            "नमस्ते",
            // With a joiner that Persian needs, and one that a family does.
            "می\u{200c}خواهم",
            "👩\u{200d}👩\u{200d}👧",
            "❤\u{fe0f} Ann",
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
            "e\u{301}\u{302}\u{303}\u{304}",
            "1",
            "<b>Ann</b>",
            &"ß".repeat(64),
        ] {
            let parsed = DisplayName::try_from(name.to_owned());
            assert_eq!(parsed.map(|it| it.0), Ok(name.to_owned()), "{name:?}");
        }
    }

    #[test]
    fn what_hides_or_turns_a_text_is_refused_in_a_display_name() {
        for name in [
            " ",
            "\u{3000}",
            "\u{2800}",
            " Ann",
            "Ann ",
            "Ann\u{a0}",
            "An\nn",
            "An\tn",
            "An\0n",
            "An\u{85}n",
            "\u{1b}[31mAnn",
            // Directional marks, embeddings, overrides, isolates.
            "Ann\u{200e}x",
            "Ann\u{200f}x",
            "Ann\u{61c}x",
            "Ann\u{202a}x",
            "Ann\u{202b}x",
            "Ann\u{202c}x",
            "Ann\u{202d}x",
            "Ann\u{202e}x",
            "Ann\u{2066}x",
            "Ann\u{2067}x",
            "Ann\u{2068}x",
            "Ann\u{2069}x",
            "Ann\u{206a}x",
            "Ann\u{2028}x",
            "Ann\u{2029}x",
            // Of no width.
            "An\u{200b}n",
            "An\u{2060}n",
            "An\u{feff}n",
            "An\u{ad}n",
            "\u{200d}Ann",
            "Ann\u{200d}",
            "An\u{200d}\u{200d}n",
            "Ann \u{200d}Lee",
            // Fillers that pass for letters.
            "\u{3164}",
            "\u{ffa0}",
            "\u{115f}\u{1160}",
            // Marks on nothing, and towers of them.
            "\u{301}Ann",
            "Ann \u{301}",
            "e\u{301}\u{301}\u{301}\u{301}\u{301}",
            "Ann\u{e0041}",
            "Ann\u{e0001}",
            "Ann\u{ffff}",
            &"x".repeat(65),
        ] {
            assert!(DisplayName::try_from(name.to_owned()).is_err(), "{name:?}");
        }
        let refused = DisplayName::try_from("Ann\u{202e}x".to_owned()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "display name holds '\\u{202e}'; allowed is any character that can be seen"
        );
    }

    #[test]
    fn a_status_line_is_longer_and_as_clean() {
        assert!(StatusLine::try_from("at sea until May".to_owned()).is_ok());
        assert!(StatusLine::try_from("x".repeat(140)).is_ok());
        assert!(StatusLine::try_from("x".repeat(141)).is_err());
        assert!(StatusLine::try_from("a\u{202e}b".to_owned()).is_err());
    }

    #[test]
    fn a_link_comes_back_from_its_text() {
        let name = UserName::parse("alice").unwrap();
        let secret = LinkSecret::new([0xab; 16]);
        let link = UserLink { name, secret };
        let text = link.to_string();
        assert_eq!(text, format!("magpie:user/alice/{}", "ab".repeat(16)));
        assert_eq!(text.parse(), Ok(link));
        for text in [
            "alice",
            "magpie:user/alice",
            "magpie:user/alice/",
            "magpie:user/alice/ab",
            "magpie:user/al/abababababababababababababababab",
            "magpie:user/alice/+bababababababababababababababab",
            "magpie:user/alice/abababababababababababababababab0",
        ] {
            assert_eq!(text.parse::<UserLink>(), Err(InvalidUserLink), "{text}");
        }
        assert_eq!(format!("{secret:?}"), "LinkSecret(***)");
    }
}
