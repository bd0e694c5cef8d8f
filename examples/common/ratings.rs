//! Ratings of items by users.

use std::str::FromStr;

use sparsetape::data::Dataset;
use sparsetape::random::{Distribution, Random};
use sparsetape::{Error, ErrorKind, Result, Tensor};

/// The deviation of the noise in ratings made here.
pub const NOISE: f64 = 0.5;

/// Ratings, as triples. Rows are ids − 1.
#[derive(Debug, Default)]
pub struct Ratings {
    pub users: Vec<i64>,
    pub items: Vec<i64>,
    pub ratings: Vec<f32>,
}

impl Ratings {
    pub fn dataset(self) -> Result<Dataset> {
        let rows = self.ratings.len();
        Dataset::from_labels(Tensor::dense([rows], self.ratings)?)?
            .with_input("user", Tensor::dense([rows], self.users)?)?
            .with_input("item", Tensor::dense([rows], self.items)?)
    }

    /// Reads lines of user, item, rating and whatever follows, separated by tabs.
    pub fn parse(name: &str, text: &str) -> Result<Ratings> {
        let mut all = Ratings::default();
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut fields = line.split('\t');
            let mut place = Place { name, line: n + 1, column: 1 };
            let id = |&id: &i64| (1..=1 << 32).contains(&id);
            let what = "an id from 1 to 4294967296";
            all.users.push(place.read(fields.next(), "user", what, id)? - 1);
            all.items.push(place.read(fields.next(), "item", what, id)? - 1);
            let finite = |rating: &f32| rating.is_finite();
            all.ratings.push(place.read(fields.next(), "rating", "a finite number", finite)?);
        }
        Ok(all)
    }

    /// Ratings of random items by random users: planted vectors and biases, and noise.
    pub fn planted(users: usize, items: usize, ratings: usize) -> Result<Ratings> {
        const FACTORS: usize = 4;
        let mut random = Random::new(3);
        let table = |rows: usize, random: &mut Random| random.dense::<f32>([rows, FACTORS + 1]);
        let (p, q) = (table(users, &mut random)?, table(items, &mut random)?);
        let (p, q) = (p.values::<f32>()?, q.values::<f32>()?);
        let ids = |n: usize, seed: u64| -> Result<Vec<i64>> {
            let mut random = Random::new(seed).with_values(Distribution::Uniform(0.0, n as f64));
            Ok(random.dense::<i64>([ratings])?.values::<i64>()?.to_vec())
        };
        let noise = Random::new(6).with_values(Distribution::Normal(0.0, NOISE));
        let noise = noise.clone().dense::<f32>([ratings])?;
        let (users, items) = (ids(users, 4)?, ids(items, 5)?);
        let of = |(noise, (&u, &i)): (&f32, (&i64, &i64))| {
            let row = |table: &[f32], id: i64| -> [f32; FACTORS + 1] {
                std::array::from_fn(|f| table[id as usize * (FACTORS + 1) + f])
            };
            let (p, q) = (row(p, u), row(q, i));
            let dot: f32 = (0..FACTORS).map(|f| p[f] * q[f]).sum();
            3.5 + 0.3 * (p[FACTORS] + q[FACTORS]) + 0.4 * dot + noise
        };
        let ratings = noise.values::<f32>()?.iter().zip(users.iter().zip(&items)).map(of).collect();
        Ok(Ratings { users, items, ratings })
    }
}

/// Where in a file the next field is; columns count characters from 1.
struct Place<'a> {
    name: &'a str,
    line: usize,
    column: usize,
}

impl Place<'_> {
    fn read<T: FromStr>(
        &mut self,
        field: Option<&str>,
        of: &str,
        what: &str,
        fits: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let Place { name, line, column } = self;
        let fault = |why: String| {
            let message = format!("{name}, line {line}, column {column}: {why}");
            Error::new(ErrorKind::Parse, message).nowhere()
        };
        let field = field.ok_or_else(|| fault(format!("there is no {of}")))?;
        let value = field.trim().parse().ok().filter(fits);
        let value = value.ok_or_else(|| fault(format!("{of} {field:?} is not {what}")))?;
        *column += field.chars().count() + 1;
        Ok(value)
    }
}
