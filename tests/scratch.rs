//! Scratch.
use sparsetape::*;
#[test]
fn go() {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr).shape([32, 10000]).dtype(DType::F32));
    let weight = tape.symbol(variable("weight").stype(Stype::RowSparse).shape([None, Some(2)]));
    let bias = tape.symbol(variable("bias").shape([2]));
    let label = tape.symbol(variable("softmax_label"));
    let out = (data.dot(weight) + bias).softmax_output(label).named("out");
    let g = Graph::new(&[out]).unwrap();
    std::fs::write("/tmp/a.svg", g.to_svg().unwrap()).unwrap();
    let h = ((data + 1.0).log() * 0.5 - 2.0).sum();
    let c = tape.constant(Tensor::scalar(2.5f32)) * h;
    let g = Graph::new(&[out, c]).unwrap();
    let g = g.with_gradients(&["weight", "bias"]).unwrap();
    std::fs::write("/tmp/b.svg", g.to_svg().unwrap()).unwrap();
    let x = tape.symbol(variable("x\n<>&\"\u{1}日本").shape([5, 5]).dtype(DType::F32));
    let mut y = x;
    for i in 0..180 {
        y = if i % 3 == 0 { y * x } else { y.sin() }
    }
    let g = Graph::new(&[y.sum()]).unwrap().with_gradients(&["x\n<>&\"\u{1}日本"]).unwrap();
    println!("{}", g.list_internals().len());
    let t = std::time::Instant::now();
    let s = g.to_svg();
    println!("{:?}", t.elapsed());
    std::fs::write("/tmp/c.svg", s.unwrap()).unwrap();
}
