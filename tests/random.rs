//! Random tensors: fixed bits, valid patterns, right frequencies.
#![cfg(feature = "random")]

use sparsetape::random::{Distribution, Popularity, Random, Zipf};
use sparsetape::{Result, Stype, Tensor};

#[test]
fn a_seed_gives_these_bits_for_ever() -> Result<()> {
    let bits = |x: Tensor| -> Result<Vec<u64>> {
        Ok(x.values::<f64>()?.iter().map(|v| v.to_bits()).collect())
    };
    let normal = [4603747905363745057, 4602686301159571606, 13821473804819565206];
    assert_eq!(bits(Random::new(1).dense::<f64>([3])?)?, normal);
    let uniform = Distribution::Uniform(-1.0, 1.0);
    let uniform = Random::new(2).with_values(uniform).dense::<f64>([2])?;
    assert_eq!(bits(uniform)?, [13828510800461813448, 4605548540471770984]);
    let columns = |per_row, popularity| -> Result<Vec<u32>> {
        let x = Random::new(3).csr_rows::<f32>([2, 1000], per_row, popularity)?;
        Ok(x.indices()
            .unwrap_or_default()
            .iter()
            .rev()
            .step_by(per_row / 4)
            .take(6)
            .copied()
            .collect())
    };
    assert_eq!(columns(4, Popularity::Uniform)?, [938, 640, 478, 97, 844, 781]);
    assert_eq!(columns(4, Popularity::PowerLaw(1.1))?, [355, 13, 4, 0, 166, 2]);
    assert_eq!(columns(4, Popularity::PowerLaw(2.0))?, [15, 2, 1, 0, 12, 2]);
    assert_eq!(columns(4, Popularity::ScatteredPowerLaw(1.1))?, [745, 476, 47, 0, 754, 619]);
    // many of all: the other algorithm
    assert_eq!(columns(200, Popularity::PowerLaw(1.1))?, [983, 405, 166, 57, 995, 340]);
    assert_eq!(
        Random::new(4).csr::<f32>([2, 1000], 0.003)?.indices(),
        Some(&[132, 332, 704, 730, 734, 925][..])
    );
    assert_eq!(
        Random::new(4).row_sparse::<f32>([1 << 32, 1], 1e-9)?.rows(),
        Some(&[397862371, 996410727, 2112660421, 2188935366, 2200850587, 3464847042][..])
    );
    Ok(())
}

#[test]
fn rows_are_valid_at_any_skew() -> Result<()> {
    let laws = [0.0, 0.5, 1.0, 1.4, 1.5, 3.0, 30.0, 1000.0];
    let skewed = |s| [Popularity::PowerLaw(s), Popularity::ScatteredPowerLaw(s)];
    for popularity in laws.into_iter().flat_map(skewed).chain([Popularity::Uniform]) {
        for (cols, per_row) in [(1, 1), (7, 7), (7, 0), (100, 12), (100, 99), (1 << 32, 39)] {
            let x = Random::new(9).csr_rows::<f32>([3, cols], per_row, popularity)?;
            let indptr: Vec<usize> = (0..4).map(|i| i * per_row).collect();
            let indices = x.indices().unwrap_or_default().to_vec();
            Tensor::csr([3, cols], indptr, indices, x.values::<f32>()?.to_vec())?; // checks all
        }
    }
    let none = Random::new(1).csr_rows::<f32>([2, 0], 0, Popularity::PowerLaw(1.0))?;
    assert_eq!(none.nnz(), 0);
    assert!(Random::new(1).csr_rows::<f32>([2, 3], 4, Popularity::Uniform).is_err());
    Ok(())
}

#[test]
fn densities_are_met() -> Result<()> {
    for density in [0.0, 1e-300, 1e-3, 0.5, 0.999, 1.0] {
        for stype in Stype::ALL {
            let x = Random::new(9).tensor::<f64>(stype, [4000, 5], density)?;
            let met = x.cast_storage(Stype::Csr)?.nnz() as f64;
            assert!((met - 20_000.0 * density).abs() < 900.0, "{density}: {x:?}");
        }
    }
    Ok(())
}

#[test]
fn zipf_draws_have_zipf_frequencies() -> Result<()> {
    for s in [0.0, 0.7, 1.0, 1.1, 1.5, 2.0, 3.0] {
        let (n, draws) = (50usize, 200_000);
        let (zipf, mut random) = (Zipf::new(n, s)?, Random::new(11));
        let mut counts = vec![0.0; n];
        (0..draws).for_each(|_| counts[zipf.sample(&mut random) as usize] += 1.0);
        let weight = |j: usize| ((j + 1) as f64).powf(-s);
        let total: f64 = (0..n).map(weight).sum();
        let expected = |j: usize| draws as f64 * weight(j) / total;
        let chi: f64 = (0..n).map(|j| (counts[j] - expected(j)).powi(2) / expected(j)).sum();
        assert!(chi < 90.0, "s = {s}: chi square {chi} with 49 degrees of freedom");
    }
    assert!(Zipf::new(0, 1.0).is_err() && Zipf::new(5, f64::NAN).is_err());
    Ok(())
}

/// How often each of 40 columns is among the `k` of a row.
fn inclusions(cols: usize, k: usize, rows: usize) -> Result<Vec<f64>> {
    let x = Random::new(2).csr_rows::<f32>([rows, cols], k, Popularity::PowerLaw(1.2))?;
    let mut counts = vec![0.0; cols];
    x.indices().unwrap_or_default().iter().for_each(|&j| counts[j as usize] += 1.0);
    Ok(counts.iter().map(|c| c / rows as f64).collect())
}

#[test]
fn both_ways_to_leave_out_repetitions_agree() -> Result<()> {
    // 5 of 40 are drawn one by one, 6 of 40 selected: so close that inclusions nest
    let (drawn, selected) = (inclusions(40, 5, 40_000)?, inclusions(40, 6, 40_000)?);
    let mut chances = vec![0.0; 40];
    let mut state = Random::new(3);
    let zipf = Zipf::new(40, 1.2)?;
    for _ in 0..40_000 {
        let mut row = Vec::new();
        while row.len() < 6 {
            let id = zipf.sample(&mut state);
            if !row.contains(&id) {
                row.push(id);
            }
        }
        row.iter().for_each(|&id| chances[id as usize] += 1.0 / 40_000.0);
    }
    for j in 0..40 {
        assert!((selected[j] - chances[j]).abs() < 0.015, "{j}: {} {}", selected[j], chances[j]);
        assert!(drawn[j] < selected[j] + 0.015, "{j}: {} {}", drawn[j], selected[j]);
    }
    Ok(())
}

#[test]
fn normal_draws_have_mean_and_deviation() -> Result<()> {
    let x = Random::new(5).with_values(Distribution::Normal(3.0, 2.0)).dense::<f32>([100_001])?;
    let values = x.values::<f32>()?;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 1e5;
    assert!((mean - 3.0).abs() < 0.03 && (variance - 4.0).abs() < 0.08, "{mean} {variance}");
    Ok(())
}
