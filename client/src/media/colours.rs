//! Colours of a picture whose profile says that they are other ones than those of sRGB, as
//! phones with wide screens make them: turned into sRGB, so that the picture looks as it did
//! and needs no profile. A profile may hold texts too, so none is sent.
//!
//! Profiles with three primaries and a curve for each are read; that is what cameras and
//! screens have. The colours of others (tables, printers' inks) stay as they are.

/// Bytes of a profile. Those that are read have a few hundred to a few thousand.
const PROFILE_SIZE_MAX: usize = 64 * 1024;

/// Where the list of tags begins in a profile, and how many are looked at.
const TAGS_AT: usize = 128;
const TAGS_MAX: usize = 100;

/// Steps between black and white in which light is measured before it is written as sRGB.
const STEPS: usize = 4_096;

/// From the profiles' space (XYZ under D50) to linear sRGB, row by row.
const TO_SRGB: [[f64; 3]; 3] = [
    [3.133_856_1, -1.616_866_7, -0.490_614_6],
    [-0.978_768_4, 1.916_141_5, 0.033_454_0],
    [0.071_945_3, -0.228_991_4, 1.405_242_7],
];

/// A curve that differs less from that of sRGB is the same, to eyes and to 8 bits; so are
/// primaries.
const SAME: f64 = 0.004;

/// How to turn the colours of a picture into those of sRGB.
#[derive(Clone, Debug)]
pub(super) struct Colours {
    /// How much light each value of each channel is, from 0 to 1.
    light: [[f64; 256]; 3],
    /// From the picture's light to that of sRGB, row by row.
    matrix: [[f64; 3]; 3],
    /// The value of sRGB for each step of light.
    values: Vec<u8>,
}

impl Colours {
    /// What an ICC profile says; `None` if the colours are those of sRGB already, or the
    /// profile is damaged, or of a kind that is not read here.
    pub(super) fn of(profile: &[u8]) -> Option<Self> {
        let profile = Profile::of(profile)?;
        let column = |name| profile.primary(name);
        let [red, green, blue] = [column(b"rXYZ")?, column(b"gXYZ")?, column(b"bXYZ")?];
        let matrix = TO_SRGB.map(|row| [red, green, blue].map(|column| dot(row, column)));
        let curve = |name| profile.curve(name).map(|curve| curve.light());
        let light = [curve(b"rTRC")?, curve(b"gTRC")?, curve(b"bTRC")?];
        let colours = Self {
            light,
            matrix,
            values: (0..=STEPS).map(value).collect(),
        };
        (!colours.are_srgb()).then_some(colours)
    }

    fn are_srgb(&self) -> bool {
        let unit = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let primaries = self.matrix.iter().flatten().zip(unit.iter().flatten());
        let curves = self.light.iter().flat_map(|light| light.iter().zip(srgb()));
        let is_same = |(one, other): (f64, f64)| (one - other).abs() < SAME;
        primaries.map(|(one, other)| (*one, *other)).all(is_same)
            && curves.map(|(one, other)| (*one, other)).all(is_same)
    }

    /// Turns the colours of pixels, of so many bytes each: red, green, blue, and maybe how
    /// much is seen through. What sRGB does not have becomes the nearest that it has.
    pub(super) fn turn(&self, pixels: &mut [u8], size: usize) {
        for pixel in pixels.chunks_exact_mut(size) {
            let [red, green, blue, ..] = pixel else {
                return;
            };
            let [of_red, of_green, of_blue] = &self.light;
            let light = [(of_red, &*red), (of_green, &*green), (of_blue, &*blue)];
            let light = light.map(|(curve, at)| curve.get(usize::from(*at)).copied());
            let light = light.map(Option::unwrap_or_default);
            let [to_red, to_green, to_blue] = self.matrix.map(|row| self.value(dot(row, light)));
            (*red, *green, *blue) = (to_red, to_green, to_blue);
        }
    }

    fn value(&self, light: f64) -> u8 {
        let step = light.clamp(0.0, 1.0) * STEPS as f64;
        let value = self.values.get(step.round() as usize);
        value.copied().unwrap_or(u8::MAX)
    }
}

fn dot([a, b, c]: [f64; 3], [x, y, z]: [f64; 3]) -> f64 {
    a * x + b * y + c * z
}

/// The value of sRGB for a step of light.
fn value(step: usize) -> u8 {
    let light = step as f64 / STEPS as f64;
    let value = match light <= 0.003_130_8 {
        true => light * 12.92,
        false => 1.055 * light.powf(1.0 / 2.4) - 0.055,
    };
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// How much light each value of sRGB is.
fn srgb() -> impl Iterator<Item = f64> {
    (0..=255_u8).map(|value| Curve::SRGB.at(f64::from(value) / 255.0))
}

/// An ICC profile of a kind that is read here.
struct Profile<'a>(&'a [u8]);

impl<'a> Profile<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let is = |at: usize, what: &[u8; 4]| bytes.get(at..at + 4) == Some(what.as_slice());
        let is_read = bytes.len() <= PROFILE_SIZE_MAX
            && is(16, b"RGB ")
            && is(20, b"XYZ ")
            && is(36, b"acsp");
        let profile = Self(bytes);
        // Where there is a table as well, the rest is an approximation.
        (is_read && profile.tag(b"A2B0").is_none()).then_some(profile)
    }

    fn tag(&self, name: &[u8; 4]) -> Option<&'a [u8]> {
        let count = usize::try_from(number(self.0, TAGS_AT)?).ok()?;
        let list = self.0.get(TAGS_AT + 4..)?;
        let mut entries = list.chunks_exact(12).take(count.min(TAGS_MAX));
        let entry = entries.find(|entry| entry.starts_with(name))?;
        let at = usize::try_from(number(entry, 4)?).ok()?;
        let size = usize::try_from(number(entry, 8)?).ok()?;
        self.0.get(at..at.checked_add(size)?)
    }

    /// Where a channel is in the profiles' space.
    fn primary(&self, name: &[u8; 4]) -> Option<[f64; 3]> {
        let tag = self.tag(name)?;
        if !tag.starts_with(b"XYZ ") {
            return None;
        }
        Some([fixed(tag, 8)?, fixed(tag, 12)?, fixed(tag, 16)?])
    }

    fn curve(&self, name: &[u8; 4]) -> Option<Curve> {
        let tag = self.tag(name)?;
        if tag.starts_with(b"para") {
            return Curve::of_parameters(tag);
        }
        if !tag.starts_with(b"curv") {
            return None;
        }
        let count = usize::try_from(number(tag, 8)?).ok()?;
        let points = tag.get(12..)?.chunks_exact(2).take(count);
        let points: Vec<u16> = points
            .filter_map(|it| it.try_into().ok().map(u16::from_be_bytes))
            .collect();
        match points.as_slice() {
            _ if points.len() != count => None,
            [] => Some(Curve::power(1.0)),
            [gamma] => Some(Curve::power(f64::from(*gamma) / 256.0)),
            _ => Some(Curve::Points(points)),
        }
    }
}

/// How light follows from values, both from 0 to 1.
enum Curve {
    /// `(a·x + b)^g + e` from `d` on, and `c·x + f` below.
    Formula {
        g: f64,
        a: f64,
        b: f64,
        c: f64,
        d: f64,
        e: f64,
        f: f64,
    },
    /// Points at equal distances.
    Points(Vec<u16>),
}

impl Curve {
    const SRGB: Self = Self::Formula {
        g: 2.4,
        a: 1.0 / 1.055,
        b: 0.055 / 1.055,
        c: 1.0 / 12.92,
        d: 0.040_45,
        e: 0.0,
        f: 0.0,
    };

    const fn power(g: f64) -> Self {
        Self::Formula {
            g,
            a: 1.0,
            b: 0.0,
            c: 0.0,
            d: 0.0,
            e: 0.0,
            f: 0.0,
        }
    }

    fn of_parameters(tag: &[u8]) -> Option<Self> {
        let kind = u16::from_be_bytes(tag.get(8..10)?.try_into().ok()?);
        let at = |index: usize| fixed(tag, 12 + 4 * index);
        let g = at(0)?;
        if kind == 0 {
            return Some(Self::power(g));
        }
        let (a, b) = (at(1)?, at(2)?);
        let begin = if a == 0.0 { 0.0 } else { -b / a };
        let (c, d, e, f) = match kind {
            1 => (0.0, begin, 0.0, 0.0),
            2 => (0.0, begin, at(3)?, at(3)?),
            3 => (at(3)?, at(4)?, 0.0, 0.0),
            4 => (at(3)?, at(4)?, at(5)?, at(6)?),
            _ => return None,
        };
        Some(Self::Formula {
            g,
            a,
            b,
            c,
            d,
            e,
            f,
        })
    }

    fn at(&self, x: f64) -> f64 {
        let light = match self {
            Self::Formula {
                g,
                a,
                b,
                c,
                d,
                e,
                f,
            } => match x >= *d {
                true => (a * x + b).max(0.0).powf(*g) + e,
                false => c * x + f,
            },
            Self::Points(points) => {
                let place = x * (points.len() - 1) as f64;
                let point = |place: f64| {
                    let found = points.get(place as usize);
                    f64::from(found.copied().unwrap_or(u16::MAX)) / f64::from(u16::MAX)
                };
                let (below, above) = (point(place.floor()), point(place.ceil()));
                below + (above - below) * place.fract()
            }
        };
        match light.is_nan() {
            true => 0.0,
            false => light.clamp(0.0, 1.0),
        }
    }

    /// For each value.
    fn light(&self) -> [f64; 256] {
        let mut light = [0.0; 256];
        for (value, light) in (0..=255_u8).zip(&mut light) {
            *light = self.at(f64::from(value) / 255.0);
        }
        light
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let found = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(found.try_into().ok()?))
}

/// 16 bits before the point, and 16 behind.
fn fixed(bytes: &[u8], at: usize) -> Option<f64> {
    let found = number(bytes, at)?.cast_signed();
    Some(f64::from(found) / 65_536.0)
}

#[cfg(test)]
pub(super) mod tests;
