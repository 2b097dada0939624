//! What became of an errand, for people.

use std::fmt::Write as _;

use magpie_protocol::date::{rfc3339, short};

use super::{ActTold, BroadcastTold, ReportTold, StatsTold, Told, UserTold};

/// Lines for people. What users wrote cannot move the cursor of a terminal.
pub(super) fn text(told: &Told) -> String {
    match told {
        Told::Done { message } | Told::Refused { message } => format!("{}\n", printable(message)),
        Told::User(user) => of_user(user),
        Told::Reports { reports } if reports.is_empty() => "no reports are open\n".to_owned(),
        Told::Reports { reports } => reports.iter().map(of_report).collect(),
        Told::Broadcasts { broadcasts } if broadcasts.is_empty() => {
            "nothing was said to everybody\n".to_owned()
        }
        Told::Broadcasts { broadcasts } => broadcasts.iter().map(of_broadcast).collect(),
        Told::Stats(stats) => of_stats(stats),
        Told::Acts { acts } => acts.iter().map(of_act).collect(),
    }
}

fn of_user(user: &UserTold) -> String {
    let mut text = format!(
        "user      {}\nid        {}\nstanding  {}\n",
        printable(&user.name),
        user.id,
        user.standing
    );
    for device in &user.devices {
        let seen = device.last_seen_at_ms;
        let seen = seen.map_or_else(
            || "never connected".to_owned(),
            |at_ms| format!("connected {}", moment(at_ms)),
        );
        let name = match device.name.as_str() {
            "" => "-".to_owned(),
            name => printable(name),
        };
        // Writing into a string cannot fail.
        let _ok = writeln!(
            text,
            "device    {}  {name}  signed in {}, {seen}",
            device.id,
            moment(device.created_at_ms)
        );
    }
    text
}

fn of_report(report: &ReportTold) -> String {
    let name = |name: &str| match name {
        "" => "a deleted user".to_owned(),
        name => format!("@{}", printable(name)),
    };
    let mut text = format!(
        "{}  {}  {}  {} reports {}\n",
        report.id,
        moment(report.at_ms),
        report.reason,
        name(&report.reporter),
        name(&report.user)
    );
    if !report.text.is_empty() {
        let _ok = writeln!(text, "    says: {}", printable(&report.text));
    }
    if let Some(message) = &report.message {
        let _ok = writeln!(
            text,
            "    message {} of {}, {}: {}",
            message.seq,
            message.conversation_id,
            moment(message.committed_at_ms),
            printable(&message.text)
        );
    }
    text
}

fn of_broadcast(it: &BroadcastTold) -> String {
    let from = match it.from.as_str() {
        "" => "a deleted user".to_owned(),
        name => format!("@{}", printable(name)),
    };
    let state = it.ended_at_ms.map_or_else(
        || "goes on".to_owned(),
        |at_ms| format!("ended {}", moment(at_ms)),
    );
    format!(
        "{}  {}  {from} to {} users, {state}\n    says: {}\n",
        it.id,
        moment(it.begun_at_ms),
        it.sent,
        printable(&it.text)
    )
}

fn of_stats(stats: &StatsTold) -> String {
    let rows = [
        ("users active", stats.users_active),
        ("users suspended", stats.users_suspended),
        ("users deleted", stats.users_deleted),
        ("devices", stats.devices),
        ("devices with pushes", stats.devices_with_pushes),
        ("devices connected here", stats.devices_connected),
        ("direct conversations", stats.direct_conversations),
        ("groups", stats.groups),
        ("reports open", stats.reports_open),
    ];
    let row = |(name, count)| format!("{name:<22}  {count}\n");
    rows.into_iter().map(row).collect()
}

fn of_act(act: &ActTold) -> String {
    let text = format!(
        "{}  uid {}  {}  {}",
        moment(act.at_ms),
        act.uid,
        act.action,
        printable(&act.target)
    );
    text.trim_end().to_owned() + "\n"
}

/// A moment of the wall clock, in UTC.
fn moment(at_ms: i64) -> String {
    short(&rfc3339(at_ms))
}

/// On one line, with everything escaped that is not plainly visible.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // Turns the direction of what follows, or is not seen.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                shown.extend(character.escape_default());
            }
            character if character.is_control() => shown.extend(character.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::MessageTold;

    #[test]
    fn a_report_is_told_on_lines_of_its_own_whatever_is_in_it() {
        let report = ReportTold {
            id: 7,
            at_ms: 1_700_000_000_000,
            reporter: "alice".to_owned(),
            user: String::new(),
            user_id: "00".to_owned(),
            reason: "spam".to_owned(),
            text: "look\nhere\u{1b}[2J".to_owned(),
            message: Some(MessageTold {
                conversation_id: "c".to_owned(),
                seq: 3,
                committed_at_ms: 1_700_000_000_000,
                text: "buy".to_owned(),
            }),
        };
        let told = Told::Reports {
            reports: vec![report],
        };
        assert_eq!(
            text(&told),
            "7  2023-11-14 22:13:20  spam  @alice reports a deleted user\n    \
             says: look\\nhere\\u{1b}[2J\n    \
             message 3 of c, 2023-11-14 22:13:20: buy\n"
        );
    }
}
