//! Learning rates.
/// x
#[derive(Clone, Debug)]
pub struct Schedule(f64);
impl Schedule {
    /// x
    pub fn at(&self, _: u64) -> f64 {
        self.0
    }
    pub(crate) fn check(&self) -> crate::error::Result<()> {
        Ok(())
    }
}
impl From<f64> for Schedule {
    fn from(lr: f64) -> Self {
        Schedule(lr)
    }
}
