//! What the server does not do.

use std::{fmt, time::Duration};

use magpie_protocol::wire::v1::{Action, ErrorCode};

/// What the server said instead of doing it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// What a client does about it.
    pub action: Action,
    /// How long to wait first, if the action says so.
    pub after: Duration,
    /// One sentence for a developer; may be empty.
    pub message: String,
}

impl Refusal {
    /// The code's name as programs read it, such as `name_taken`.
    #[must_use]
    pub fn code_name(&self) -> String {
        lower_case_without(self.code.as_str_name(), "ERROR_CODE_")
    }

    /// The action's name as programs read it, such as `retry_after`.
    #[must_use]
    pub fn action_name(&self) -> String {
        lower_case_without(self.action.as_str_name(), "ACTION_")
    }
}

fn lower_case_without(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase()
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code_name().replace('_', " ");
        if self.message.is_empty() {
            formatter.write_str(&code)
        } else {
            write!(formatter, "{code}: {}", self.message)
        }
    }
}
