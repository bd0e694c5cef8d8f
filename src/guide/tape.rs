//! Chapter 2: recording, parameters, errors that name your line.
//!
//! [Guide](super) · previous: [concepts](super::concepts) · next: [storage types](super::storage_types)
//!
//! A [`Tape`](crate::Tape) computes as you go and remembers how. Three kinds of leaves go in:
//! [`constant`](crate::Tape::constant) (data), [`variable`](crate::Tape::variable) (a value whose gradient is wanted) and
//! [`parameter`](crate::Tape::parameter) (a reference to a table that outlives the tape). This is the model of the tour:
//!
//! ```
//! use sparsetape::{Gradients, Parameter, Params, Tape, Tensor, optim::Sgd};
//!
//! // Two rows of a log with a million columns, as (column, value), and whether there was a click.
//! let x = Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32), (70_000, 2.0)], vec![(3, -1.0)]])?;
//! let y = Tensor::dense([2, 1], vec![1.0f32, 0.0])?;
//!
//! let w = Parameter::new("w", Tensor::full([1_000_000, 1], 0.0f32)?)?;
//! let params = Params::new([&w])?;
//! let mut sgd = Sgd::new(0.5);
//! let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
//! for _ in 0..3 {
//!     tape.clear(); // forgets the recording, keeps its memory
//!     let logits = tape.constant(x.clone()).dot(tape.parameter(&w));
//!     let loss = logits.sigmoid_binary_cross_entropy(tape.constant(y.clone()));
//!     loss.backward_into(&mut gradients)?;
//!     sgd.step(&params, &gradients)?;
//! }
//! assert_eq!(w.rows(&[3, 4])?.values::<f32>()?[1], 0.0); // column 4 never occurred
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! The tape reads `w` where it is, and the step writes it where it is: nothing of the table's size is ever copied
//! ([`snapshot`](crate::Parameter::snapshot) does, and says so). Cloning `x` shares its memory. From the second round on, a
//! step allocates next to nothing.
//!
//! The same operators on plain tensors, unrecorded, return a `Result`: `x.dot(&w)?`.
//!
//! # Errors come out at the exits
//!
//! `x.dot(w) + b` could not be written if every operator returned a `Result`. So operators return a variable, and a bad
//! call *poisons* it. Everything computed from it is poisoned, too, and wherever a value is asked for (`value`, `item`,
//! `backward`, `freeze`, ..) the first error comes out: operator, operand types, position and bound, and the line *you*
//! wrote, also from inside compositions and from the backward pass.
//!
//! ```
//! use sparsetape::{ErrorKind, Tape, Tensor};
//! let tape = Tape::new();
//! let table = tape.variable(Tensor::full([4, 2], 1.0f32)?);
//! let ids = tape.constant(Tensor::dense([2], vec![0i64, 9])?);
//! let line = line!() + 1;
//! let loss = table.take(ids).square().sum(); // the mistake is here,
//! let error = loss.backward().unwrap_err(); // and told here
//! assert_eq!((error.kind(), error.location().unwrap().line()), (ErrorKind::Index, line));
//! let text = "take(default f32 (4, 2), default i64 (2,)): ids[1] = 9, but the table has 4 rows (at ";
//! assert!(error.to_string().starts_with(text)); // .. and file, line, column
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! Nothing that data, shapes or files can do is a panic. [`ErrorKind`](crate::ErrorKind) is what programs branch on;
//! [`Var::ok`](crate::Var::ok) asks early.
//!
//! # Stale reads
//!
//! A backward rule may need the operands of the forward pass. If a parameter moved in between, its gradient would be that
//! of a loss that never was. So reading a parameter after an update that was not recorded is an error; values that are
//! computed already stay.
//!
//! ```
//! use sparsetape::{ErrorKind, Parameter, Params, Tape, Tensor, optim::Sgd};
//! let w = Parameter::new("w", Tensor::full([2], 1.0f32)?)?;
//! let tape = Tape::new();
//! let v = tape.parameter(&w);
//! let (first, second) = (v.square().sum(), v.exp().sum());
//! Sgd::new(0.1).step(&Params::new([&w])?, &first.backward()?)?;
//! assert!(second.value().is_ok()); // it was computed before the step
//! assert_eq!(v.sin().value().unwrap_err().kind(), ErrorKind::Stale);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # Training, prediction, suspicion
//!
//! - [`Tape::train`](crate::Tape::train) takes a seed and the number of the step: dropout draws by them, so that a step can be
//!   run again. Without it a tape predicts.
//! - [`Tape::no_grad`](crate::Tape::no_grad) records a part that is not differentiated;
//!   [`stop_gradient`](crate::Var::stop_gradient) ends the backward pass at a value.
//! - [`Tape::detect_non_finite`](crate::Tape::detect_non_finite) makes the first operator that gives NaN or infinity an error.
//! - A tape belongs to one thread. Parameters are shared between threads; large operators use all cores by themselves.
//!
//! [Guide](super) · previous: [concepts](super::concepts) · next: [storage types](super::storage_types)
