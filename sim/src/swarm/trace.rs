//! A run as text, that can be run again.

use std::{fmt, str::FromStr, time::Duration};

use magpie_protocol::moment::Moment;

use crate::world::{Broken, Mutant, Setup, Step, World};

/// The steps of a run, each with its time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    setup: Setup,
    mutant: Mutant,
    steps: Vec<(Duration, Step)>,
}

impl Trace {
    pub(super) fn new(setup: &Setup, mutant: Mutant) -> Self {
        Self {
            setup: setup.clone(),
            mutant,
            steps: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, at: Duration, step: Step) {
        self.steps.push((at, step));
    }

    /// How many steps it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing happens in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs it again, and heals the world after it.
    ///
    /// # Errors
    ///
    /// The first promise that is [`Broken`].
    pub fn replay(&self) -> Result<World, Broken> {
        let mut world = World::new(&self.setup, self.mutant);
        for (at, step) in &self.steps {
            world.step_at(Moment::new(*at), *step)?;
        }
        world.judge(false)?;
        world.heal()?;
        Ok(world)
    }

    /// A shorter one that breaks the same promise: parts are left out, large ones
    /// first, at most `tries` times.
    #[must_use]
    pub fn shrink(&self, promise: &str, tries: usize) -> Self {
        let mut best = self.clone();
        let mut part = best.len().div_ceil(2);
        let mut tried = 0;
        while part > 0 && tried < tries {
            let mut from = 0;
            let before = best.len();
            while from < best.len() && tried < tries {
                let mut shorter = best.clone();
                shorter.steps.drain(from..(from + part).min(best.len()));
                tried += 1;
                match shorter.replay() {
                    Err(broken) if broken.promise == promise => best = shorter,
                    Ok(_) | Err(_) => from += part,
                }
            }
            if part == 1 && best.len() == before {
                break;
            }
            part = part.div_ceil(2).min(part - usize::from(part > 1)).max(1);
        }
        best
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |it: &[u8]| it.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        let conversations = self.setup.conversations.iter().map(|it| numbers(it));
        writeln!(
            formatter,
            "{:?} {} {} {}",
            self.mutant,
            numbers(&self.setup.devices),
            conversations.collect::<Vec<_>>().join(";"),
            self.setup.shards
        )?;
        for (at, step) in &self.steps {
            writeln!(formatter, "{} {step}", at.as_micros())?;
        }
        Ok(())
    }
}

/// A text is no trace.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no trace: {0:?}")]
pub struct NoTrace(String);

impl FromStr for Trace {
    type Err = NoTrace;

    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let mut trace = header(first).ok_or_else(|| NoTrace(first.to_owned()))?;
        for line in lines {
            let parsed = line.split_once(' ').and_then(|(at, step)| {
                let at = Duration::from_micros(at.parse().ok()?);
                Some((at, step.parse().ok()?))
            });
            trace
                .steps
                .push(parsed.ok_or_else(|| NoTrace(line.to_owned()))?);
        }
        Ok(trace)
    }
}

fn header(line: &str) -> Option<Trace> {
    let numbers =
        |text: &str| -> Option<Vec<u8>> { text.split(',').map(|it| it.parse().ok()).collect() };
    let mut words = line.split(' ');
    let name = words.next()?;
    let mutants = Mutant::ALL.into_iter().chain([Mutant::None]);
    let mutant = mutants.into_iter().find(|it| format!("{it:?}") == name)?;
    let devices = numbers(words.next()?)?;
    let conversations = words
        .next()?
        .split(';')
        .map(numbers)
        .collect::<Option<_>>()?;
    let setup = Setup {
        devices,
        conversations,
        shards: words.next()?.parse().ok()?,
        strict: false,
    };
    Some(Trace::new(&setup, mutant))
}
