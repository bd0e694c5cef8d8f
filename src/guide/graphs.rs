//! Chapter 7: symbolic or frozen, bound and optimized; seeing what runs.
//!
//! [Guide](super) · previous: [training](super::training) · next: [deployment](super::deployment)
//!
//! A tape records one run. A [`Graph`](crate::Graph) is the computation as plain data: for any batch size, without weights,
//! `Send + Sync`, to be looked at, optimized, saved. There are two ways to one, with the same operators, and they give
//! the same kind of graph.
//!
//! **Composed**: a [symbolic tape](crate::Tape::symbolic) holds types instead of values. A
//! [variable](crate::variable()) has a name, and maybe a storage type, a shape of which parts are unknown, an initializer.
//!
//! ```
//! use sparsetape::{Bind, Graph, Init, Stype, Tape, Tensor, optim::Sgd, variable};
//!
//! let tape = Tape::symbolic();
//! let data = tape.symbol(variable("data").stype(Stype::Csr).shape([None, Some(1_000_000)]));
//! let weight = tape.symbol(variable("weight").shape([None, Some(1)]).init(Init::Constant(0.0)));
//! let label = tape.symbol(variable("label").shape([None]));
//! let logits = data.dot(weight).reshape(&[-1]);
//! let training = Graph::new(&[logits.sigmoid_binary_cross_entropy(label)])?;
//! assert_eq!(training.list_arguments(), ["data", "weight", "label"]);
//!
//! let params = training.init_params(42, &[])?; // the rows of `weight` follow from the columns of `data`
//! let x = Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32), (70_000, 2.0)], vec![(3, -1.0)]])?;
//! let y = Tensor::dense([2], vec![1.0f32, 0.0])?;
//! let mut executor = training.bind(Bind::from(&params).tensor("data", x).tensor("label", y).train())?;
//! let mut sgd = Sgd::new(0.5);
//! for _ in 0..3 {
//!     executor.backward_into(&mut sgd)?; // forward, backward, update: two rows move
//! }
//!
//! // Another batch, of another size.
//! let x = Tensor::from_rows(1_000_000, &[vec![(70_000, 1.0f32)]])?;
//! executor.feed(&[("data", &x), ("label", &Tensor::dense([1], vec![1.0f32])?)])?;
//! executor.forward(false)?;
//! assert!(executor.output(0)?.item::<f32>()? < 0.7);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! **Frozen**: [`Tape::freeze`](crate::Tape::freeze) cuts a graph out of what a tape recorded, between inputs and outputs;
//! [`freeze_fn`](crate::freeze_fn) records a function for it. Parameters become variables of their names.
//!
//! ```
//! use sparsetape::{Bind, Parameter, Params, Tape, Tensor};
//! let w = Parameter::new("w", Tensor::full([1_000_000, 1], 0.5f32)?)?;
//! let tape = Tape::new();
//! let x = tape.constant(Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32)], vec![(70_000, 2.0)]])?);
//! let graph = tape.freeze([("data", x)], [x.dot(tape.parameter(&w)).sigmoid().named("probability")])?;
//!
//! let params = Params::new([&w])?;
//! let mut executor = graph.bind(Bind::from(&params).shape("data", [1, 1_000_000]))?;
//! executor.run(&[("data", &Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32)]])?)])?;
//! assert!(executor.output(0)?.item::<f32>()? > 0.6);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! Freezing infers all shapes again for another batch size, so an operator that holds the size of *this* batch is found
//! then, with its line, not in production. For that reason a backward rule never embeds a shape either: it takes shapes
//! from its operands.
//!
//! # Binding
//!
//! [`Graph::bind`](crate::Graph::bind) is where values meet a graph. It infers what is unknown, forward and backward from
//! what is known; decides the storage types, so `Fallback::Deny` refuses before anything runs; adds the backward pass,
//! if [`train`](crate::Bind::train) asks for it; optimizes ([`Passes`](crate::Passes): dead code, algebra, constants,
//! common expressions, fusion; all give the same bits); and plans the memory. What comes out is an
//! [`Executor`](crate::Executor), one thread's memory for the graph, which allocates nothing once it has seen batches of
//! the size. Parameters are read in place: tape, executors and optimizer share them.
//!
//! # Looking at a graph
//!
//! `println!("{graph}")` is a table of the nodes with storage types in and out, kernels, bytes, casts marked.
//! [`to_svg`](crate::Graph::to_svg) and [`to_dot`](crate::Graph::to_dot) draw it, casts for want of a kernel in red.
//! [`explain`](crate::Graph::explain) says of one node which row of its table runs and why the others do not.
//!
//! # What runs
//!
//! With the environment variable `SPARSETAPE_LOG=info`, and no code, every operator that runs says so on stderr: storage
//! types, element types and shapes of operands and result, and your source line. That includes casts to dense and what
//! backward rules record.
//!
//! ```text
//! sparsetape: dot(csr f32 (2, 5), default f32 (5, 1)) -> default f32 (2, 1) at src/main.rs:9:22
//! sparsetape: backward of dot at src/main.rs:9:22
//! sparsetape: dot(csr f32 (2, 5), default f32 (2, 1)) -> row_sparse f32 (5, 1) at src/main.rs:9:22
//! ```
//!
//! An executor also says so when it is bound, of every operator that is going to run, with the name of its node; and then
//! not on stderr only, but to whatever `tracing` subscriber or `log` logger listens at level INFO to the target
//! `sparsetape`.
//!
//! ```text
//! sparsetape: bind logits = dot(csr f32 (2, 5), default f32 (5, 1)) -> default f32 (2, 1) at src/main.rs:9:22
//! sparsetape: bind cast_storage0 = cast_storage(csr f32 (2, 5)) -> default f32 (2, 5) [cast] at src/main.rs:12:24
//! ```
//!
//! What it costs is measured between [`Tape::start_profile`](crate::Tape::start_profile) and
//! [`Tape::stop_profile`](crate::Tape::stop_profile), the same on executors: calls, time and bytes by operator and table row.
//! [`Tape::observe`](crate::Tape::observe) and [`Executor::observe`](crate::Executor::observe) show results to a function,
//! by pattern of names. Neither costs anything while it is off.
//!
//! ```text
//! operator  storage types                    calls   time   mean   share     read  written  GB/s
//! dot       csr, default -> row_sparse f32     100  4.2ms  42.0µs  60.0 %  12.4 MB  8.22 MB  4.91
//! dot       csr, default -> default f32        100  2.8ms  28.0µs  40.0 %  16.5 MB   102 kB  5.93
//! 200 calls, 7.0ms
//! ```
//!
//! [Guide](super) · previous: [training](super::training) · next: [deployment](super::deployment)
