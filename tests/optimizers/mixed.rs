//! Dense layers and embedding tables, trained by one optimizer.

use sparsetape::optim::{AdaGrad, Adam, AdamW, Ftrl, Optimizer, Sgd, Update, clip_global_norm};
use sparsetape::{DType, Gradients, Init, Parameter, Params, Result, Stype, Tape, Tensor};

const FEATURES: usize = 1000;
const EXAMPLES: usize = 8;

fn parameters() -> Result<Params> {
    let made = |name: &str, stype, shape: [usize; 2], init: Init| {
        Parameter::new(name, init.tensor(stype, shape, DType::F64, 5)?)
    };
    Params::new(&[
        made("embedding", Stype::Default, [FEATURES, 4], Init::Normal(0.3))?,
        Parameter::drawn("drawn", [FEATURES, 4], DType::F64, Init::Normal(0.3), 6)?,
        made("wide", Stype::RowSparse, [FEATURES, 1], Init::Constant(0.0))?,
        made("hidden", Stype::Default, [4, 3], Init::Xavier)?,
        made("bias", Stype::Default, [1, 3], Init::Constant(0.1))?,
        made("out", Stype::Default, [3, 1], Init::Xavier)?,
    ])
}

/// Gradients of the loss, and the loss.
fn backward(params: &Params) -> Result<(Gradients, f64)> {
    let tape = Tape::new();
    let parameter = |name| tape.parameter(params.get(name).unwrap());
    let rows: Vec<_> = (0..EXAMPLES).map(|i| vec![(i, 1.0), (100 + i % 3, -0.5)]).collect();
    let x = tape.constant(Tensor::from_rows(FEATURES, &rows)?);
    // Ids that repeat: their rows' gradients are sums.
    let ids = (0..EXAMPLES).map(|i| (i % 3) as i64 * 7).collect::<Vec<_>>();
    let ids = tape.constant(Tensor::dense([EXAMPLES], ids)?);
    let labels = (0..EXAMPLES).map(|i| (i % 2) as f64).collect::<Vec<_>>();
    let y = tape.constant(Tensor::dense([EXAMPLES, 1], labels)?);
    let embedded = x.dot(parameter("embedding")) + parameter("drawn").take(ids);
    let hidden = (embedded.dot(parameter("hidden")) + parameter("bias")).tanh();
    let logits = hidden.dot(parameter("out")) + x.dot(parameter("wide"));
    let loss = logits.sigmoid_binary_cross_entropy(y);
    Ok((loss.backward()?, loss.item()?))
}

#[test]
fn one_optimizer_trains_all_parameters() -> Result<()> {
    let makers: [fn(Update) -> Box<dyn Optimizer>; 5] = [
        |update| Box::new(Sgd::new(0.3).momentum(0.9).update(update)),
        |update| Box::new(Adam::new(0.05).update(update)),
        |update| Box::new(AdamW::new(0.05).update(update)),
        |update| Box::new(AdaGrad::new(0.3).update(update)),
        |update| Box::new(Ftrl::new(0.3).l1(1e-4).update(update)),
    ];
    for make in makers {
        for update in [Update::Lazy, Update::Exact] {
            let (params, mut optimizer) = (parameters()?, make(update));
            let (_, begin) = backward(&params)?;
            for _ in 0..100 {
                optimizer.step(&params, &backward(&params)?.0)?;
            }
            let (_, end) = backward(&params)?;
            assert!(end < 0.6 * begin, "{update:?}: from {begin} to {end}");
            assert!(params.iter().all(|p| p.updates() == 100));
            let stored = |name| params.get(name).unwrap().stored_rows();
            assert_eq!((stored("drawn")?.len(), stored("wide")?.len()), (3, EXAMPLES + 3));
        }
    }
    Ok(())
}

/// Clipping by the norm over gradients of both storage types is clipping by that of dense ones.
#[test]
fn clipping_by_global_norm_is_the_dense_computation() -> Result<()> {
    let params = parameters()?;
    let (mut gradients, _) = backward(&params)?;
    let dense: Vec<Vec<f64>> = params
        .iter()
        .map(|p| {
            let gradient = gradients.of(p).unwrap().cast_storage(Stype::Default)?;
            Ok(gradient.values::<f64>()?.to_vec())
        })
        .collect::<Result<_>>()?;
    let stypes: Vec<_> = gradients.iter().map(|(_, gradient)| gradient.stype()).collect();
    assert!(stypes.contains(&Stype::Default) && stypes.contains(&Stype::RowSparse));

    let norm = dense.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
    let most = norm / 3.0;
    let got = clip_global_norm(&params, &mut gradients, most)?;
    assert!((got - norm).abs() <= 1e-14 * norm, "{got} {norm}");
    assert!(stypes == gradients.iter().map(|(_, gradient)| gradient.stype()).collect::<Vec<_>>());
    for (p, dense) in params.iter().zip(&dense) {
        let clipped = gradients.of(p).unwrap().cast_storage(Stype::Default)?;
        for (x, y) in clipped.values::<f64>()?.iter().zip(dense) {
            assert!((x - y * (most / norm)).abs() <= 1e-14 * y.abs(), "{}: {x} {y}", p.name());
        }
    }
    Ok(())
}
