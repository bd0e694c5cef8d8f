//! Predictions of a frozen logistic model.
//!
//!     cargo bench --bench predict

mod workloads;

fn main() {
    workloads::criterion(workloads::predict::cases);
}
