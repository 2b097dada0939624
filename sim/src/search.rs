//! Every reachable small world.
//!
//! A search, breadth first, within a [`Scope`]: what must happen happens in a
//! fixed order, except that at any moment the next step may be put off until
//! nothing else is left to do (so often as the scope says), and that at any
//! moment any fault may strike (so often as the scope says). Every step is
//! checked (safety); from *every* world that is reached, the network heals and
//! everything must come right (liveness); where nothing fails, nothing is sent
//! twice (economy). With no bound on delays these are all orders there are.
//!
//! Sessions cannot be copied, so a world is kept as the way to it and walked to
//! again. The first broken promise found has a shortest way.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::world::{Act, Broken, Mutant, Setup, Step, World};

mod scopes;

/// Bounds of a search.
#[derive(Clone, Debug)]
pub struct Scope {
    /// For people.
    pub name: &'static str,
    /// How each world begins.
    pub setup: Setup,
    /// What persons did before, long ago: all is well again.
    pub before: Vec<Step>,
    /// What happened after that, a moment ago.
    pub begun: Vec<Step>,
    /// What persons do, in this order for each device.
    pub script: Vec<Step>,
    /// What may happen at any moment, if it can, and how often on each device.
    pub at_most: BTreeMap<Act, usize>,
    /// Connections of each device.
    pub connections_max: usize,
    /// Devices store some time after frames have arrived.
    pub dawdles: bool,
    /// How many faults of those allowed, together.
    pub faults_max: usize,
    /// How often the next step may be put off.
    pub delays_max: usize,
    /// Worlds after which the search ends.
    pub worlds_max: usize,
}

/// What a search saw.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Searched {
    /// Different worlds.
    pub worlds: usize,
    /// Steps between them.
    pub steps: usize,
    /// Steps on the longest of the shortest ways.
    pub depth: usize,
    /// There is nothing more in the scope.
    pub complete: bool,
}

/// A broken promise and the shortest way to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// What is broken.
    pub broken: Broken,
    /// The way.
    pub way: Vec<Step>,
    /// Worlds seen before.
    pub worlds: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            broken,
            way,
            worlds,
        } = self;
        write!(formatter, "{broken}, {} steps, {worlds} worlds", way.len())?;
        way.iter().try_for_each(|it| write!(formatter, "; {it}"))
    }
}

/// A step, or that the step that is next is put off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Choice {
    step: Step,
    waits: bool,
}

/// Where a world was first reached from.
struct Node {
    parent: usize,
    choice: Option<Choice>,
    depth: usize,
}

struct Search<'scope> {
    scope: &'scope Scope,
    mutant: Mutant,
    nodes: Vec<Node>,
    seen: HashSet<u64>,
}

impl Scope {
    /// Looks at every world in this scope.
    ///
    /// # Errors
    ///
    /// The first promise that is broken, with the shortest way to it.
    pub fn search(&self, mutant: Mutant) -> Result<Searched, Box<Found>> {
        let mut search = Search {
            scope: self,
            mutant,
            nodes: Vec::new(),
            seen: HashSet::new(),
        };
        let mut searched = Searched::default();
        search.nodes.push(Node {
            parent: 0,
            choice: None,
            depth: 0,
        });
        let mut next = 0;
        while let Some(node) = search.nodes.get(next)
            && search.nodes.len() < self.worlds_max
        {
            searched.depth = node.depth;
            searched.steps += search.expand(next)?;
            next += 1;
        }
        searched.worlds = search.nodes.len();
        searched.complete = next == searched.worlds;
        Ok(searched)
    }

    /// Whether it may happen at any moment, and still may.
    fn allows(&self, step: Step, way: &[Choice]) -> bool {
        let done = way.iter().filter(|it| !it.waits).map(|it| it.step);
        let faults = done.clone().filter(|it| it.act.is_fault()).count();
        let used = done.filter(|it| it.act == step.act && it.device == step.device);
        let most = self.at_most.get(&step.act).copied().unwrap_or_default();
        used.count() < most && (!step.act.is_fault() || faults < self.faults_max)
    }

    /// All that may be chosen.
    fn choices(&self, world: &World, way: &[Choice]) -> Vec<Choice> {
        let optional = [
            Act::Sleep,
            Act::Wake,
            Act::WakeArrives,
            Act::BackUp,
            Act::Ping,
            Act::Wait,
        ];
        let possible = world.possible().into_iter();
        let (at_any_moment, mut next): (Vec<Step>, Vec<Step>) =
            possible.partition(|it| it.act.is_fault() || optional.contains(&it.act));
        next.splice(0..0, self.scripted(way));
        let is_put_off = |step: &Step| {
            let put_off = way.iter().filter(|it| it.waits).map(|it| it.step);
            put_off
                .into_iter()
                .any(|it| (it.act, it.device, it.age) == (step.act, step.device, step.age))
        };
        next.sort_by_key(is_put_off);
        let choice = |waits| move |step| Choice { step, waits };
        let mut choices: Vec<Choice> = at_any_moment
            .into_iter()
            .filter(|it| self.allows(*it, way))
            .map(choice(false))
            .collect();
        if let Some(first) = next.first() {
            choices.push(choice(false)(*first));
            let delays = way.iter().filter(|it| it.waits).count();
            if next.len() > 1 && delays < self.delays_max && !is_put_off(first) {
                choices.push(choice(true)(*first));
            }
        }
        choices
    }

    /// What the persons of the script may do now.
    fn scripted(&self, way: &[Choice]) -> Vec<Step> {
        let is_scripted = |it: &&Step| matches!(it.act, Act::HandIn | Act::Join | Act::Leave);
        (0..self.setup.devices.len())
            .filter_map(|device| {
                let of_device = |it: &&Step| it.device == device;
                let done = way.iter().filter(|it| !it.waits).map(|it| &it.step);
                let done = done.filter(is_scripted).filter(of_device).count();
                self.script.iter().filter(of_device).nth(done).copied()
            })
            .collect()
    }
}

impl Search<'_> {
    /// Makes every choice in a world. Returns how many there were.
    fn expand(&mut self, from: usize) -> Result<usize, Box<Found>> {
        let mut way = self.way(from);
        let world = self.walk(&way)?;
        let choices = self.scope.choices(&world, &way);
        for choice in &choices {
            way.push(*choice);
            let mut world = self.walk(&way)?;
            if self.seen.insert(self.key(&world, &way)) {
                self.nodes.push(Node {
                    parent: from,
                    choice: Some(*choice),
                    depth: way.len(),
                });
                if !choice.waits {
                    self.heals(&mut world)
                        .map_err(|broken| self.found(broken, &way))?;
                }
            }
            way.pop();
        }
        Ok(choices.len())
    }

    fn heals(&self, world: &mut World) -> Result<(), Broken> {
        world.heal()?;
        if self.scope.faults_max == 0 {
            world.check_economy()?;
        }
        Ok(())
    }

    fn found(&self, broken: Broken, way: &[Choice]) -> Box<Found> {
        let way = way.iter().filter(|it| !it.waits).map(|it| it.step);
        Box::new(Found {
            broken,
            way: way.collect(),
            worlds: self.nodes.len(),
        })
    }

    fn way(&self, mut at: usize) -> Vec<Choice> {
        let mut way = Vec::new();
        while let Some(Node {
            parent,
            choice: Some(choice),
            ..
        }) = self.nodes.get(at)
        {
            way.push(*choice);
            at = *parent;
        }
        way.reverse();
        way
    }

    fn walk(&self, way: &[Choice]) -> Result<World, Box<Found>> {
        let Scope {
            connections_max,
            dawdles,
            ..
        } = *self.scope;
        let mut world = World::new(&self.scope.setup, self.mutant);
        let mut walked = self.scope.before.iter().try_for_each(|it| world.step(*it));
        if !self.scope.before.is_empty() {
            walked = walked.and_then(|()| world.heal());
        }
        walked = walked.and_then(|()| self.scope.begun.iter().try_for_each(|it| world.step(*it)));
        walked = walked.and_then(|()| world.settle_devices(connections_max, dawdles));
        for choice in way.iter().filter(|it| !it.waits) {
            walked = walked
                .and_then(|()| world.step(choice.step))
                .and_then(|()| world.settle_devices(connections_max, dawdles));
        }
        walked.map_err(|broken| self.found(broken, way))?;
        Ok(world)
    }

    /// A world, and what is left of the budgets in it.
    fn key(&self, world: &World, way: &[Choice]) -> u64 {
        let mut hasher = DefaultHasher::new();
        world.fingerprint().hash(&mut hasher);
        let spent = way
            .iter()
            .filter(|it| it.waits || self.scope.at_most.contains_key(&it.step.act));
        let mut spent: Vec<_> = spent
            .map(|it| (it.waits, it.step.act, it.step.device, it.step.age))
            .collect();
        spent.sort_unstable();
        spent.hash(&mut hasher);
        hasher.finish()
    }
}
