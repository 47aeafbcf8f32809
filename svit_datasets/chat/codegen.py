"""jinja2's compiler with counters put into what it generates; the text that comes out is the same.

The generated code calls a `caps.Meter`, which each render's context holds, where text grows and where loops turn.
`sandbox` compiles with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.runtime import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jinja2.compiler import Frame

    from svit_datasets.chat.caps import Meter

__all__ = ["MeteredContext", "MeteredGenerator"]

_CHAIN = 32  # summands of a + b + c … that are charged at once


class MeteredContext(Context):
    """A render's variables, and its meter."""

    meter: Meter

    def derived(self, locals: dict[str, Any] | None = None) -> MeteredContext:  # noqa: A002 - jinja2's name
        """Return the context of an inner block, on the same meter."""
        context = super().derived(locals)
        context.meter = self.meter  # type: ignore[attr-defined]
        return context  # type: ignore[return-value]


def _tick(cost: int) -> nodes.Expr:
    call: nodes.InternalName = object.__new__(nodes.InternalName)  # as the parser makes its own names
    nodes.Node.__init__(call, f"tick({cost})")
    return call


class MeteredGenerator(CodeGenerator):
    """jinja2's compiler with the meter's calls put in; what it writes renders the same text."""

    _covered: frozenset[int] = frozenset()  # ids of sums within a sum that is charged

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802 - jinja2's names
        """Put a count into every loop and macro, and refuse what reads other templates."""
        for other in node.find_all((nodes.Block, nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
            self.fail(f"a chat template is one file: {type(other).__name__} has no place in it", other.lineno)
        loops: list[Any] = list(node.find_all((nodes.For, nodes.Macro, nodes.CallBlock)))
        for loop in loops:
            cost = 1 + sum(1 for _ in loop.find_all((nodes.Output, nodes.Assign, nodes.If)))
            loop.body.insert(0, nodes.ExprStmt(_tick(cost), lineno=loop.lineno))
            if isinstance(loop, nodes.For) and loop.test is not None:
                loop.test = nodes.And(_tick(1), loop.test, lineno=loop.lineno)
        super().visit_Template(node, frame)

    def write_commons(self) -> None:
        """Name the meter's functions at the head of each generated function."""
        super().write_commons()
        self.writeline("meter = context.meter")
        for name in ("tick", "spend", "made", "text", "concat", "joined"):
            self.writeline(f"{name} = meter.{name}")

    def visit_ExprStmt(self, node: nodes.ExprStmt, frame: Frame) -> None:  # noqa: N802
        """Write one of our counts; the extension that has such statements is not there."""
        self.newline(node)
        self.visit(node.node, frame)

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:  # noqa: N802
        """Charge a sum, once for a chain of them."""
        if id(node) in self._covered:
            super().visit_Add(node, frame)
            return
        left = node.left
        covered: list[int] = []
        while isinstance(left, nodes.Add) and len(covered) < _CHAIN:
            covered.append(id(left))
            left = left.left
        self._covered |= frozenset(covered)
        self._wrapped("spend", super().visit_Add, node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        """Charge operands of ~ before they are joined."""
        self.write("joined(")
        self.visit(nodes.Tuple(node.nodes, "store"), frame)  # "store": not to be charged as a value
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        """Charge and weigh a list."""
        self._made(super().visit_List, node, node.items, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        """Charge and weigh a tuple, where it is a value."""
        if node.ctx == "load":
            self._made(super().visit_Tuple, node, node.items, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        """Charge and weigh a dict."""
        self._made(super().visit_Dict, node, [pair.value for pair in node.items], frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        """Charge a slice."""
        if isinstance(node.arg, nodes.Slice):
            self._wrapped("spend", super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def _made(self, visit: Callable[..., None], node: nodes.Node, items: Iterable[nodes.Node], frame: Frame) -> None:
        if all(isinstance(item, nodes.Const) for item in items):
            visit(node, frame)
        else:
            self._wrapped("made", visit, node, frame)

    def _wrapped(self, function: str, visit: Callable[..., None], node: nodes.Node, frame: Frame) -> None:
        self.write(f"{function}(")
        visit(node, frame)
        self.write(")")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        del node, frame, finalize
        self.write("(t_text if (t_text := (")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        del node, frame, finalize
        self.write(")).__class__ is str else text(t_text))")
