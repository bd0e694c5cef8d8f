//! The examples that train and that serve, one after the other, on small files.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use sparsetape::data::{Libsvm, Schema};
use sparsetape::{Graph, Model, Params, Stype, Tape, variable};

#[allow(dead_code)]
#[path = "../examples/deploy.rs"]
mod deploy;
#[allow(dead_code)]
#[path = "../examples/linear_classification.rs"]
mod training;

const FEATURES: usize = 50;

/// A directory of its own for a test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Files {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("deploy-{test}"));
        fs::create_dir_all(&directory).unwrap();
        Files(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn write_model(&self, bytes: &[u8]) {
        fs::write(self.path("model"), bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Trains on rows of so many classes; leaves the model, held-out rows and their probabilities.
    fn train(&self, classes: usize) {
        let (train, test) = (rows(300, classes, 1), rows(101, classes, 2));
        let (train, test) = (self.write("train.svm", &train), self.write("test.svm", &test));
        let [model, held_out, expected] =
            ["model", "rows.svm", "expected"].map(|name| self.path(name));
        let args = ["--train", &train, "--test", &test, "--epochs", "2", "--save", &model];
        let args = args.into_iter().chain(["--rows", &held_out, "--predict", &expected]);
        training::run(args.map(str::to_owned).collect()).unwrap();
    }

    /// What a run with these options writes.
    fn deploy(&self, rows: &str, options: &[&str]) -> Result<String, String> {
        let [model, rows, out] = ["model", rows, "out"].map(|name| self.path(name));
        let args = [&model, &rows, "--out", &out].into_iter().chain(options.iter().copied());
        match deploy::run(args.map(str::to_owned).collect()) {
            Ok(()) => Ok(self.read("out")),
            Err(error) => Err(error.to_string().replace(self.0.to_str().unwrap(), "")),
        }
    }
}

/// Rows of up to 12 features, which count from 1; some have none.
fn rows(n: usize, classes: usize, seed: usize) -> String {
    let hash = |i: usize| (i + seed * 1_000_003).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let mut text = String::new();
    for i in 0..n {
        let first = hash(i) % (FEATURES / 2);
        write!(text, "{}", (first + i) % classes).unwrap();
        for j in 0..hash(i + n) % 13 {
            let value = hash(i * 31 + j) as f32 / (1 << 22) as f32 - 2.0;
            write!(text, " {}:{value}", first + 2 * j + 1).unwrap();
        }
        text.push('\n');
    }
    // The last feature is there, so that the width is known.
    text + &format!("1 {FEATURES}:0.5\n")
}

#[test]
fn predictions_are_those_of_the_training_program() {
    for classes in [2, 3] {
        let files = Files::new(&format!("equal-{classes}"));
        files.train(classes);
        let expected = files.read("expected");
        assert_eq!(expected.lines().count(), 102);
        let numbers = expected.lines().next().unwrap().split(' ').count();
        assert_eq!(numbers, if classes == 2 { 1 } else { classes });
        let ways: [&[&str]; 6] = [
            &[],
            &["--one"],
            &["--batch", "7"],
            &["--batch", "7", "--one", "--map"],
            &["--batch", "1"],
            &["--map", "--unknown", "ignore"],
        ];
        for way in ways {
            assert!(files.deploy("rows.svm", way).unwrap() == expected, "{classes}, {way:?}");
        }
        // The rows as they were before training read them.
        assert!(files.deploy("test.svm", &[]).unwrap() == expected);
    }
}

/// One model, many threads with an executor each, a row at a time.
#[test]
fn threads_share_a_model() {
    let files = Files::new("threads");
    files.train(3);
    let model = Model::load(files.path("model")).unwrap();
    let schema: Schema = serde_json::from_str(&model.notes()["schema"]).unwrap();
    assert_eq!(model.notes()["classes"], "0,1,2");
    let x = Libsvm::new().schema(schema).read(files.path("rows.svm")).unwrap().features;
    let expected: Vec<f32> =
        files.read("expected").split_whitespace().map(|p| p.parse().unwrap()).collect();
    let serve = || {
        let bind = model.bind().shape("data", [1, FEATURES]);
        let mut executor = model.graph.bind(bind).unwrap();
        let mut found: Vec<f32> = Vec::new();
        let (indptr, ids) = (x.indptr().unwrap(), x.indices().unwrap());
        for row in indptr.windows(2).map(|ends| ends[0]..ends[1]) {
            let values = &x.values::<f32>().unwrap()[row.clone()];
            executor.run_csr("data", &[0, row.len()], &ids[row], values).unwrap();
            found.extend_from_slice(executor.output(0).unwrap().values().unwrap());
        }
        found
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(serve)).collect();
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap() == expected));
    });
}

#[test]
fn unknown_ids() {
    let files = Files::new("unknown");
    files.train(2);
    files.write("more.svm", "1 3:1 51:2\n2:1 60:4 51:-1 # no label\n0 50:1\n");
    files.write("less.svm", "1 3:1\n2:1\n0 50:1\n");
    files.write("bucket.svm", "1 3:1 7:2\n2:1 7:3\n50:1\n");
    for way in ["--batch", "--one"] {
        let options = |unknown| match way {
            "--one" => vec!["--unknown", unknown, "--one"],
            _ => vec!["--unknown", unknown, "--batch", "1"],
        };
        let error = files.deploy("more.svm", &options("error")).unwrap_err();
        assert!(error.starts_with("/more.svm:1:7: feature id \"51\""), "{error}");
        let known = files.deploy("less.svm", &[]);
        assert_eq!(files.deploy("more.svm", &options("ignore")), known);
        let bucket = files.deploy("bucket.svm", &[]);
        assert_ne!(bucket, known);
        assert_eq!(files.deploy("more.svm", &options("bucket=7")), bucket);
    }
    for id in ["0", "51"] {
        let error = files.deploy("more.svm", &["--unknown", &format!("bucket={id}")]).unwrap_err();
        assert_eq!(error, format!("--unknown bucket={id}: ids are from 1 to 50"));
    }
}

/// Errors are one line that says what is wrong where.
#[test]
fn bad_input() {
    let files = Files::new("bad");
    files.train(2);
    let refused = |rows: &str, options: &[&str], start: &str| {
        let error = files.deploy(rows, options).unwrap_err();
        assert!(error.starts_with(start) && !error.contains('\n'), "{error}");
    };
    refused("none.svm", &[], "/none.svm: No such file");
    files.write("bad.svm", "1 3:1\n0 4:x\n");
    refused("bad.svm", &[], "/bad.svm:2:");
    refused("rows.svm", &["--batch", "0"], "deploy MODEL");
    refused("rows.svm", &["--batch", "x"], "--batch \"x\" is not a whole number");
    refused("rows.svm", &["--unknown", "x"], "--unknown \"x\" is not error, ignore or bucket=ID");
    refused("rows.svm", &["--what"], "--what? deploy MODEL");

    let sound = fs::read(files.path("model")).unwrap();
    let version = br#"\"graph\":{\"version\":1"#;
    let at = sound.windows(version.len()).position(|w| w == version).unwrap();
    let mut bytes = sound.clone();
    bytes[at + version.len() - 1] = b'2';
    files.write_model(&bytes);
    refused("rows.svm", &[], "/model: its graph: version 2; this build reads versions up to 1");
    files.write_model(&sound);

    let tape = Tape::symbolic();
    let dense = Graph::new(&[tape.symbol(variable("data")).exp()]).unwrap();
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("data").stype(Stype::Csr).shape([None, Some(50)]));
    let unweighted = Graph::new(&[x.dot(tape.symbol(variable("w").shape([50, 3])))]).unwrap();
    let notes = Model::read_notes(files.path("model")).unwrap();
    let save = |graph: &Graph, notes: &BTreeMap<String, String>| {
        graph.save(files.path("model"), &Params::default(), notes).unwrap();
    };
    let no_classifier = |why: &str| {
        refused("rows.svm", &[], &format!("/model is no csr classifier: {why}"));
    };
    save(&dense, &BTreeMap::new());
    no_classifier("its notes have no \"schema\"");
    save(&dense, &notes);
    no_classifier("its graph has no csr variable \"data\"");
    save(&unweighted, &notes);
    no_classifier("dot: variable \"w\" (default f32 (50, 3)) has no value");
    files.write_model(b"something else");
    refused("rows.svm", &[], "/model: ");
    refused("rows.svm", &["--map"], "/model: ");
}
