use image::{DynamicImage, Rgb, RgbImage, metadata::Cicp};

use super::*;

/// The primaries of phones with wide screens, and those of sRGB, as profiles have them.
const P3: [[f64; 3]; 3] = [
    [0.515_12, 0.241_20, -0.001_05],
    [0.291_98, 0.692_25, 0.041_89],
    [0.157_10, 0.066_57, 0.784_07],
];
const SRGB: [[f64; 3]; 3] = [
    [0.436_07, 0.222_49, 0.013_92],
    [0.385_15, 0.716_87, 0.097_08],
    [0.143_07, 0.060_61, 0.714_10],
];

/// The curve of both: formula, power, and points.
fn formula() -> Vec<u8> {
    let mut tag = b"para\0\0\0\0\0\x03\0\0".to_vec();
    for it in [2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.040_45] {
        tag.extend(written(it));
    }
    tag
}

fn points(count: u16) -> Vec<u8> {
    let mut tag = b"curv\0\0\0\0".to_vec();
    tag.extend(u32::from(count).to_be_bytes());
    for number in 0..count {
        let light = Curve::SRGB.at(f64::from(number) / f64::from(count - 1));
        tag.extend(((light * 65_535.0).round() as u16).to_be_bytes());
    }
    tag
}

fn written(number: f64) -> [u8; 4] {
    ((number * 65_536.0).round() as i32).to_be_bytes()
}

/// A profile of these tags.
fn profile(tags: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut profile = vec![0; TAGS_AT];
    profile[16..24].copy_from_slice(b"RGB XYZ ");
    profile[36..40].copy_from_slice(b"acsp");
    profile.extend((tags.len() as u32).to_be_bytes());
    let mut at = profile.len() + 12 * tags.len();
    for (name, tag) in tags {
        profile.extend(*name);
        profile.extend((at as u32).to_be_bytes());
        profile.extend((tag.len() as u32).to_be_bytes());
        at += tag.len();
    }
    profile.extend(tags.iter().flat_map(|(_, tag)| tag.clone()));
    profile
}

fn of(primaries: [[f64; 3]; 3], curve: &[u8]) -> Vec<u8> {
    let names = [b"rXYZ", b"gXYZ", b"bXYZ"];
    let mut tags = vec![(b"desc", b"desc\0\0\0\0the phone of Alice".to_vec())];
    for (name, primary) in names.into_iter().zip(primaries) {
        let mut tag = b"XYZ \0\0\0\0".to_vec();
        tag.extend(primary.into_iter().flat_map(written));
        tags.push((name, tag));
    }
    for name in [b"rTRC", b"gTRC", b"bTRC"] {
        tags.push((name, curve.to_vec()));
    }
    profile(&tags)
}

/// A profile of a phone's wide colours.
pub(in crate::media) fn wide() -> Vec<u8> {
    of(P3, &formula())
}

/// Colours from all over the cube.
fn cube() -> RgbImage {
    RgbImage::from_fn(36, 36, |x, y| {
        let at = x + 36 * y;
        Rgb([at % 11, at / 11 % 11, at / 121].map(|it| (it * 25).min(255) as u8))
    })
}

/// As another implementation turns them.
#[test]
fn wide_colours_look_in_srgb_as_they_did() {
    let mut expected = DynamicImage::ImageRgb8(cube());
    expected.set_color_space(Cicp::DISPLAY_P3).unwrap();
    let options = image::ConvertColorOptions::default();
    expected.apply_color_space(Cicp::SRGB, options).unwrap();
    let expected = expected.into_rgb8();
    for curve in [formula(), points(1_024)] {
        let mut turned = cube();
        Colours::of(&of(P3, &curve)).unwrap().turn(&mut turned, 3);
        let mut far = 0;
        for (one, other) in turned.iter().zip(expected.iter()) {
            far = far.max(one.abs_diff(*other));
        }
        assert!(far <= 2, "{far}");
    }
    assert_ne!(cube(), expected);
}

#[test]
fn what_is_srgb_already_stays_as_it_is() {
    for curve in [formula(), points(1_024)] {
        assert!(Colours::of(&of(SRGB, &curve)).is_none());
    }
    // The same primaries, and other curves.
    let gamma = |number: u16| {
        let mut tag = b"curv\0\0\0\0\0\0\0\x01".to_vec();
        tag.extend(number.to_be_bytes());
        tag
    };
    let linear = Colours::of(&of(SRGB, &gamma(256))).unwrap();
    let mut pixel = [0, 128, 255, 7];
    linear.turn(&mut pixel, 4);
    let mut pairs = pixel.iter().zip([0, 188, 255, 7]);
    assert!(
        pairs.all(|(one, other)| one.abs_diff(other) <= 1),
        "{pixel:?}"
    );
    let grey = Colours::of(&of(P3, &gamma(563))).unwrap();
    let mut pixel = [128, 128, 128];
    grey.turn(&mut pixel, 3);
    let [red, green, blue] = pixel;
    assert!(
        red.abs_diff(green) <= 1 && green.abs_diff(blue) <= 1,
        "{pixel:?}"
    );
}

/// D9. Wherever it ends, and whichever byte is wrong.
#[test]
fn a_damaged_profile_is_no_profile_or_turns_colours_wrongly_and_no_worse() {
    let whole = wide();
    for end in 0..whole.len() {
        drop(Colours::of(&whole[..end]));
    }
    for at in 0..whole.len() {
        for wrong in [0, 1, 0x7f, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = wrong;
            if let Some(colours) = Colours::of(&damaged) {
                let mut pixels = [0, 1, 127, 128, 254, 255];
                colours.turn(&mut pixels, 3);
            }
        }
    }
    let mut table = wide();
    let at = table.windows(4).position(|it| it == b"desc").unwrap();
    table[at..at + 4].copy_from_slice(b"A2B0");
    assert!(Colours::of(&table).is_none(), "tables are not read");
    let mut long = wide();
    long.resize(PROFILE_SIZE_MAX + 1, 0);
    assert!(Colours::of(&long).is_none());
}
