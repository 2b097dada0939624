//! What a setting may be: how each kind is written, read and shown.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use tracing_subscriber::EnvFilter;

/// A kind of setting.
pub(super) trait Value: Clone + PartialOrd + Sized {
    /// What may be written, in words.
    const EXPECTED: &'static str;

    /// Never printed; may be read from a file that `..._FILE` names.
    const IS_SECRET: bool = false;

    /// Given as a flag, it may stand alone.
    const IS_SWITCH: bool = false;

    /// What `text` means.
    fn parse(text: &str) -> Option<Self>;

    /// What [`Self::parse`] reads.
    fn show(&self) -> String;

    /// Whether it is from `low` to `high`.
    fn is_within(&self, low: &Self, high: &Self) -> bool {
        low <= self && self <= high
    }
}

/// How much is left before a limit is reached, and how fast it comes back: a
/// bucket of `burst` that is refilled with `count` every `period`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
pub struct Rate {
    /// What the bucket holds, in one go.
    pub burst: u32,
    /// What comes back.
    pub count: u32,
    /// In this time.
    pub period: Duration,
}

/// The units of a rate.
const PERIODS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3_600), ("d", 86_400)];

/// The units of a duration, in milliseconds.
const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

/// The units of a size.
const SIZES: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl Rate {
    /// `burst` at once, then `count` every `period`.
    #[must_use]
    pub const fn new(burst: u32, count: u32, period: Duration) -> Self {
        Self {
            burst,
            count,
            period,
        }
    }
}

impl Value for Option<Rate> {
    const EXPECTED: &'static str =
        "BURST then COUNT/PERIOD (100 then 4/h; s, min, h, d), or \"off\"";

    fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(None);
        }
        let (burst, refill) = text.split_once(" then ")?;
        let (count, unit) = refill.trim().split_once('/')?;
        let (_, seconds) = PERIODS.into_iter().find(|(name, _)| *name == unit)?;
        let (burst, count) = (burst.trim().parse().ok()?, count.parse().ok()?);
        let rate = Rate::new(burst, count, Duration::from_secs(seconds));
        (burst > 0 && count > 0).then_some(Some(rate))
    }

    fn show(&self) -> String {
        let Some(rate) = self else {
            return "off".to_owned();
        };
        let unit = PERIODS
            .into_iter()
            .find(|(_, seconds)| *seconds == rate.period.as_secs())
            .map_or("s", |(name, _)| name);
        format!("{} then {}/{unit}", rate.burst, rate.count)
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
pub struct Size(pub usize);

impl Value for Size {
    const EXPECTED: &'static str = "bytes (65536, 64KiB, 1MiB)";

    fn parse(text: &str) -> Option<Self> {
        let bytes = match text.parse::<u64>() {
            Ok(bytes) => bytes,
            Err(_) => with_unit(text, &SIZES)?,
        };
        usize::try_from(bytes).ok().map(Self)
    }

    fn show(&self) -> String {
        show_unit(self.0 as u64, &SIZES).unwrap_or_else(|| self.0.to_string())
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration (500ms, 10s, 5min, 1h)";

    fn parse(text: &str) -> Option<Self> {
        with_unit(text, &DURATIONS).map(Self::from_millis)
    }

    fn show(&self) -> String {
        let ms = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        show_unit(ms, &DURATIONS).unwrap_or_else(|| format!("{ms}ms"))
    }
}

impl Value for Option<Duration> {
    const EXPECTED: &'static str = "a duration (500ms, 10s, 5min, 1h), or \"off\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "off" => Some(None),
            duration => Duration::parse(duration).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "off".to_owned(), Value::show)
    }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that leaves a whole number.
fn show_unit(value: u64, units: &[(&str, u64)]) -> Option<String> {
    let fits = |(_, factor): &&(&str, u64)| value > 0 && value.is_multiple_of(*factor);
    let (name, factor) = units.iter().rev().find(fits)?;
    Some(format!("{}{name}", value / factor))
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A count that the server finds out for itself, unless it is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
pub struct Auto(pub Option<u32>);

impl Value for Auto {
    const EXPECTED: &'static str = "a whole number, or \"auto\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self(None)),
            "0" => None,
            count => count.parse().ok().map(|count| Self(Some(count))),
        }
    }

    fn show(&self) -> String {
        self.0
            .map_or_else(|| "auto".to_owned(), |it| it.to_string())
    }

    fn is_within(&self, low: &Self, high: &Self) -> bool {
        self.0.is_none() || (low <= self && self <= high)
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    const IS_SWITCH: bool = true;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// What is logged: directives of `tracing_subscriber::EnvFilter`.
#[derive(Clone, Debug, Eq, PartialEq, PartialOrd)]
pub struct LogFilter(pub String);

impl Value for LogFilter {
    const EXPECTED: &'static str =
        "off, error, warn, info, debug or trace, or PART=LEVEL, with commas between";

    fn parse(text: &str) -> Option<Self> {
        let parsed = EnvFilter::try_new(text);
        parsed.is_ok().then(|| Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "ADDR:PORT";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Option<SocketAddr> {
    const EXPECTED: &'static str = "ADDR:PORT or \"off\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "off" => Some(None),
            address => address.parse().ok().map(Some),
        }
    }

    fn show(&self) -> String {
        self.map_or_else(|| "off".to_owned(), |it| it.to_string())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Option<PathBuf> {
    const EXPECTED: &'static str = "a path, or nothing";

    fn parse(text: &str) -> Option<Self> {
        Some(PathBuf::parse(text))
    }

    fn show(&self) -> String {
        self.as_ref().map(Value::show).unwrap_or_default()
    }
}

impl Value for Option<String> {
    const EXPECTED: &'static str = "text, or nothing";

    fn parse(text: &str) -> Option<Self> {
        Some((!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

/// What is never printed.
#[derive(Clone, Eq, PartialEq, PartialOrd)]
pub struct Secret(pub(super) String);

impl Secret {
    /// What it is.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Value for Option<Secret> {
    const EXPECTED: &'static str = "text, or nothing";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Option<Self> {
        Some((!text.is_empty()).then(|| Secret(text.to_owned())))
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(String::new, |_| "***".to_owned())
    }
}

/// Who may register.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Who holds an invitation.
    Invitation,
    /// Nobody.
    Off,
}

impl Value for Registration {
    const EXPECTED: &'static str = "open, invitation or off";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "open" => Some(Self::Open),
            "invitation" => Some(Self::Invitation),
            "off" => Some(Self::Off),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Open => "open",
            Self::Invitation => "invitation",
            Self::Off => "off",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Invitations, Networks};

    fn again<T: Value + fmt::Debug>(text: &str) {
        let value = T::parse(text).unwrap();
        assert_eq!(value.show(), text);
    }

    #[test]
    fn what_is_shown_is_what_may_be_written() {
        again::<Duration>("500ms");
        again::<Duration>("90s");
        again::<Duration>("2h");
        again::<Size>("64KiB");
        again::<Size>("1000");
        again::<Option<Rate>>("100 then 4/h");
        again::<Option<Rate>>("off");
        again::<Option<Duration>>("48h");
        again::<Option<Duration>>("off");
        again::<Auto>("auto");
        again::<Networks>("127.0.0.0/8, ::1/128");
        again::<Networks>("none");
        again::<Registration>("invitation");
    }

    #[test]
    fn what_has_no_unit_or_no_sense_is_refused() {
        assert_eq!(Duration::parse("10"), None);
        assert_eq!(Duration::parse("10 s"), None);
        assert_eq!(Duration::parse("18446744073709551615h"), None);
        assert_eq!(Size::parse("64kb"), None);
        for rate in ["100", "0 then 4/h", "1 then 0/h", "1 then 1/week"] {
            assert_eq!(Option::<Rate>::parse(rate), None, "{rate}");
        }
        assert_eq!(Auto::parse("0"), None);
        for networks in ["10.0.0.0", "10.0.0.0/33", ""] {
            assert_eq!(Networks::parse(networks), None, "{networks}");
        }
        assert_eq!(Invitations::parse("short"), None);
        assert_eq!(Invitations::parse("sha256:00"), None);
    }
}
