//! Batches as MXNet's LibSVMIter makes them.

use std::path::PathBuf;

use serde_json::Value;
use sparsetape::Tensor;
use sparsetape::data::{IdBase, LastBatch, Libsvm};

use crate::arrays::{Tolerance, dense, differs, result, stored};
use crate::report::Outcome;

/// A file that goes when this does.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &Value) -> Self {
        let path = std::env::temp_dir().join(format!("sparsetape-{}-{name}", std::process::id()));
        std::fs::write(&path, text.as_str().expect("a text")).expect("written");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that is left behind does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn replay(case: &Value) -> Outcome {
    let fault = |e: sparsetape::Error| e.to_string();
    let params = &case["params"];
    let size = |value: &Value| value.as_u64().expect("a number") as usize;
    let rows = Scratch::new("rows", &case["text"]);
    let labels =
        case["label_text"].is_string().then(|| Scratch::new("labels", &case["label_text"]));
    let mut reader = Libsvm::new().base(IdBase::Zero).features(size(&params["data_shape"][0]));
    if let Some(labels) = &labels {
        reader = reader.label_entries(&labels.0, size(&params["label_shape"][0]));
    }
    let data = reader.read(&rows.0).map_err(fault)?;
    let plan = data.batches(size(&params["batch_size"])).last(LastBatch::Pad);
    let batches: Vec<_> = plan.build().map_err(fault)?.epoch(0).collect();
    if !case["error"].is_null() {
        return Ok(Some("accepted"));
    }
    let wanted = case["batches"].as_array().expect("batches");
    if batches.len() != wanted.len() {
        return Err(format!("{} batches, not {}", batches.len(), wanted.len()));
    }
    for (got, wanted) in batches.iter().zip(wanted) {
        same(&got.features, &result(&wanted["data"]))?;
        same(&got.labels, &result(&wanted["label"]))?;
        if got.pad != size(&wanted["pad"]) {
            return Err(format!("{} rows pad, not {}", got.pad, wanted["pad"]));
        }
    }
    Ok(None)
}

fn same(got: &Tensor, want: &Tensor) -> Result<(), String> {
    if (got.ty(), stored(got)) != (want.ty(), stored(want)) {
        return Err(format!("{}, not {}, or other entries", got.ty(), want.ty()));
    }
    let tolerance = Tolerance::of(got.dtype(), false);
    differs(got, &dense(want), None, tolerance).map_or(Ok(()), Err)
}
