//! Without the feature `progress` there are no bars.

use super::Pass;

pub(super) enum Bar {}

impl Bar {
    pub fn on_stderr() -> Option<Bar> {
        None
    }

    pub fn show(&mut self, _: &Pass) {
        match *self {}
    }

    pub fn width(&self) -> usize {
        match *self {}
    }

    pub fn clear(&mut self) {
        match *self {}
    }

    pub fn suspended(&self, _: impl FnOnce()) {
        match *self {}
    }
}
