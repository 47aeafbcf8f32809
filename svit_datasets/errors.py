"""The tree of errors. Each says what happened, where (file, record, byte), and what to do next.

::

    SvitError
    ├── OptionError          (ValueError)         an argument has a value that is not allowed
    ├── SourceNotFound       (FileNotFoundError)  no file of that kind at any place it may lie
    ├── AccessDenied         (PermissionError)    401, 403, or a gated repository
    ├── SourceUnreachable    (ConnectionError)    every retry failed: time-outs, 5xx, dropped connections
    ├── RangeNotSupported    (OSError)            the server sends whole files only
    ├── SourceChanged        (OSError)            a file is no longer the one that was opened
    ├── CorruptFile          (ValueError)         a zip or JSON file breaks off or cannot be read
    │   └── ChecksumMismatch (ValueError)         the bytes are not the published ones
    ├── BadRecord            (ValueError)         a record of the text cannot be used
    ├── ImageNotFound        (FileNotFoundError)  a record's photo is in none of the image sources
    ├── BadImage             (OSError)            the photo is there and is no readable image
    ├── TooManyFailures      (RuntimeError)       so many failures in a row that the data or the setting must be wrong
    ├── CacheError           (OSError)            the cache cannot be written: no space, no permission
    ├── TemplateError        (ValueError)         a chat template cannot be compiled, refuses a chat, or runs away
    │   └── TemplateLossError (ValueError)        an image, a turn or the system text would be lost, doubled or changed
    ├── EncodeError          (ValueError)         a chat cannot be made into ids with an exact mask
    ├── BadBox               (ValueError)         a box in a text cannot be read
    ├── BuildError           (RuntimeError)       a shard cannot be made, or is not what it was when it was made
    ├── PublishError         (RuntimeError)       the Hub did not take what was sent, or may not be sent it
    ├── EndpointError        (RuntimeError)       a language model's endpoint refuses, or a budget is spent
    └── MissingDependency    (ImportError)        an optional package is needed for this

The second name is the standard class a caller would guess; ``except FileNotFoundError`` works without knowing ours::

    try:
        ds = load_dataset("svit", "conversation", data_dir="/data/svit")
    except SvitError as error:
        print(error)
"""

from __future__ import annotations

__all__ = [
    "AccessDenied",
    "BadBox",
    "BadImage",
    "BadRecord",
    "BuildError",
    "CacheError",
    "ChecksumMismatch",
    "CorruptFile",
    "EncodeError",
    "EndpointError",
    "ImageNotFound",
    "MissingDependency",
    "OptionError",
    "PublishError",
    "RangeNotSupported",
    "SourceChanged",
    "SourceNotFound",
    "SourceUnreachable",
    "SvitError",
    "TemplateError",
    "TemplateLossError",
    "TooManyFailures",
]


class SvitError(Exception):
    """Anything this package raises on purpose."""


class OptionError(SvitError, ValueError):
    """An argument has a value that is not allowed; the message lists the allowed ones."""


class SourceNotFound(SvitError, FileNotFoundError):
    """No file of that kind lies at any place it may lie; the message lists the places."""


class AccessDenied(SvitError, PermissionError):
    """The server refused: log in, accept the terms, or give local files."""


class SourceUnreachable(SvitError, ConnectionError):
    """Every retry failed; the message holds the last answer."""


class RangeNotSupported(SvitError, OSError):
    """The server ignores Range requests, so a part of a file cannot be read from it."""


class SourceChanged(SvitError, OSError):
    """The file is no longer the one that was opened; nothing read from it is mixed."""


class CorruptFile(SvitError, ValueError):
    """A zip or JSON file breaks off or cannot be read; the message says at which byte."""


class ChecksumMismatch(CorruptFile):
    """The bytes are not the published ones; what was fetched is deleted."""


class BadRecord(SvitError, ValueError):
    """A record of the text cannot be used; ``on_bad_record="skip"`` leaves it out and counts it."""


class ImageNotFound(SvitError, FileNotFoundError):
    """A record's photo is in none of the image sources; see ``on_missing_image``."""


class BadImage(SvitError, OSError):
    """A photo is there and is no readable image; treated by ``on_missing_image`` too."""


class TooManyFailures(SvitError, RuntimeError):
    """So many failures in a row that the data or the setting must be wrong."""


class CacheError(SvitError, OSError):
    """The cache cannot be written; what was begun is never taken for complete."""


class TemplateError(SvitError, ValueError):
    """A chat template cannot be compiled, raises for this chat, or runs past a limit; the message says where."""


class TemplateLossError(TemplateError):
    """An image, a turn or the system text would be lost, doubled or changed; nothing is rendered instead."""


class EncodeError(SvitError, ValueError):
    """A chat cannot be made into ids: an answer would have no token, or a limit leaves nothing."""


class BadBox(SvitError, ValueError):
    """A box in a text cannot be read; treated by ``on_bad_box``."""


class BuildError(SvitError, RuntimeError):
    """A shard of a build cannot be made, or is not what it was when it was made; a rerun makes only what is missing."""


class PublishError(SvitError, RuntimeError):
    """The Hub did not take what was sent, or may not be sent it; what it has already is not sent again."""


class EndpointError(SvitError, RuntimeError):
    """A language model's endpoint refuses every request, or a budget is spent; the journal has all replies so far."""


class MissingDependency(SvitError, ImportError):
    """An optional package is needed; the message holds the pip command."""
