//! What becomes of the cases: equal, explained by a rule, or unexplained.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

/// Differences that are wanted, and why. Nothing else excuses one.
pub const RULES: [(&str, &str); 10] = [
    ("accepted", "MXNet refuses operands that are well-defined"),
    ("checked", "MXNet takes arrays with unsorted, repeated or wild ids; constructors refuse them"),
    (
        "dense",
        "dot(default, csr) is dense: every row meets every column; `forward_stype` asks for csr",
    ),
    ("ignored", "an absent entry annihilates: no arithmetic happens there"),
    ("mathematical", "MXNet's value is wrong or missing; the vector carries the right one, ours"),
    (
        "momentum",
        "momentum is stored as its parameter is; MXNet keeps it dense for standard updates",
    ),
    ("ones", "ones_like of a sparse value is 1 where it stores something, and sparse"),
    ("pattern", "a gradient of a sparse value lives on what it stores, not on all elements"),
    ("sparser", "where MXNet falls back to dense or returns dense, a sparse kernel is used"),
    ("zeros", "explicit zeros stay stored, rows that become zero too; or MXNet keeps some more"),
];

/// The rule that a case needs, if any, or what is wrong.
pub type Outcome = Result<Option<&'static str>, String>;

/// The rules that a case needs; the first one counts.
#[derive(Default)]
pub struct Needed(Option<&'static str>);

impl Needed {
    pub fn rule(&mut self, name: &'static str) {
        self.0.get_or_insert(name);
    }

    /// A rule that says more than those before it.
    pub fn override_with(&mut self, name: &'static str) {
        self.0 = Some(name);
    }

    pub fn first(self) -> Option<&'static str> {
        self.0
    }
}

#[derive(Default)]
pub struct Tally {
    cases: usize,
    equal: usize,
    explained: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Tally {
    /// Replays one case; a panic is a difference too.
    pub fn replay(&mut self, case: &Value, replay: impl FnOnce(&Value) -> Outcome) {
        let outcome = catch_unwind(AssertUnwindSafe(|| replay(case)));
        self.cases += 1;
        match outcome.unwrap_or_else(|cause| Err(format!("panics: {}", message(&*cause)))) {
            Ok(None) => self.equal += 1,
            Ok(Some(rule)) => *self.explained.entry(rule).or_default() += 1,
            Err(why) => self.unexplained.push(format!("{}: {why}", name(case))),
        }
    }

    /// Prints a line, and adds up.
    pub fn close(self, title: &str, total: &mut Tally) {
        println!("{title}: {}", self.line());
        let listed = self.unexplained.iter().take(4000);
        listed.for_each(|line| println!("    {line}"));
        total.cases += self.cases;
        total.equal += self.equal;
        self.explained.iter().for_each(|(r, n)| *total.explained.entry(r).or_default() += n);
        total.unexplained.extend(self.unexplained);
    }

    fn line(&self) -> String {
        let explained: usize = self.explained.values().sum();
        let (cases, equal, unexplained) = (self.cases, self.equal, self.unexplained.len());
        format!("{cases} cases, {equal} equal, {explained} explained, {unexplained} unexplained")
    }

    /// Prints the rules that were needed and the closing line.
    ///
    /// # Panics
    /// If a difference is unexplained, or a rule is not in the table.
    pub fn finish(self) {
        println!("explained:");
        for (rule, count) in &self.explained {
            let (_, why) = RULES.iter().find(|(name, _)| name == rule).expect("a rule");
            println!("{count:5} {rule}: {why}");
        }
        println!("{}", self.line());
        assert!(self.cases > 0, "nothing was replayed");
        assert!(self.unexplained.is_empty(), "unexplained differences");
    }
}

fn message(cause: &(dyn Any + Send)) -> &str {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("")
}

fn name(case: &Value) -> String {
    match case["id"].as_str() {
        Some(id) => id.to_owned(),
        None => format!("{} {} {}", case["op"], case["params"], case["input_stypes"]),
    }
}
