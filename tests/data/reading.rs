//! All ways of reading give what the reference parser gives.

use proptest::prelude::*;
use sparsetape::data::{Chunk, Dataset, IdBase, Libsvm, Repeated};
use sparsetape::{DType, Tensor};

use super::reference::{self, Reference, as_f32, as_f64, parse};
use super::{Dribble, Scratch, assert_same, gz};

fn assert_is(data: &Dataset, expected: &Reference, labels: usize) {
    let first = data.schema.base().first_id();
    let rows = expected.rows.len();
    let canonical = |x: f64| if x.is_nan() { u64::MAX } else { x.to_bits() };
    let entries = || expected.rows.iter().flatten();
    assert_eq!(data.rows(), rows);
    assert_eq!(
        data.features.indptr().unwrap().windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>(),
        expected.rows.iter().map(Vec::len).collect::<Vec<_>>()
    );
    let ids: Vec<u32> = entries().map(|e| e.0 - first).collect();
    assert_eq!(data.features.indices().unwrap(), ids);
    let values: Vec<u64> = entries().map(|e| canonical(e.1)).collect();
    assert_eq!(super::bits(&data.features), values);
    assert_eq!(
        super::bits(&data.labels),
        expected.labels.iter().map(|&x| canonical(x)).collect::<Vec<_>>()
    );
    let shape = if labels == 1 { vec![rows] } else { vec![rows, labels] };
    assert_eq!(data.labels.shape()[..], shape);
    let qids = data.qids.as_ref().map_or(vec![], |q| q.values::<i64>().unwrap().to_vec());
    assert_eq!(qids, expected.qids);
    let any_zero = entries().any(|e| e.0 == 0);
    assert_eq!(first, if any_zero { 0 } else { 1 });
    let width = entries().map(|e| e.0 as usize + 1).max().map_or(0, |w| w - first as usize);
    assert_eq!(data.schema.features(), width);
}

fn stacked(
    chunks: impl Iterator<Item = sparsetape::Result<Dataset>>,
) -> (Vec<usize>, Vec<Dataset>) {
    let chunks: Vec<Dataset> = chunks.map(|c| c.unwrap()).collect();
    (chunks.iter().map(Dataset::rows).collect(), chunks)
}

/// The windows of `whole` that the chunks should be.
fn assert_stacked(whole: &Dataset, chunks: &[Dataset]) {
    let mut start = 0;
    for chunk in chunks {
        let end = start + chunk.rows();
        assert_same(chunk, &whole.rows_window(start, end).unwrap());
        start = end;
    }
    assert_eq!(start, whole.rows());
}

proptest! {
    #[test]
    fn equals_the_reference(labels in 0usize..4, low in 0u32..2, text in (0usize..4, 0u32..2)
        .prop_flat_map(|(labels, low)| (Just(labels), reference::file(labels, low, 40, true))))
    {
        let _ = (labels, low);
        let (labels, text) = text;
        let reader = Libsvm::new().label_columns(labels).repeated(Repeated::Sum);
        let add32 = |a, b| f64::from(a as f32 + b as f32);
        // Without labels, an empty row is a blank line.
        assert_is(&reader.read_from(text.as_bytes()).unwrap(), &parse(&text, as_f32, add32), labels);
        let reader = reader.dtype(DType::F64);
        assert_is(&reader.read_from(text.as_bytes()).unwrap(), &parse(&text, as_f64, |a, b| a + b), labels);
    }

    #[test]
    fn all_ways_agree(text in reference::file(1, 0, 1000, false), cut in any::<prop::sample::Index>(),
        step in 1usize..50, rows in 1usize..8, bytes in 1usize..300)
    {
        let text = text.as_bytes();
        let scratch = Scratch::new();
        let reader = Libsvm::new();
        let whole = reader.read(scratch.file("plain", text)).unwrap();
        assert_same(&whole, &reader.read_from(text).unwrap());
        assert_same(&whole, &reader.read_from(Dribble(text, step)).unwrap());
        let (a, b) = text.split_at(cut.index(text.len() + 1));
        let members = [gz(a), gz(b)].concat();
        assert_same(&whole, &reader.read(scratch.file("x.gz", &members)).unwrap());
        assert_same(&whole, &reader.read_from(Dribble(&members, step)).unwrap());

        prop_assert_eq!(whole.schema, reader.find_schema(&[scratch.path("x.gz")]).unwrap());
        let reader = reader.schema(whole.schema);
        let (sizes, chunks) = stacked(reader.stream_from(Dribble(text, step), Chunk::Rows(rows)).unwrap());
        assert_stacked(&whole, &chunks);
        prop_assert!(sizes.iter().rev().skip(1).all(|&n| n == rows));
        let (_, chunks) = stacked(reader.stream(&[scratch.path("x.gz")], Chunk::Bytes(bytes)).unwrap());
        assert_stacked(&whole, &chunks);
    }

    #[test]
    fn several_files_are_one(texts in prop::collection::vec(reference::file(1, 0, 9, false), 1..4)) {
        // Lines of one file do not run on in the next, and a byte order mark may begin each.
        let texts: Vec<String> = texts.iter().map(|t| t.replace(" qid:", "#")).collect();
        let scratch = Scratch::new();
        let name = |(i, text): (usize, &String)| scratch.file(&format!("{i}"), text);
        let paths: Vec<_> = texts.iter().enumerate().map(name).collect();
        let joined = texts.iter().map(|t| t.trim_start_matches('\u{feff}')).collect::<Vec<_>>().join("\n");
        let whole = Libsvm::new().read_from(joined.as_bytes()).unwrap();
        assert_same(&whole, &Libsvm::new().read_files(&paths).unwrap());
        let reader = Libsvm::new().schema(whole.schema);
        let (_, chunks) = stacked(reader.stream(&paths, Chunk::Rows(3)).unwrap());
        assert_stacked(&whole, &chunks);
    }
}

/// More text than one task parses and than a stream holds at once.
fn large() -> String {
    let mut text = String::new();
    let mut x = 1u64;
    while text.len() < 10 << 20 {
        text += &format!("{}", x % 7);
        for id in 0..x % 64 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 1;
            text += &format!(" {}:{}.{}", 1 + 50 * id + x % 50, x % 10, x >> 50);
        }
        text += "\n";
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 1;
    }
    text
}

#[test]
fn threads_and_blocks_do_not_matter() {
    let text = large();
    let scratch = Scratch::new();
    let path = scratch.file("large", &text);
    let whole = Libsvm::new().read(&path).unwrap();
    assert_is(&whole, &parse(&text, as_f32, |a, _| a), 1);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_same(&whole, &pool.install(|| Libsvm::new().read(&path)).unwrap());
    }
    assert_same(&whole, &Libsvm::new().read_from(text.as_bytes()).unwrap());
    let packed = gz(text.as_bytes());
    assert_same(&whole, &Libsvm::new().read_from(&packed[..]).unwrap());
    let reader = Libsvm::new().schema(whole.schema);
    for chunk in [Chunk::Rows(1 << 20), Chunk::Rows(1000), Chunk::Bytes(3 << 20)] {
        let (_, chunks) = stacked(reader.stream_from(text.as_bytes(), chunk).unwrap());
        assert_stacked(&whole, &chunks);
    }
}

#[test]
fn labels_from_another_file() {
    let scratch = Scratch::new();
    let rows = scratch.file("rows", "9 0:1\n 1:1\n\n# none\n7 8 2:1\n");
    let numbers = scratch.file("numbers", "1,2\n3 4\n5\t6\n");
    let entries = scratch.file("entries", "1 0:5\n\n2 1:6 0:7\n3\n");
    let reader = Libsvm::new().base(IdBase::Zero).features(3).label_columns(2).label_file(numbers);
    let data = reader.read(&rows).unwrap();
    assert_eq!(data.labels.shape()[..], [3, 2]);
    assert_eq!(data.labels.values::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let (sizes, chunks) = stacked(reader.stream(&[&rows], Chunk::Rows(2)).unwrap());
    assert_eq!(sizes, [2, 1]);
    assert_stacked(&data, &chunks);

    let reader = reader.label_entries(entries, 4);
    let data = reader.read(&rows).unwrap();
    let expected = Tensor::csr([3, 4], vec![0, 1, 3, 3], vec![0, 0, 1], vec![5.0f32, 7.0, 6.0]);
    assert_eq!(super::parts(&data.labels), super::parts(&expected.unwrap()));
    let (_, chunks) = stacked(reader.stream(&[&rows], Chunk::Bytes(1)).unwrap());
    assert_stacked(&data, &chunks);

    let too_few = "wrong: ends after row 2, but there are features of row 3";
    let too_many = "wrong: labels of row 4, but the features end after row 3";
    for (wrong, message) in [("1 2\n3 4\n", too_few), ("1 2\n3 4\n5 6\n7 8\n", too_many)] {
        let reader = reader.clone().label_file(scratch.file("wrong", wrong));
        let whole = reader.read(&rows).unwrap_err();
        // Rows are counted from the beginning of the file, whatever the chunks.
        let streamed = reader.stream(&[&rows], Chunk::Rows(2)).unwrap().find_map(|c| c.err());
        for error in [whole, streamed.unwrap()] {
            assert!(error.to_string().ends_with(message), "{error}");
        }
    }
}
