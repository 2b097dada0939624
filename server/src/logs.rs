//! The log: JSON for programs, coloured lines for people on a terminal. One event
//! is one line, whatever users type.

use std::{
    fmt::{self, Write},
    io::IsTerminal as _,
};

use tracing::{Level, Metadata, field::Field};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::filter_fn,
    fmt::{
        MakeWriter,
        format::{Writer, debug_fn},
    },
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::LogFilter;

/// Starts to log to standard error: for people if that is a terminal and nobody
/// asked for JSON.
pub fn start(filter: &LogFilter, json: bool) {
    let is_for_people = !json && std::io::stderr().is_terminal();
    let layer = match is_for_people {
        true => for_people(std::io::stderr),
        false => for_programs(std::io::stderr),
    };
    let filter = EnvFilter::new(&filter.0);
    tracing_subscriber::registry()
        .with(
            layer
                .with_filter(filter)
                .with_filter(filter_fn(may_be_told)),
        )
        .init();
}

/// Libraries print what passes through them (`tokio-postgres` the parameters of
/// each statement): they are heard from `info` on, whatever is asked for.
fn may_be_told(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with("magpie")
}

fn for_programs<W>(writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .with_span_list(false)
        .with_writer(writer)
        .boxed()
}

fn for_people<W>(writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .with_target(false)
        .fmt_fields(debug_fn(field))
        .with_writer(writer)
        .boxed()
}

/// Writes a field in one line: what would begin another, or colour this one, is
/// escaped.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(OneLine(writer), "{value:?} "),
        name => write!(OneLine(writer), "{name}={value:?} "),
    }
}

/// Escapes control characters.
struct OneLine<'a, 'writer>(&'a mut Writer<'writer>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut chars = from.chars();
            if let Some(control) = chars.next() {
                write!(self.0, "{}", control.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What two events say of a name that wants to be more than a name.
    fn logged(layer: impl FnOnce(Sink) -> Box<dyn Layer<Registry> + Send + Sync>) -> String {
        let sink = Sink::default();
        let subscriber = tracing_subscriber::registry().with(layer(sink.clone()));
        let evil = "eve\r\nINFO all is well\u{1b}[2J\u{9b}2J\u{0}";
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("connection", id = 7, name = evil);
            let _entered = span.enter();
            tracing::info!(name = evil, shown = %evil, "said: {evil}");
            tracing::warn!("the second");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_for_people_stays_one_line() {
        let text = logged(|sink| {
            let writer = move || sink.clone();
            for_people(writer)
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("said: eve\\r\\nINFO"), "{text}");
        assert!(
            lines[1].contains("connection") && lines[1].contains("id=7"),
            "{text}"
        );
        for evil in ["\u{1b}[2J", "\u{9b}", "\u{0}", "\r"] {
            assert!(!text.contains(evil), "{text:?}");
        }
    }

    #[test]
    fn a_line_for_programs_is_one_object() {
        let text = logged(|sink| {
            let writer = move || sink.clone();
            for_programs(writer)
        });
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[1]["span"]["id"], 7, "{text}");
        assert_eq!(lines[1]["fields"]["message"], "the second");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
