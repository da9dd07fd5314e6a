"""A part of Sphinx: formulas as MathML, which browsers draw. No script, no font, no network."""

import re

from docutils import nodes
from latex2mathml.converter import convert


def formula(node: nodes.Element, display: str) -> str:
    """The formula of a node. Between log and its argument is a space, which MathML leaves out."""
    return convert(re.sub(r"\\log (?=\w)", r"\\log\\,", node.astext()), display=display)


def visit_inline(self, node: nodes.math) -> None:
    self.body.append(formula(node, "inline"))
    raise nodes.SkipNode


def visit_block(self, node: nodes.math_block) -> None:
    self.body.append(f'<div style="overflow-x: auto">{formula(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
