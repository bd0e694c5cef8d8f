//! The element-wise functions, each written once over [`Lanes`](super::lanes::Lanes).

pub mod basic;
mod digamma;
pub mod erf;
pub mod exp;
pub mod log;
pub mod scalar;
pub mod tables;
pub mod trig;
