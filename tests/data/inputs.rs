//! Data sets hold further inputs, row by row.

use proptest::prelude::*;
use sparsetape::data::{Batch, Dataset, LastBatch};
use sparsetape::{DType, ErrorKind, Stype, Tensor};

use super::{all, parts};

fn ids(rows: usize, first: i64) -> Tensor {
    Tensor::dense([rows], (first..first + rows as i64).collect::<Vec<_>>()).unwrap()
}

fn first(data: &Dataset) -> Batch {
    all(&data.batches(2).build().unwrap(), 0, 0).remove(0)
}

/// Labels, a dense input and a csr one, which all name the row.
fn named(rows: usize) -> Dataset {
    let labels = (0..rows).map(|i| i as f32).collect::<Vec<_>>();
    let words: Vec<_> = (0..rows).map(|i| vec![(i % 5, i as f32)]).collect();
    Dataset::from_labels(Tensor::dense([rows], labels).unwrap())
        .and_then(|data| data.with_input("id", ids(rows, 0)))
        .and_then(|data| data.with_input("words", Tensor::from_rows(5, &words)?))
        .unwrap()
}

/// The numbers of its rows, by each input.
fn rows_of(labels: &Tensor, id: &Tensor, words: &Tensor) -> [Vec<i64>; 3] {
    let whole = |x: &Tensor| x.values::<f32>().unwrap().iter().map(|&x| x as i64).collect();
    [whole(labels), id.values::<i64>().unwrap().to_vec(), whole(words)]
}

proptest! {
    #[test]
    fn inputs_go_with_their_rows(rows in 0usize..30, size in 1usize..7, seed: u64, n in 1usize..5) {
        let data = named(rows).shuffled(seed).unwrap();
        let order = rows_of(&data.labels, &data.inputs[0].1, &data.inputs[1].1);
        let mut seen = Vec::new();
        for k in 0..n {
            let part = data.part(k, n).unwrap();
            prop_assert!(part.rows().abs_diff(rows / n) <= 1);
            let batches = part.batches(size).last(LastBatch::Pad).build().unwrap();
            for batch in all(&batches, 0, 0) {
                let of = |name| batch.input(name).unwrap();
                let [labels, ids, words] = rows_of(of("label"), of("id"), of("words"));
                prop_assert_eq!((&labels, &labels), (&ids, &words));
                seen.extend_from_slice(&ids[..batch.rows() - batch.pad]);
            }
        }
        prop_assert_eq!([&seen, &seen, &seen], order.each_ref());
    }
}

#[test]
fn inputs_by_name() {
    let features = Tensor::zeros(Stype::Csr, [2, 3], DType::F32).unwrap();
    let data = Dataset::new(features, Tensor::full([2], 1.0f32).unwrap()).unwrap();
    let data = data.with_input("user", ids(2, 5)).unwrap();
    let batch = first(&data);
    for name in ["data", "features"] {
        assert_eq!(batch.input(name).unwrap().shape()[..], [2, 3]);
    }
    for name in ["label", "labels", "softmax_label"] {
        assert_eq!(parts(batch.input(name).unwrap()), parts(&data.labels));
    }
    assert_eq!(batch.input("user").unwrap().values::<i64>().unwrap(), [5, 6]);
    for name in ["qid", "item"] {
        let error = batch.input(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        let message = format!("there is no input {name:?}, only data, label, user");
        assert!(error.to_string().contains(&message), "{error}");
    }
    assert!(format!("{batch:?}").contains("user: default i64 (2,)"));

    // A name is used once, and an input's own name goes first.
    let data = data.with_input("user", ids(2, 7)).unwrap().with_input("label", ids(2, 9)).unwrap();
    let batch = first(&data.with_qids(vec![3, 4]).unwrap());
    let values = |name| batch.input(name).unwrap().values::<i64>().unwrap().to_vec();
    assert_eq!((values("user"), values("label")), (vec![7, 8], vec![9, 10]));
    assert_eq!((values("qid"), batch.inputs.len()), (vec![3, 4], 2));
}

#[test]
fn rows_without_labels_say_so() {
    let features = Tensor::zeros(Stype::Csr, [3, 2], DType::F32).unwrap();
    let data = Dataset::from_features(features).unwrap();
    assert!(first(&data).input("data").is_ok());
    for name in ["label", "labels", "softmax_label"] {
        let error = first(&data).input(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.to_string().contains("the rows have no labels"), "{error}");
    }
    let data = data.with_input("label", ids(3, 1)).unwrap();
    assert!(first(&data).input("label").is_ok());
}

#[test]
fn refusals() {
    let data = named(3);
    let kind = |result: sparsetape::Result<Dataset>| result.unwrap_err().kind();
    assert_eq!(kind(data.clone().with_input("few", ids(2, 0))), ErrorKind::Shape);
    assert_eq!(kind(data.clone().with_input("none", Tensor::scalar(1.0f32))), ErrorKind::Shape);
    assert_eq!(kind(Dataset::from_labels(Tensor::scalar(1.0f32))), ErrorKind::Shape);
    assert_eq!(kind(data.part(3, 3)), ErrorKind::Value);
    assert_eq!(kind(data.part(0, 0)), ErrorKind::Value);
    // What is row-sparse has windows, but is not copied row by row.
    let sparse = Tensor::zeros(Stype::RowSparse, [3, 2], DType::F32).unwrap();
    let data = data.with_input("sparse", sparse).unwrap();
    assert!(data.batches(2).build().is_ok());
    let padded = data.batches(2).last(LastBatch::Pad).build();
    assert_eq!(padded.unwrap_err().kind(), ErrorKind::Stype);
    assert_eq!(kind(data.shuffled(1)), ErrorKind::Stype);
}
