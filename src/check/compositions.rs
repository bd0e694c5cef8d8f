//! Compositions record the same for any batch: of 1, of several rows, of unknown size.

use crate::tape::{Fallback, PartialShape, Recorded, Tape, Var, variable};
use crate::tensor::{DType, Stype, Tensor};
use crate::{
    BagReduction, Embedding, EmbeddingBag, Loss, NormOrder, Normalization, OutOfRange,
    SoftmaxLayout, SoftmaxOutput,
};

type Record = for<'t> fn(&[Var<'t>]) -> Var<'t>;

/// An operand by words: storage type, element type, sizes, of which `n` is the batch.
fn operand<'t>(tape: &'t Tape, words: &str, batch: Option<usize>) -> Var<'t> {
    let (mut stype, mut dtype, mut sizes) = (Stype::Default, DType::F64, Vec::new());
    for word in words.split_whitespace() {
        match word {
            "csr" => stype = Stype::Csr,
            "rows" => stype = Stype::RowSparse,
            "i64" => dtype = DType::I64,
            "n" => sizes.push(batch),
            size => sizes.push(size.parse().ok()),
        }
    }
    if tape.is_symbolic() {
        let symbol = variable(format!("x{}", tape.len())).stype(stype).dtype(dtype);
        return tape.symbol(symbol.shape(PartialShape::from(Some(sizes))));
    }
    let shape: Vec<usize> = sizes.into_iter().flatten().collect();
    // Ids and offsets of 0; labels, shares and signs of 1.
    let dense = Tensor::from_fn(shape, |_| f64::from(u8::from(dtype != DType::I64))).cast(dtype);
    tape.variable(dense.cast_storage(stype).unwrap())
}

/// What is recorded, forward and backward: operators with their fields, operands, storage types.
fn recorded(tape: &Tape, operands: &[&str], batch: Option<usize>, record: Record) -> Vec<String> {
    tape.set_fallback(Fallback::Deny);
    let x: Vec<Var<'_>> = operands.iter().map(|words| operand(tape, words, batch)).collect();
    tape.grad(record(&x).sum(), &x[..1]).unwrap();
    let text = |node: Recorded| {
        let op = node.op.map(|op| format!("{} {}", op.name(), op.to_json().unwrap()));
        format!("{} of {:?}: {}", op.as_deref().unwrap_or("leaf"), node.ins, node.ty.stype)
    };
    tape.nodes().into_iter().map(text).collect()
}

fn same(operands: &[&str], record: Record) {
    let wanted = recorded(&Tape::symbolic(), operands, None, record);
    for batch in [1, 4] {
        let eager = recorded(&Tape::new(), operands, Some(batch), record);
        assert_eq!(eager, wanted, "{operands:?} with {batch} rows");
    }
}

#[test]
fn losses() {
    for labels in ["i64 n", "i64 n 1", "n 5", "csr n 5"] {
        same(&["n 5", labels], |x| x[0].softmax_cross_entropy(x[1]));
        same(&["n 5", labels, "5", "n"], |x| {
            let loss = Loss::mean().class_weights(x[2]).sample_weights(x[3]);
            x[0].softmax_cross_entropy_with(x[1], &loss)
        });
    }
    for (z, y) in [("n", "n"), ("n 1", "n"), ("n", "n 1"), ("n 3", "n 3"), ("n 1", "csr n 1")] {
        same(&[z, y], |x| x[0].sigmoid_binary_cross_entropy(x[1]));
        same(&[z, y], |x| x[0].l2_loss(x[1]));
        same(&[z, y, "n"], |x| x[0].l2_loss_with(x[1], &Loss::mean().sample_weights(x[2])));
        if !y.starts_with("csr") {
            same(&[z, y, "2", "n"], |x| {
                let loss = Loss::mean().class_weights(x[2]).sample_weights(x[3]);
                x[0].sigmoid_binary_cross_entropy_with(x[1], &loss) + x[0].hinge_with(x[1], &loss)
            });
        }
    }
}

#[test]
fn heads() {
    for label in ["i64 n", "n 5", "csr n 5"] {
        same(&["n 5", label], |x| x[0].softmax_output(x[1]));
        same(&["n 5", label], |x| {
            let options = SoftmaxOutput::new().normalization(Normalization::Batch).out_grad(true);
            x[0].softmax_output_with(x[1], options)
        });
    }
    same(&["n 5 3", "i64 n 3"], |x| {
        x[0].softmax_output_with(x[1], SoftmaxOutput::new().layout(SoftmaxLayout::SecondAxis))
    });
    for (x, label) in [("n 5", "n 5"), ("n 1", "n"), ("csr n 5", "n 5"), ("n 5", "csr n 5")] {
        same(&[x, label], |x| x[0].linear_regression_output(x[1], 2.0));
        same(&[x, label], |x| x[0].mae_regression_output(x[1], 2.0));
    }
    same(&["n 5", "n 5"], |x| x[0].logistic_regression_output(x[1], 2.0));
}

#[test]
fn layers() {
    same(&["3 8", "n 8", "3"], |x| x[1].fully_connected(x[0], Some(x[2])));
    same(&["3", "n 8", "3 8"], |x| x[1].fully_connected(x[2], Some(x[0])));
    same(&["rows 3 24", "n 2 3 4", "rows 3"], |x| x[1].fully_connected(x[0], Some(x[2])));
    same(&["3 8", "csr n 8", "3"], |x| x[1].fully_connected(x[0], Some(x[2])));
    same(&["9 8", "i64 n 4"], |x| x[1].embedding(x[0]));
    same(&["9 8", "i64 n"], |x| {
        let how = Embedding { sparse_grad: false, out_of_range: OutOfRange::Clip };
        x[1].embedding_with(x[0], how)
    });
    same(&["9 8", "i64 6", "i64 n", "6"], |x| {
        let how = EmbeddingBag { reduction: BagReduction::Sum, padding_idx: Some(1) };
        x[0].embedding_bag(x[1], x[2], Some(x[3]), how)
    });
    same(&["8 3", "csr n 8"], |x| x[1].pair_interactions(x[0]));
    same(&["rows 8 3", "csr n 8"], |x| x[1].pair_interactions(x[0]));
    same(&["8 3", "n 8"], |x| x[1].pair_interactions(x[0]));
    same(&["n 8", "csr n 8"], |x| x[1].dot_with(x[0], true, false));
    same(&["8", "csr n 8"], |x| x[1].dot(x[0]));
    same(&["n", "n 8"], |x| x[0].dot(x[1]));
}

#[test]
fn element_wise() {
    same(&["n 8", "i64 n"], |x| x[1].select(x[0], x[0].neg()));
    same(&["n 8", "n 8"], |x| x[1].greater_scalar(0.0).select(x[0], x[0].exp()));
    same(&["n 8", "8"], |x| (x[0] + x[1]) * x[0] / x[1]);
    same(&["n 8", "n 1"], |x| x[0].maximum(x[1]) * x[0]);
    same(&["n 8", "n 8"], |x| x[0] * x[1] - x[0] / x[1]);
    same(&["csr n 8", "n 8", "8"], |x| x[0] * x[1] * x[2]);
    same(&["n 8", "csr n 8"], |x| x[0] * x[1]);
}

#[test]
fn reductions_and_shapes() {
    same(&["n 8"], |x| x[0].mean() * x[0].norm());
    same(&["n 8"], |x| x[0].mean_axes(&[0], true) + x[0].max_axes(&[0], false));
    same(&["n 8"], |x| x[0].sum_axes(&[0], false) / x[0].size_of(0));
    same(&["n 8"], |x| x[0].norm_axes(NormOrder::L2, &[0], false) + x[0].softmax());
    same(&["n 8"], |x| x[0].top_k(3).0.transpose(&[]).flatten().log_softmax());
    same(&["n 8"], |x| x[0].tape().concat(&[x[0], x[0].split(1, 2)[1]], 1));
    same(&["n 8"], |x| x[0].tape().stack(&[x[0], x[0].exp()], 1).reshape(&[0, -1]));
    same(&["n 8"], |x| x[0].slice((.., 2..5)).expand_dims(0).squeeze(&[0]));
}
