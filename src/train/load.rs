//! Warm starts: parameters from files, by name.

use std::path::Path;

#[cfg(feature = "data")]
use super::Trainer;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::Params;
use crate::tensor::file::{CHECKPOINT, within};
use crate::tensor::{Archive, Tensor};

/// What a file had for the parameters of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Parameters that took values of the file.
    pub loaded: Vec<String>,
    /// Parameters that stayed as they were: the file has nothing of their name.
    pub missing: Vec<String>,
    /// What the file has that no parameter is named as.
    pub unused: Vec<String>,
}

/// Puts the values of a file into the parameters of their names: of a safetensors file, ours or another tool's, or of
/// numpy's `.npy` (feature `data`) and `.npz` (feature `npz`); the name of an `.npy` is that of the file without its ending. (MXNet:
/// `set_params` with `allow_missing` and `allow_extra`.)
///
/// Values are cast to the parameter's element and storage type. Nothing changes if there is an error.
///
/// ```
/// use sparsetape::train::load;
/// use sparsetape::{Archive, Parameter, Params, Tensor};
/// let path = std::env::temp_dir().join("sparsetape-doc-warm.safetensors");
/// let w = Tensor::full([3, 1], 0.5f32)?;
/// Archive::new([("w", w), ("old", Tensor::full([1], 0.0f32)?)])?.save(&path)?;
///
/// let w = Parameter::new("w", Tensor::full([3, 1], 0.0f32)?)?;
/// let bias = Parameter::new("bias", Tensor::full([1], 0.0f32)?)?;
/// let loaded = load(&Params::new([&w, &bias])?, &path)?;
/// assert_eq!((&loaded.loaded[..], &loaded.missing[..]), (&["w".into()][..], &["bias".into()][..]));
/// assert_eq!(loaded.unused, ["old"]);
/// assert_eq!(w.snapshot()?.values::<f32>()?, [0.5; 3]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Io`] and [`ErrorKind::Parse`] for the file; [`ErrorKind::Shape`] naming the parameter whose shape
/// differs; [`ErrorKind::State`] if nothing in the file is named as a parameter, or the file is a checkpoint, which
/// [`Trainer::resume`] reads.
#[doc(alias = "set_params")]
#[doc(alias = "load_state_dict")]
#[track_caller]
pub fn load(params: &Params, path: impl AsRef<Path>) -> Result<Loaded> {
    let path = path.as_ref();
    let (mut told, mut values) = (Loaded::default(), Vec::new());
    for (name, tensor) in tensors(path)? {
        match params.get(&name) {
            None => told.unused.push(name),
            Some(parameter) => values.push((parameter, tensor)),
        }
    }
    let has = |name: &str| values.iter().any(|(parameter, _)| parameter.name() == name);
    for parameter in params {
        let list = if has(parameter.name()) { &mut told.loaded } else { &mut told.missing };
        list.push(parameter.name().to_owned());
    }
    if values.is_empty() {
        let (there, wanted) = (told.unused.join(", "), told.missing.join(", "));
        let message = format!("{}: has {there}, but the parameters are {wanted}", path.display());
        return Err(Error::new(ErrorKind::State, message).operator("load"));
    }
    for (parameter, tensor) in &mut values {
        if tensor.shape() != parameter.shape() {
            let message = format!(
                "{}: {:?} is {}, the parameter {}",
                path.display(),
                parameter.name(),
                tensor.ty(),
                parameter.ty()
            );
            return Err(Error::new(ErrorKind::Shape, message).operator("load"));
        }
        *tensor = tensor.cast(parameter.dtype()).cast_storage(parameter.stype())?;
    }
    for (parameter, tensor) in values {
        parameter.set(tensor)?;
    }
    Ok(told)
}

/// What a file holds, by name.
#[track_caller]
fn tensors(path: &Path) -> Result<Vec<(String, Tensor)>> {
    match path.extension().and_then(|ending| ending.to_str()) {
        #[cfg(feature = "data")]
        Some("npy") => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            Ok(vec![(name.into_owned(), crate::data::read_npy(path)?)])
        }
        #[cfg(feature = "npz")]
        Some("npz") => {
            let mut file = crate::data::Npz::open(path)?;
            let names: Vec<String> = file.names().map(str::to_owned).collect();
            names.into_iter().map(|name| Ok((name.clone(), file.get(&name)?))).collect()
        }
        _ => {
            let archive = Archive::load(path)?;
            if archive.sections.has(CHECKPOINT) {
                let message = "the file is a checkpoint of a training run: resume it";
                let error = Error::new(ErrorKind::State, message).operator("load");
                return Err(within(path.display())(error));
            }
            Ok(archive.into_iter().collect())
        }
    }
}

#[cfg(feature = "data")]
impl Trainer<'_> {
    /// [`load`]s the parameters from a file, by name.
    ///
    /// # Errors
    /// As [`load`].
    #[track_caller]
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Loaded> {
        load(&self.params, path)
    }
}
