//! Whatever is saved comes back, bit for bit.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sparsetape::strategies::{csr, extent, row_sparse, shape, special, tensor};
use sparsetape::{Archive, Tensor};

use super::{Scratch, assert_same};

fn any_tensor() -> impl Strategy<Value = Tensor> {
    let tall = (extent(), shape(0..=2, 0..=3))
        .prop_map(|(n, rest)| [&[n], &rest[..]].concat().into())
        .boxed();
    prop_oneof![
        tensor(shape(0..=4, 0..=4), special::<f32>()),
        tensor(shape(0..=4, 0..=4), special::<f64>()),
        tensor(shape(0..=4, 0..=4), special::<i64>()),
        csr(0..=5usize, extent(), special::<f32>()),
        csr(0..=5usize, extent(), special::<i64>()),
        row_sparse::<f64>(tall, special()),
        // A window of rows, whose row pointers start anywhere.
        csr(3..=5usize, extent(), special::<f64>()).prop_map(|x| x.rows_window(1, 3).unwrap()),
    ]
}

fn archive() -> impl Strategy<Value = Archive> {
    let notes = btree_map(any::<String>(), any::<String>(), 0..3);
    let suffixes = prop::sample::select(vec!["", ".", " \"é\"", "\u{1}"]);
    (vec((suffixes, any_tensor()), 0..5), notes).prop_map(|(tensors, notes)| {
        let numbered = tensors.into_iter().enumerate();
        let mut archive = Archive::new(numbered.map(|(i, (s, x))| (format!("{i}{s}"), x))).unwrap();
        archive.notes = notes;
        archive
    })
}

proptest! {
    #[test]
    fn archives_come_back(archive in archive()) {
        let bytes = archive.to_bytes().unwrap();
        let twin = Archive::from_bytes(&bytes).unwrap();
        assert_same(&archive, &twin);
        prop_assert_eq!(twin.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn files_hold_the_same_bytes(archive in archive()) {
        let scratch = Scratch::new();
        let path = scratch.path("file");
        archive.save(&path).unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), archive.to_bytes().unwrap());
        assert_same(&archive, &Archive::load(&path).unwrap());
        #[cfg(feature = "mmap")]
        {
            // SAFETY: nobody changes the file.
            let mapped = unsafe { Archive::map(&path).unwrap() };
            assert_same(&archive, &mapped);
        }
    }

    #[test]
    fn other_tools_read_the_file(archive in archive()) {
        let bytes = archive.to_bytes().unwrap();
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let stored: usize = archive.iter().map(|(_, x)| x.bytes()).sum();
        let data: usize = read.tensors().iter().map(|(_, part)| part.data().len()).sum();
        prop_assert_eq!(stored, data);
        for (name, x) in archive.iter() {
            let part = [name.to_owned(), format!("{name}.data"), format!("{name}.values")]
                .into_iter()
                .find_map(|name| read.tensor(&name).ok())
                .unwrap();
            prop_assert_eq!(part.data().len(), x.nnz() * x.dtype().size());
        }
    }
}
