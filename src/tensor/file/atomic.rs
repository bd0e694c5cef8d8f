//! Files that are complete or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{self, Error, Result};

/// Writes a file under another name in the same directory, syncs it and renames it: readers see the
/// old file or the new one, and after a power failure there is one of them too.
pub(crate) fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<()> {
    let fault = |e| {
        let what = format!("{}: cannot write it", path.display());
        Error::new(error::ErrorKind::Io, what).nowhere().caused_by(e)
    };
    let (unfinished, file) = create_beside(path).map_err(fault)?;
    let result = fill(file, content)
        .and_then(|()| fs::rename(&unfinished, path))
        .and_then(|()| sync_directory(path));
    if result.is_err() {
        // Renamed already or not removable: the first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    result.map_err(fault)
}

/// A new file, of the usual mode, whose name nobody else uses.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{}.unfinished", std::process::id(), COUNT.fetch_add(1, Relaxed)));
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            // Left behind by a process of the same number.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (name.into(), file)),
        }
    }
}

fn fill(
    file: File,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    content(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// Makes the renaming itself last; elsewhere than on Unix directories cannot be opened.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    if cfg!(unix) { File::open(parent.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_the_middle_leaves_the_old_file_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("sparsetape-atomic-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("file");
        write(&path, |file| file.write_all(b"old")).unwrap();
        let error = write(&path, |file| {
            file.write_all(&[7; 1 << 20])?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(error.unwrap_err().kind(), error::ErrorKind::Io);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        write(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_path_without_a_directory_is_in_the_working_directory() {
        sync_directory(Path::new("model.safetensors")).unwrap();
    }
}
