"""jinja2's sandbox with counters in it: the environment that chat templates are compiled in.

Filters, methods and operators charge a `caps.Meter`; loops and sums do in what `codegen` generates. The text that comes
out is the same as jinja2's own. What transformers adds for chat templates (``tojson``, ``{% generation %}`` and so on)
is put on top by `engine`.
"""

from __future__ import annotations

import re
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any

from jinja2 import pass_context
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import soft_str

from svit_datasets.chat.caps import MAX_BITS, Meter
from svit_datasets.chat.codegen import MeteredContext, MeteredGenerator
from svit_datasets.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["CappedEnvironment"]

_NOTHING = object()
_VALUES = frozenset((str, dict, list, bool, int, float, type(None)))  # what JSON holds: no methods to be wary of
_OWNERS = frozenset((str, dict))
_OF_DICT = frozenset(dir(dict))
# Attributes that the sandbox always lets through; asked for so often that looking them up here saves a fifth.
_SAFE: dict[type, frozenset[str]] = {
    str: frozenset(("endswith", "lower", "lstrip", "replace", "rstrip", "split", "startswith", "strip", "upper")),
    dict: frozenset(("get", "items", "keys", "values")),
    LoopContext: frozenset(("depth", "first", "index", "index0", "last", "length", "revindex", "revindex0")),
}


_PLAIN = ("length", "count", "first", "last", "default", "d", "abs", "attr", "float", "int", "items", "max", "min")
_TEXT = (
    *("capitalize", "center", "e", "escape", "forceescape", "format", "indent", "join", "lower", "replace", "safe"),
    *("string", "striptags", "title", "truncate", "upper", "urlencode", "wordcount"),
)
_LAZY = ("map", "reject", "rejectattr", "select", "selectattr")
_LISTS = ("batch", "dictsort", "groupby", "list", "random", "reverse", "round", "slice", "sort", "unique")
_WIDTHS = {"center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes", "indent", "batch", "slice", "round"}


def _charge_format(meter: Meter, fields: int, pattern: str, args: Any) -> None:
    """Charge a format string: each field gives at most its width, or all of the values."""
    if re.search(r"\d{5}|\{[^}]*\{|%[^a-z%]*\*", pattern):
        raise TemplateError("it asks for a very wide field in a format string")
    width = 9999 if re.search(r"\d{3}", pattern) else 99
    meter.charge(len(pattern) + fields * (width + meter.weigh(args)))


def _charge_growth(meter: Meter, name: str, value: Any, args: tuple[Any, ...]) -> None:
    """Charge what a method or filter makes of ``value``, before it runs."""
    if name in _WIDTHS:
        for number in args:
            if isinstance(number, int) and abs(number) > 1 << 16:
                raise TemplateError(f"it asks {name} for {number:.2e} characters or pieces")
    text = value if isinstance(value, (str, bytes)) else ""
    if name == "join":  # separator.join(items), its items by now a list
        meter.charge(len(args[0]) * meter.weigh(value) + meter.weigh(args[0]))
    elif name == "replace" and len(args) > 1:
        found = text.count(args[0]) if type(args[0]) is type(text) else len(text) + 1  # type: ignore[arg-type]
        meter.charge(len(text) + found * meter.weigh(args[1]))
    elif name == "indent":
        width = max([4, *(number if isinstance(number, int) else meter.weigh(number) for number in args)])
        meter.charge(len(text) + (text.count("\n") + 1) * width)  # type: ignore[arg-type]
    elif name == "expandtabs":
        meter.charge(len(text) * max([8, *(number for number in args if isinstance(number, int))]))
    elif name in {"translate", "maketrans"}:
        raise TemplateError(f"str.{name} is not for chat templates")


def _ticked(meter: Meter, values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        meter.tick(1)
        yield value


def _call_filter(context: Context, function: Callable[..., Any], value: Any, args: Any, kwargs: Any) -> Any:
    kind = getattr(function, "jinja_pass_arg", None)
    if kind is None:
        return function(value, *args, **kwargs)
    own = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}[kind.name]
    return function(own, value, *args, **kwargs)


def _charged_text(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that makes text, charged before and after."""

    @pass_context
    def charged(context: MeteredContext, value: Any = "", *args: Any, **kwargs: Any) -> Any:
        meter = context.meter
        if name == "join" and not isinstance(value, (str, list, tuple)):
            value = list(value)
        every = (*args, *kwargs.values())
        for argument in every if value.__class__ is str else (value, *every):
            if isinstance(argument, (list, tuple, dict)):
                meter.charge(meter.weigh(argument))  # as text, or to be looked through
        if name == "join":
            _charge_growth(meter, name, every[0] if every else "", (value,))
        elif name == "format":
            _charge_format(meter, str(value).count("%"), str(value), every)
        else:
            _charge_growth(meter, name, value, every)
        return meter.spend(_call_filter(context, function, value, args, kwargs))

    return charged


def _charged_list(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that makes a list or an iterator, whose turns are counted."""

    @pass_context
    def charged(context: MeteredContext, value: Any = (), *args: Any, **kwargs: Any) -> Any:
        meter = context.meter
        _charge_growth(meter, name, "", (*args, *kwargs.values()))
        if name in _LAZY:
            values = _ticked(meter, value) if value else value  # jinja2 takes None for nothing
            result = _call_filter(context, function, values, args, kwargs)
            return map(meter.spend, result) if name == "map" else result
        return meter.spend(_call_filter(context, function, value, args, kwargs))

    return charged


@pass_context
def _trim(context: MeteredContext, value: Any = "", chars: str | None = None) -> Any:
    """Trim as jinja2 does; a filter of its own because nearly every template trims every content."""
    if value.__class__ is not str:
        if isinstance(value, (list, tuple, dict)):
            context.meter.charge(context.meter.weigh(value))
        value = soft_str(value)
    return context.meter.spend(value.strip(chars))


@pass_context
def _sum(context: MeteredContext, values: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    """Add up, each sum charged: lists add up too."""
    if attribute is not None:
        values = context.environment.filters["map"](context, values, attribute=attribute)
    for value in _ticked(context.meter, values):
        start = context.meter.spend(start + value)
    return start


class CappedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, with a meter in the context of each render.

    Filters that no chat template has a use for, and that would each want a cap of their own, are not there: pprint,
    urlize, wordwrap, xmlattr, filesizeformat; nor is the function lipsum.
    """

    code_generator_class = MeteredGenerator
    context_class = MeteredContext
    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        plain = self.filters
        self.filters = {name: plain[name] for name in _PLAIN}
        self.filters |= {name: _charged_text(name, plain[name]) for name in _TEXT}
        self.filters |= {name: _charged_list(name, plain[name]) for name in (*_LAZY, *_LISTS)}
        self.filters |= {"sum": _sum, "trim": _trim}
        del self.globals["lipsum"]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute one of the operators that can make much of little."""
        meter: Meter = context.meter  # type: ignore[attr-defined]
        if operator == "**":
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
                raise TemplateError("it computes with numbers of thousands of digits")
        elif operator == "*":
            count, value = (left, right) if isinstance(left, int) else (right, left)
            if isinstance(count, int) and isinstance(value, (str, bytes, list, tuple)):
                meter.charge(max(0, count) * len(value) * (1 if isinstance(value, (str, bytes)) else 8))
        elif isinstance(left, str):
            _charge_format(meter, left.count("%"), left, right)
        return meter.spend(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063 - as jinja2's
        """Call a function, a macro or a method; macros and built-in methods without jinja2's questions about them."""
        meter: Meter = __context.meter
        if __obj.__class__ is Macro:
            kwargs.pop("_loop_vars", None)  # what jinja2 hands to functions that want a context
            kwargs.pop("_block_vars", None)
            return meter.spend(__obj(__context.eval_ctx, *args, **kwargs))
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, (str, bytes, int)):
            name = __obj.__name__
            if name == "join" and args:
                args = (list(args[0]), *args[1:])
            _charge_growth(meter, name, owner, (*args, *kwargs.values()))
        if owner.__class__ in _OWNERS and __obj.__class__ is BuiltinMethodType and not kwargs:
            return meter.spend(__obj(*args))
        return meter.spend(super().call(__context, __obj, *args, **kwargs))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up ``obj[argument]``: at once where a dict of plain data has it, which is nearly always."""
        if obj.__class__ is dict and argument.__class__ is str:
            value = obj.get(argument, _NOTHING)
            if value.__class__ in _VALUES:
                return value
        return super().getitem(obj, argument)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up ``obj.attribute``; jinja2 asks for an attribute first, and most dicts have only the key."""
        if obj.__class__ is dict and attribute not in _OF_DICT:
            value = obj.get(attribute, _NOTHING)
            if value.__class__ in _VALUES:
                return value
        elif attribute in _SAFE.get(obj.__class__, ()):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> Any:
        """Return a method of strings that fills in fields made safe, and charged; None for anything else."""
        if value.__class__ in _VALUES:
            return None
        safe = super().wrap_str_format(value)
        if safe is None:
            return None

        @pass_context
        def charged(context: MeteredContext, *args: Any, **kwargs: Any) -> Any:
            pattern = value.__self__
            _charge_format(context.meter, pattern.count("{"), pattern, (*args, *kwargs.values()))
            return safe(*args, **kwargs)

        return charged
