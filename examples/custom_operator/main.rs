//! An operator of one's own, outside the crate: `scale_columns` multiplies every column of a matrix by a weight of its
//! own. That is the idf of tf-idf, here learnt: the gradient of the weights holds only the columns that the batch has, and
//! the weights may be a row-sparse table of 10⁹ rows of which a few are stored. (The built-in `x * weights` needs dense
//! weights and gives them a dense gradient.)
//!
//! It is recorded, differentiated, trained, saved and loaded like the operators of the crate, and one call of `check_op`
//! tests it. The guide's chapter on extending walks through this file.
//!
//! ```text
//! cargo run --example custom_operator
//! ```

mod operator;

use std::collections::BTreeMap;

use operator::{ScaleColumns, scale_columns};
use sparsetape::check::check_op;
use sparsetape::optim::Sgd;
use sparsetape::{DType, Fallback, Init, Model, Parameter, Params, Registry, Result, Tape, Tensor};

fn check() -> Result<()> {
    let checked = check_op::<ScaleColumns>()?;
    println!("{checked}");
    assert_eq!((checked.rows, checked.samples), (4, 4));
    Ok(())
}

/// Trains weights of terms on two documents of which the second only is relevant.
fn train() -> Result<(Params, f32)> {
    let terms = 1_000_000_000;
    let counts = [vec![(7, 3.0f32), (90, 1.0)], vec![(7, 2.0), (999_999_999, 4.0)]];
    let counts = Tensor::from_rows(terms, &counts)?;
    let relevant = Tensor::dense([2], vec![0.0f32, 1.0])?;

    let idf = Parameter::drawn("idf", [terms], DType::F32, Init::Constant(1.0), 0)?;
    let out = Parameter::drawn("out", [terms, 1], DType::F32, Init::Normal(0.1), 7)?;
    let params = Params::new([&idf, &out])?;
    let mut sgd = Sgd::new(0.2).momentum(0.9);
    let mut last = f32::NAN;
    for _ in 0..20 {
        let tape = Tape::new();
        tape.set_fallback(Fallback::Deny); // nothing of 10⁹ rows is made dense, backward neither
        let tf = tape.constant(counts.clone()).log1p();
        let scores = scale_columns(tf, tape.parameter(&idf)).dot(tape.parameter(&out));
        let labels = tape.constant(relevant.clone());
        let loss = scores.reshape(&[-1]).sigmoid_binary_cross_entropy(labels);
        let gradients = loss.backward()?;
        let touched = gradients.of(&idf).and_then(Tensor::rows);
        assert_eq!(touched, Some(&[7, 90, 999_999_999][..]));
        sgd.step(&params, &gradients)?;
        last = loss.item()?;
    }
    assert_eq!(idf.stored_rows()?, [7, 90, 999_999_999]);
    Ok((params, last))
}

/// Freezes the model, saves it, and loads it in what might be another program.
fn deploy(params: &Params) -> Result<f32> {
    let tape = Tape::new();
    let tf = tape.constant(Tensor::from_rows(1_000_000_000, &[vec![(7, 1.0f32)]])?);
    let weight = |name| tape.parameter(params.get(name).expect("trained"));
    let probability = scale_columns(tf, weight("idf")).dot(weight("out")).sigmoid();
    let graph = tape.freeze([("tf", tf)], [probability])?;
    let path = std::env::temp_dir().join(format!("sparsetape-custom-{}", std::process::id()));
    graph.save(&path, params, &BTreeMap::new())?;

    // Without the operator, the file is refused by name; with it, it runs.
    let error = Model::load(&path).expect_err("not one of the crate's operators");
    assert!(error.to_string().contains("no operator \"scale_columns\""), "{error}");
    let mut registry = Registry::standard();
    registry.add::<ScaleColumns>();
    let model = Model::load_with(&path, &registry)?;
    let mut executor = model.graph.bind(model.bind().shape("tf", [1, 1_000_000_000]))?;
    executor.feed_csr("tf", &[0, 2], &[7, 999_999_999], &[1.0f32, 1.5])?;
    executor.forward(false)?;
    let probability = executor.output(0)?.item::<f32>()?;
    let _ = std::fs::remove_file(&path);
    Ok(probability)
}

fn main() -> Result<()> {
    check()?;
    let (params, loss) = train()?;
    println!("loss after 20 steps: {loss:.4}");
    let probability = deploy(&params)?;
    println!("a document of the relevant kind: {probability:.3}");
    assert!(loss < 0.1 && probability > 0.6);
    Ok(())
}

#[test]
fn runs() -> Result<()> {
    main()
}
