//! Where things go: layers by the longest path, order by barycentres, positions by least squares.
//!
//! Layers alternate between nodes and the values that they make. A value goes down through all layers to
//! its last reader, one item a layer: the first bears its type, the others bend its line.

use super::super::Body;

/// To sort the layers.
const SORTS: usize = 8;

/// Items to be moved in all, so that large graphs take no longer.
const MOVES: usize = 1_000_000;

/// Between neighbours of a layer.
const GAP: f64 = 18.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Node(usize),
    /// The type of a node's value.
    Type(usize),
    /// A place on the way of a node's value.
    Bend(usize),
    /// An output or a gradient, by number.
    Exit(usize),
}

#[derive(Debug)]
pub(super) struct Item {
    pub what: What,
    pub layer: usize,
    pub width: f64,
    /// Of its middle.
    pub x: f64,
    /// In the layer above, and in the one below.
    pub above: Vec<usize>,
    pub below: Vec<usize>,
}

pub(super) struct Layout {
    pub items: Vec<Item>,
    /// Items by layer, from left to right.
    pub layers: Vec<Vec<usize>>,
}

impl Layout {
    /// A graph laid out; `exits` are the nodes whose values leave it.
    pub fn new(body: &Body, exits: &[usize], width: impl Fn(What) -> f64) -> Layout {
        let ranks = ranks(body);
        let mut layout = Layout { items: Vec::new(), layers: Vec::new() };
        let mut place = |what, layer| layout.add(what, layer, width(what));
        let nodes: Vec<usize> =
            ranks.iter().enumerate().map(|(id, rank)| place(What::Node(id), 2 * rank)).collect();
        let ends: Vec<usize> = exits
            .iter()
            .enumerate()
            .map(|(k, &id)| place(What::Exit(k), 2 * ranks[id] + 2))
            .collect();
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
        for (id, node) in body.nodes.iter().enumerate() {
            node.ins.iter().for_each(|&i| readers[i as usize].push(nodes[id]));
        }
        exits.iter().zip(ends).for_each(|(&id, end)| readers[id].push(end));
        for (id, readers) in readers.iter_mut().enumerate() {
            readers.dedup();
            layout.lead(id, nodes[id], readers, width(What::Type(id)));
        }
        layout.arrange();
        layout
    }

    fn add(&mut self, what: What, layer: usize, width: f64) -> usize {
        self.layers.resize(self.layers.len().max(layer + 1), Vec::new());
        self.layers[layer].push(self.items.len());
        let (above, below) = (Vec::new(), Vec::new());
        self.items.push(Item { what, layer, width, x: 0.0, above, below });
        self.items.len() - 1
    }

    fn join(&mut self, above: usize, below: usize) {
        self.items[above].below.push(below);
        self.items[below].above.push(above);
    }

    /// Leads the value of a node down to its readers.
    fn lead(&mut self, id: usize, node: usize, readers: &[usize], width: f64) {
        let Some(last) = readers.iter().map(|&reader| self.items[reader].layer).max() else {
            return;
        };
        let (mut end, first) = (node, self.items[node].layer + 1);
        for layer in first..last {
            let next = match layer == first {
                true => self.add(What::Type(id), layer, width),
                false => self.add(What::Bend(id), layer, 0.0),
            };
            self.join(end, next);
            end = next;
            for &reader in readers {
                if self.items[reader].layer == layer + 1 {
                    self.join(end, reader);
                }
            }
        }
    }

    fn arrange(&mut self) {
        for sweep in 0..SORTS {
            self.sort(sweep % 2 == 0);
        }
        let layers = self.layers.clone();
        for layer in &layers {
            self.settle(layer, |_| 0.0);
        }
        let sweeps = (MOVES / self.items.len().max(1)).clamp(SORTS, 100);
        for sweep in 0..sweeps {
            self.sweep(&layers, sweep % 2 == 0, Layout::between);
        }
        // Straight down where there is room.
        for _ in 0..SORTS {
            self.sweep(&layers, true, Layout::under);
        }
        let left = self.items.iter().map(|item| item.x - item.width / 2.0);
        let left = left.fold(f64::INFINITY, f64::min);
        self.items.iter_mut().for_each(|item| item.x -= left);
    }

    /// Sorts each layer by the mean place of the neighbours in the layer before it.
    fn sort(&mut self, down: bool) {
        let mut place: Vec<f64> = vec![0.0; self.items.len()];
        let count = self.layers.len();
        for k in 0..count {
            let layer = &mut self.layers[if down { k } else { count - 1 - k }];
            layer.iter().enumerate().for_each(|(at, &i)| place[i] = at as f64);
            let mean = |&i: &usize| {
                let item = &self.items[i];
                let near = if down { &item.above } else { &item.below };
                mean(near.iter().map(|&n| place[n])).unwrap_or(place[i])
            };
            let mut keys: Vec<(f64, usize)> = layer.iter().map(|i| (mean(i), *i)).collect();
            keys.sort_by(|a, b| a.0.total_cmp(&b.0));
            layer.iter_mut().zip(&keys).for_each(|(i, key)| *i = key.1);
            layer.iter().enumerate().for_each(|(at, &i)| place[i] = at as f64);
        }
    }

    /// Moves the items of each layer in turn to where they would like to be.
    fn sweep(&mut self, layers: &[Vec<usize>], down: bool, like: fn(&Layout, usize) -> f64) {
        for k in 0..layers.len() {
            let layer = &layers[if down { k } else { layers.len() - 1 - k }];
            let wanted: Vec<f64> = layer.iter().map(|&i| like(self, i)).collect();
            self.settle(layer, |k| wanted[k]);
        }
    }

    /// In the middle of the neighbours on both sides.
    fn between(&self, i: usize) -> f64 {
        let item = &self.items[i];
        let sides = [self.middle(&item.above), self.middle(&item.below)];
        mean(sides.into_iter().flatten()).unwrap_or(item.x)
    }

    /// Under what is above, or above what is below.
    fn under(&self, i: usize) -> f64 {
        let item = &self.items[i];
        self.middle(&item.above).or_else(|| self.middle(&item.below)).unwrap_or(item.x)
    }

    fn middle(&self, items: &[usize]) -> Option<f64> {
        mean(items.iter().map(|&i| self.items[i].x))
    }

    /// Puts the items of a layer as near as can be to where they want to be, in order and apart: the
    /// least squares under these constraints, by pooling neighbours that want to change places.
    fn settle(&mut self, layer: &[usize], wanted: impl Fn(usize) -> f64) {
        let mut offsets = Vec::with_capacity(layer.len());
        let mut end = 0.0;
        for &i in layer {
            offsets.push(end + self.items[i].width / 2.0);
            end += self.items[i].width + GAP;
        }
        // Sums of what a pool's members want, and how many they are.
        let mut pools: Vec<(f64, usize)> = Vec::new();
        for (k, offset) in offsets.iter().enumerate() {
            let mut pool = (wanted(k) - offset, 1);
            while let Some(&(sum, count)) = pools.last()
                && sum / count as f64 >= pool.0 / pool.1 as f64
            {
                pools.pop();
                pool = (sum + pool.0, count + pool.1);
            }
            pools.push(pool);
        }
        let starts = pools.iter().flat_map(|&(sum, n)| std::iter::repeat_n(sum / n as f64, n));
        for ((&i, offset), start) in layer.iter().zip(offsets).zip(starts) {
            self.items[i].x = start + offset;
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, n), x| (sum + x, n + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The longest way from a leaf; leaves are right above their first reader.
fn ranks(body: &Body) -> Vec<usize> {
    let mut ranks = vec![0; body.nodes.len()];
    for (id, node) in body.nodes.iter().enumerate() {
        ranks[id] = node.ins.iter().map(|&i| ranks[i as usize] + 1).max().unwrap_or(0);
    }
    let mut first = vec![usize::MAX; body.nodes.len()];
    for (node, &rank) in body.nodes.iter().zip(&ranks) {
        node.ins.iter().for_each(|&i| first[i as usize] = first[i as usize].min(rank));
    }
    for (id, node) in body.nodes.iter().enumerate() {
        if node.op().is_none() && first[id] != usize::MAX {
            ranks[id] = first[id] - 1;
        }
    }
    ranks
}
