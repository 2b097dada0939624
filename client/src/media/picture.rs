//! Pictures: decoded within bounds, turned upright, made smaller, and written anew, so
//! that nothing is left of what a camera wrote beside the picture: where, when, and with
//! what it was taken.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    codecs::jpeg::JpegEncoder, error::LimitErrorKind, metadata::Orientation,
};
use magpie_protocol::limits::PIXELS_MAX;

use super::colours::Colours;

/// Bytes of a file with a picture. A decoder may hold all of them.
const FILE_SIZE_MAX: u64 = 32 * 1024 * 1024;

/// Bytes that decoding may take besides the file: 61 million pixels of a usual photo.
const MEMORY_MAX: u64 = 176 * 1024 * 1024;

/// How long decoding may take.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The longer side of what is sent, and of the smaller pictures of it.
const SIDE_MAX: u32 = 2_048;
const THUMBNAIL_SIDES: [u32; 2] = [240, 800];

/// The longer side of what a thumbhash is made of.
const THUMBHASH_SIDE: u32 = 100;

/// From 1 to 100.
const QUALITY: u8 = 85;
const THUMBNAIL_QUALITY: u8 = 75;

/// Why something cannot be sent as a photo.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPicture {
    /// It is none, or of a kind that is not known here.
    #[error("it is no picture of a kind that is known here: JPEG, PNG, WebP and GIF are")]
    Unknown,
    /// It cannot be decoded.
    #[error("the picture is damaged")]
    Damaged,
    /// Its file is too large.
    #[error("the file has {size} bytes, and a photo at most {FILE_SIZE_MAX}")]
    FileTooLarge {
        /// Bytes.
        size: u64,
    },
    /// It has too many pixels.
    #[error("the picture has more pixels than are decoded here; it may be sent as it is")]
    TooLarge,
    /// Decoding it takes too long.
    #[error("the picture takes too long to decode")]
    TooSlow,
    /// The file cannot be read.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What the system says.
        reason: String,
    },
}

/// A picture, encoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Picture {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What is sent of a photo.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pictures {
    /// The photo, written anew.
    pub(crate) whole: Picture,
    /// As the file has it, turned upright.
    pub(crate) pixels: (u32, u32),
    /// What the file is.
    pub(crate) content_type: &'static str,
    /// Smaller ones, the smallest first.
    pub(crate) thumbnails: Vec<Picture>,
    pub(crate) thumbhash: Vec<u8>,
}

/// Decodes a file. Of one that moves, the first picture.
pub(crate) fn read(path: &Path) -> Result<Pictures, InvalidPicture> {
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size > FILE_SIZE_MAX {
        return Err(InvalidPicture::FileTooLarge { size });
    }
    decode(file.take(FILE_SIZE_MAX))
}

/// The same of bytes, or of anything else.
pub(crate) fn decode(from: impl Read + Seek) -> Result<Pictures, InvalidPicture> {
    let until = Instant::now() + TIME_MAX;
    let mut source = BufReader::new(Timed { from, until });
    let is_progressive = is_progressive(&mut source).map_err(unreadable)?;
    source.rewind().map_err(unreadable)?;
    let reader = ImageReader::new(source).with_guessed_format();
    let mut reader = reader.map_err(unreadable)?;
    let format = reader.format().ok_or(InvalidPicture::Unknown)?;
    let content_type = content_type(format).ok_or(InvalidPicture::Unknown)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MEMORY_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    let beside = u64::from(width) * u64::from(height) * beside(format, is_progressive);
    let takes = decoder.total_bytes().saturating_add(beside);
    if takes > MEMORY_MAX || width > PIXELS_MAX || height > PIXELS_MAX {
        return Err(InvalidPicture::TooLarge);
    }
    if width == 0 || height == 0 {
        return Err(InvalidPicture::Damaged);
    }
    // What says how to turn it may be damaged, and the picture whole.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    // So may what says of which space its colours are.
    let profile = decoder.icc_profile().unwrap_or_default();
    let colours = profile.as_deref().and_then(Colours::of);
    drop(profile);
    let decoded = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    in_time(until)?;
    let pictures = pictures(decoded, (orientation, colours), content_type)?;
    in_time(until)?;
    Ok(pictures)
}

fn in_time(until: Instant) -> Result<(), InvalidPicture> {
    match Instant::now() < until {
        true => Ok(()),
        false => Err(InvalidPicture::TooSlow),
    }
}

fn pictures(
    decoded: DynamicImage,
    (orientation, colours): (Orientation, Option<Colours>),
    content_type: &'static str,
) -> Result<Pictures, InvalidPicture> {
    let (width, height) = (decoded.width(), decoded.height());
    // Large ones are gone before they are turned, which takes as much again.
    let mut whole = within(decoded, SIDE_MAX);
    whole.apply_orientation(orientation);
    let is_turned = (width > height) != (whole.width() > whole.height()) && width != height;
    let whole = match has_transparency(&whole) {
        true => {
            let mut whole = whole.into_rgba8();
            colours.iter().for_each(|it| it.turn(&mut whole, 4));
            DynamicImage::ImageRgba8(whole)
        }
        false => {
            let mut whole = whole.into_rgb8();
            colours.iter().for_each(|it| it.turn(&mut whole, 3));
            DynamicImage::ImageRgb8(whole)
        }
    };
    let longer = whole.width().max(whole.height());
    let thumbnails = THUMBNAIL_SIDES.into_iter().filter(|side| *side < longer);
    let thumbnails = thumbnails.map(|side| {
        let small = whole.thumbnail(side, side);
        encode(&small, THUMBNAIL_QUALITY)
    });
    let thumbnails = thumbnails.collect::<Result<_, _>>()?;
    let hashed = match longer > THUMBHASH_SIDE {
        true => whole.thumbnail(THUMBHASH_SIDE, THUMBHASH_SIDE).into_rgba8(),
        false => whole.to_rgba8(),
    };
    let (hashed_width, hashed_height) = (hashed.width() as usize, hashed.height() as usize);
    Ok(Pictures {
        thumbhash: thumbhash::rgba_to_thumb_hash(hashed_width, hashed_height, hashed.as_raw()),
        whole: encode(&whole, QUALITY)?,
        pixels: if is_turned {
            (height, width)
        } else {
            (width, height)
        },
        content_type,
        thumbnails,
    })
}

fn within(picture: DynamicImage, side: u32) -> DynamicImage {
    match picture.width().max(picture.height()) > side {
        true => picture.thumbnail(side, side),
        false => picture,
    }
}

/// Whether anything is seen through it: what JPEG cannot say.
fn has_transparency(picture: &DynamicImage) -> bool {
    if !picture.color().has_alpha() {
        return false;
    }
    picture.to_rgba8().pixels().any(|pixel| {
        let [.., alpha] = pixel.0;
        alpha < u8::MAX
    })
}

fn encode(picture: &DynamicImage, quality: u8) -> Result<Picture, InvalidPicture> {
    let mut bytes = Cursor::new(Vec::new());
    let content_type = if picture.color().has_alpha() {
        picture
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(refuse)?;
        "image/png"
    } else {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
        picture.write_with_encoder(encoder).map_err(refuse)?;
        "image/jpeg"
    };
    Ok(Picture {
        bytes: bytes.into_inner(),
        content_type,
        width: picture.width(),
        height: picture.height(),
    })
}

fn content_type(format: ImageFormat) -> Option<&'static str> {
    let known = [
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Png, "image/png"),
        (ImageFormat::WebP, "image/webp"),
        (ImageFormat::Gif, "image/gif"),
    ];
    let found = known.into_iter().find(|(known, _)| *known == format);
    found.map(|(_, content_type)| content_type)
}

/// Bytes for each pixel that a decoder takes besides what it gives.
const fn beside(format: ImageFormat, is_progressive: bool) -> u64 {
    match (format, is_progressive) {
        // All coefficients of up to four components.
        (ImageFormat::Jpeg, true) => 8,
        (ImageFormat::Jpeg | ImageFormat::Png, _) => 0,
        // Planes, or a frame that is smaller than the picture.
        _ => 5,
    }
}

/// Whether it is a JPEG whose decoder must hold all of it at once. What is damaged is
/// for the decoder to say.
fn is_progressive<R: Read + Seek>(source: &mut BufReader<R>) -> io::Result<bool> {
    let mut start = [0; 2];
    if source.read_exact(&mut start).is_err() || start != [0xff, 0xd8] {
        return Ok(false);
    }
    loop {
        let mut head = [0; 4];
        if let Err(error) = source.read_exact(&mut head) {
            let is_over = error.kind() == io::ErrorKind::UnexpectedEof;
            return if is_over { Ok(false) } else { Err(error) };
        }
        let [first, marker, high, low] = head;
        match (first, marker) {
            // Filling before a marker.
            (0xff, 0xff) => source.seek_relative(-3)?,
            // Baseline, or extended sequential.
            (0xff, 0xc0 | 0xc1) => return Ok(false),
            (0xff, 0xc4 | 0xc8 | 0xcc | 0x02..=0xbf | 0xd8..=0xfe) => {
                let length = i64::from(u16::from_be_bytes([high, low]));
                source.seek_relative(length - 2)?;
            }
            // Progressive, or of no known kind.
            _ => return Ok(true),
        }
    }
}

fn unreadable(error: io::Error) -> InvalidPicture {
    let kind = error.kind();
    if kind == io::ErrorKind::TimedOut {
        return InvalidPicture::TooSlow;
    }
    if kind == io::ErrorKind::UnexpectedEof {
        return InvalidPicture::Damaged;
    }
    let reason = error.to_string();
    InvalidPicture::Unreadable { reason }
}

fn refuse(error: ImageError) -> InvalidPicture {
    match error {
        ImageError::IoError(error) => unreadable(error),
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::InsufficientMemory => {
            InvalidPicture::TooLarge
        }
        ImageError::Unsupported(_) => InvalidPicture::Unknown,
        ImageError::Decoding(_)
        | ImageError::Encoding(_)
        | ImageError::Parameter(_)
        | ImageError::Limits(_) => InvalidPicture::Damaged,
    }
}

/// Gives no more once it is late: what decodes ends then.
struct Timed<R> {
    from: R,
    until: Instant,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.from.read(buffer)
    }
}

impl<R: Seek> Seek for Timed<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.from.seek(to)
    }
}

#[cfg(test)]
mod tests;
