//! What an operator costs on tapes and in graphs: a thousand operators on sixteen numbers, forward and backward.
//!
//!     cargo bench --bench tape

mod workloads;

fn main() {
    workloads::criterion(workloads::tape::cases);
}
