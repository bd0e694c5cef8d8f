//! All workloads against their floors, in one table.
//!
//!     cargo bench --bench report
//!     cargo bench --bench report -- logistic embedding

mod workloads;

fn main() {
    workloads::report::report(workloads::ALL);
}
