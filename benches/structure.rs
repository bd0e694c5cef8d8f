//! Operators that make or take apart sparse values.
//!
//!     cargo bench --bench structure

mod workloads;

fn main() {
    workloads::criterion(workloads::structure::cases);
}
