//! Photos and files in a message, checked once: what every device must know of them
//! before it has fetched any.

use crate::{
    id::MediaId,
    limits::{
        CONTENT_TYPE_SIZE_MAX, FILE_NAME_SIZE_MAX, MEDIA_COUNT_MAX, PIXELS_MAX, THUMBHASH_SIZE_MAX,
        THUMBNAILS_MAX,
    },
    wire::v1,
};

/// Why photos and files in a message are not acceptable.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidMedia {
    /// More than there may be.
    #[error("{count} photos and files exceed the limit of {MEDIA_COUNT_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// The same twice, also as a thumbnail.
    #[error("photo or file {number} is in the message already")]
    Twice {
        /// Which one, counted from 1.
        number: usize,
    },
    /// A field that cannot be.
    #[error("{field} of photo or file {number} must be {expected}")]
    Field {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },
}

/// Something that a message refers to, or that is to be a photo of somebody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaReference {
    /// What.
    pub id: MediaId,
    /// Bytes and SHA-256, if the message says so: of thumbnails it does not.
    pub exactly: Option<(u64, [u8; 32])>,
}

impl MediaReference {
    /// To something of which no more is said.
    #[must_use]
    pub const fn of(id: MediaId) -> Self {
        Self { id, exactly: None }
    }
}

/// All that a message refers to, each once if it was checked.
#[must_use]
pub fn references(message: &v1::Message) -> Vec<MediaReference> {
    let mut found = Vec::new();
    for it in &message.media {
        let id = MediaId::try_from(it.media_id.as_ref());
        let sha256 = <[u8; 32]>::try_from(it.sha256.as_ref());
        if let (Ok(id), Ok(sha256)) = (id, sha256) {
            let exactly = Some((it.size, sha256));
            found.push(MediaReference { id, exactly });
        }
        let thumbnails = it.thumbnail_ids.iter();
        let ids = thumbnails.filter_map(|id| MediaId::try_from(id.as_ref()).ok());
        found.extend(ids.map(MediaReference::of));
    }
    found
}

/// Checks what a message refers to.
pub(crate) fn check(message: &v1::Message) -> Result<(), InvalidMedia> {
    let count = message.media.len();
    if count > MEDIA_COUNT_MAX {
        return Err(InvalidMedia::TooMany { count });
    }
    let mut ids = Vec::new();
    for (number, it) in (1..).zip(&message.media) {
        check_one(number, it)?;
        for id in std::iter::once(&it.media_id).chain(&it.thumbnail_ids) {
            if ids.contains(&id) {
                return Err(InvalidMedia::Twice { number });
            }
            ids.push(id);
        }
    }
    Ok(())
}

fn check_one(number: usize, it: &v1::Media) -> Result<(), InvalidMedia> {
    let must = |is_right, field, expected| match is_right {
        true => Ok(()),
        false => Err(InvalidMedia::Field {
            number,
            field,
            expected,
        }),
    };
    let is_printable = |byte: u8| (b'!'..=b'~').contains(&byte);
    let size = it.content_type.len();
    let is_type =
        (1..=CONTENT_TYPE_SIZE_MAX).contains(&size) && it.content_type.bytes().all(is_printable);
    must(it.media_id.len() == 16, "media_id", "16 bytes")?;
    must(it.size > 0, "size", "at least 1")?;
    must(it.sha256.len() == 32, "sha256", "32 bytes")?;
    must(
        is_type,
        "content_type",
        "1 to 127 printable ASCII characters",
    )?;
    let has_size = it.width <= PIXELS_MAX && it.height <= PIXELS_MAX;
    let has_both = (it.width == 0) == (it.height == 0);
    must(
        has_size && has_both,
        "width and height",
        "both 0, or 1 to 65535",
    )?;
    let thumbhash = it.thumbhash.len();
    must(
        thumbhash <= THUMBHASH_SIZE_MAX,
        "thumbhash",
        "at most 32 bytes",
    )?;
    let thumbnails = &it.thumbnail_ids;
    let are_ids = thumbnails.iter().all(|id| id.len() == 16);
    let are_few = thumbnails.len() <= THUMBNAILS_MAX;
    must(are_ids && are_few, "thumbnail_ids", "at most 2 of 16 bytes")?;
    let expected = "at most 255 bytes, a name and no path, without control characters";
    must(is_file_name(&it.file_name), "file_name", expected)
}

/// Whether somebody can save a file under this name, wherever they are, and read what it
/// is. Empty is no name.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    // Those that turn text around make gpj.exe of exe.jpg.
    let is_allowed = |it: char| {
        let turns = matches!(it, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        !it.is_control() && !turns && !matches!(it, '/' | '\\' | ':' | '\u{2028}' | '\u{2029}')
    };
    let is_a_place = matches!(name, "." | "..");
    name.len() <= FILE_NAME_SIZE_MAX && !is_a_place && name.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(id: u8) -> v1::Media {
        v1::Media {
            media_id: vec![id; 16].into(),
            size: 1_000,
            content_type: "image/jpeg".to_owned(),
            sha256: vec![id; 32].into(),
            width: 640,
            height: 480,
            thumbhash: vec![1; 25].into(),
            thumbnail_ids: vec![vec![id + 100; 16].into()],
            file_name: "at the sea.jpg".to_owned(),
        }
    }

    fn checked(media: Vec<v1::Media>) -> Result<(), InvalidMedia> {
        check(&v1::Message {
            media,
            ..Default::default()
        })
    }

    #[test]
    fn a_message_has_up_to_ten_of_them_each_once() {
        let photos = |count| (0..count).map(photo).collect::<Vec<_>>();
        assert_eq!(checked(photos(10)), Ok(()));
        let refused = checked(photos(11)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "11 photos and files exceed the limit of 10"
        );
        assert_eq!(
            checked(vec![photo(1), photo(1)]),
            Err(InvalidMedia::Twice { number: 2 })
        );
        let mut own_thumbnail = photo(1);
        own_thumbnail.thumbnail_ids = vec![own_thumbnail.media_id.clone()];
        assert_eq!(
            checked(vec![own_thumbnail]),
            Err(InvalidMedia::Twice { number: 1 })
        );
    }

    #[test]
    fn each_field_is_what_it_may_be() {
        type Spoil = fn(&mut v1::Media);
        let spoil: [(&str, Spoil); 11] = [
            ("media_id", |it| it.media_id = vec![1; 15].into()),
            ("size", |it| it.size = 0),
            ("sha256", |it| it.sha256 = vec![].into()),
            ("content_type", |it| it.content_type = String::new()),
            ("content_type", |it| it.content_type = "a b".to_owned()),
            ("width and height", |it| it.width = 65_536),
            ("width and height", |it| it.height = 0),
            ("thumbhash", |it| it.thumbhash = vec![1; 33].into()),
            ("thumbnail_ids", |it| {
                it.thumbnail_ids = vec![vec![1; 15].into()]
            }),
            ("thumbnail_ids", |it| {
                it.thumbnail_ids = (1..4).map(|id| vec![id; 16].into()).collect()
            }),
            ("file_name", |it| it.file_name = "../x".to_owned()),
        ];
        for (wrong, spoil) in spoil {
            let mut it = photo(7);
            spoil(&mut it);
            match checked(vec![it]) {
                Err(InvalidMedia::Field { field, .. }) => assert_eq!(field, wrong),
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_file_name_is_no_path_and_does_not_deceive() {
        for good in ["", "a.jpg", "ä b (1).png", ".hidden", "...", "안녕"] {
            assert!(is_file_name(good), "{good:?}");
        }
        let long = "x".repeat(256);
        let bad = [
            ".",
            "..",
            "a/b",
            "a\\b",
            "C:x",
            "a\0",
            "a\nb",
            "x\u{202e}gpj.exe",
            "\u{2066}x",
            &long,
        ];
        for bad in bad {
            assert!(!is_file_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_a_message_refers_to_is_said_with_its_bytes_if_they_are_known() {
        let message = v1::Message {
            media: vec![photo(1)],
            ..Default::default()
        };
        let id = |id| MediaId::new([id; 16]);
        let photo = MediaReference {
            id: id(1),
            exactly: Some((1_000, [1; 32])),
        };
        let thumbnail = MediaReference {
            id: id(101),
            exactly: None,
        };
        assert_eq!(references(&message), [photo, thumbnail]);
    }
}
