"""A model's Jinja template, with what was learnt of it, as something that renders chats.

In comes a chat that `fitting` made fit, out comes its text with spans. What is decided here is how the image is given:
as a part where the template takes parts, else as the model's image token in the text, and never as a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.chat.engine import RELEASE, Template, parse_date
from svit_datasets.chat.probe import learn, string_image
from svit_datasets.chat.turns import IMAGE
from svit_datasets.chat.writer import Writer
from svit_datasets.errors import TemplateLossError

if TYPE_CHECKING:
    from datetime import date as Date  # noqa: N812 - `date` is the option's name

    from svit_datasets.chat.forms import Form
    from svit_datasets.chat.spans import Rendered
    from svit_datasets.chat.targets import Target
    from svit_datasets.chat.turns import Chat

__all__ = ["NO_STOP", "JinjaChats"]

NO_STOP = (
    "the template writes no end-of-turn token behind an answer, so a model does not learn to stop. "
    'stop="eos" writes the end-of-text token there.'
)


class JinjaChats:
    """Renders chats with the template of a target; the counterpart of `mistral.MistralChats`.

    Args:
        target: with a template.
        image: "auto", "none", or the image token; as in `ChatRenderer`.
        date: what the template takes for today, or None for SVIT's first day.
        ends: ends of answers that the template does not write are written later.

    Raises:
        TemplateError: as `probe.learn` does.
    """

    def __init__(
        self, target: Target, *, image: str = "auto", date: str | Date | None = None, ends: bool = False
    ) -> None:
        assert target.source is not None
        # Templates add bos_token to text; where none is known they must find an empty one, and not fail.
        context = {"bos_token": "", "eos_token": "", **target.context}
        self._template = Template(target.source, _named(target.name))
        self.learnt = learn(self._template, context)
        report = self.learnt.report
        self._writer = Writer(self._template, self.learnt, now=parse_date(date))
        self._form: Form = self.learnt.form
        self._image = report.image
        self._token = target.image_token if image == "auto" else image
        # A processor looks for its own token; a template that is not its own may write another.
        foreign = target.processor is not None and self._token is not None and self._token not in (self._image or "")
        if image != "none" and self._token is not None and (image != "auto" or self._image is None or foreign):
            self._image = string_image(self._template, self.learnt, self._token)
            self._form = self.learnt.form._replace(name="string", image=self._token, both_keys=False)
        notes = [
            f"The template writes {name}, which is not known of {target.name}: nothing stands there."
            for name in ("bos_token", "eos_token")
            if name in target.source and not context[name]
        ]
        if report.dated and date is None:
            notes.append(f"The template writes the date: today is {RELEASE:%Y-%m-%d}, unless date= is given.")
        if report.stop is None and report.last_stop is None and not ends:
            notes.append(f"{NO_STOP[0].upper()}{NO_STOP[1:]}")
        self._notes = tuple(notes)

    def render(self, chat: Chat) -> Rendered:
        """Return a chat as text.

        Raises:
            TemplateError: the template raises for this chat, or runs away.
            TemplateLossError: a text or an image would be lost, doubled or changed.
        """
        notes = (*chat.notes, *self._notes)
        if not any(IMAGE in message.parts for message in chat.messages):
            return self._writer.write(chat.messages, self.learnt.text_form, None, notes)
        if self._image is None:
            raise TemplateLossError(self._no_image())
        if self.learnt.report.image_order == "front" and any(message.parts[-1] is IMAGE for message in chat.messages):
            notes += ("The template moves the image in front of the text.",)
        return self._writer.write(chat.messages, self._form, self._image, notes)

    def _no_image(self) -> str:
        name = self._template.name
        if self._token is not None:
            return f"{name} makes nothing of the image token {self._token!r} in a text, so the image would be lost."
        return (
            f"{name} takes text only, and which token stands for an image is not known. Give the model's processor, or "
            'name the token, as in image="<image>"; image="none" leaves images out.'
        )


def _named(target: str) -> str:
    """Return what messages call the template of a target."""
    if target == "template":
        return "The template"
    return f"The {target}" if target.startswith("preset ") else f"The chat template of {target}"
