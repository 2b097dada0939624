//! Medians of the runs with the same settings.

use serde_json::{Map, Value, json};

use super::NEVER;

/// Fields that say what was measured, not what came out.
const SETTINGS: [&str; 15] = [
    "store",
    "type",
    "table",
    "pairs",
    "in_flight",
    "rate",
    "size",
    "connections",
    "devices_per_user",
    "resume",
    "members",
    "online",
    "messages",
    "announced",
    "uploads",
];

/// One object for each combination of settings, in the order in which they come
/// first: each figure is the median of its runs. `runs` is how many there were,
/// `least` and `most` have the extremes of what is a single number.
pub(super) fn of(figures: &[Value]) -> Vec<Value> {
    let mut groups: Vec<(Map<String, Value>, Vec<&Value>)> = Vec::new();
    for figure in figures {
        let settings = settings(figure);
        match groups.iter_mut().find(|(it, _)| *it == settings) {
            Some((_, runs)) => runs.push(figure),
            None => groups.push((settings, vec![figure])),
        }
    }
    let medians = groups.into_iter().map(|(mut fields, runs)| {
        fields.insert("runs".to_owned(), json!(runs.len()));
        let (mut least, mut most) = (Map::new(), Map::new());
        for (name, value) in figures_of(&runs) {
            let all: Vec<f64> = runs
                .iter()
                .filter_map(|run| run.get(name)?.as_f64())
                .collect();
            if let Some((low, high)) = extremes(&all) {
                least.insert(name.clone(), json!(low));
                most.insert(name.clone(), json!(high));
                let is_worst = NEVER.contains(&name.as_str());
                let kept = if is_worst { high } else { median(all) };
                fields.insert(name.clone(), json!(kept));
            } else if let Some(parts) = value.as_object() {
                let part = |part: &String| {
                    let all = runs
                        .iter()
                        .filter_map(|run| run.get(name)?.get(part)?.as_f64());
                    (part.clone(), json!(median(all.collect())))
                };
                let parts: Map<_, _> = parts.keys().map(part).collect();
                fields.insert(name.clone(), Value::Object(parts));
            }
        }
        fields.insert("least".to_owned(), Value::Object(least));
        fields.insert("most".to_owned(), Value::Object(most));
        Value::Object(fields)
    });
    medians.collect()
}

fn settings(figure: &Value) -> Map<String, Value> {
    let field = |name: &str| Some((name.to_owned(), figure.get(name)?.clone()));
    SETTINGS.into_iter().filter_map(field).collect()
}

/// The fields of the first run that are no settings.
fn figures_of<'a>(runs: &[&'a Value]) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let fields = runs.first().and_then(|first| first.as_object());
    fields
        .into_iter()
        .flatten()
        .filter(|(name, _)| !SETTINGS.contains(&name.as_str()))
}

fn extremes(all: &[f64]) -> Option<(f64, f64)> {
    let low = all.iter().copied().reduce(f64::min)?;
    let high = all.iter().copied().reduce(f64::max)?;
    Some((low, high))
}

/// Of an even number, the mean of the two in the middle.
fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    let upper = all.get(middle).copied().unwrap_or_default();
    if all.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|lower| all.get(lower));
    (lower.copied().unwrap_or_default() + upper) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_with_the_same_settings_become_their_median_and_a_loss_stays() {
        let run = |in_flight: u32, rate: f64, lost: u32, p99: f64| {
            json!({"type": "pairs", "store": "embedded", "in_flight": in_flight,
                   "accepted_per_second": rate, "lost": lost, "deliver_ms": {"p99": p99}})
        };
        let medians = of(&[
            run(1, 10.0, 0, 1.5),
            run(16, 99.0, 0, 9.0),
            run(1, 30.0, 2, 3.5),
            run(1, 20.0, 0, 2.5),
        ]);
        assert_eq!(
            medians,
            [
                json!({"type": "pairs", "store": "embedded", "in_flight": 1, "runs": 3,
                       "accepted_per_second": 20.0, "lost": 2.0, "deliver_ms": {"p99": 2.5},
                       "least": {"accepted_per_second": 10.0, "lost": 0.0},
                       "most": {"accepted_per_second": 30.0, "lost": 2.0}}),
                json!({"type": "pairs", "store": "embedded", "in_flight": 16, "runs": 1,
                       "accepted_per_second": 99.0, "lost": 0.0, "deliver_ms": {"p99": 9.0},
                       "least": {"accepted_per_second": 99.0, "lost": 0.0},
                       "most": {"accepted_per_second": 99.0, "lost": 0.0}}),
            ]
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_in_between() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
    }
}
