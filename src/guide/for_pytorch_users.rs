//! Chapter 11: for PyTorch users, their idiom beside ours.
//!
//! [Guide](super) · previous: [for MXNet users](super::for_mxnet_users)
//!
//! The tape is PyTorch's autograd, define-by-run, with two differences in form: operators are methods of a
//! [`Var`](crate::Var) that lives on a tape, and errors come out [at the exits](super::tape#errors-come-out-at-the-exits).
//! Parameters are not leaves with a `.grad`: a backward pass returns [`Gradients`](crate::Gradients), so that nothing has to be
//! zeroed.
//!
//! # An embedding bag
//!
//! ```python
//! bag = torch.nn.EmbeddingBag(1_000_000, 16, mode='sum', sparse=True)
//! out = torch.nn.Linear(16, 1)
//! sparse = torch.optim.SparseAdam(bag.parameters(), lr=0.01)   # takes sparse gradients only,
//! dense = torch.optim.Adam(out.parameters(), lr=0.01)          # takes dense ones only
//! for ids, offsets, y in loader:
//!     sparse.zero_grad(); dense.zero_grad()
//!     loss = F.binary_cross_entropy_with_logits(out(bag(ids, offsets)).squeeze(1), y)
//!     loss.backward()
//!     sparse.step(); dense.step()
//! torch.save({'bag': bag.state_dict(), 'out': out.state_dict(), 'sparse': sparse.state_dict(), ..}, path)
//! ```
//!
//! ```
//! use sparsetape::optim::{Adam, Update};
//! use sparsetape::train::Checkpoint;
//! use sparsetape::{DType, EmbeddingBag, Init, Parameter, Params, Tape, Tensor};
//!
//! let bag = Parameter::drawn("bag", [1_000_000, 16], DType::F32, Init::Normal(0.1), 1)?;
//! let out = Parameter::new("out", Init::Xavier.tensor(Default::default(), [16, 1], DType::F32, 2)?)?;
//! let bias = Parameter::new("bias", Tensor::full([1], 0.0f32)?)?;
//! let params = Params::new([&bag, &out, &bias])?;
//! let mut adam = Adam::new(0.01).update(Update::Lazy); // dense and row-sparse, in one step
//! let mut run = Checkpoint::default();
//! # let loader = [(vec![7i64, 9, 7], vec![0i64, 2], vec![1.0f32, 0.0])];
//! for (ids, offsets, y) in loader {
//!     let tape = Tape::new();
//!     let vector = |x: Vec<i64>| Ok::<_, sparsetape::Error>(tape.constant(Tensor::dense([x.len()], x)?));
//!     let y = tape.constant(Tensor::dense([y.len()], y)?);
//!     let hidden = tape.parameter(&bag).embedding_bag(vector(ids)?, vector(offsets)?, None, EmbeddingBag::default());
//!     let logits = hidden.dot(tape.parameter(&out)) + tape.parameter(&bias);
//!     let loss = logits.reshape(&[-1]).sigmoid_binary_cross_entropy(y);
//!     adam.step(&params, &loss.backward()?)?;
//!     run.next_batch();
//! }
//! # let path = std::env::temp_dir().join(format!("sparsetape-guide-torch-{}", std::process::id()));
//! run.save(&path, &params, &adam)?; // all of it, and where in the data
//! assert_eq!(bag.stored_rows()?, [7, 9]);
//! # std::fs::remove_file(&path).unwrap();
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # Tensors
//!
//! | PyTorch | here |
//! |---|---|
//! | `torch.sparse_csr_tensor(crow, col, values, size)` | [`Tensor::csr(size, crow, col, values)`](crate::Tensor::csr), checked |
//! | `torch.sparse_coo_tensor(indices, values, size)` | [`Tensor::from_triplets`](crate::Tensor::from_triplets) makes csr of it; a gradient's layout, ids with rows, is [row-sparse](crate::Stype::RowSparse) |
//! | `t.coalesce()`, `is_coalesced()` | not needed: rows and columns are sorted and unique always |
//! | `t.to_dense()`, `t.to_sparse_csr()` | [`cast_storage`](crate::Tensor::cast_storage) |
//! | `torch.sparse.mm(x, w)`, `x @ w` | [`x.dot(w)`](crate::Var::dot) |
//! | `torch.sparse.sampled_addmm` | [`sampled_dot`](crate::Var::sampled_dot) |
//! | `torch.from_numpy`, `scipy.sparse.load_npz` | `From` of `ndarray` and `sprs`; [`read_npy`](crate::data::read_npy), `data::Npz` |
//! | `dtype` promotion | none: [`cast`](crate::Var::cast) |
//!
//! # Autograd
//!
//! | PyTorch | here |
//! |---|---|
//! | `x.requires_grad_()` | [`tape.variable(x)`](crate::Tape::variable), [`tape.parameter(&p)`](crate::Tape::parameter) |
//! | `with torch.no_grad():`, `x.detach()` | [`tape.no_grad(..)`](crate::Tape::no_grad), [`stop_gradient`](crate::Var::stop_gradient) |
//! | `loss.backward()`, `p.grad` | [`let g = loss.backward()?`](crate::Var::backward), [`g.of(&p)`](crate::Gradients::of) |
//! | `zero_grad()`; without it gradients add up | gradients are new each time; [`GradReq::Add`](crate::GradReq) adds up |
//! | `autograd.grad(y, x, create_graph=True)` | [`tape.grad(y, &[x])`](crate::Tape::grad), also of sparse operands, whose second order stays sparse |
//! | `autograd.gradcheck`, `gradgradcheck` | [`gradcheck`](crate::check::gradcheck): both orders, sparse inputs too |
//! | `set_detect_anomaly` | [`detect_non_finite`](crate::Tape::detect_non_finite); errors of backward passes have the forward line always |
//! | in-place change of a saved tensor: error | a parameter that moved since it was recorded: [error](super::tape#stale-reads) |
//! | `register_forward_hook` | [`observe`](crate::Tape::observe) |
//! | `autograd.Function` | an [`Op`](super::extending), with kernels by storage type, tested by one call |
//! | `torch.utils.checkpoint` | none |
//!
//! # Layers, optimizers, training
//!
//! | PyTorch | here |
//! |---|---|
//! | `nn.Embedding(sparse=True)`, `nn.EmbeddingBag` | [`take`](crate::Var::take), [`embedding`](crate::Var::embedding), [`embedding_bag`](crate::Var::embedding_bag) (`sum`, `mean`); the gradient is row-sparse by default |
//! | `nn.Linear(n, m)`, `F.linear` | [`fully_connected`](crate::Var::fully_connected), or `x.dot(w) + b` |
//! | `nn.Module`, `state_dict` | a struct of [`Parameter`](crate::Parameter)s that implements [`train::Model`](crate::train::Model); [`Params`](crate::Params) by name, [`save`](crate::Params::save) |
//! | `load_state_dict(strict=False)` | [`train::load`](crate::train::load()), which tells what was missing and unused |
//! | `SparseAdam` | [`Adam`](crate::optim::Adam) with [`Update::Lazy`](crate::optim::Update) |
//! | `Adam`, `AdamW`, `Adagrad`, `SGD` on dense gradients | the same with `Update::Dense`; on sparse ones, with the dense result, `Update::Exact` |
//! | `SGD` with momentum or decay on sparse gradients: not supported ([pytorch#30402](https://github.com/pytorch/pytorch/issues/30402)) | [`Sgd`](crate::optim::Sgd), in all three modes |
//! | two optimizers for sparse and dense parameters | one |
//! | `param_groups` | [multipliers](crate::Parameter::set_multipliers) by parameter, or an optimizer for each [`Params`](crate::Params) |
//! | `lr_scheduler.CosineAnnealingLR`, `LinearLR` warm-up | [`Schedule`](crate::optim::Schedule), part of the optimizer and its checkpoint |
//! | `clip_grad_norm_` | [`clip_global_norm`](crate::optim::clip_global_norm): of dense and row-sparse gradients together |
//! | `Dataset`, `DataLoader(shuffle, num_workers)` | [`Dataset::batches`](crate::data::Dataset::batches), [`prefetched`](crate::data::BatchSource::prefetched): a batch is a csr window of rows, so nothing is collated |
//! | a training loop, Lightning's `Trainer` | the same [loop](super::tape), or [`Trainer`](crate::train::Trainer) |
//! | `torch.save({'model': .., 'optimizer': .., 'epoch': ..})` | [`Checkpoint::save`](crate::train::Checkpoint::save): one file, resumed bit for bit, random numbers and position included |
//! | `torch.jit.trace`, `torch.export` with dynamic batch | [`tape.freeze`](crate::Tape::freeze): shapes follow the batch, and what does not is found at once |
//! | `torch.jit.save`, `torch.jit.load` | [`graph.save`](crate::Graph::save), [`Model::load`](crate::Model::load) |
//! | `torch.use_deterministic_algorithms(True)` | always so |
//! | `torch.set_num_threads` | rayon's pool (`RAYON_NUM_THREADS`); results do not depend on it |
//!
//! # What is different
//!
//! - **Lazy is a choice with a name.** `SparseAdam` updates moments and weights only where the gradient has entries; that is
//!   `Update::Lazy`. PyTorch has nothing like `Update::Exact`.
//! - **Nothing is dense behind your back.** An operator without a kernel for a sparse operand is neither an error by
//!   default nor a silent copy, but a recorded cast with a warning, or an error under
//!   [`Fallback::Deny`](super::storage_types#fallback).
//! - **A loss is a mean over rows**, as with PyTorch's `reduction='mean'`; [`Loss`](crate::Loss) says otherwise, and weighs.
//! - **Adam's ε** is added before the bias correction in `Adam`, as in MXNet; [`AdamW`](crate::optim::AdamW) is PyTorch's.
//! - **Tables need not exist.** A row of a [drawn](crate::Parameter::drawn) table takes memory when it is first trained.
//! - **No GPUs**, no 16-bit floats, no convolutions. Dense layers run on matrix products of the CPU.
//!
//! [Guide](super) · previous: [for MXNet users](super::for_mxnet_users)
