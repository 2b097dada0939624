use image::{Rgb, RgbImage, Rgba, RgbaImage, codecs::gif::GifEncoder};

use super::*;

/// Red on the left, blue on the right.
fn halves(width: u32, height: u32) -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, _| {
        Rgb(if x < width / 2 {
            [255, 0, 0]
        } else {
            [0, 0, 255]
        })
    }))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn made(bytes: &[u8]) -> Result<Pictures, InvalidPicture> {
    decode(Cursor::new(bytes))
}

fn opened(picture: &Picture) -> DynamicImage {
    image::load_from_memory(&picture.bytes).unwrap()
}

/// What a camera writes besides: how to turn it, and a note.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
    exif.extend([
        0x12,
        0x01,
        3,
        0,
        1,
        0,
        0,
        0,
        orientation,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]);
    exif.extend(b"52.5200 N 13.4050 E");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|it| it == what)
}

/// Says another size than it has.
fn lying(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg.to_vec();
    let at = jpeg.windows(2).position(|it| it == [0xff, 0xc0]).unwrap();
    jpeg[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

#[test]
fn a_photo_is_made_smaller_and_its_small_ones_with_it() {
    let made = made(&encoded(&halves(3_000, 1_500), ImageFormat::Jpeg)).unwrap();
    assert_eq!((made.whole.width, made.whole.height), (2_048, 1_024));
    assert_eq!(
        (made.pixels, made.content_type),
        ((3_000, 1_500), "image/jpeg")
    );
    let sizes = made.thumbnails.iter().map(|it| (it.width, it.height));
    assert_eq!(sizes.collect::<Vec<_>>(), [(240, 120), (800, 400)]);
    for picture in made.thumbnails.iter().chain([&made.whole]) {
        assert_eq!(picture.content_type, "image/jpeg");
        let opened = opened(picture).into_rgb8();
        assert_eq!(opened.dimensions(), (picture.width, picture.height));
        let [red, _, blue] = opened.get_pixel(5, 5).0;
        assert!(red > 240 && blue < 20);
    }
    let (width, height, _) = thumbhash::thumb_hash_to_rgba(&made.thumbhash).unwrap();
    assert!(width > height);
}

#[test]
fn what_is_small_stays_as_large_as_it_is() {
    let made = made(&encoded(&halves(30, 20), ImageFormat::Png)).unwrap();
    assert_eq!((made.whole.width, made.whole.height), (30, 20));
    assert!(made.thumbnails.is_empty());
    assert!(!made.thumbhash.is_empty());
}

#[test]
fn a_photo_is_turned_upright_and_nothing_is_left_of_what_the_camera_wrote() {
    let jpeg = encoded(&halves(600, 400), ImageFormat::Jpeg);
    let turned = with_exif(&jpeg, 6);
    assert!(has(&turned, b"52.5200"));
    let made = made(&turned).unwrap();
    assert_eq!((made.whole.width, made.whole.height), (400, 600));
    assert_eq!(made.pixels, (400, 600));
    // What was on the left is at the top.
    let upright = opened(&made.whole).into_rgb8();
    assert!(upright.get_pixel(200, 20).0[0] > 240);
    assert!(upright.get_pixel(200, 580).0[2] > 240);
    for picture in made.thumbnails.iter().chain([&made.whole]) {
        assert!(!has(&picture.bytes, b"Exif") && !has(&picture.bytes, b"52.5200"));
    }
}

#[test]
fn what_is_transparent_stays_so_and_what_only_could_be_does_not() {
    let through = RgbaImage::from_fn(900, 900, |x, _| {
        Rgba([1, 2, 3, if x < 450 { 0 } else { 255 }])
    });
    let made_of = made(&encoded(&through.into(), ImageFormat::Png)).unwrap();
    assert_eq!(made_of.whole.content_type, "image/png");
    assert_eq!(opened(&made_of.whole).to_rgba8().get_pixel(3, 3).0[3], 0);
    assert_eq!(made_of.thumbnails[0].content_type, "image/png");
    let opaque = RgbaImage::from_pixel(300, 300, Rgba([9, 9, 9, 255]));
    let made_of = made(&encoded(&opaque.into(), ImageFormat::Png)).unwrap();
    assert_eq!(made_of.whole.content_type, "image/jpeg");
}

#[test]
fn of_what_moves_the_first_picture_is_sent() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for colour in [[200, 0, 0, 255], [0, 200, 0, 255]] {
        let frame = image::Frame::new(RgbaImage::from_pixel(64, 64, Rgba(colour)));
        encoder.encode_frame(frame).unwrap();
    }
    drop(encoder);
    let made_of = made(&bytes).unwrap();
    assert_eq!(made_of.content_type, "image/gif");
    assert!(opened(&made_of.whole).into_rgb8().get_pixel(5, 5).0[0] > 180);
    let webp = encoded(&halves(64, 64), ImageFormat::WebP);
    assert_eq!(made(&webp).unwrap().content_type, "image/webp");
}

#[test]
fn what_is_no_picture_is_refused() {
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>"#;
    let html = b"<!doctype html><script>alert(1)</script>";
    let bmp = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\x18\0";
    for bytes in [
        &b""[..],
        b"\xff",
        b"GIF",
        svg,
        html,
        bmp,
        b"RIFF\0\0\0\0WAVE",
    ] {
        assert_eq!(made(bytes), Err(InvalidPicture::Unknown), "{bytes:?}");
    }
}

#[test]
fn what_is_cut_off_or_lies_is_refused_or_taken_for_what_is_there() {
    let pictures = [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::Gif,
        ImageFormat::WebP,
    ];
    for format in pictures {
        let bytes = encoded(
            &DynamicImage::ImageRgb8(halves(120, 80).into_rgb8()),
            format,
        );
        for length in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            // Never a panic.
            let cut = made(&bytes[..length]);
            assert!(length > 20 || cut.is_err(), "{format:?} {length}");
        }
    }
    let jpeg = encoded(&halves(64, 64), ImageFormat::Jpeg);
    assert_eq!(
        made(&lying(&jpeg, 65_535, 65_535)),
        Err(InvalidPicture::TooLarge)
    );
    assert_eq!(made(&lying(&jpeg, 0, 64)), Err(InvalidPicture::Damaged));
    // Much longer than high.
    let ribbon = encoded(&halves(30_000, 1), ImageFormat::Png);
    let made_of = made(&ribbon).unwrap();
    assert_eq!((made_of.whole.width, made_of.whole.height), (2_048, 1));
}

#[test]
fn a_picture_that_is_something_else_too_is_only_a_picture_when_it_is_sent() {
    let mut polyglot = encoded(&halves(64, 64), ImageFormat::Jpeg);
    polyglot.extend(b"PK\x03\x04 <script>alert(1)</script>");
    let made_of = made(&polyglot).unwrap();
    assert!(!has(&made_of.whole.bytes, b"<script>"));
    assert!(!has(&made_of.whole.bytes, b"PK\x03\x04"));
}

#[test]
fn a_jpeg_whose_decoder_holds_all_of_it_is_known() {
    let jpeg = encoded(&halves(64, 64), ImageFormat::Jpeg);
    let is = |bytes: &[u8]| is_progressive(&mut BufReader::new(Cursor::new(bytes))).unwrap();
    assert!(!is(&jpeg) && !is(&with_exif(&jpeg, 1)));
    let mut progressive = with_exif(&jpeg, 1);
    let at = progressive.windows(2).position(|it| it == [0xff, 0xc0]);
    progressive[at.unwrap() + 1] = 0xc2;
    assert!(is(&progressive));
    assert!(!is(b"\x89PNG\r\n"));
    // 30 million pixels, each of which may take 11 bytes.
    let mut large = lying(&jpeg, 6_000, 5_000);
    let at = large.windows(2).position(|it| it == [0xff, 0xc0]).unwrap();
    large[at + 1] = 0xc2;
    assert_eq!(made(&large), Err(InvalidPicture::TooLarge));
}

/// A phone's wide red is redder than any of sRGB, and grey is grey.
#[test]
fn colours_look_as_they_did_and_no_profile_is_sent() {
    use image::{ImageEncoder as _, codecs::png::PngEncoder};

    let picture = RgbImage::from_fn(900, 600, |x, _| {
        Rgb(if x < 450 {
            [200, 100, 50]
        } else {
            [128, 128, 128]
        })
    });
    let profile = super::super::colours::tests::wide();
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 95);
    encoder.set_icc_profile(profile.clone()).unwrap();
    picture.write_with_encoder(encoder).unwrap();
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_icc_profile(profile).unwrap();
    picture.write_with_encoder(encoder).unwrap();
    assert!(has(&jpeg, b"the phone of Alice"));
    for file in [jpeg, png] {
        let made = made(&file).unwrap();
        for picture in made.thumbnails.iter().chain([&made.whole]) {
            assert!(!has(&picture.bytes, b"the phone of Alice"));
            let opened = opened(picture).into_rgb8();
            let near = |x: u32, expected: [u8; 3]| {
                let found = opened.get_pixel(x, 10).0;
                let mut pairs = found.iter().zip(expected);
                assert!(
                    pairs.all(|(one, other)| one.abs_diff(other) <= 3),
                    "{found:?}"
                );
            };
            near(10, [215, 93, 31]);
            near(opened.width() - 10, [128, 128, 128]);
        }
    }
}
