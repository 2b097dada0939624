//! The texts of a load say which run they belong to, their number in their
//! pair, and when they were sent; padding follows.

const FIELD: usize = 16;

/// Makes texts of one size.
pub(crate) struct Template {
    run: u32,
    padding: String,
}

/// What a text says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) index: u32,
    pub(crate) nanos: u64,
}

impl Template {
    pub(crate) fn new(run: u32, size: u32) -> Self {
        let padding = (size as usize).saturating_sub(2 * FIELD);
        Self {
            run,
            padding: ".".repeat(padding),
        }
    }

    pub(crate) fn fill(&self, stamp: Stamp) -> String {
        let Stamp { index, nanos } = stamp;
        let (run, padding) = (self.run, &self.padding);
        format!("{run:08x}{index:08x}{nanos:016x}{padding}")
    }
}

/// Reads a text of this `run`; `None` for any other.
pub(crate) fn read(run: u32, text: &str) -> Option<Stamp> {
    let (head, rest) = text.split_at_checked(FIELD)?;
    let (own, index) = head.split_at_checked(FIELD / 2)?;
    if u32::from_str_radix(own, 16) != Ok(run) {
        return None;
    }
    Some(Stamp {
        index: u32::from_str_radix(index, 16).ok()?,
        nanos: u64::from_str_radix(rest.get(..FIELD)?, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_its_size_says_its_number_and_its_moment() {
        let stamp = Stamp {
            index: 7,
            nanos: u64::MAX - 1,
        };
        let text = Template::new(42, 100).fill(stamp);
        assert_eq!(text.len(), 100);
        assert_eq!(read(42, &text), Some(stamp));
        assert_eq!(read(43, &text), None);
        assert_eq!(read(42, "hello"), None);
    }
}
