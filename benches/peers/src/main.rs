//! The table of the report, with other crates beside ours.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml
//!     cargo run --release --manifest-path benches/peers/Cargo.toml -- spmm tape

mod matrices;
mod tapes;
#[path = "../../workloads/mod.rs"]
mod workloads;

use workloads::{Size, Visit};

fn main() {
    let beside: [(&str, fn(Size, Visit)); 3] =
        [("spmm", spmm), ("tape", tape), ("structure", structure)];
    let with_peers = |&(name, alone)| {
        let found = beside.iter().find(|(own, _)| *own == name);
        (name, found.map_or(alone, |(_, with)| *with))
    };
    let all: Vec<_> = workloads::ALL.iter().map(with_peers).collect();
    workloads::report::report(&all);
}

fn spmm(size: Size, visit: Visit) {
    workloads::spmm::cases(size, &mut |case| visit(matrices::product_with_dense(case)));
}

fn tape(size: Size, visit: Visit) {
    workloads::tape::cases(size, &mut |case| visit(tapes::beside(case)));
}

fn structure(size: Size, visit: Visit) {
    workloads::structure::cases(size, &mut |case| visit(matrices::structure(case, size)));
}
