//! Photos and files on their way.

use std::fmt::{self, Write as _};

use super::Line;
use crate::paint::Painter;

impl Line {
    pub(super) fn paint_media(&self, to: &mut Painter) -> fmt::Result {
        if let Self::Saved { path, size, .. } = self {
            write!(to, "saved {path} ({size} bytes)")?;
        }
        if let Self::Fetching { received, size, .. } = self {
            write!(to, "{received} of {size} bytes received")?;
        }
        if let Self::Progress { sent, size, .. } = self {
            write!(to, "{sent} of {size} bytes sent")?;
        }
        Ok(())
    }
}
