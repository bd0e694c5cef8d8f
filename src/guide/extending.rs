//! Chapter 9: an operator of your own.
//!
//! [Guide](super) · previous: [deployment](super::deployment)
#![cfg_attr(feature = "data", doc = "· next: [for MXNet users](super::for_mxnet_users)")]
//!
//! What is made of existing operators is a function from variables to a variable, like `logits` on the earlier pages;
//! nothing else is needed. A kernel of your own is an [`Op`](crate::Op): one file, outside the crate, and what it
//! promises is tested by one call.
//!
//! The example is `scale_columns`: each column of a matrix times a weight of its own, the idf of tf-idf, learnt. The
//! built-in `x * weights` computes the same, but wants dense weights and gives them a dense gradient. This one reads only the
//! weights of the columns that a batch has, from a table that may be row-sparse, and its gradient has only those.
//!
//! An operator answers six questions:
//!
//! - [`refine`](crate::Op::refine): **which shapes go together?** Not just forward: what is known of the result flows back
//!   to the operands, so that graphs infer the shapes of weights. It reads no values.
//! - [`cases`](crate::Op::cases): **which storage types, and which kernel for each?** The row of the table infers the result's
//!   type and dispatches. Combinations that are not in it fall back to the nearest one that is, visibly.
//! - [`reads`](crate::Op::reads): **what is read of an operand?** Here `RowsOf(0)`, the rows that the columns of operand 0
//!   name: so exact optimizers bring just those up to date, and drawn tables insert just those.
//! - [`vjp`](crate::Op::vjp): **what is the gradient?** In recorded operators, your own among them, so that it can be
//!   differentiated again, runs on executors and is saved with the graph. It may branch on fields and storage types, never
//!   on shapes: the `ones` below get theirs from an operand, and so the rule holds for every batch size.
//! - [`mimic`](crate::Op::mimic): **what is it, by definition?** Slow, dense, in `f64`, obvious.
//! - [`samples`](crate::Op::samples): **which inputs should it be tested with, and which must it refuse?**
//!
//! Kernels write into [`Out`](crate::Out), memory that is recycled from step to step (its contents are unspecified: write
//! all of it), and take temporaries from [`Scratch`](crate::Scratch). Errors say what is wrong; operator, operands and the
//! user's line are added to them.
//!
//! Beside this crate it takes `cargo add ndarray@0.17`, for the definition, and `cargo add serde --features derive`, for the
//! file of a graph.
//!
//! `examples/custom_operator/operator.rs`:
//!
//! ```
#![doc = include_str!("../../examples/custom_operator/operator.rs")]
//! ```
//!
//! # Tested by one call
//!
//! [`check_op`](crate::check::check_op) runs every sample through every row of the table: values against the definition,
//! inferred types against produced ones, gradients of both orders against finite differences, recorded against frozen,
//! fused and saved, other batch sizes, single rows, thread counts, stale rows of exact optimizers, refusals. An operator that
//! passes can be used like those of the crate, which are tested by nothing less.
//!
//! ```
//! # mod operator { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/custom_operator/operator.rs")); }
//! # use operator::ScaleColumns;
//! let checked = sparsetape::check::check_op::<ScaleColumns>()?;
//! assert_eq!((checked.rows, checked.samples), (4, 4));
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # Used like any other
//!
//! It records, trains under `Deny` with tables of 10⁹ rows, freezes, and is saved by name. Who loads the file needs the
//! operator, and says so to a [`Registry`](crate::Registry):
//!
//! ```
//! # mod operator { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/custom_operator/operator.rs")); }
//! # use operator::{ScaleColumns, scale_columns};
//! use sparsetape::optim::Sgd;
//! use sparsetape::{DType, Fallback, Init, Model, Parameter, Params, Registry, Tape, Tensor};
//!
//! let terms = 1_000_000_000;
//! let idf = Parameter::drawn("idf", [terms], DType::F32, Init::Constant(1.0), 0)?;
//! let out = Parameter::drawn("out", [terms, 1], DType::F32, Init::Normal(0.1), 7)?;
//! let params = Params::new([&idf, &out])?;
//!
//! let tape = Tape::new();
//! tape.set_fallback(Fallback::Deny);
//! let tf = tape.constant(Tensor::from_rows(terms, &[vec![(7, 3.0f32), (90, 1.0)]])?);
//! let score = scale_columns(tf.log1p(), tape.parameter(&idf)).dot(tape.parameter(&out));
//! let gradients = score.square().sum().backward()?;
//! assert_eq!(gradients.of(&idf).unwrap().rows(), Some(&[7, 90][..]));
//! let graph = tape.freeze([("tf", tf)], [score])?;
//! Sgd::new(0.1).step(&params, &gradients)?;
//!
//! # let path = std::env::temp_dir().join(format!("sparsetape-guide-custom-{}", std::process::id()));
//! graph.save(&path, &params, &Default::default())?;
//! let error = Model::load(&path).unwrap_err();
//! assert!(error.to_string().contains("no operator \"scale_columns\""));
//! let mut registry = Registry::standard();
//! registry.add::<ScaleColumns>();
//! assert!(Model::load_with(&path, &registry).is_ok());
//! # std::fs::remove_file(&path).unwrap();
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! The whole program is `cargo run --example custom_operator`.
//!
//! An optimizer of your own implements [`Optimizer`](crate::optim::Optimizer), a metric
//! [`Metric`](crate::train::metrics::Metric), a source of data `data::BatchSource`.
//!
//! [Guide](super) · previous: [deployment](super::deployment)
#![cfg_attr(feature = "data", doc = "· next: [for MXNet users](super::for_mxnet_users)")]
