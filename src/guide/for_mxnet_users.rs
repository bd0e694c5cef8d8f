//! Chapter 10: for MXNet users, their idiom beside ours.
//!
//! [Guide](super) · previous: [extending](super::extending) · next: [for PyTorch users](super::for_pytorch_users)
//!
//! Storage types, their inference and the names of operators are those of MXNet 1.9.1's sparse API, and vectors computed by
//! it are replayed in the tests. A search of this documentation for MXNet's name finds ours. The differences are on
//! purpose; [they are listed below](#what-is-different).
//!
//! # The tutorial's model, through `Module`
//!
//! ```python
//! data, label = mx.sym.Variable('data', stype='csr'), mx.sym.Variable('softmax_label')
//! weight = mx.sym.Variable('weight', stype='row_sparse', shape=(4, 1), init=mx.init.Normal(0.01))
//! pred = mx.sym.sparse.dot(data, weight)
//! lro = mx.sym.LinearRegressionOutput(pred, label, name='lro')
//! train = mx.io.LibSVMIter(data_libsvm='a.svm', data_shape=(4,), batch_size=2)
//! mod = mx.mod.Module(lro, data_names=['data'], label_names=['softmax_label'])
//! mod.fit(train, num_epoch=200, eval_metric='mse', optimizer='sgd',
//!         optimizer_params={'learning_rate': 0.2, 'momentum': 0.5})
//! mod.save_checkpoint('model', 200, save_optimizer_states=True)
//! ```
//!
//! ```
//! use sparsetape::data::{IdBase, LastBatch, Libsvm};
//! use sparsetape::optim::Sgd;
//! use sparsetape::train::{Fit, Progress, Trainer, metrics::Mse};
//! use sparsetape::{Graph, Init, Stype, Tape, variable};
//!
//! let tape = Tape::symbolic();
//! let data = tape.symbol(variable("data").stype(Stype::Csr));
//! let label = tape.symbol(variable("softmax_label").shape([None, Some(1)]));
//! let weight = variable("weight").stype(Stype::RowSparse).shape([4, 1]).init(Init::Normal(0.01));
//! let pred = data.dot(tape.symbol(weight));
//! let lro = Graph::new(&[pred.linear_regression_output(label, 1.0).named("lro")])?;
//!
//! # let text = "1 0:1\n3 0:1 1:1\n2 1:1\n4 3:1\n";
//! # let path = std::env::temp_dir().join(format!("sparsetape-guide-{}.svm", std::process::id()));
//! # std::fs::write(&path, text).unwrap();
//! let train = Libsvm::new().base(IdBase::Zero).features(4).read(&path)?;
//! let train = train.batches(2).last(LastBatch::Pad).build()?;
//! let mut module = Trainer::from_graph(&lro, lro.init_params(42, &[])?, Sgd::new(0.2).momentum(0.5))?;
//! module.set_progress(Progress::hidden());
//! let history = module.fit(&train, Fit::epochs(200).metric(Mse::new()))?;
//! assert!(history.last("train", "mse").unwrap() < 1e-6);
//! # let model = std::env::temp_dir().join(format!("sparsetape-guide-{}.ckpt", std::process::id()));
//! module.save_checkpoint(&model)?; // optimizer and position in the data included
//! # std::fs::remove_file(&path).unwrap();
//! # std::fs::remove_file(&model).unwrap();
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # Symbols and executors
//!
//! | MXNet | here |
//! |---|---|
//! | `sym.Variable('x', stype='csr', shape=.., init=.., lr_mult=..)` | [`tape.symbol(variable("x").stype(..))`](crate::variable()), on a [symbolic tape](crate::Tape::symbolic) |
//! | `sym.sparse.dot(a, b, transpose_a=True, forward_stype=..)` | [`a.dot(b)`](crate::Var::dot), [`dot_with`](crate::Var::dot_with), [`dot_as`](crate::Var::dot_as) |
//! | `sym.sparse.retain`, `cast_storage`, `add_n`, `_square_sum` | [`retain`](crate::Var::retain), [`cast_storage`](crate::Var::cast_storage), [`add_n`](crate::Tape::add_n), [`square_sum`](crate::Var::square_sum) |
//! | `sym.Embedding(.., sparse_grad=True)`, `take` | [`embedding`](crate::Var::embedding), [`take`](crate::Var::take); row-sparse gradients are the default |
//! | `infer_storage_type`, `infer_shape` | [`infer_stype`](crate::Graph::infer_stype), [`infer_shape`](crate::Graph::infer_shape) |
//! | `sym.simple_bind(ctx, data=(2, 4))` | [`graph.simple_bind(&[("data", &[2, 4])])`](crate::Graph::simple_bind) |
//! | `sym.bind(ctx, args, args_grad, grad_req)` | [`graph.bind`](crate::Graph::bind) with [`Bind`](crate::Bind); gradients come out of [`grad`](crate::Executor::grad) |
//! | `exe.forward(is_train=True)`, `backward`, `outputs`, `copy_params_from` | [`forward`](crate::Executor::forward), [`backward`](crate::Executor::backward), [`outputs`](crate::Executor::outputs), [`set`](crate::Executor::set) |
//! | `sym.tojson`, `nd.save` | [`graph.save`](crate::Graph::save): one file, weights included |
//! | `Monitor(1, pattern='fc.*')` | [`observe("fc*", ..)`](crate::Executor::observe) |
//! | `mx.viz.plot_network` | [`to_svg`](crate::Graph::to_svg), [`to_dot`](crate::Graph::to_dot) |
//!
//! # Arrays
//!
//! | MXNet | here |
//! |---|---|
//! | `nd.sparse.csr_matrix((data, indices, indptr), shape=..)` | [`Tensor::csr(shape, indptr, indices, data)`](crate::Tensor::csr) |
//! | `nd.sparse.row_sparse_array((data, indices), shape=..)` | [`Tensor::row_sparse(shape, indices, data)`](crate::Tensor::row_sparse) |
//! | `nd.sparse.zeros('csr', shape)` | [`Tensor::zeros`](crate::Tensor::zeros) |
//! | `a.tostype('csr')` | [`a.cast_storage(Stype::Csr)`](crate::Tensor::cast_storage) |
//! | `a.stype`, `a.data`, `a.indices`, `a.indptr` | [`stype`](crate::Tensor::stype), [`values`](crate::Tensor::values), [`indices`](crate::Tensor::indices) or [`rows`](crate::Tensor::rows), [`indptr`](crate::Tensor::indptr) |
//! | `a.check_format()` | done by every constructor |
//! | `a.asscipy()`, `sparse.array(scipy)` | `From` of `sprs`, and `.npz` files |
//! | `autograd.record()`, `x.attach_grad(stype=..)`, `loss.backward()` | [`Tape::new`](crate::Tape::new), [`tape.variable`](crate::Tape::variable), [`with_grad_stype`](crate::Var::with_grad_stype), [`backward`](crate::Var::backward) |
//!
//! # Module
//!
//! | MXNet | here |
//! |---|---|
//! | `Module(sym, data_names, label_names)`, `bind` | [`Trainer::from_graph`](crate::train::Trainer::from_graph); inputs go by name, [`feed`](crate::train::Trainer::feed) renames |
//! | `init_params(initializer)` | [`graph.init_params(seed, shapes)`](crate::Graph::init_params), by each variable's [`Init`](crate::Init) |
//! | `set_params(.., allow_missing, allow_extra)` | [`load`](crate::train::Trainer::load), which tells what was missing and extra |
//! | `init_optimizer('adam', ..)` | an optimizer is an argument |
//! | `fit(num_epoch, eval_data, eval_metric, batch_end_callback, ..)` | [`fit`](crate::train::Trainer::fit) with [`Fit`](crate::train::Fit) |
//! | `begin_epoch` | not needed: [`resume`](crate::train::Trainer::resume) knows, to the batch |
//! | `score`, `predict`, `forward`, `backward`, `update`, `update_metric`, `get_outputs` | [`score`](crate::train::Trainer::score), [`predict`](crate::train::Trainer::predict) and so on, [`outputs`](crate::train::Trainer::outputs) |
//! | `save_checkpoint`, `Module.load` | [`save_checkpoint`](crate::train::Trainer::save_checkpoint), [`resume`](crate::train::Trainer::resume); to serve, [`graph.save`](crate::Graph::save) and [`Model::load`](crate::Model::load) |
//! | `fixed_param_names` | [`freeze("*embedding*")`](crate::train::Trainer::freeze) |
//! | `callback.Speedometer`, `ProgressBar` | [`Progress`](crate::train::Progress) |
//! | `metric.create(['acc', 'ce'])`, `CustomMetric` | [`metrics`](crate::train::metrics): `Fit::metric`, once each; [`custom`](crate::train::metrics::custom()) |
//! | `io.LibSVMIter(data_libsvm, data_shape, batch_size, part_index, num_parts, round_batch)` | [`Libsvm`](crate::data::Libsvm), or [`stream_batches`](crate::data::Libsvm::stream_batches) with [`part`](crate::data::StreamPlan::part); [`LastBatch::Pad`](crate::data::LastBatch) |
//! | `lazy_update=True` / `False` | [`Update::Lazy`](crate::optim::Update) / `Dense`; and `Exact`, which has the result of one at the cost of the other |
//! | `kvstore.row_sparse_pull`, `sparse_row_id_fn` | nothing to pull: operators read the rows that they need from the one table, in place |
//! | `kvstore` over machines | none; [`Gradients::reduce`](crate::Gradients::reduce) adds up those of workers, in one fixed order |
//!
//! # What runs
//!
//! | MXNet | here |
//! |---|---|
//! | `MXNET_STORAGE_FALLBACK_LOG_VERBOSE` (on by default) | [`Fallback::Warn`](crate::Fallback) (the default), with your source line; also `Deny`, which MXNet has not |
//! | `MXNET_INFER_STORAGE_TYPE_VERBOSE_LOGGING` | `SPARSETAPE_LOG=info`, [see here](super::graphs#what-runs) |
//! | `sym.debug_str()`, `get_internals()` | `println!("{graph}")`, [`list_internals`](crate::Graph::list_internals), [`internal`](crate::Graph::internal) |
//! | `mx.profiler` | [`start_profile`](crate::Executor::start_profile), [`profile`](crate::Executor::profile) |
//!
//! # What is different
//!
//! - **Gradients that MXNet leaves at zero.** `dot(csr, dense)` does not write the gradient of its csr operand in MXNet,
//!   unless it is asked for in a sparse type. Here it is computed, on the operand's pattern.
//! - **Ids out of range** are an error; MXNet's `take`, and `Embedding` with a dense weight, clip them.
//!   [`OutOfRange::Clip`](crate::OutOfRange) is MXNet's choice.
//! - **Row-sparse weights may lack rows.** An absent row is zero, or [drawn](crate::Parameter::drawn) by the initializer. MXNet's
//!   optimizers refuse such a weight.
//! - **`clip` of a sparse array to an interval without 0** falls back to dense, visibly. In MXNet it raises.
//! - **Labels and ids.** MXNet counts libsvm ids from 0. Here the base is found out, or said:
//!   [`IdBase::Zero`](crate::data::IdBase). Ids are `i64`, not floats.
//! - **The last batch** is smaller, by default; MXNet fills it up with rows from the beginning. Rows of padding count in no
//!   metric here.
//! - **`rescale_grad`.** Losses like [`sigmoid_binary_cross_entropy`](crate::Var::sigmoid_binary_cross_entropy) are means over
//!   the rows. For MXNet's outputs, whose gradients are sums, the trainer sets 1 / rows, as `Module` does; an executor with an
//!   optimizer of your own does not.
//! - **Metrics** are those of all rows; MXNet's `RMSE` and `F1` are means over batches.
//! - **Adam** counts the optimizer's steps in its bias correction, MXNet for each parameter those that had a gradient.
//! - **Weight decay in lazy mode** is as in MXNet: it acts on a row when that is touched.
//! - **`num_epoch`** is the epoch to reach, as in MXNet: a resumed run that has had 3 of 5 trains 2 more.
//! - **Element types** are not promoted, and there are no 16-bit floats.
//! - **Second order.** MXNet's `dot` and many others have none. Here all backward rules can be differentiated.
//! - **No GPUs.**
//!
//! [Guide](super) · previous: [extending](super::extending) · next: [for PyTorch users](super::for_pytorch_users)
