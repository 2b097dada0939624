//! Settings of the pushes that wake sleeping devices.

use std::{path::PathBuf, time::Duration};

use clap::Args;

/// How pushes are set on the command line.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Push")]
pub(super) struct PushArgs {
    /// Wake sleeping devices through Firebase Cloud Messaging, as this service account (JSON, mode
    /// 600)
    #[arg(long, env = "MAGPIE_PUSH_ACCOUNT", value_name = "FILE", global = true)]
    push_account: Option<PathBuf>,

    /// Where FCM is, if not at https://fcm.googleapis.com
    #[arg(
        long,
        env = "MAGPIE_PUSH_URL",
        value_name = "URL",
        requires = "push_account",
        global = true
    )]
    push_url: Option<String>,

    /// Where access tokens are asked for, if not where the account's file says
    #[arg(
        long,
        env = "MAGPIE_PUSH_TOKEN_URL",
        value_name = "URL",
        requires = "push_account",
        global = true
    )]
    push_token_url: Option<String>,

    /// Pushes a second, at most (Google allows a project 10,000)
    #[arg(
        long,
        env = "MAGPIE_PUSH_RATE",
        value_name = "COUNT",
        default_value_t = 3_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        global = true
    )]
    push_rate: u32,

    /// How long an app that somebody looks at has to confirm a message before its device is woken
    #[arg(
        long,
        env = "MAGPIE_PUSH_FOREGROUND_MS",
        value_name = "MS",
        default_value_t = 15_000,
        value_parser = clap::value_parser!(u32).range(..=DEADLINE_MS_MAX),
        global = true
    )]
    push_foreground_ms: u32,

    /// The same for an app that is connected in the background
    #[arg(
        long,
        env = "MAGPIE_PUSH_BACKGROUND_MS",
        value_name = "MS",
        default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(..=DEADLINE_MS_MAX),
        global = true
    )]
    push_background_ms: u32,
}

/// With the delay for company, less than what the store gives a device.
const DEADLINE_MS_MAX: i64 = 20_000;

/// How pushes are sent, if they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PushSettings {
    /// The service account's file; none: nobody is woken.
    pub account: Option<PathBuf>,
    /// Instead of Google's.
    pub url: Option<String>,
    /// Instead of what the account's file says.
    pub token_url: Option<String>,
    /// Pushes a second.
    pub rate_max: u32,
    /// How long an app in the foreground has to confirm.
    pub foreground: Duration,
    /// How long a connected app in the background has.
    pub background: Duration,
}

impl From<PushArgs> for PushSettings {
    fn from(args: PushArgs) -> Self {
        Self {
            account: args.push_account,
            url: args.push_url,
            token_url: args.push_token_url,
            rate_max: args.push_rate,
            foreground: Duration::from_millis(args.push_foreground_ms.into()),
            background: Duration::from_millis(args.push_background_ms.into()),
        }
    }
}
