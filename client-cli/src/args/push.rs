//! Where a device's pushes go.

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum PushCommand {
    /// Set where this device's pushes go
    #[command(after_help = "Example:\n  magpie push set --app org.example.chat TOKEN")]
    Set {
        /// As FCM gave it
        token: String,
        /// What the device runs on
        #[arg(long, value_enum, default_value_t = PlatformName::Android)]
        platform: PlatformName,
        /// Which app, as its store calls it
        #[arg(long, value_name = "ID", default_value = "magpie")]
        app: String,
    },
    /// Get no pushes any more
    #[command(after_help = "Example:\n  magpie push clear")]
    Clear,
}

/// What a device runs on.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PlatformName {
    Android,
    Ios,
    Web,
}
