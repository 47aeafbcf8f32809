"""A chat template's source in, text out: the same bytes as transformers 5.23 renders, without transformers.

The environment is jinja2's immutable sandbox with the additions that chat templates rely on. Templates see plain JSON
data only, and end in a `TemplateError` where they run away (`caps`). What a template does with messages is the business
of `probe`; where they stand in its text, of `spans`.

The names that templates may use are those of transformers' ``apply_chat_template``
(https://huggingface.co/docs/transformers/chat_templating_writing): ``messages``, ``tools``, ``documents``,
``add_generation_prompt``, the special tokens, ``raise_exception``, ``strftime_now``, ``tojson``, ``namespace``,
``break`` and ``continue``, and ``{% generation %}``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import jinja2
from jinja2 import nodes, pass_context
from jinja2.ext import Extension
from jinja2.ext import loopcontrols as LoopControls  # noqa: N812 - a class, whatever its name
from jinja2.utils import Namespace

from svit_datasets.chat.caps import Meter
from svit_datasets.chat.sandbox import CappedEnvironment
from svit_datasets.errors import OptionError, TemplateError

if TYPE_CHECKING:
    from types import TracebackType

    from jinja2.parser import Parser

__all__ = ["RELEASE", "Template", "parse_date", "plain"]

RELEASE: Final = datetime(2023, 7, 9)  # noqa: DTZ001 - SVIT's first day on arXiv (2307.04087); what "today" is by default
_LONGEST_SOURCE = 1 << 20  # characters; the longest real template known is 1/10 of it
_MARKS = "generation_marks"  # variable of a render: what is put round a {% generation %} block


class _Generation(Extension):
    """``{% generation %} … {% endgeneration %}``: renders what it holds, between the render's marks if it has any."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's attribute

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    @pass_context
    def _marked(self, context: Any, caller: Any) -> str:
        marks = context.get(_MARKS)
        return f"{marks[0]}{caller()}{marks[1]}" if marks else caller()


class _Namespace(Namespace):
    """jinja2's namespace without names that begin with an underscore; those lead out of the sandbox."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # jinja2's way: namespace(self=…) must work
        for name in dict(*args[1:], **kwargs):
            _refuse_underscore(name)
        Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"  # not what it holds, which may hold it


def _refuse_underscore(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace cannot hold {name!r}: names must not begin with _")


class _Dict:
    """The function ``dict`` without the class behind it."""

    @pass_context
    def __call__(self, context: Any, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return context.meter.made(dict(*args, **kwargs))  # type: ignore[no-any-return]

    @pass_context
    def fromkeys(self, context: Any, *args: Any) -> dict[Any, Any]:
        return context.meter.made(dict.fromkeys(*args))  # type: ignore[no-any-return]


@pass_context
def _tojson(  # noqa: PLR0917 - templates may give them by position
    context: Any,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as transformers does: no HTML escapes, Unicode as it is."""
    meter: Meter = context.meter
    if meter.weigh(indent) + meter.weigh(separators) > 100 or (isinstance(indent, int) and indent > 100):
        raise TemplateError("it asks tojson for very wide indents or separators")
    meter.charge(meter.weigh(value))
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return meter.spend(text)  # type: ignore[no-any-return]


def _raise_exception(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


@lru_cache(maxsize=1)
def _environment() -> CappedEnvironment:
    environment = CappedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, LoopControls])
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_raise_exception, dict=_Dict(), namespace=_Namespace)
    return environment


@lru_cache(maxsize=1024)  # a compiled template is some 100 KB; compiling one costs as much as 200 renders
def _compiled(source: str) -> jinja2.Template:
    """Compile once a process. Raises what jinja2 raises."""
    return _environment().from_string(source)


@lru_cache(maxsize=1024)
def _looked_for(source: str) -> tuple[frozenset[str], frozenset[str]]:
    inside: list[nodes.Node] = []
    whole: list[nodes.Node] = []
    found: Any = _environment().parse(source).find_all((nodes.Compare, nodes.Call, nodes.Filter))
    for node in found:
        if isinstance(node, nodes.Compare):
            (inside if node.ops[0].op in {"in", "notin"} else whole).extend([node.expr, node.ops[0].expr])
        elif isinstance(node, nodes.Filter) or isinstance(node.node, nodes.Getattr):
            inside += node.args
    return tuple(  # type: ignore[return-value]
        frozenset(node.value for node in some if isinstance(node, nodes.Const) and isinstance(node.value, str))
        for some in (inside, whole)
    )


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template. Pickles and hashes by its source; compiled when first used, once a process.

    Renders may run in several threads at once.
    """

    source: str  # Jinja
    name: str = field(default="The chat template", compare=False)  # for messages

    @property
    def key(self) -> str:
        """Hexadecimal digest of the source: what a cache may go by."""
        return hashlib.sha256(self.source.encode("utf-8", "surrogatepass")).hexdigest()

    def render(
        self,
        messages: list[dict[str, Any]],
        *,
        add_generation_prompt: bool = False,
        now: datetime = RELEASE,
        **variables: Any,
    ) -> str:
        """Return the text of a chat.

        Args:
            messages: role and content each, and whatever else the template reads; made plain by `plain`.
            add_generation_prompt: end with the header of the answer to come.
            now: what the template takes for today.
            **variables: what else it can see: bos_token, eos_token, tools, documents …

        Raises:
            TemplateError: it cannot be compiled, raises for this chat, or runs away; the message has its line.
        """
        data, size = plain({"tools": None, "documents": None, **variables, "messages": messages})
        data["add_generation_prompt"] = add_generation_prompt
        return self.run(data, size, now)

    def run(
        self, variables: dict[str, Any], size: int, now: datetime = RELEASE, marks: tuple[str, str] | None = None
    ) -> str:
        """Return the text for variables that are known to be plain data.

        Args:
            variables: all that the template can see; not changed.
            size: characters in them, about; sets the limits.
            now: what the template takes for today.
            marks: what to put round each ``{% generation %}`` block.
        """
        template = self._template()
        context: Any = template.new_context({**variables, "strftime_now": _clock(now), _MARKS: marks})
        context.meter = Meter(size)
        try:
            return context.meter.concat(list(template.root_render_func(context)))  # type: ignore[no-any-return]
        except TemplateError as error:
            raise TemplateError(f"{self.name}{_line(template, error.__traceback__)}: {error}.") from None
        except RecursionError:
            raise TemplateError(f"{self.name}: a macro calls itself without end.") from None
        except MemoryError:
            raise TemplateError(f"{self.name}: a chat does not fit into memory.") from None
        except Exception as error:  # the template's own words, or what jinja2 and Python say of it
            where = _line(template, error.__traceback__)
            raise TemplateError(f"{self.name}{where}: {_told(error)}") from error

    def looked_for(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the texts that the template looks for inside of contents, and those that it compares values with.

        Read from its syntax, and more than there are: names of keys and roles are among them.
        """
        return _looked_for(self.source)

    def tagged(self) -> bool:
        """Return whether there are ``{% generation %}`` tags."""
        self._template()
        calls = _environment().parse(self.source).find_all(nodes.CallBlock)
        return any(isinstance(call.call.node, nodes.ExtensionAttribute) for call in calls)

    def _template(self) -> jinja2.Template:
        if len(self.source) > _LONGEST_SOURCE:
            raise TemplateError(f"{self.name} has {len(self.source):,} characters; no chat template is that long.")
        try:
            return _compiled(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"{self.name}, line {error.lineno}: {_told(error)}") from None
        except (RecursionError, MemoryError):
            raise TemplateError(f"{self.name} is nested too deeply to be compiled.") from None
        except (jinja2.TemplateError, SyntaxError, ValueError, OverflowError, ArithmeticError, TypeError) as error:
            raise TemplateError(f"{self.name} cannot be compiled: {_told(error)}") from error


def _clock(now: datetime) -> Any:
    def strftime_now(form: str) -> str:
        if len(form) > 1000:  # C's strftime works in a buffer of 256 times that
            raise TemplateError("it asks for a date of a thousand characters")
        return now.strftime(form)

    return strftime_now


def _line(template: jinja2.Template, trace: TracebackType | None) -> str:
    """Return ", line N" of the template for the deepest of its frames in a traceback."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == template.filename:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return f", line {line}" if line else ""


def _told(error: Exception) -> str:
    text = (error.message if isinstance(error, jinja2.TemplateSyntaxError) else str(error)) or type(error).__name__
    text = text.strip()
    if not isinstance(error, jinja2.TemplateError):
        text = f"{type(error).__name__}: {text}"
    return text if text.endswith((".", "!", "?")) else f"{text}."


def parse_date(value: str | date | None) -> datetime:
    """Return what a template takes for today: an ISO date, a date, or None for `RELEASE`."""
    if value is None:
        return RELEASE
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value.isoformat() if isinstance(value, date) else value)
    except (ValueError, TypeError, AttributeError):
        raise OptionError(f"date={value!r} is no date. Give it as in '2023-07-09'.") from None


def plain(value: Any) -> tuple[Any, int]:
    """Return a value rebuilt of plain JSON types, and about how many characters it holds.

    Templates must not get hold of an image, an array or any object with methods: such become text that names their
    type.
    """
    if value is None or value.__class__ in (bool, float):
        return value, 4
    if isinstance(value, str):
        return (value if value.__class__ is str else str.__str__(value)), len(value)
    if isinstance(value, int):
        return int(value), 8
    if isinstance(value, float):
        return float(value), 8
    if isinstance(value, dict):
        keys, values = [plain(key) for key in value], [plain(item) for item in value.values()]
        made: Any = {key: item for (key, _), (item, _) in zip(keys, values, strict=True)}
        return made, sum(size for _, size in keys) + sum(size for _, size in values)
    if isinstance(value, (list, tuple)):
        items = [plain(item) for item in value]
        made = [item for item, _ in items]
        return (made if isinstance(value, list) else tuple(made)), sum(size for _, size in items)
    return f"<{type(value).__name__}>", 16
