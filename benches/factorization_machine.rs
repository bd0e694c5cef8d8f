//! Steps of a factorization machine.
//!
//!     cargo bench --bench factorization_machine

mod workloads;

fn main() {
    workloads::criterion(workloads::factorization_machine::cases);
}
