//! Nodes that nothing needs.

use super::super::Body;

/// Without the nodes that no output and no gradient needs; all variables stay.
pub(super) fn removed(body: Body) -> Body {
    let variables = body.variables().map(|(id, _)| id as u32);
    let needed = body.needed(body.roots().chain(variables));
    body.keeping(&needed)
}
