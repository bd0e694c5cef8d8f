//! stub
use crate::error::Result;
use crate::tensor::Tensor;
/// Rows
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Scored<'a> {
    /// p
    pub predictions: &'a Tensor,
    /// l
    pub labels: &'a Tensor,
    /// q
    pub qids: Option<&'a Tensor>,
    /// w
    pub weights: Option<&'a Tensor>,
}
impl<'a> Scored<'a> {
    /// n
    pub fn new(predictions: &'a Tensor, labels: &'a Tensor) -> Self {
        Scored { predictions, labels, qids: None, weights: None }
    }
    /// q
    pub fn qids(self, qids: &'a Tensor) -> Self {
        Scored { qids: Some(qids), ..self }
    }
    /// w
    pub fn weights(self, weights: &'a Tensor) -> Self {
        Scored { weights: Some(weights), ..self }
    }
}
/// m
pub trait Metric {
    /// n
    fn name(&self) -> String;
    /// u
    fn update(&mut self, scored: &Scored<'_>) -> Result<()>;
    /// v
    fn value(&self) -> f64;
    /// r
    fn reset(&mut self);
    /// l
    fn larger_is_better(&self) -> bool {
        false
    }
}
