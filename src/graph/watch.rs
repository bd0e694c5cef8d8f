//! Executors measured and observed.

use super::executor::Executor;
use crate::error::Result;
use crate::tape::{Observed, Profile};

impl Executor {
    /// From now on every operator that this executor runs is measured; what was measured before is
    /// forgotten. Costs nothing unless it is on: no clock is read.
    pub fn start_profile(&mut self) {
        self.workspace.start_profile();
    }

    /// What was measured since [`Executor::start_profile`]; nothing if that is off.
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").shape([4]));
    /// let mut executor = Graph::new(&[x.exp().sum()])?.simple_bind(&[])?;
    /// executor.start_profile();
    /// for _ in 0..10 {
    ///     executor.forward(false)?;
    /// }
    /// println!("{}", executor.profile());
    /// assert_eq!(executor.profile().calls(), 20);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn profile(&self) -> Profile {
        self.workspace.profile()
    }

    /// Ends measuring, and gives what was measured.
    pub fn stop_profile(&mut self) -> Profile {
        self.workspace.stop_profile()
    }

    /// Calls `f` with the result of each operator whose node has a matching name (`dot0`, or what
    /// [`Var::named`](crate::Var::named) gave), when it has run, in the forward and the backward pass.
    /// Of a graph that was simplified, the nodes that are left are seen. (MXNet: `Monitor`.)
    ///
    /// In the pattern `*` stands for any characters, also none, `?` for any one; all others stand for
    /// themselves. (MXNet takes a regular expression.) [`Executor::unobserve`] ends it. An error of `f` stops
    /// the run, which returns it; the next [`Executor::forward`] runs as if nothing had been.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use sparsetape::{Graph, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let graph = Graph::new(&[tape.symbol(variable("x")).exp().named("odds").sum()])?;
    /// let mut executor = graph.bind([("x", Tensor::full([2], 0.0f32)?)])?;
    /// let (send, seen) = channel();
    /// executor.observe("o*", move |odds| {
    ///     let _ = send.send((odds.name().to_owned(), odds.value().cloned()));
    ///     Ok(())
    /// });
    /// executor.forward(false)?;
    /// executor.unobserve("o*");
    /// let (name, value) = seen.recv().unwrap();
    /// assert_eq!((&name[..], value.unwrap().values::<f32>()?), ("odds", &[1.0; 2][..]));
    /// assert!(seen.recv().is_err());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn observe(
        &mut self,
        pattern: impl Into<String>,
        f: impl FnMut(&Observed<'_>) -> Result<()> + Send + 'static,
    ) {
        self.observers.add(pattern, f);
    }

    /// Ends what [`Executor::observe`] began with this pattern.
    pub fn unobserve(&mut self, pattern: &str) {
        self.observers.remove(pattern);
    }
}
