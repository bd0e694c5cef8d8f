//! Graphs as DOT text.

use std::fmt::{self, Write};

use super::super::{Graph, Kind};
use super::{FALLBACK, STYPES, colours, exits, lines, painted, type_of};

impl Graph {
    /// The graph in the DOT language, which [Graphviz](https://graphviz.org) and others draw: coloured by
    /// storage type, casts to dense for want of a kernel in red; variables are ellipses, constants
    /// notes, operators boxes. Edges bear types.
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").shape([2, 3]));
    /// let text = Graph::new(&[x.exp()])?.to_dot();
    /// assert!(text.starts_with("digraph") && text.contains("n0 -> n1"));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "plot_network")]
    #[doc(alias = "graphviz")]
    pub fn to_dot(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_dot(&mut text);
        text
    }

    fn write_dot(&self, text: &mut String) -> fmt::Result {
        let body = self.body();
        writeln!(text, "digraph {{")?;
        writeln!(text, "  node [style=filled, fontname=monospace];")?;
        writeln!(text, "  edge [fontname=monospace, fontsize=10];")?;
        for (id, (node, paint)) in body.nodes.iter().zip(painted(body)).enumerate() {
            let shape = match node.kind {
                Kind::Variable(_) => "ellipse",
                Kind::Constant(_) => "note",
                Kind::Op(_) => "box",
            };
            let (line, fill) = (paint.line, paint.fill);
            let label = quoted(&lines(node));
            let paint = format!("color=\"{line}\", fillcolor=\"{fill}\"");
            writeln!(text, "  n{id} [label={label}, shape={shape}, {paint}];")?;
            for &i in &node.ins {
                let operand = &body.nodes[i as usize];
                let (label, line) = (quoted(&[type_of(operand)]), colours(operand.ty.stype).line);
                writeln!(text, "  n{i} -> n{id} [label={label}, color=\"{line}\"];")?;
            }
        }
        for (k, (id, what)) in exits(body).into_iter().enumerate() {
            let (what, label) = (quoted(&[what]), quoted(&[type_of(&body.nodes[id])]));
            writeln!(text, "  o{k} [label={what}, shape=plaintext, style=\"\"];")?;
            writeln!(text, "  n{id} -> o{k} [label={label}];")?;
        }
        writeln!(text, "  subgraph cluster_legend {{")?;
        let stypes = STYPES.map(|stype| (stype.to_string(), colours(stype)));
        let fallback = ("fallback to dense".to_owned(), FALLBACK);
        for (k, (name, paint)) in stypes.into_iter().chain([fallback]).enumerate() {
            let (line, fill) = (paint.line, paint.fill);
            let paint = format!("color=\"{line}\", fillcolor=\"{fill}\"");
            writeln!(text, "    l{k} [label=\"{name}\", shape=box, {paint}];")?;
        }
        writeln!(text, "  }}\n}}")
    }
}

/// Lines as a quoted string of DOT.
fn quoted(lines: &[String]) -> String {
    let escaped = lines.iter().map(|line| line.replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", escaped.collect::<Vec<_>>().join("\\n"))
}
