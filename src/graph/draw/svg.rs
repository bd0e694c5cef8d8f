//! Graphs as SVG.

use std::fmt::{self, Write};

use super::super::{Body, Graph, Kind};
use super::layout::{Item, Layout, What};
use super::{Colours, FALLBACK, STYPES, colours, exits, lines, painted, type_of};
use crate::error::{Error, ErrorKind, Result};

/// Pictures of more nodes than these are not looked at.
const MOST: usize = 500;

const MARGIN: f64 = 16.0;
const LEGEND: f64 = 34.0;
/// Of a line of text, and what it takes.
const LINE: f64 = 15.0;
const PADDING: f64 = 9.0;
/// Between layers.
const GAP: f64 = 16.0;
const FONT: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

impl Graph {
    /// A picture of the graph, as the text of an SVG file: leaves above, outputs below, coloured by
    /// storage type, casts to dense for want of a kernel in red. Variables are rounded, constants cut
    /// at the corners, operators boxes; the type of each value stands on its way to its readers.
    ///
    /// ```
    /// use sparsetape::{Graph, Stype, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").stype(Stype::Csr));
    /// let w = tape.symbol(variable("w"));
    /// let picture = Graph::new(&[x.dot(w).sigmoid()])?.to_svg()?;
    /// std::fs::write(std::env::temp_dir().join("sparsetape-doc-graph.svg"), picture).unwrap();
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] for more than 500 nodes: [`Graph::to_dot`] is for larger tools.
    #[doc(alias = "plot_network")]
    #[track_caller]
    pub fn to_svg(&self) -> Result<String> {
        let count = self.body().nodes.len();
        if count > MOST {
            let message = format!("{count} nodes, pictures have {MOST} at most; use `to_dot`");
            return Err(Error::new(ErrorKind::State, message).operator("to_svg"));
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = Picture::new(self.body()).write(&mut text);
        Ok(text)
    }
}

struct Picture<'g> {
    body: &'g Body,
    exits: Vec<(usize, String)>,
    paint: Vec<Colours>,
    layout: Layout,
    /// Middle of each layer.
    heights: Vec<f64>,
    /// Of the whole picture.
    size: (f64, f64),
}

impl<'g> Picture<'g> {
    fn new(body: &'g Body) -> Self {
        let exits = exits(body);
        let leaving: Vec<usize> = exits.iter().map(|(id, _)| *id).collect();
        let layout = Layout::new(body, &leaving, |what| match what {
            What::Node(id) => widest(&lines(&body.nodes[id]), 7.3) + 2.0 * PADDING + 6.0,
            What::Type(id) => widest(&[type_of(&body.nodes[id])], 6.7) + 4.0,
            What::Exit(k) => widest(&[exits[k].1.clone()], 7.3),
            What::Bend(_) => 0.0,
        });
        let paint = painted(body);
        let mut picture =
            Picture { body, exits, paint, layout, heights: Vec::new(), size: (0.0, 0.0) };
        let mut top = MARGIN + LEGEND;
        for layer in &picture.layout.layers {
            let height = layer.iter().map(|&i| picture.height(&picture.layout.items[i]));
            let height = height.fold(0.0, f64::max);
            picture.heights.push(top + height / 2.0);
            top += height + GAP;
        }
        let right = picture.layout.items.iter().map(|item| item.x + item.width / 2.0);
        let legend = if picture.has_fallbacks() { 420.0 } else { 270.0 };
        let right = right.fold(legend, f64::max);
        picture.size = (right + 2.0 * MARGIN, top - GAP + MARGIN);
        picture
    }

    fn has_fallbacks(&self) -> bool {
        self.paint.iter().any(|paint| paint.line == FALLBACK.line)
    }

    fn height(&self, item: &Item) -> f64 {
        match item.what {
            What::Node(id) => LINE * lines(&self.body.nodes[id]).len() as f64 + PADDING,
            What::Bend(_) => 0.0,
            _ => LINE,
        }
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let (width, height) = self.size;
        writeln!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"{FONT}\" font-size=\"12\" \
             text-anchor=\"middle\">"
        )?;
        writeln!(text, "<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#ffffff\"/>")?;
        self.write_legend(text)?;
        for item in &self.layout.items {
            self.write_lines(text, item)?;
        }
        for item in &self.layout.items {
            self.write_item(text, item)?;
        }
        writeln!(text, "</svg>")
    }

    fn write_legend(&self, text: &mut String) -> fmt::Result {
        let stypes = STYPES.map(|stype| (stype.to_string(), colours(stype)));
        let fallback = self.has_fallbacks().then(|| ("fallback to dense".to_owned(), FALLBACK));
        let mut x = MARGIN;
        for (name, Colours { line, fill }) in stypes.into_iter().chain(fallback) {
            let y = MARGIN;
            writeln!(
                text,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{fill}\" \
                 stroke=\"{line}\"/><text x=\"{:.1}\" y=\"{}\" text-anchor=\"start\" \
                 fill=\"#333333\">{name}</text>",
                x + 18.0,
                y + 10.0
            )?;
            x += 18.0 + widest(&[name], 7.3) + 22.0;
        }
        Ok(())
    }

    /// The lines from an item down.
    fn write_lines(&self, text: &mut String, item: &Item) -> fmt::Result {
        let (What::Node(id) | What::Type(id) | What::Bend(id)) = item.what else { return Ok(()) };
        let line = colours(self.body.nodes[id].ty.stype).line;
        let (x, y) = (item.x + MARGIN, self.heights[item.layer] + self.height(item) / 2.0);
        for &below in &item.below {
            let to = &self.layout.items[below];
            let (to_x, to_y) =
                (self.port(item, to) + MARGIN, self.heights[to.layer] - self.height(to) / 2.0);
            let ends = matches!(to.what, What::Node(_) | What::Exit(_));
            let end = if ends { to_y - 6.0 } else { to_y };
            let middle = (y + end) / 2.0;
            write!(
                text,
                "<path d=\"M{x:.1},{y:.1} C{x:.1},{middle:.1} {to_x:.1},{middle:.1} \
                 {to_x:.1},{end:.1}\" fill=\"none\" stroke=\"{line}\" stroke-width=\"1.3\"/>"
            )?;
            if ends {
                write!(text, "<path d=\"M{to_x:.1},{to_y:.1} l-3.5,-7 h7 z\" fill=\"{line}\"/>")?;
            }
            writeln!(text)?;
        }
        Ok(())
    }

    /// Where a line arrives: side by side with the others, in their order.
    fn port(&self, from: &Item, to: &Item) -> f64 {
        let count = to.above.len();
        if count < 2 || !matches!(to.what, What::Node(_)) {
            return to.x;
        }
        let before = to.above.iter().filter(|&&i| self.layout.items[i].x < from.x).count();
        let apart = (0.7 * to.width / (count - 1) as f64).min(22.0);
        to.x + apart * (before as f64 - (count - 1) as f64 / 2.0)
    }

    fn write_item(&self, text: &mut String, item: &Item) -> fmt::Result {
        let (x, y) = (item.x + MARGIN, self.heights[item.layer]);
        match item.what {
            What::Bend(_) => Ok(()),
            What::Exit(k) => {
                let what = escaped(&self.exits[k].1);
                let y = y + 4.0;
                writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"bold\">{what}</text>")
            }
            What::Type(id) => {
                let node = &self.body.nodes[id];
                let (line, ty) = (colours(node.ty.stype).line, escaped(&type_of(node)));
                let y = y + 4.0;
                writeln!(
                    text,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"11\" fill=\"{line}\">{ty}</text>"
                )
            }
            What::Node(id) => self.write_node(text, id, (x, y), item),
        }
    }

    fn write_node(
        &self,
        text: &mut String,
        id: usize,
        (x, y): (f64, f64),
        item: &Item,
    ) -> fmt::Result {
        let node = &self.body.nodes[id];
        let Colours { line, fill } = self.paint[id];
        let (width, height) = (item.width, self.height(item));
        let (left, top) = (x - width / 2.0, y - height / 2.0);
        let paint = format!("fill=\"{fill}\" stroke=\"{line}\" stroke-width=\"1.3\"");
        let title = escaped(&self.body.stypes(node));
        write!(text, "<g><title>{}: {title}</title>", escaped(&node.name))?;
        match node.kind {
            Kind::Constant(_) => {
                let (w, h) = (width - 12.0, height - 12.0);
                write!(
                    text,
                    "<path d=\"M{:.1},{top:.1} h{w:.1} l6,6 v{h:.1} l-6,6 h-{w:.1} l-6,-6 v-{h:.1} z\" \
                     {paint}/>",
                    left + 6.0
                )?;
            }
            _ => {
                let rx = if node.op().is_some() { 3.0 } else { height / 2.0 };
                write!(
                    text,
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
                     rx=\"{rx}\" {paint}/>"
                )?;
            }
        }
        for (k, words) in lines(node).iter().enumerate() {
            let y = top + PADDING / 2.0 + LINE * (k as f64 + 1.0) - 3.5;
            let how = if k == 0 { "fill=\"#111111\"" } else { "fill=\"#666666\" font-size=\"11\"" };
            write!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\" {how}>{}</text>", escaped(words))?;
        }
        writeln!(text, "</g>")
    }
}

/// The width of the longest line; letters other than ASCII may be twice as wide.
fn widest(lines: &[String], letter: f64) -> f64 {
    let width = |line: &String| line.chars().map(|c| if c.is_ascii() { 1.0 } else { 2.0 }).sum();
    lines.iter().map(width).fold(0.0, f64::max) * letter
}

/// As text of XML, which has no control characters.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}
