//! csrᵀ · dense, merged into sorted unique rows.
//!
//!     cargo bench --bench transposed

mod workloads;

fn main() {
    workloads::criterion(workloads::transposed::cases);
}
