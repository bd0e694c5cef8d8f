//! csr · dense.
//!
//!     cargo bench --bench spmm

mod workloads;

fn main() {
    workloads::criterion(workloads::spmm::cases);
}
