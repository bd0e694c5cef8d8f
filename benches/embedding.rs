//! Steps of an embedding: look-ups, and updates of the rows looked up.
//!
//!     cargo bench --bench embedding

mod workloads;

fn main() {
    workloads::criterion(workloads::embedding::cases);
}
