//! What is written is read back.

use proptest::prelude::*;
use sparsetape::data::{Dataset, IdBase, Libsvm, LibsvmWriter};
use sparsetape::{DType, Element, ErrorKind, Stype, Tensor};

use super::{Scratch, assert_same};

fn dataset<T: Element + Arbitrary>(labels: usize) -> impl Strategy<Value = Dataset> {
    let row = (
        prop::collection::btree_map(0usize..20, any::<T>(), 0..6),
        prop::collection::vec(any::<T>(), labels..=labels),
        any::<i64>(),
    );
    (prop::collection::vec(row, 0..8), any::<bool>()).prop_map(move |(rows, with_qids)| {
        let entries: Vec<Vec<(usize, T)>> =
            rows.iter().map(|r| r.0.iter().map(|(&k, &x)| (k, x)).collect()).collect();
        let flat: Vec<T> = rows.iter().flat_map(|r| r.1.clone()).collect();
        let shape = if labels == 1 { vec![rows.len()] } else { vec![rows.len(), labels] };
        let features = Tensor::from_rows(20, &entries).unwrap();
        let data = Dataset::new(features, Tensor::dense(shape, flat).unwrap()).unwrap();
        let qids = rows.iter().map(|r| r.2).collect();
        if with_qids && !rows.is_empty() { data.with_qids(qids).unwrap() } else { data }
    })
}

fn round_trip(data: &Dataset, labels: usize, base: IdBase) {
    let scratch = Scratch::new();
    let writer = LibsvmWriter::new().base(base);
    let mut text = Vec::new();
    writer.write(&mut text, data).unwrap();
    writer.save(scratch.path("saved"), data).unwrap();
    assert_eq!(std::fs::read(scratch.path("saved")).unwrap(), text);
    let reader =
        Libsvm::new().dtype(data.features.dtype()).base(base).features(20).label_columns(labels);
    let mut back = reader.read_from(&text[..]).unwrap();
    assert_eq!(back.schema.base(), base);
    back.schema = data.schema;
    assert_same(data, &back);
}

proptest! {
    #[test]
    fn identity((labels, single, double) in (1usize..4).prop_flat_map(|n| (Just(n), dataset::<f32>(n), dataset::<f64>(n))), one: bool) {
        let base = if one { IdBase::One } else { IdBase::Zero };
        round_trip(&single, labels, base);
        round_trip(&double, labels, base);
    }

    #[test]
    fn windows_are_written_alone(data in dataset::<f32>(1), at in any::<prop::sample::Index>()) {
        let start = at.index(data.rows() + 1);
        let write = |data: &Dataset| {
            let mut text = Vec::new();
            LibsvmWriter::new().write(&mut text, data).unwrap();
            text
        };
        let parts = [data.rows_window(0, start).unwrap(), data.rows_window(start, data.rows()).unwrap()];
        prop_assert_eq!(write(&data), [write(&parts[0]), write(&parts[1])].concat());
    }
}

#[test]
fn shortest_digits() {
    let values = vec![0.1f32, -0.0, 1e-30, 3e38, 16777216.0, f32::NAN, f32::NEG_INFINITY];
    let features = Tensor::csr([1, 7], vec![0, 7], (0..7).collect::<Vec<u32>>(), values).unwrap();
    let data = Dataset::new(features, Tensor::dense([1], vec![3i64]).unwrap()).unwrap();
    let mut text = Vec::new();
    LibsvmWriter::new().write(&mut text, &data).unwrap();
    let expected = "3 0:0.1 1:-0 2:1e-30 3:3e38 4:16777216 5:NaN 6:-inf\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn refusals() {
    let kind = |features: &Tensor, labels: Tensor, writer: LibsvmWriter| {
        let data = Dataset::new(features.clone(), labels).unwrap();
        writer.write(std::io::sink(), &data).unwrap_err().kind()
    };
    let plain = LibsvmWriter::new();
    let csr = Tensor::zeros(Stype::Csr, [2, 3], DType::F32).unwrap();
    let dense = Tensor::zeros(Stype::Default, [2, 3], DType::F32).unwrap();
    let cube = Tensor::zeros(Stype::Default, [2, 1, 1], DType::F32).unwrap();
    let none = Tensor::zeros(Stype::Default, [2, 0], DType::F32).unwrap();
    assert_eq!(kind(&dense, dense.clone(), plain), ErrorKind::Stype);
    assert_eq!(kind(&csr, csr.clone(), plain), ErrorKind::Stype);
    assert_eq!(kind(&csr, cube, plain), ErrorKind::Shape);
    assert_eq!(kind(&csr, none, plain), ErrorKind::Value);
    let last = Tensor::csr([1, 1 << 32], vec![0, 1], vec![u32::MAX], vec![1.0f32]).unwrap();
    let label = Tensor::dense([1], vec![0.0f32]).unwrap();
    assert_eq!(kind(&last, label, plain.base(IdBase::One)), ErrorKind::Value);

    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let data = Dataset::new(csr, Tensor::dense([2], vec![0i64, 1]).unwrap()).unwrap();
    assert_eq!(plain.write(Full, &data).unwrap_err().to_string(), "<writer>: full");
}
