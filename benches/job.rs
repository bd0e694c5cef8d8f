//! A whole job: a libsvm file is read, logistic regression trained, rows held out scored.
//!
//!     cargo bench --bench job

mod workloads;

fn main() {
    workloads::criterion(workloads::job::cases);
}
