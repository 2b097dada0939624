//! Apps, by the ids under which their devices register.

use super::value::Value;

/// Ids of apps.
#[derive(Clone, Debug, Default, Eq, PartialEq, PartialOrd)]
pub struct Apps(pub(super) Vec<String>);

impl Apps {
    /// Those with these ids.
    pub fn new<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        Self(ids.into_iter().map(str::to_owned).collect())
    }

    /// Whether the app is one of them.
    #[must_use]
    pub fn hold(&self, id: &str) -> bool {
        self.0.iter().any(|it| it == id)
    }
}

impl Value for Apps {
    const EXPECTED: &'static str =
        "ids of apps (org.example.chat) with commas between, or \"none\"";

    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::default());
        }
        text.split(',')
            .map(|it| {
                let id = it.trim();
                let is_id = !id.is_empty() && id.bytes().all(|it| it.is_ascii_graphic());
                is_id.then(|| id.to_owned())
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    fn show(&self) -> String {
        match self.0.is_empty() {
            true => "none".to_owned(),
            false => self.0.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_known_by_their_whole_ids() {
        let apps = Apps::parse("org.example.chat, org.example.web").unwrap();
        assert!(apps.hold("org.example.web"));
        assert!(!apps.hold("org.example"));
        assert_eq!(apps.show(), "org.example.chat, org.example.web");
        assert_eq!(Apps::parse("none").unwrap(), Apps::default());
        for wrong in ["", "a,,b", "a b"] {
            assert_eq!(Apps::parse(wrong), None, "{wrong:?}");
        }
    }
}
