//! No input makes the reader panic, and malformed text gives an error.

use proptest::prelude::*;
use sparsetape::data::{Chunk, IdBase, LabelMap, Libsvm, Repeated, Schema, Wider};
use sparsetape::{DType, ErrorKind};

use super::{Failing, Scratch, gz, reference};

/// Options of every kind.
fn readers() -> Vec<Libsvm> {
    let strict = Libsvm::new().labels(LabelMap::PlusMinusOne).base(IdBase::One).features(5);
    vec![
        Libsvm::new(),
        Libsvm::new().features(7).dtype(DType::F64).repeated(Repeated::Sum),
        strict.clone(),
        strict.wider(Wider::Drop).label_columns(2).repeated(Repeated::Sum),
        Libsvm::new().wider(Wider::Drop).features(3).label_columns(0),
        Libsvm::new().base(IdBase::Zero).features(1 << 32),
    ]
}

fn feed(bytes: &[u8]) {
    for reader in readers() {
        match reader.read_from(bytes) {
            Ok(data) => {
                let (indptr, ids) =
                    (data.features.indptr().unwrap(), data.features.indices().unwrap());
                let values =
                    data.features.values::<f64>().map(<[f64]>::to_vec).unwrap_or_else(|_| {
                        data.features.values::<f32>().unwrap().iter().map(|&x| x.into()).collect()
                    });
                // The checked constructor accepts what the reader made unchecked.
                let shape = [data.features.shape()[0], data.features.shape()[1]];
                sparsetape::Tensor::csr(shape, indptr.to_vec(), ids.to_vec(), values).unwrap();
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Parse | ErrorKind::Io), "{error:?}");
                assert!(error.message().starts_with("<reader>"), "{error:?}");
                assert!(error.to_string().len() < 500);
            }
        }
        let streamed = reader.schema(Schema::new(IdBase::Zero, 9).unwrap());
        streamed.stream_from(bytes, Chunk::Rows(2)).unwrap().for_each(drop);
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        feed(&bytes);
        feed(&[&[0x1F, 0x8B], &bytes[..]].concat());
    }

    #[test]
    fn likely_bytes(text in "[-+0-9:., \t\r\n#eqidnaf\u{e9}]{0,80}") {
        feed(text.as_bytes());
    }

    #[test]
    fn changed_files(text in reference::file(1, 0, 9, true),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4))
    {
        let mut bytes = text.into_bytes();
        bytes.push(b'\n');
        let mut packed = gz(&bytes);
        for (at, byte) in &changes {
            let k = at.index(bytes.len());
            bytes[k] = *byte;
            let k = at.index(packed.len());
            packed[k] = *byte;
        }
        feed(&bytes);
        feed(&packed);
        feed(&packed[..changes[0].0.index(packed.len())]);
    }

    #[test]
    fn any_schema(text in "[ -~]{0,60}", version in any::<u32>(), features in any::<i128>()) {
        let scratch = Scratch::new();
        let near = format!(r#"{{"version":{version},"base":"one","features":{features}}}"#);
        let far = format!(r#"{{"version":1,"base":"one","features":{features}}}"#);
        for json in [text, near, far] {
            let error = Schema::load(scratch.file("schema.json", json)).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Parse);
        }
    }
}

#[test]
fn a_line_without_end() {
    struct Endless;
    impl std::io::Read for Endless {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            to.fill(b' ');
            Ok(to.len())
        }
    }
    let error = Libsvm::new().read_from(Endless).unwrap_err();
    assert_eq!(error.to_string(), "<reader>:1:1: a line of more than 67108864 bytes");
}

#[test]
fn a_reader_that_fails() {
    let error = Libsvm::new().read_from(Failing).unwrap_err();
    assert_eq!(error.to_string(), "<reader>: cable pulled");
    assert_eq!(error.kind(), ErrorKind::Io);
    let error = Libsvm::new().read("no/such/file").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("no/such/file: "));
}
