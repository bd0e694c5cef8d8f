//! Batches as MXNet's LibSVMIter makes them.

use serde_json::Value;
use sparsetape::Tensor;
use sparsetape::data::{IdBase, LastBatch, Libsvm};

use super::Scratch;

fn numbers(x: &Value) -> Vec<f64> {
    x.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn assert_tensor(got: &Tensor, expected: &Value) {
    assert_eq!(got.stype().to_string(), expected["stype"].as_str().unwrap());
    let shape: Vec<f64> = got.shape().iter().map(|&d| d as f64).collect();
    assert_eq!(shape, numbers(&expected["shape"]));
    let values: Vec<f64> = got.values::<f32>().unwrap().iter().map(|&x| x.into()).collect();
    assert_eq!(values, numbers(&expected["data"]));
    let Some(indptr) = got.indptr() else { return };
    let indptr: Vec<f64> = indptr.iter().map(|&p| (p - indptr[0]) as f64).collect();
    assert_eq!(indptr, numbers(&expected["indptr"]));
    let indices: Vec<f64> = got.indices().unwrap().iter().map(|&i| f64::from(i)).collect();
    assert_eq!(indices, numbers(&expected["indices"]));
}

#[test]
fn replay() {
    let cases: Value = serde_json::from_str(include_str!("../vectors/libsvm.json")).unwrap();
    // Where MXNet has an error it does not support batches that are not rounded; here they are.
    let supported = cases.as_array().unwrap().iter().filter(|case| case["error"].is_null());
    let mut replayed = 0;
    for case in supported {
        let scratch = Scratch::new();
        let params = &case["params"];
        let size = |value: &Value| value.as_u64().unwrap() as usize;
        let mut reader = Libsvm::new().base(IdBase::Zero).features(size(&params["data_shape"][0]));
        if let Some(text) = case["label_text"].as_str() {
            let columns = size(&params["label_shape"][0]);
            reader = reader.label_entries(scratch.file("labels", text), columns);
        }
        let data = reader.read(scratch.file("rows", case["text"].as_str().unwrap())).unwrap();
        let plan = data.batches(size(&params["batch_size"])).last(LastBatch::Pad);
        let batches: Vec<_> = plan.build().unwrap().epoch(0).collect();
        let expected = case["batches"].as_array().unwrap();
        assert_eq!(batches.len(), expected.len());
        for (got, expected) in batches.iter().zip(expected) {
            assert_tensor(&got.features, &expected["data"]);
            assert_tensor(&got.labels, &expected["label"]);
            assert_eq!(got.pad, size(&expected["pad"]));
        }
        replayed += 1;
    }
    assert_eq!(replayed, 6);
}
