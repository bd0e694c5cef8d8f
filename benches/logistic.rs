//! Steps of logistic regression: forward, loss, backward, lazy SGD.
//!
//!     cargo bench --bench logistic

mod workloads;

fn main() {
    workloads::criterion(workloads::logistic::cases);
}
