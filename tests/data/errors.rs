//! Errors name file, line, column and the text at fault.

use sparsetape::data::{Chunk, IdBase, LabelMap, Libsvm, Repeated, Wider};
use sparsetape::{DType, ErrorKind};

use super::{Scratch, gz};

/// The text, read in every way, gives this error.
#[track_caller]
fn refuses(reader: &Libsvm, text: &str, message: &str) {
    let scratch = Scratch::new();
    // Two lines more before it, one of them with a row.
    let text = format!("# {}\n1 2:3\n{text}", "x".repeat(50));
    let (plain, packed) =
        (scratch.file("plain", &text), scratch.file("packed", gz(text.as_bytes())));
    let expected = |name: String| format!("{name}:{message}");
    for path in [plain, packed] {
        let error = reader.read(&path).unwrap_err();
        assert_eq!(error.to_string(), expected(path.display().to_string()));
        assert_eq!(error.kind(), ErrorKind::Parse);
    }
    let error = reader.read_from(text.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), expected("<reader>".to_string()));
    if let Ok(chunks) = reader.stream_from(text.as_bytes(), Chunk::Rows(1)) {
        let errors: Vec<_> = chunks.filter_map(Result::err).collect();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), expected("<reader>".to_string()));
    }
}

#[test]
fn malformed() {
    for reader in [Libsvm::new(), Libsvm::new().base(IdBase::One).features(9)] {
        let refuses = |text, message| refuses(&reader, text, message);
        refuses("0 12x:1", r#"3:3: feature id "12x" is not a number"#);
        refuses("0 1:2 -1:1\n", r#"3:7: feature id "-1" is not a number"#);
        refuses("0 :1\n", r#"3:3: feature id "" is not a number"#);
        refuses("0 1:\n", r#"3:5: value "" of feature 1 is not a number"#);
        refuses("0 1: 2\n", r#"3:5: value "" of feature 1 is not a number"#);
        refuses("0 1:2:3\n", r#"3:5: value "2:3" of feature 1 is not a number"#);
        refuses("0\t7:1e\r\n", r#"3:5: value "1e" of feature 7 is not a number"#);
        refuses("\n0 1:2 17 # x\n", r#"4:7: "17" is not an `id:value` entry"#);
        refuses(
            "0 17 1:1\n",
            r#"3:3: "17" is beyond the 1 label(s) expected; a feature is written id:value"#,
        );
        refuses("0 4294967296:1\n", r#"3:3: feature id "4294967296" is over 4294967295"#);
        refuses(
            "0 99999999999999999999:1\n",
            r#"3:3: feature id "99999999999999999999" is over 4294967295"#,
        );
        refuses(" 3:1\n", r#"3:2: label 1 of 1 is missing: got "3:1""#);
        refuses("abc\n", r#"3:1: label "abc" is not a number"#);
        refuses("1, 2:2\n", r#"3:1: no label follows the comma in "1,""#);
        refuses(
            "1 qid:5 2:2\n",
            r#"3:1: the row that begins "1" has a query id, but rows before have none"#,
        );
        refuses("1 2:2 1:0 qid:5\n", r#"3:11: feature id "qid" is not a number"#);
        refuses("1 2:2 4:0 2:5\n", r#"3:11: feature id "2" is repeated in this row"#);
        refuses("1 2:2 02:5 2:1\n", r#"3:7: feature id "02" is repeated in this row"#);
        let long = format!("1 {}:1\n", "é".repeat(60));
        refuses(&long, &format!(r#"3:3: feature id "{}"… is not a number"#, "é".repeat(40)));
    }
}

#[test]
fn query_ids() {
    let error = Libsvm::new().read_from("1 qid:x 2:2\n".as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), r#"<reader>:1:7: query id "x" is not a 64-bit integer"#);
    let error = Libsvm::new().read_from("1 qid:3 2:2\n\n 0 2:2\n".as_bytes()).unwrap_err();
    let message =
        r#"<reader>:3:2: the row that begins "0" has no query id, but rows before have one"#;
    assert_eq!(error.to_string(), message);
}

#[test]
fn not_text() {
    let error = Libsvm::new().read_from(&b"1 \xFF\x01:2\n"[..]).unwrap_err();
    assert_eq!(error.to_string(), r#"<reader>:1:3: feature id "\xff\x01" is not a number"#);
}

#[test]
fn labels() {
    let reader = Libsvm::new().labels(LabelMap::PlusMinusOne);
    refuses(&reader, "2 1:1\n", r#"3:1: label "2" is not -1, 0 or 1"#);
    refuses(&reader, "nan 1:1\n", r#"3:1: label "nan" is not -1, 0 or 1"#);
    let text = "+1\n-1.0\n0\n1e0\n";
    let data = reader.read_from(text.as_bytes()).unwrap();
    assert_eq!(data.labels.values::<f32>().unwrap(), [1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn outside_of_the_features() {
    let wide = |id, from| format!(r#"3:7: feature id "{id}", but there are 3 features{from}"#);
    let reader = Libsvm::new().features(3);
    let (zero, one) = (reader.clone().base(IdBase::Zero), reader.clone().base(IdBase::One));
    refuses(&zero, "1 0:1 3:1\n", &wide(3, ", counted from 0"));
    refuses(&one, "1 1:1 4:1\n", &wide(4, ", counted from 1"));
    refuses(&one, "1 1:1 0:1\n", r#"3:7: feature id "0", but ids count from 1"#);
    // Whether 3 is too large turns out in the last line.
    refuses(&reader, "1 1:1 3:1\n1 4:1\n0 0:1", &wide(3, ", counted from 0"));
    refuses(&reader, "1 1:1 4:1\n1 3:1\n0 0:1", &wide(4, ""));
    refuses(&reader, "1 1:1 4:1\n1 3:1\n", &wide(4, ""));
    assert!(reader.read_from("1 3:1\n".as_bytes()).is_ok());
}

#[test]
fn options() {
    let kind = |reader: Libsvm| reader.read_from("1 1:1\n".as_bytes()).unwrap_err().kind();
    assert_eq!(kind(Libsvm::new().dtype(DType::I64)), ErrorKind::DType);
    assert_eq!(kind(Libsvm::new().features((1 << 32) + 1)), ErrorKind::Shape);
    assert_eq!(kind(Libsvm::new().features(usize::MAX).base(IdBase::One)), ErrorKind::Shape);
    let stream = |reader: Libsvm, chunk| reader.stream_from(&b""[..], chunk).unwrap_err().kind();
    assert_eq!(stream(Libsvm::new().features(3), Chunk::Rows(1)), ErrorKind::State);
    let stated = Libsvm::new().features(3).base(IdBase::One);
    assert_eq!(stream(stated.clone(), Chunk::Rows(0)), ErrorKind::Value);
    assert_eq!(stream(stated, Chunk::Bytes(0)), ErrorKind::Value);
}

#[test]
fn dropped_and_summed() {
    let text = "1 0:1 5:2 5:3 2:4\n0 7:1 5:1\n1 1:1 1:2 1:4\n";
    let reader = Libsvm::new().features(3).wider(Wider::Drop).repeated(Repeated::Sum);
    let data = reader.read_from(text.as_bytes()).unwrap();
    assert_eq!((data.dropped.entries, data.dropped.columns), (3, 2));
    assert_eq!(data.features.indptr().unwrap(), [0, 2, 2, 3]);
    assert_eq!(data.features.indices().unwrap(), [0, 2, 1]);
    assert_eq!(data.features.values::<f32>().unwrap(), [1.0, 4.0, 7.0]);
}
