//! The form of the table of settings: one entry makes the field, its default, what
//! may be written, the flag, the environment's name and the documentation.

use super::value::Value;

/// One setting, described.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Its section in the documents.
    pub(super) group: &'static str,
    /// Its name in the file.
    pub(super) key: &'static str,
    /// What it means, in one paragraph.
    pub(super) meaning: String,
    /// As it would be written.
    pub(super) default: String,
    /// What may be written.
    pub(super) expected: String,
    /// Never printed.
    pub(super) is_secret: bool,
    /// As a flag it may stand alone.
    pub(super) is_switch: bool,
}

impl Setting {
    pub(super) fn of<T: Value>(
        group: &'static str,
        key: &'static str,
        doc: &[&str],
        default: &T,
        range: Option<&(T, T)>,
    ) -> Self {
        let lines: Vec<&str> = doc.iter().map(|it| it.trim()).collect();
        Self {
            group,
            key,
            meaning: lines.join(" "),
            default: default.show(),
            expected: expected(range),
            is_secret: T::IS_SECRET,
            is_switch: T::IS_SWITCH,
        }
    }

    /// Its name in the environment.
    pub(super) fn variable(&self) -> String {
        format!("MAGPIE_{}", self.key.to_uppercase())
    }

    /// Its name on the command line.
    pub(super) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }
}

/// What may be written, in words.
pub(super) fn expected<T: Value>(range: Option<&(T, T)>) -> String {
    range.map_or_else(
        || T::EXPECTED.to_owned(),
        |(low, high)| format!("{}, from {} to {}", T::EXPECTED, low.show(), high.show()),
    )
}

/// Makes a struct of settings, and its part of the table.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $(
                $group:literal {
                    $(
                        $(#[doc = $doc:literal])+
                        $key:ident: $type:ty = $default:expr $(, $low:expr => $high:expr)?;
                    )+
                }
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Eq, PartialEq)]
        $visibility struct $name {
            $($(
                $(#[doc = $doc])+
                $visibility $key: $type,
            )+)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($($key: $default,)+)+ }
            }
        }

        impl $name {
            /// The settings, described, in the order of the documents.
            pub(super) fn table() -> Vec<Setting> {
                let defaults = Self::default();
                vec![$($(
                    Setting::of(
                        $group,
                        stringify!($key),
                        &[$($doc),+],
                        &defaults.$key,
                        settings!(@range $($low => $high)?),
                    ),
                )+)+]
            }

            /// What the sources say.
            pub(super) fn read(sources: &mut Sources) -> Self {
                let defaults = Self::default();
                Self {
                    $($(
                        $key: sources.value(
                            stringify!($key),
                            defaults.$key,
                            settings!(@range $($low => $high)?),
                        ),
                    )+)+
                }
            }
        }
    };
    (@range) => { None };
    (@range $low:expr => $high:expr) => { Some(&($low, $high)) };
}
pub(super) use settings;
