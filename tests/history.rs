//! What a run measured, as files, tables, lines and pictures.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use sparsetape::ErrorKind;
use sparsetape::train::{History, Progress, Record};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sparsetape-history-{}-{name}", std::process::id()))
}

/// Saved by one function, and the file's text.
fn saved(name: &str, save: impl FnOnce(&PathBuf) -> sparsetape::Result<()>) -> String {
    let path = path(name);
    save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    text
}

fn loaded(name: &str, text: impl AsRef<[u8]>) -> sparsetape::Result<History> {
    let path = path(name);
    std::fs::write(&path, text).unwrap();
    let history = History::load_json(&path);
    std::fs::remove_file(&path).unwrap();
    history
}

fn history(records: impl IntoIterator<Item = Record>) -> History {
    let mut history = History::new();
    records.into_iter().for_each(|record| history.push(record));
    history
}

/// Three epochs of two splits.
fn run() -> History {
    let train = |epoch| Record {
        epoch,
        step: 10 * (epoch + 1),
        rows: 1000,
        seconds: 0.5,
        learning_rate: Some(0.1),
        ..Record::new("train")
    };
    let test = |epoch| Record { learning_rate: None, split: "test".into(), ..train(epoch) };
    history([
        train(0).with("loss", 0.7),
        test(0).with("loss", 0.75).with("auc", f64::NAN),
        train(1).with("loss", 0.5),
        test(1).with("loss", 0.55).with("auc", 0.8),
        train(2).with("loss", 0.4),
        test(2).with("loss", 0.55).with("auc", 0.75),
    ])
}

fn any_f64() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), prop::num::f64::ANY, Just(-0.0), Just(0.1)]
}

fn any_record() -> impl Strategy<Value = Record> {
    let rate = prop::option::of(any_f64());
    let values = prop::collection::vec((".{0,6}", any_f64()), 0..4);
    let counts = any::<(u64, u64, u64)>();
    (counts, ".{0,5}", any_f64(), rate, values).prop_map(
        |((epoch, step, rows), split, seconds, learning_rate, values)| Record {
            epoch,
            step,
            split,
            rows,
            seconds,
            learning_rate,
            values,
        },
    )
}

fn any_history() -> impl Strategy<Value = History> {
    prop::collection::vec(any_record(), 0..6).prop_map(history)
}

/// Bits of all numbers; one NaN is as good as another.
fn bits(history: &History) -> Vec<u64> {
    let numbers = |record: &Record| {
        let values = record.values.iter().map(|(_, value)| *value);
        let all = values.chain([record.seconds]).chain(record.learning_rate);
        all.map(|value| if value.is_nan() { 7 } else { value.to_bits() }).collect::<Vec<_>>()
    };
    history.records().iter().flat_map(numbers).collect()
}

/// Cells of RFC 4180.
fn parsed_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            letter => cell.push(letter),
        }
    }
    assert!(!quoted && row.is_empty() && cell.is_empty(), "{text:?}");
    rows
}

proptest! {
    #[test]
    fn json_gives_back_every_bit(history in any_history()) {
        let text = saved("round.json", |path| history.save_json(path));
        let back = loaded("back.json", &text).unwrap();
        prop_assert_eq!(&back, &history);
        prop_assert_eq!(bits(&back), bits(&history));
        let plain: History = serde_json::from_str(&serde_json::to_string(&history).unwrap()).unwrap();
        prop_assert_eq!(plain, history);
    }

    #[test]
    fn csv_has_every_number_and_name(history in any_history()) {
        let rows = parsed_csv(&saved("table.csv", |path| history.save_csv(path)));
        let names = history.names();
        prop_assert_eq!(&rows[0][6..], &names[..]);
        prop_assert_eq!(rows.len(), history.records().len() + 1);
        let same = |cell: &str, value: Option<f64>| match value {
            None => cell.is_empty(),
            Some(value) if value.is_nan() => cell == "NaN",
            Some(value) => cell.parse::<f64>().is_ok_and(|read| read.to_bits() == value.to_bits()),
        };
        for (row, record) in rows[1..].iter().zip(history.records()) {
            let counts = [&row[0], &row[1], &row[3]].map(|cell| cell.parse::<u64>().unwrap());
            prop_assert_eq!(counts, [record.epoch, record.step, record.rows]);
            prop_assert_eq!(&row[2], &record.split);
            prop_assert!(same(&row[4], Some(record.seconds)));
            prop_assert!(same(&row[5], record.learning_rate));
            for (cell, name) in row[6..].iter().zip(&names) {
                prop_assert!(same(cell, record.value(name)), "{:?} of {:?}", cell, record);
            }
        }
    }

    #[test]
    fn a_table_has_equally_long_lines(history in any_history()) {
        let text = history.to_string();
        let lengths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        prop_assert!(lengths.iter().all(|length| *length == lengths[0]), "{}", text);
    }

    #[test]
    fn damaged_json_is_refused_or_another_history(at in any::<prop::sample::Index>(), byte: u8) {
        let mut text = saved("damaged.json", |path| run().save_json(path)).into_bytes();
        // All but the newline at the end, without which a file is whole.
        let at = at.index(text.len() - 1);
        text[at] = byte;
        if let Err(error) = loaded("damaged.json", &text) {
            prop_assert_eq!(error.kind(), ErrorKind::Parse);
        }
        text.truncate(at);
        prop_assert_eq!(loaded("cut.json", &text).unwrap_err().kind(), ErrorKind::Parse);
    }
}

#[test]
fn csv_is_as_documented() {
    let mut history = history([run().records()[1].clone()]);
    history.push(Record::new("a,b").with("recall \"1\"", 1e-7).with("x\ny", f64::INFINITY));
    let expected = "epoch,step,split,rows,seconds,learning_rate,loss,auc,\"recall \"\"1\"\"\",\"x\ny\"\n\
                    0,10,test,1000,0.5,,0.75,NaN,,\n\
                    0,0,\"a,b\",0,0,,,,1e-7,inf\n";
    assert_eq!(saved("exact.csv", |path| history.save_csv(path)), expected);
    let header = "epoch,step,split,rows,seconds,learning_rate\n";
    assert_eq!(saved("none.csv", |path| History::new().save_csv(path)), header);
}

#[test]
fn json_is_as_documented() {
    let text = saved("exact.json", |path| history([run().records()[1].clone()]).save_json(path));
    let expected = "{\"version\":1,\"records\":[\n\
        {\"epoch\":0,\"step\":10,\"split\":\"test\",\"rows\":1000,\"seconds\":0.5,\
        \"learning_rate\":null,\"values\":{\"loss\":0.75,\"auc\":\"NaN\"}}\n]}\n";
    assert_eq!(text, expected);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_path_and_place() {
    let text = saved("whole.json", |path| run().save_json(path));
    let cases = [
        (String::new(), "EOF while parsing a value at line 1 column 0"),
        (
            text.replace(":1,", ":2,"),
            "version 2, this build reads versions 1 to 1 at line 1 column",
        ),
        (text.replace("\"version\":1,", ""), "missing field `version` at line"),
        (
            text.replace("0.7}", "\"much\"}"),
            "expected a number, \"NaN\", \"inf\" or \"-inf\" at line",
        ),
        (text.replace("\"NaN\"", "null"), "invalid type: null, expected a number"),
        (text.replace("\"NaN\"", "1e999"), "number out of range at line 3"),
        (
            text.replace("\"epoch\":2", "\"epoch\":-2"),
            "invalid value: integer `-2`, expected u64 at line 6",
        ),
        (text.clone() + "{}", "trailing characters at line 9 column 1"),
        ("[".repeat(100_000), "not a history"),
        (format!("{{\"version\":1,\"x\":{}", "[".repeat(100_000)), "not a history"),
    ];
    for (text, expected) in cases {
        let error = loaded("wrong.json", &text).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Parse, "{message}");
        assert!(message.contains("wrong.json: not a history"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let nowhere = path("no-such-directory").join("file");
    for error in [
        History::load_json(&nowhere).unwrap_err(),
        run().save_json(&nowhere).unwrap_err(),
        run().save_csv(&nowhere).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("no-such-directory"), "{error}");
    }
}

#[test]
fn columns_and_the_best() {
    let run = run();
    assert_eq!(run.splits(), ["train", "test"]);
    assert_eq!(run.names(), ["loss", "auc"]);
    assert_eq!(run.column("train", "loss"), [(0, 0.7), (1, 0.5), (2, 0.4)]);
    assert_eq!(run.column("train", "auc"), []);
    assert_eq!(run.last("test", "auc"), Some(0.75));
    assert_eq!(run.last("valid", "auc"), None);
    let best = |name, larger| run.best("test", name, larger).map(|record| record.epoch);
    assert_eq!(best("auc", true), Some(1), "not NaN");
    assert_eq!(best("auc", false), Some(2), "not NaN");
    assert_eq!(best("loss", false), Some(1), "the first of equals");
    assert_eq!(best("f1", true), None);
    assert_eq!(run.best("train", "auc", true), None);
}

#[test]
fn a_table_has_a_line_per_epoch_and_one_more_where_a_split_comes_again() {
    let mut history = run();
    history.push(Record { epoch: 2, step: 35, ..Record::new("train") }.with("loss", 1e-9));
    let expected = "\
epoch  step  learning rate  train loss  test loss  test auc    time
    0    10         0.1000      0.7000     0.7500       NaN   1.0 s
    1    20         0.1000      0.5000     0.5500    0.8000   1.0 s
    2    30         0.1000      0.4000     0.5500    0.7500   1.0 s
    2    35                   1.000e-9                       0.0 ms
";
    assert_eq!(history.to_string(), expected);
    assert_eq!(History::new().to_string(), "epoch  step  time\n");
}

/// Where lines end up.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_pass_that_nobody_sees_is_a_line() {
    let lines = Lines::default();
    let mut progress = Progress::to(lines.clone());
    for record in &run().records()[..4] {
        progress.begin(&format!("epoch {}/3", record.epoch + 1), Some(1000));
        progress.advance(500, Some(0.25));
        progress.advance(500, None);
        progress.finish(record);
    }
    progress.begin("given up", None);
    progress.advance(u64::MAX, Some(f64::NAN));
    progress.advance(u64::MAX, Some(f64::NAN));
    progress.clear();
    progress.print("stopped early");
    let expected = "\
epoch 1/3  train  loss 0.7000  2.0k rows/s  0.5 s
epoch 1/3  test   loss 0.7500  auc NaN  2.0k rows/s  0.5 s
epoch 2/3  train  loss 0.5000           2.0k rows/s  0.5 s
epoch 2/3  test   loss 0.5500  auc 0.8000  2.0k rows/s  0.5 s
stopped early
";
    let shown = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(shown, expected);
}

#[test]
fn a_writer_that_fails_is_no_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut progress = Progress::to(Closed);
    progress.begin("epoch", None);
    progress.finish(&Record::new("train"));
}

#[cfg(feature = "plot")]
mod curves {
    use super::*;
    use sparsetape::train::Curves;

    /// Checks that tags are balanced and attributes quoted; gives each tag with its text.
    fn elements(svg: &str) -> Vec<(String, String)> {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        let mut pieces = svg.split('<');
        assert_eq!(pieces.next(), Some(""));
        for piece in pieces {
            let (tag, text) = piece.split_once('>').expect("a tag that ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            assert!(!text.contains(['>', '"']), "{text}");
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
            for entity in text.split('&').skip(1) {
                let known = ["amp;", "lt;", "gt;", "quot;", "apos;"];
                assert!(known.iter().any(|name| entity.starts_with(name)), "{text}");
            }
            let name = tag.split(' ').next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name.to_owned())),
                None if tag.ends_with('/') => {}
                None => open.push(name.to_owned()),
            }
            all.push((tag.to_owned(), text.trim().to_owned()));
        }
        assert_eq!(open, Vec::<String>::new());
        all
    }

    fn texts(svg: &str) -> Vec<String> {
        let texts = elements(svg).into_iter().filter(|(tag, _)| tag.starts_with("text"));
        texts.map(|(_, text)| text).collect()
    }

    /// How many curves are of a colour.
    fn curves(svg: &str, colour: &str) -> usize {
        let stroke = format!("stroke=\"{colour}\"");
        let curve = |tag: &str| tag.starts_with("polyline") && tag.contains(&stroke);
        elements(svg).iter().filter(|(tag, _)| curve(tag)).count()
    }

    const TRAIN: &str = "#0072B2";
    const TEST: &str = "#D55E00";

    #[test]
    fn a_picture_has_a_curve_per_split_and_value_and_says_what_they_are() {
        let svg = Curves::new(&run()).title("A run").to_svg().unwrap();
        assert_eq!((curves(&svg, TRAIN), curves(&svg, TEST)), (1, 2));
        for text in ["A run", "train", "test", "loss", "auc", "epoch", "0", "1", "2", "0.6"] {
            assert!(texts(&svg).iter().any(|t| t == text), "{text} is not in {:?}", texts(&svg));
        }
        assert!(svg.starts_with("<svg width=\"640\" height="), "{svg}");
        assert_eq!(Curves::new(&run()).title("A run").to_svg().unwrap(), svg);
        assert_eq!(
            saved("run.svg", |path| run().save_svg(path)),
            Curves::new(&run()).to_svg().unwrap()
        );

        let svg = Curves::new(&run()).values(["auc"]).by_step().size(300, 200).to_svg().unwrap();
        assert_eq!(
            (curves(&svg, TRAIN), curves(&svg, TEST)),
            (1, 0),
            "only the test set has an auc"
        );
        assert!(
            texts(&svg).contains(&"step".to_owned()) && !texts(&svg).contains(&"loss".to_owned())
        );
        assert!(svg.starts_with("<svg width=\"300\" height=\"200\" "), "{svg}");
    }

    #[test]
    fn names_are_text_whatever_they_are() {
        let name = "<&\">'\u{1}\u{7f}\u{ffff}";
        let records = [Record::new(name).with(name, 0.5), Record::new("train").with(name, 0.25)];
        let svg = Curves::new(&history(records)).title(name).to_svg().unwrap();
        let shown = texts(&svg).iter().filter(|t| t.starts_with("&lt;&amp;&quot;&gt;")).count();
        assert_eq!(shown, 3, "title, split and value: {:?}", texts(&svg));
        assert!(!svg.contains('\u{ffff}'), "not a character of XML");
    }

    #[test]
    fn values_of_zero_and_below_have_no_logarithm() {
        let at = |epoch, value| Record { epoch, ..Record::new("train") }.with("loss", value);
        let history = history([at(0, 1.0), at(1, 0.0), at(2, -1.0), at(3, 0.001)]);
        let points = |svg: &str| svg.matches("<circle").count();
        let svg = Curves::new(&history).log_scale().to_svg().unwrap();
        assert_eq!(points(&svg), 2);
        assert!(["1e-3", "1e0"].iter().all(|t| texts(&svg).contains(&t.to_string())), "{svg}");
        assert_eq!(points(&Curves::new(&history).to_svg().unwrap()), 4);
    }

    proptest! {
        #[test]
        fn any_history_with_values_is_drawn(history in any_history(), by_step: bool, log: bool) {
            let mut curves = Curves::new(&history);
            if by_step {
                curves = curves.by_step();
            }
            if log {
                curves = curves.log_scale();
            }
            match curves.to_svg() {
                Ok(svg) => {
                    elements(&svg);
                    prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
                }
                Err(error) => prop_assert!(history.names().is_empty(), "{}", error),
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let (run, none) = (run(), History::new());
        let of = |curves: Curves<'_>| curves.to_svg().unwrap_err();
        let cases = [
            (of(Curves::new(&none)), "the history has no values"),
            (
                of(Curves::new(&run).values(["loss", "lss"])),
                "no record has \"lss\"; there are [\"loss\", \"auc\"]",
            ),
            (
                of(Curves::new(&run).values([""; 0])),
                "no values are asked for; there are [\"loss\", \"auc\"]",
            ),
            (of(Curves::new(&run).size(0, 0)), "0 x 0 pixels: 2 panels take 240 x 261 at least"),
            (of(Curves::new(&run).size(239, 1000)), "239 x 1000 pixels"),
            (of(Curves::new(&run).size(u32::MAX, u32::MAX)), "20000 is the most"),
        ];
        for (error, expected) in cases {
            assert_eq!(error.kind(), ErrorKind::Value);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let nowhere = path("no-such-directory").join("file");
        let error = run.save_svg(&nowhere).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("no-such-directory"), "{error}");
    }
}
