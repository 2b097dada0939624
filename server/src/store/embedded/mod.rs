//! The embedded engine: one `SQLite` file, so that the server starts with nothing installed.
