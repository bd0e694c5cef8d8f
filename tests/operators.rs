//! Every operator against its definition, and the printed storage tables.

use std::path::Path;

use sparsetape::ops::{check_all, storage_tables};

#[test]
fn every_operator_keeps_its_promises() {
    let mut faults = Vec::new();
    for (name, result) in check_all() {
        match result {
            Ok(checked) => println!("{checked}"),
            Err(error) => faults.push(format!("{name}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `UPDATE_GOLDEN=1` writes the file anew.
#[test]
fn storage_tables_are_those_of_the_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/storage_tables.md");
    let tables = storage_tables();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &tables).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let line = tables.lines().zip(golden.lines()).position(|(a, b)| a != b);
    assert!(tables == golden, "storage_tables.md is out of date, first at line {line:?}");
}
