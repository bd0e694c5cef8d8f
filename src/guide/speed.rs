//! How the kernels work, and why so.
//!
//! `cargo bench --bench report` in the repository measures every workload named here against a floor: a loop written by
//! hand over the same arrays, without a tape, an allocation or a check. Figures on this page are nanoseconds a stored
//! entry, of one run of one thread on a cloud machine with AVX-512 (40 power-law columns a row); what matters is
//! how they compare.
//!
//! # What bounds a step
//!
//! Rows of a large table are far: a row that is in no cache costs some ten times the arithmetic on it. So a step
//! is fast if it reads each far row once and writes it once, asks for it well ahead, never touches what grows with the
//! table, and has no branch that depends on the data where it handles entries (one that is mispredicted costs as
//! much as a far row).
//!
//! # csr · dense
//!
//! A loop over the entries, with a row of the table added in registers for each, in chunks of up to 64 columns of constant width
//! that become full-width loads. The entries of a row go to four sums in turn (two where a chunk is wider than 16), so that
//! additions need not wait for each other; every 128 entries the sums go into a wider one. The order depends on the row alone: a row has the same bits in any batch.
//!
//! Where a batch's distinct columns are known (from an earlier epoch, or because the gradient will need them), and few of them
//! stand for many entries, their rows are copied to nearby memory first, in ascending order, and the product reads the copy:
//!
//! | 8192 rows | from the table | copy | from the copy |
//! |---|---|---|---|
//! | 10⁶ columns | 1.5 | 0.5 | 0.75 |
//! | 10⁸ columns | 8.8 | 3.3 | 0.9 |
//!
//! The copy pays near tables, too, where the gradient follows: the product then reads the entries' slots, as the gradient does
//! after it, and nobody reads the column ids. (With that, and without a multiplication an entry, a step of 1024 rows on 10⁴ columns
//! took a sixth less.)
//!
//! # csrᵀ · dense, merged
//!
//! The gradient of a table is row-sparse: sorted, unique rows. The kernel first merges the batch's columns (distinct ones, and
//! for each entry the *slot* of its column among them), then adds up every entry's product at its slot. Distinct rows are few
//! and stay in the caches, which makes the merged product cheaper than an unmerged one that has to be merged afterwards.
//!
//! Columns merge in one of three ways, chosen by how many entries and columns there are:
//!
//! | entries, columns | one set | spans | digits |
//! |---|---|---|---|
//! | 328 000, 10⁶ | **2.2** | 4.7 | 10 |
//! | 328 000, 10⁷ | 7.9 | **6.6** | 11.5 |
//! | 328 000, 10⁸ | 22 | **12.7** | 13 |
//! | 41 000, 10⁷ | 11.4 | 11.3 | **8.3** |
//! | 41 000, 10⁸ | 11.8 | 29 | **8.8** |
//!
//! - *One set* of all columns: a word holds 32 members and, once listed, how many come before them, so that a slot is a load
//!   and a population count. Scanned with vector compares, it sorts for free.
//! - *Spans*: entries are distributed among spans of 2¹⁸ columns, each of which is a set in the nearest cache. Threads share both
//!   halves of the work.
//! - *Digits*: a radix sort, 11 bits at a time. Its cost follows the entries alone: nothing here ever takes time in the order of the
//!   columns for few entries.
//!
//! # What comes again
//!
//! Slots depend on the pattern alone, and the [pattern](crate::Pattern) keeps them: 4 bytes an entry, 4 more for each distinct
//! column. Batches that are the same windows in every epoch (the default of data sets, whose *order* is shuffled) merge in the
//! first epoch only;
#![cfg_attr(
    feature = "data",
    doc = "[`keep_windows(false)`](crate::data::BatchPlan::keep_windows) forgets them. The bits are the same."
)]
#![cfg_attr(
    not(feature = "data"),
    doc = "`keep_windows(false)` forgets them. The bits are the same."
)]
//!
//! Keeping the entries in column order instead, so that a column's sum stays in a register, costs twice the memory and was
//! slower (1.9 to 2.7 an entry against 0.8 by slots): it reads the other operand in random order, and most columns have few
//! entries.
//!
//! # Look-ups
//!
//! `take` and embeddings look up whole rows: wide loads, each asked for 8 to 32 rows ahead. Their gradient is added up by id: ids are
//! sorted with their positions, the rows of one id are added in registers, and each sum is written once.
//!
//! # Pairs of features
//!
//! Composed of products and squares, the second-order term of a factorization machine is half a dozen passes over the rows that a
//! batch touches, forward, and as many backward. [`pair_interactions`](crate::Var::pair_interactions) adds up an entry's
//! product and its square as it reads the row. Its operator also gives the sums of the factors, for the gradient needs them: multiples
//! of these sums, merged as above, less a multiple of each touched row. A step on windows seen before took 2.4 to 2.7 times as long as one
//! written by hand, and takes 1.3 to 1.7.
//!
//! # Updates
//!
//! An optimizer walks the gradient's rows in ascending order. Weights and states of a row are asked for 16 rows ahead; rows of one
//! weight are collected sixteen at a time and moved side by side, which took a third off the update. Threads
//! share ascending rows, so none touches what another writes. Nothing is flagged, cleared or copied per table row.
//!
//! # Memory
//!
//! Tables, states and long arrays begin at cache lines and ask for huge pages: random rows of tables of hundreds of megabytes
//! are read about twice as fast, for most of the time goes into finding the page. What kernels need for a call comes
//! from an arena that belongs to the tape or the executor, and goes back to it: a fresh page costs more than filling
//! it. Results too large for the caches are written past them.
//!
//! # Small values
//!
//! On sixteen numbers an operator's arithmetic is nothing, and finding its memory, its kernel and its types everything. A
//! tape keeps small values side by side, and a node is plain data of one cache line, written once: half of the time went into
//! reading again what had just been written in pieces. A sweep backward that nobody differentiates records no nodes. An executor goes
//! further: runs of element-wise steps become a list of loops with their places, chosen once for this CPU, and a result that fills
//! the lanes stays there for the next one.
//!
//! # Element-wise operators
//!
//! Expressions run block by block on lanes of the widest instruction set, with own exponentials and logarithms that give the
//! same bits on every set, since results must not depend on where they are computed. There is no fused multiply-add: not
//! every CPU has it.
//!
//! # Requests
//!
//! [`Executor::run_csr`](crate::Executor::run_csr) predicts from the caller's slices: no copy is made, and the ids of a few rows
//! are checked right before the product follows them, while they are in the nearest cache.
//!
//! # Text
//!
//! libsvm rows are read 64 bytes at a time: all ends of numbers in a window are found with compares, and what is found
//! places the digits in a vector. Anything unusual (exponents, long ids, tabs) goes to an exact parser that knows how to
//! complain.
//!
//! # Threads
//!
//! Work is cut by what it is about to cost, and stays on the calling thread below some 130 µs: handing over costs 10 to 15 µs.
//! Nobody spins. How work is cut never shows in the result: parts are parts of the output, or their sums are joined in a fixed
//! order.
