//! Nasty files, one fault each, and what the reader says of them.

use std::path::PathBuf;

use sparsetape::Archive;

use super::damage;

/// Stems of the files in `tests/corpus`, and a part of the error. Nothing: the file is odd, but
/// valid.
const FAULTS: &[(&str, &str)] = &[
    ("array", "an object of tensors"),
    ("backwards", r#"tensor "a" has bytes 8 to 0"#),
    ("bfloat", r#"tensor "a" is BF16"#),
    ("complex", r#"tensor "a" is C64"#),
    ("csr_3d", "csr storage of shape (2, 3, 1)"),
    ("csr_column_outside", r#"tensor "x": csr: indices[1] = 3 in row 1, but there are 3 columns"#),
    ("csr_column_repeats", "indices[1] = 1 in row 0 repeats column 1"),
    ("csr_columns_descend", "indices[1] = 0 in row 0 follows the larger column 1"),
    ("csr_columns_huge", "18446744073709551615 columns, but sparse ids are 32-bit"),
    ("csr_ids_wide", r#""x.indices" is I64 of shape (2,), not U32 ids"#),
    ("csr_no_pointers", r#"tensor "x": no member "x.indptr" is left for it"#),
    ("csr_no_rows_no_pointers", "where (1,) is needed"),
    ("csr_pointers_descend", "indptr[2] = 1 is less than indptr[1] = 2"),
    ("csr_pointers_negative", "indptr[2] = 2 is less than indptr[1] = 18446744073709551615"),
    ("csr_pointers_past_end", "indptr spans 3 entries, but there are 2 indices"),
    ("csr_pointers_short", "indptr spans 1 entries, but there are 2 indices"),
    ("csr_pointers_start_late", r#"tensor "x": indptr[0] = 5, not 0"#),
    ("csr_pointers_unsigned", r#""x.indptr" is U64 of shape (3,), not I64 ids"#),
    ("csr_rows_huge", r#""x.indptr" is of shape (3,), where (4294967297,) is needed"#),
    ("csr_rows_largest", r#""x.indptr" is of shape (3,), where (18446744073709551615,) is needed"#),
    ("csr_values_2d", r#""x.data" is of shape (2, 1), where (2,) is needed"#),
    ("csr_values_missing", r#""x.data" is of shape (1,), where (2,) is needed"#),
    ("data_cut", "its tensors take 8 bytes, but 4 are there"),
    ("data_missing", "its tensors take 8 bytes, but 0 are there"),
    ("data_too_long", "its tensors take 8 bytes, but 12 are there"),
    ("deep_header", "its header is damaged"),
    ("deep_unknown_field", ""),
    ("empty", "not a safetensors file: 0 bytes"),
    ("gap", r#"tensor "b" has bytes 8 to 12, but the one before ends at 4"#),
    ("half", r#"tensor "a.b" is F16; F32, F64 and integers are read"#),
    ("hidden_name", r#"two tensors are named "w""#),
    ("huge_then_zero", ""),
    ("index_deep", "its index is damaged"),
    ("index_deep_section", ""),
    ("index_names_another", r#"tensor "v": no member "v" is left for it"#),
    ("index_not_json", "its index is damaged"),
    ("index_shape_differs", r#"tensor "w": "w" is of shape (2,), where (1, 2) is needed"#),
    ("index_twice", r#"tensor "w": no member "w" is left for it"#),
    ("index_without_version", "missing field `version`"),
    ("length_cut", "not a safetensors file: 3 bytes"),
    ("length_largest", "a header of 18446744073709551615 bytes"),
    ("length_past_end", "a header of 100 bytes, of 2 that follow"),
    ("length_wraps", "a header of 18446744073709551608 bytes"),
    ("length_zero", "its header is damaged"),
    ("metadata_of_numbers", "expected a string"),
    ("metadata_twice", "duplicate field `__metadata__`"),
    ("name_twice", r#"two tensors are named "a""#),
    ("not_json", "its header is damaged"),
    ("not_utf8", "its header is damaged"),
    ("notes_of_numbers", "expected a string"),
    ("offset_float", r#"tensor "a": invalid type: floating point"#),
    ("offset_missing", r#"tensor "a": missing field `data_offsets`"#),
    ("offset_negative", r#"tensor "a": invalid value: integer `-8`"#),
    ("offset_too_large", r#"tensor "a": invalid"#),
    ("offsets_largest", "has bytes 0 to 18446744073709551615"),
    ("overlap", r#"tensor "b" has bytes 4 to 12, but the one before ends at 8"#),
    ("rows_0d", "row_sparse storage of shape ()"),
    ("rows_2d", r#""x.values" is of shape (2, 2), where (1, 2, 2) is needed"#),
    ("rows_descend", "rows[1] = 1 does not follow rows[0] = 4"),
    ("rows_of_another_length", r#""x.values" is of shape (2, 2), where (2, 3) is needed"#),
    ("rows_of_huge_length", "where (2, 18446744073709551615, 18446744073709551615) is needed"),
    ("rows_outside", r#"tensor "x": row_sparse: rows[1] = 4, but there are 4 rows"#),
    ("rows_repeat", "rows[1] = 4 does not follow rows[0] = 4"),
    ("rows_too_many", "4294967297 rows, but sparse ids are 32-bit"),
    ("rows_wide", r#""x.rows" is I64 of shape (2,), not U32 ids"#),
    ("same_place", r#"tensor "b" has bytes 0 to 8, but the one before ends at 8"#),
    (
        "shape_of_bytes_overflows",
        r#"tensor "a" is F32 of shape (4611686018427387904,), but has bytes 0 to 0"#,
    ),
    (
        "shape_overflows",
        r#"tensor "a" is F32 of shape (4294967296, 4294967296, 4), but has bytes 0 to 8"#,
    ),
    ("shape_too_large", r#"tensor "a" is F32 of shape (3,), but has bytes 0 to 8"#),
    ("stype_unknown", "unknown variant `blocked`"),
    ("trailing_text", "its header is damaged"),
    ("u64_too_large", r#"tensor "a": element 1 is 2^63 or more"#),
    ("unknown_type", r#"tensor "a" is f32"#),
    ("version_1_damaged", r#"no member "v""#),
    ("version_largest", "version 18446744073709551615"),
    ("version_later", "version 3; this build reads versions up to 2"),
    ("version_negative", "its index is damaged"),
    ("zero_then_huge", ""),
];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Names and bytes of all files of the corpus.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<_> =
        entries.map(|path| (stem(&path), std::fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn every_nasty_file_gives_the_stated_error() {
    let files = files();
    let names: Vec<&str> = files.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, FAULTS.iter().map(|&(name, _)| name).collect::<Vec<_>>());
    for ((name, bytes), (_, fault)) in files.iter().zip(FAULTS) {
        match damage::load(bytes) {
            Ok(_) => assert_eq!(*fault, "", "{name} is refused"),
            Err(error) => {
                assert!(!fault.is_empty() && error.to_string().contains(fault), "{name}: {error}");
                assert!(error.to_string().len() < 500, "{name}: {error}");
            }
        }
    }
}

#[test]
fn a_file_and_its_bytes_give_the_same_answer() {
    for (name, bytes) in files() {
        let path = directory().join(&name).with_extension("safetensors");
        let say = |result: sparsetape::Result<Archive>, place: &str| match result {
            Ok(archive) => archive.len().to_string(),
            Err(error) => error.to_string().replacen(place, "", 1),
        };
        let shown = path.display().to_string();
        let from_bytes = say(Archive::from_bytes(&bytes), "<bytes>");
        assert_eq!(say(Archive::load(&path), &shown), from_bytes, "{name}");
        #[cfg(feature = "mmap")]
        {
            // SAFETY: nobody changes the corpus.
            let mapped = unsafe { Archive::map(&path) };
            assert_eq!(say(mapped, &shown), from_bytes, "{name}");
        }
        // Whether the header suffices for them or not.
        let _ = Archive::read_notes(&path);
    }
}
