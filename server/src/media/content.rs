//! What the first bytes say that something is. Nothing is decoded here.

/// How many of the first bytes are looked at.
pub(super) const HEAD_SIZE: usize = 16;

/// What is nothing that we know.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// The type of what begins like this. Only what a browser that was told so shows and
/// does not run has a name here: never HTML, SVG, XML or PDF.
pub(super) fn content_type(head: &[u8]) -> &'static str {
    let has = |at: usize, mark: &[u8]| head.get(at..).is_some_and(|it| it.starts_with(mark));
    if has(0, b"\xff\xd8\xff") {
        "image/jpeg"
    } else if has(0, b"\x89PNG\r\n\x1a\n") {
        "image/png"
    } else if has(0, b"GIF87a") || has(0, b"GIF89a") {
        "image/gif"
    } else if has(0, b"RIFF") && has(8, b"WEBP") {
        "image/webp"
    } else if has(0, b"RIFF") && has(8, b"WAVE") {
        "audio/wav"
    } else if has(4, b"ftyp") {
        iso_media(head.get(8..12).unwrap_or_default())
    } else if has(0, b"\x1a\x45\xdf\xa3") {
        "video/webm"
    } else if has(0, b"OggS") {
        "audio/ogg"
    } else if has(0, b"ID3") || has(0, b"\xff\xfb") {
        "audio/mpeg"
    } else {
        UNKNOWN
    }
}

/// By its major brand (ISO 14496-12).
fn iso_media(brand: &[u8]) -> &'static str {
    match brand {
        b"heic" | b"heix" | b"mif1" => "image/heic",
        b"avif" => "image/avif",
        b"M4A " => "audio/mp4",
        b"qt  " => "video/quicktime",
        _ => "video/mp4",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_known_by_its_first_bytes() {
        assert_eq!(content_type(b"\xff\xd8\xff\xe0\0\x10JFIF"), "image/jpeg");
        assert_eq!(content_type(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "image/png");
        assert_eq!(content_type(b"RIFF\x10\0\0\0WEBPVP8 "), "image/webp");
        assert_eq!(content_type(b"\0\0\0\x20ftypisom\0\0\0\0"), "video/mp4");
        assert_eq!(content_type(b"\0\0\0\x20ftypM4A \0\0\0\0"), "audio/mp4");
    }

    #[test]
    fn what_a_browser_would_run_and_what_is_cut_off_is_unknown() {
        let nothing: [&[u8]; 7] = [
            b"",
            b"\xff\xd8",
            b"RIFF\x10\0\0\0",
            b"<svg xmlns=\"http",
            b"<!doctype html><",
            b"<?xml version=\"1",
            b"%PDF-1.7\n%\xe2\xe3",
        ];
        for head in nothing {
            assert_eq!(content_type(head), UNKNOWN, "{head:?}");
        }
    }
}
