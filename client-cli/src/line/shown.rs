//! What is written as it is displayed.

use std::fmt;

use magpie_client::ConversationId;
use serde::{Serialize, Serializer};

/// An id or anything else that is written as it is displayed.
#[derive(Debug)]
pub(crate) struct Shown<T>(pub(crate) T);

impl Default for Shown<ConversationId> {
    fn default() -> Self {
        Self(ConversationId::new([0; 16]))
    }
}

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
