//! Why a node runs the kernel that it runs.

use std::fmt::Write;

use super::{Body, Graph, Kind, Node};
use crate::error::Result;
use crate::tape::{OpRef, Read, TableRow, Variable};
use crate::tensor::Stype;

impl Graph {
    /// Text about one value, by the name of its node or output: the source line, the operands' types and
    /// what the operator reads of them, which row of its table runs, why each other row does not, and
    /// what its gradient is.
    ///
    /// ```
    /// use sparsetape::{Graph, Stype, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").stype(Stype::Csr));
    /// let w = tape.symbol(variable("w").stype(Stype::RowSparse));
    /// let graph = Graph::new(&[x.dot(w).named("y")])?;
    /// let text = graph.explain("y")?;
    /// assert!(text.contains("csr, row_sparse -> default            runs"));
    /// assert!(text.contains("default, default -> default           x is csr, w is row_sparse: 2 casts"));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind::State) for a name that there is not.
    #[track_caller]
    pub fn explain(&self, name: &str) -> Result<String> {
        let body = self.body();
        let id = body.find_value(name)?;
        let node = &body.nodes[id];
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = match &node.kind {
            Kind::Variable(variable) => body.explain_variable(&mut text, variable, node),
            Kind::Constant(_) => writeln!(text, "{} is a constant, {}", node.name, node.ty),
            Kind::Op(op) => body.explain_operator(&mut text, op, node),
        };
        for line in body.readers(id as u32) {
            let _ = writeln!(text, "{line}");
        }
        if let Some(cast) = body.dense_casts().iter().find(|cast| cast.node == id) {
            let _ = match cast.fallback {
                Some(user) => writeln!(text, "a fallback, for {}", body.nodes[user].name),
                None => writeln!(text, "a cast that was asked for"),
            };
        }
        Ok(text)
    }
}

impl Body {
    fn explain_variable(
        &self,
        text: &mut String,
        variable: &Variable,
        node: &Node,
    ) -> std::fmt::Result {
        writeln!(text, "{} is a variable, {}, from {}", node.name, node.ty, node.line)?;
        if *variable.ty() != node.ty {
            writeln!(text, "declared {}; the rest was inferred", variable.ty())?;
        }
        if let Some(init) = variable.initializer() {
            writeln!(text, "starts as {init:?}")?;
        }
        if variable.multipliers() != (1.0, 1.0) {
            let (lr, wd) = variable.multipliers();
            writeln!(text, "learning rate times {lr}, weight decay times {wd}")?;
        }
        Ok(())
    }

    /// Who reads a value, and what it is for the graph.
    fn readers(&self, id: u32) -> Vec<String> {
        let users = self.nodes.iter().filter(|user| user.ins.contains(&id));
        let users: Vec<&str> = users.map(|user| &user.name[..]).collect();
        let slopes = self.gradients.iter().filter(|slope| slope.gradient == id);
        let of = slopes.map(|slope| &self.nodes[slope.variable as usize].name);
        let output = self.outputs.contains(&id).then(|| "an output of the graph".to_owned());
        let users = (!users.is_empty()).then(|| format!("read by {}", users.join(", ")));
        let gradients = of.map(|name| format!("the gradient of {name}"));
        users.into_iter().chain(output).chain(gradients).collect()
    }

    fn explain_operator(&self, text: &mut String, op: &OpRef, node: &Node) -> std::fmt::Result {
        let names: Vec<&str> = self.operands(node).map(|operand| &operand.name[..]).collect();
        writeln!(text, "{} = {}({}), from {}", node.name, op.label(), names.join(", "), node.line)?;
        for (i, operand) in self.operands(node).enumerate() {
            let read = match op.reads(i) {
                Read::Shape => "its shape is read, no values".to_owned(),
                Read::View => "the result is a view of it".to_owned(),
                Read::Pattern => "its pattern is read, no values".to_owned(),
                Read::RowsOf(j) => {
                    format!("the rows are read that {} names", names.get(j).unwrap_or(&"?"))
                }
                Read::All => "all of it is read".to_owned(),
            };
            writeln!(text, "  {}: {}; {read}", operand.name, operand.ty)?;
        }
        writeln!(text, "  result: {}", node.ty)?;
        let chosen = self.row(node).map(|(row, _)| row);
        writeln!(text, "rows of the table:")?;
        let table = op.table();
        let stypes = |row: &TableRow| format!("{} -> {}", row.ins, row.out);
        let width = table.iter().map(|row| stypes(row).len()).max().unwrap_or(0);
        for (k, row) in table.iter().enumerate() {
            let why = match chosen == Some(k) {
                true => "runs".to_owned(),
                false => self.why_not(row, node),
            };
            writeln!(text, "{:>3}  {:<width$}  {why}", k + 1, stypes(row))?;
        }
        match op.why_stated() {
            None => writeln!(text, "gradient: the derivative of the operator"),
            Some(why) => writeln!(text, "gradient, stated: {why}"),
        }
    }

    /// Why a row does not take the operands as they are, and how many casts to dense it is away.
    fn why_not(&self, row: &TableRow, node: &Node) -> String {
        if !row.ins.takes(node.ins.len()) {
            return format!("takes another number of operands than {}", node.ins.len());
        }
        let wanted = self.operands(node).enumerate().map(|(i, own)| (own, row.ins.get(i)));
        let differ: Vec<(&Node, Stype)> =
            wanted.filter(|(own, stype)| own.ty.stype != *stype).collect();
        let each = |(own, _): &(&Node, Stype)| format!("{} is {}", own.name, own.ty.stype);
        let which = differ.iter().map(each).collect::<Vec<_>>().join(", ");
        match differ.iter().all(|(_, stype)| *stype == Stype::Default) {
            // Only of mixed operands, which come in any order.
            true if differ.is_empty() => "an earlier row takes the operands".to_owned(),
            true if differ.len() == 1 => format!("{which}: 1 cast to dense"),
            true => format!("{which}: {} casts to dense", differ.len()),
            false => format!("{which}: not to be reached by casts to dense"),
        }
    }
}
