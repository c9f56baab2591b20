"""What a user gives, checked as an engine does: what no server could take, or even read, is told here and at once."""

from collections.abc import Mapping
from typing import Final

from blazen_trio.abc import is_id
from blazen_trio.core.errors import EncodeError, RunNotFoundError
from blazen_trio.run_ids import new_run_id
from blazen_trio.websocket.protocol.fields import TEXT_CHARS_MAX

_CUT: Final = "..."


def workflow_name(name: object) -> str:
    """The name of a workflow, if an engine can have one of it; raises ``ValueError``."""
    if isinstance(name, str) and is_id(name):
        return name
    raise ValueError(f"that engine has no workflow {name!r:.60}")


def new_or_given(run_id: str | None) -> str:
    """The id of a new run: the given one, or one that nobody else has. Raises ``ValueError``."""
    if run_id is None:
        return new_run_id()
    if not is_id(run_id):
        raise ValueError(f"run_id= must be a text of 1 to 1,000 characters without NUL, not {run_id!r:.60}")
    return run_id


def known(run_id: str) -> str:
    """The id, if a store can have a run of it; raises ``RunNotFoundError``."""
    if not is_id(run_id):
        raise RunNotFoundError(run_id)
    return run_id


def labels(require: Mapping[str, str] | None) -> dict[str, str]:
    """Labels that an engine must have; raises ``ValueError``."""
    given = dict(require or {})
    for text in (*given, *given.values()):
        if not is_id(text):
            raise ValueError(f"labels must be texts of 1 to 1,000 characters without NUL, not {text!r:.60}")
    return given


def metadata_key(key: str) -> str:
    """A key, if a message can have it; raises ``EncodeError``."""
    if not is_writable(key):
        raise EncodeError("str", f"metadata {key!r:.60}", "it has a lone surrogate")
    return key


def shown(text: str | None) -> str | None:
    """A text for people, as messages can have it: half a character is escaped, and what is too long is cut."""
    if text is None:
        return None
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - len(_CUT)] + _CUT


def is_writable(text: str) -> bool:
    """Whether a message can have this text exactly."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
