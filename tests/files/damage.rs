//! Truncated, flipped and mutated files are errors or valid archives, within bounds of memory.

use std::path::Path;

use sparsetape::{Archive, ErrorKind, Tensor};

use super::counting::bytes_taken;
use super::{Scratch, corpus, small};

/// Loads bytes that may be anything: there is no panic, and memory is taken by the file's length,
/// not by what it claims.
pub(crate) fn load(bytes: &[u8]) -> Result<Archive, sparsetape::Error> {
    let mut result = None;
    let taken = bytes_taken(|| result = Some(Archive::from_bytes(bytes)));
    let bound = 64 * bytes.len() + (32 << 10);
    assert!(taken <= bound, "{taken} bytes taken for a file of {}", bytes.len());
    let result = result.unwrap();
    match &result {
        Ok(archive) => archive.iter().for_each(|(_, tensor)| assert_valid(tensor)),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Parse, "{error}");
            assert!(error.to_string().starts_with("<bytes>: "), "{error}");
        }
    }
    result
}

/// The checked constructors take a tensor's parts again.
fn assert_valid(x: &Tensor) {
    let ones = vec![1.0f32; x.nnz()];
    let shape = x.shape().clone();
    let again = match (x.indptr(), x.indices(), x.rows()) {
        (Some(indptr), Some(ids), _) => {
            Tensor::csr([shape[0], shape[1]], indptr.to_vec(), ids.to_vec(), ones)
        }
        (_, _, Some(rows)) => Tensor::row_sparse(shape, rows.to_vec(), ones),
        _ => Tensor::dense(shape, ones),
    };
    again.unwrap();
}

fn header_len(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = small().to_bytes().unwrap();
    for len in 0..bytes.len() {
        assert!(load(&bytes[..len]).is_err(), "cut at {len}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(load(&longer).is_err());
}

#[test]
fn every_flipped_bit_is_an_error_or_a_valid_archive() {
    let mut bytes = small().to_bytes().unwrap();
    let mut refused = 0;
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused += usize::from(load(&bytes).is_err());
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(refused > header_len(&bytes) * 4, "only {refused} of {} are errors", bytes.len() * 8);
    assert!(load(&bytes).is_ok());
}

#[test]
fn crowded_headers_take_memory_by_their_length() {
    let framed = |text: String| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let tensor = |i: usize, shape: &str| {
        format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[{shape}],\"data_offsets\":[0,0]}}")
    };
    let with_index = |rest: String| {
        let text = format!("{{\"version\":2,\"tensors\":[],\"notes\":{{}},{rest}}}");
        framed(format!("{{\"__metadata__\":{{\"sparsetape\":{text:?}}}}}"))
    };
    let many: Vec<String> = (0..20_000).map(|i| tensor(i, "0")).collect();
    let (zeros, lists) = ("0,".repeat(100_000), "[],".repeat(100_000));
    let crowded = [
        framed(format!("{{{}}}", many.join(","))),
        framed(format!("{{{}}}", tensor(0, &format!("{zeros}0")))),
        with_index(format!("\"sections\":{{\"graph\":[{lists}[]]}}")),
        with_index(format!("\"later\":[{zeros}0]")),
    ];
    for bytes in crowded {
        let archive = load(&bytes).unwrap();
        assert_eq!(load(&archive.to_bytes().unwrap()).unwrap().len(), archive.len());
    }
}

#[test]
fn a_damaged_file_is_named() {
    let scratch = Scratch::new();
    let bytes = small().to_bytes().unwrap();
    let path = scratch.file("cut.safetensors", &bytes[..bytes.len() - 1]);
    let fault = |error: sparsetape::Error| {
        assert_eq!(error.kind(), ErrorKind::Parse);
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    };
    fault(Archive::load(&path).unwrap_err());
    fault(sparsetape::Params::load(&path).unwrap_err());
    let missing = Archive::load(scratch.path("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
    assert!(missing.to_string().contains("missing"), "{missing}");
    assert_eq!(Archive::load(Path::new("/")).unwrap_err().kind(), ErrorKind::Io);
}

/// Pseudo-random numbers that are the same in each run (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const NUMBERS: [&str; 9] = [
    "0",
    "1",
    "-1",
    "255",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e9",
    "null",
];
const WORDS: [&str; 8] = ["\"csr\"", "\"row_sparse\"", "\"I64\"", "\"U8\"", "[", "}", ",", "\\\""];

/// Changes a few things at random; most of the time the header's length fits again.
fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len());
        let end = (at + dice.below(24)).min(bytes.len());
        match dice.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => drop(bytes.splice(at..end, [])),
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..end, dice.pick(&WORDS).bytes())),
            4 => {
                let other = &others[dice.below(others.len())];
                let from = dice.below(other.len());
                let to = (from + dice.below(64)).min(other.len());
                drop(bytes.splice(at..end, other[from..to].iter().copied()));
            }
            _ => replace_number(bytes, at, dice),
        }
    }
    if dice.below(8) > 0 {
        fit_length(bytes);
    }
}

/// Replaces the first number from `at` on.
fn replace_number(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) else {
        return;
    };
    let digits = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    bytes.splice(start..start + digits, dice.pick(&NUMBERS).bytes());
}

/// Makes the declared length that of the text up to the last brace.
fn fit_length(bytes: &mut [u8]) {
    let brace = bytes.iter().rposition(|&b| b == b'}').filter(|&brace| brace >= 8);
    if let Some(brace) = brace {
        bytes[..8].copy_from_slice(&(brace as u64 - 7).to_le_bytes());
    }
}

fn fuzz(seed: u64, rounds: usize) {
    let mut seeds = corpus::files().into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    seeds.extend(vec![small().to_bytes().unwrap(); 20]);
    let mut dice = Dice(seed);
    for _ in 0..rounds {
        let mut bytes = seeds[dice.below(seeds.len())].clone();
        mutate(&mut bytes, &seeds, &mut dice);
        let _ = load(&bytes);
    }
}

#[test]
fn mutated_files_are_errors_or_valid_archives() {
    fuzz(1, 5_000);
}

#[test]
#[ignore = "a fuzz run of minutes; run it after changes to the reader"]
fn many_mutated_files_are_errors_or_valid_archives() {
    (2..10).for_each(|seed| fuzz(seed, 500_000));
}
