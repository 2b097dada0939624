//! Figures for people and for programs.

use serde_json::{Map, Value, json};

use crate::measure::Percentiles;

/// The figures of one run, in the order in which they are shown.
pub(crate) struct Report {
    title: String,
    rows: Vec<(String, String)>,
    fields: Map<String, Value>,
}

impl Report {
    /// `kind` is the JSON object's type.
    pub(crate) fn new(kind: &str, title: String) -> Self {
        let mut fields = Map::new();
        fields.insert("type".to_owned(), json!(kind));
        Self {
            title,
            rows: Vec::new(),
            fields,
        }
    }

    /// A setting: in JSON alone, since the title names it for people.
    pub(crate) fn setting(&mut self, field: &str, value: impl Into<Value>) {
        self.fields.insert(field.to_owned(), value.into());
    }

    /// A figure with the unit that people read behind it.
    pub(crate) fn number(&mut self, label: &str, field: &str, value: f64, unit: &str) {
        let shown = if value.abs() >= 100.0 {
            grouped(value)
        } else {
            format!("{value:.2}")
        };
        self.rows.push((
            label.to_owned(),
            format!("{shown} {unit}").trim().to_owned(),
        ));
        self.fields
            .insert(field.to_owned(), json!((value * 1_000.0).round() / 1_000.0));
    }

    /// A figure that is there only if it was asked for.
    pub(crate) fn maybe(&mut self, label: &str, field: &str, value: Option<f64>, unit: &str) {
        if let Some(value) = value {
            self.number(label, field, value, unit);
        }
    }

    /// A count.
    pub(crate) fn count(&mut self, label: &str, field: &str, value: u64) {
        self.rows.push((label.to_owned(), value.to_string()));
        self.fields.insert(field.to_owned(), json!(value));
    }

    /// A distribution in milliseconds.
    pub(crate) fn percentiles(&mut self, label: &str, field: &str, it: Percentiles) {
        let shown = format!(
            "p50 {:.2}   p90 {:.2}   p99 {:.2}   max {:.2} ms",
            it.p50, it.p90, it.p99, it.max
        );
        self.rows.push((label.to_owned(), shown));
        self.fields.insert(field.to_owned(), json!(it));
    }

    /// The table, one row a line.
    fn table(&self) -> String {
        let width = self.rows.iter().map(|(label, _)| label.chars().count());
        let width = width.max().unwrap_or_default();
        let mut table = format!("{}\n", self.title);
        for (label, shown) in &self.rows {
            table.push_str(&format!("  {label:<width$}  {shown}\n"));
        }
        table
    }

    /// Prints it to standard output.
    ///
    /// # Errors
    ///
    /// Standard output is closed.
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut out = std::io::stdout().lock();
        if json {
            writeln!(out, "{}", Value::Object(self.fields.clone()))?;
        } else {
            write!(out, "{}", self.table())?;
        }
        Ok(())
    }

    /// The figure that a program reads.
    #[cfg(test)]
    pub(crate) fn field(&self, name: &str) -> Value {
        self.fields.get(name).cloned().unwrap_or_default()
    }
}

/// A whole number with its thousands apart: 15,000.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left % 3 == 0 && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_its_fields_are_json() {
        let mut report = Report::new("pairs", "2 pairs".to_owned());
        report.number("accepted", "accepted_per_second", 15_123.4, "/s");
        report.count("lost", "lost", 0);
        assert_eq!(
            report.table(),
            "2 pairs\n  accepted  15,123 /s\n  lost      0\n"
        );
        assert_eq!(report.field("lost"), json!(0));
        assert_eq!(report.field("accepted_per_second"), json!(15_123.4));
    }
}
