//! Curves of a history as SVG.

mod axis;
mod draw;

use std::io::Write;
use std::path::Path;

use super::History;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::file::atomic;

/// Pixels.
const WIDTH: u32 = 640;
const NARROWEST: u32 = 240;
const LARGEST: u32 = 20_000;

/// A picture of what a [`History`] has measured, as SVG: one panel per value, and in it one curve per split that has
/// the value. Values that are NaN or infinite are left out.
///
/// ```
/// use sparsetape::train::{Curves, History, Record};
/// let mut history = History::new();
/// for epoch in 0..10 {
///     let train = Record { epoch, ..Record::new("train") };
///     let test = Record { epoch, ..Record::new("test") };
///     history.push(train.with("loss", 0.7 * (-0.3 * epoch as f64).exp()));
///     history.push(test.with("loss", 0.71 * (-0.2 * epoch as f64).exp()).with("auc", 0.8));
/// }
/// let path = std::env::temp_dir().join("sparsetape-doc-curves.svg");
/// Curves::new(&history).values(["loss"]).title("Clicks").save_svg(&path)?;
/// history.save_svg(&path)?; // all values
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// The same history gives the same bytes.
#[derive(Clone, Debug)]
pub struct Curves<'h> {
    history: &'h History,
    values: Vec<String>,
    title: String,
    size: Option<(u32, u32)>,
    by_step: bool,
    log_scale: bool,
}

impl<'h> Curves<'h> {
    /// Of all values, over epochs.
    pub fn new(history: &'h History) -> Self {
        let values = history.names().into_iter().map(str::to_owned).collect();
        let (title, size) = (String::new(), None);
        Curves { history, values, title, size, by_step: false, log_scale: false }
    }

    /// These values only, from above.
    pub fn values<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.values = names.into_iter().map(Into::into).collect();
        self
    }

    /// A title.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Width and height of the picture, in pixels; else it is 640 wide and has the height that it needs.
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = Some((width, height));
        self
    }

    /// Over [`Record::step`](super::Record::step) instead of epochs.
    pub fn by_step(mut self) -> Self {
        self.by_step = true;
        self
    }

    /// Logarithms on the vertical axes; values of zero and below are left out.
    pub fn log_scale(mut self) -> Self {
        self.log_scale = true;
        self
    }

    /// The text of an SVG file.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] for names that no record has, listing those there are; if there is nothing to
    /// draw; and for a size that the panels do not fit into, with the least.
    #[track_caller]
    pub fn to_svg(&self) -> Result<String> {
        self.check_names()?;
        let size = self.checked_size()?;
        // Nothing fails that is drawn onto a string.
        self.draw(size).map_err(|e| refused(e.to_string()))
    }

    /// Writes [`Curves::to_svg`] to a file, which is complete or not there.
    ///
    /// # Errors
    /// As [`Curves::to_svg`]; [`ErrorKind::Io`] naming the path.
    #[track_caller]
    pub fn save_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        let text = self.to_svg()?;
        atomic::write(path.as_ref(), |file| file.write_all(text.as_bytes()))
    }

    #[track_caller]
    fn check_names(&self) -> Result<()> {
        let known = self.history.names();
        if known.is_empty() {
            return Err(refused("the history has no values"));
        }
        if self.values.is_empty() {
            return Err(refused(format!("no values are asked for; there are {known:?}")));
        }
        match self.values.iter().find(|name| !known.contains(&&***name)) {
            Some(name) => Err(refused(format!("no record has {name:?}; there are {known:?}"))),
            None => Ok(()),
        }
    }

    #[track_caller]
    fn checked_size(&self) -> Result<(u32, u32)> {
        let count = self.values.len().min(LARGEST as usize) as u32;
        let height = |panel| self.head(WIDTH) + count * panel + draw::FOOT;
        let (width, height) = self.size.unwrap_or((WIDTH, height(draw::PANEL)));
        let least = self.head(width.max(NARROWEST)) + count * draw::LOWEST_PANEL + draw::FOOT;
        if width.max(height) > LARGEST || width < NARROWEST || height < least {
            let message = format!(
                "a picture of {width} x {height} pixels: {count} panels take {NARROWEST} x {least} \
                 at least, and {LARGEST} is the most"
            );
            return Err(refused(message));
        }
        Ok((width, height))
    }
}

impl History {
    /// Writes a picture of all values over the epochs: [`Curves`] with its defaults.
    ///
    /// # Errors
    /// As [`Curves::save_svg`].
    #[track_caller]
    pub fn save_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        Curves::new(self).save_svg(path)
    }
}

#[track_caller]
fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Value, message).operator("curves")
}
