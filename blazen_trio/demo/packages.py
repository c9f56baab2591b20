"""Reading the installed distributions from the disk, however damaged they are.

The rules of this file:

* ``find_packages`` says where distributions are; ``read_package`` says all that is to be known about one. Both block:
  they belong into a thread.
* What is odd becomes a line in ``problems``; only what nobody foresaw is an exception.
* Nothing is read beyond its limit, and only regular files are opened: a pipe or device named LICENSE would block.
* A distribution is known by its name in the metadata, normalised (PEP 503). Of several with one name the first on the
  path is the one that Python imports; the others are its ``copies``.
"""

import csv
import email.message
import email.parser
import importlib.metadata
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from blazen_trio.demo.licences import Statement

METADATA_BYTES_MAX: Final = 1 << 20
"""The headers come first and have some kilobytes; the rest is a description that is not needed."""

RECORD_BYTES_MAX: Final = 64 << 20
"""The longest list of files seen had 2 MB, for 20,000 files."""

LICENCE_BYTES_MAX: Final = 64 << 10
"""The longest common licence, the GPL, has 35 kB."""

LICENCE_FILES_MAX: Final = 8
"""Bundled libraries bring their own licences; the first ones are the distribution's."""

UTF8_BYTES_MAX: Final = 4
"""Of one character."""

_LICENCE_FILE: Final = re.compile(r"(un)?licen[cs]e|copying", re.IGNORECASE)
_CODE: Final = frozenset({".py", ".pyc", ".pyi", ".pyx", ".so", ".pyd"})  # programs about licences
_VALID_NAME: Final = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.IGNORECASE)


@attrs.frozen
class Found:
    """A distribution: its name, its ``.dist-info`` or ``.egg-info``, and those that it hides."""

    name: str
    path: Path
    copies: tuple[Path, ...] = ()


@attrs.frozen
class Contents:
    """What was read of a distribution. ``is_broken``: it cannot be what was once installed."""

    version: str = ""
    files: int = 0
    size_bytes: int = 0
    statement: Statement = attrs.field(factory=Statement)
    problems: tuple[str, ...] = ()
    is_broken: bool = False


# --- Where they are --------------------------------------------------------------------------------------------------


def find_packages(paths: Sequence[str] | None = None) -> list[Found]:
    """All distributions on these paths (default ``sys.path``), each once, by name."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for path in dict.fromkeys(_info_paths(paths)):
        name = _name_of(path)
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), []).append((name, path))
    for group in found.values():
        group.sort(key=lambda named: named[1].name.startswith("~"))  # what pip left of an older version comes last
    return [Found(group[0][0], group[0][1], tuple(path for _, path in group[1:])) for _, group in sorted(found.items())]


def _info_paths(paths: Sequence[str] | None) -> Iterator[Path]:
    if paths is None:
        distributions = importlib.metadata.distributions()
    else:
        distributions = importlib.metadata.distributions(path=list(paths))
    for distribution in distributions:
        # Without a readable name, where it is remains the only thing to tell a distribution by; there is no public way.
        where = getattr(distribution, "_path", None) or distribution.locate_file("")
        yield Path(os.path.realpath(str(where)))


def _name_of(path: Path) -> str:
    headers = _read_metadata(path, [])
    name = str(headers["Name"] or "").strip() if headers is not None else ""
    return name if name and name != "UNKNOWN" else path.stem.partition("-")[0] or path.name


# --- What is in one --------------------------------------------------------------------------------------------------


def read_package(package: Found) -> Contents:
    """All that is to be known about a distribution."""
    problems = [f"hides another copy at {copy}" for copy in package.copies]
    if not _VALID_NAME.fullmatch(package.name):
        problems.append(f"its name {package.name[:200]!r} is no valid name of a distribution")
    headers = _read_metadata(package.path, problems)
    measured = _measure(package.path, problems)
    if headers is None:
        return Contents(problems=tuple(problems), is_broken=True, files=measured.count, size_bytes=measured.size_bytes)
    if not headers["Name"] or not headers["Version"]:
        problems.append("its metadata has no Name or no Version")
    return Contents(
        version=str(headers["Version"] or "").strip(),
        files=measured.count,
        size_bytes=measured.size_bytes,
        statement=_statement(package.path, headers, measured.licence_files, problems),
        problems=tuple(problems),
        is_broken=measured.is_gone or not (headers["Name"] and headers["Version"]),
    )


def _read_metadata(path: Path, problems: list[str]) -> "email.message.Message[str, str] | None":
    """The headers of METADATA, or of PKG-INFO in an egg; ``None`` if there are none to be read."""
    candidates = [path / "METADATA", path / "PKG-INFO"] if path.is_dir() else [path]
    file = next((each for each in candidates if each.exists()), candidates[0])
    text = _read_text(file, METADATA_BYTES_MAX, problems)
    if text is None:
        return None
    headers = email.parser.HeaderParser().parsestr(text)
    if not headers.keys():
        problems.append(f"{file.name} has no headers")
        return None
    return headers


def _statement(
    path: Path, headers: "email.message.Message[str, str]", licence_files: Sequence[Path], problems: list[str]
) -> Statement:
    listed = [path / folder / str(name) for name in headers.get_all("License-File", []) for folder in ("licenses", "")]
    named = [file for file in listed if file.is_relative_to(path) and file.exists()]
    files = list(dict.fromkeys(Path(os.path.normpath(file)) for file in (*named, *licence_files)))
    texts = (_read_text(file, LICENCE_BYTES_MAX, problems) for file in files[:LICENCE_FILES_MAX])
    return Statement(
        expression=_header(headers, "License-Expression"),
        field=_header(headers, "License"),
        classifiers=tuple(
            str(each) for each in headers.get_all("Classifier", []) if str(each).startswith("License ::")
        ),
        texts=tuple(text for text in texts if text),
    )


def _header(headers: "email.message.Message[str, str]", name: str) -> str:
    text = str(headers[name] or "").strip()
    return "" if text == "UNKNOWN" else text


# --- Its files -------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Measured:
    count: int = 0
    size_bytes: int = 0
    licence_files: tuple[Path, ...] = ()
    is_gone: bool = False


def _measure(path: Path, problems: list[str]) -> _Measured:
    """Count and weigh what RECORD lists, and see what of it is gone."""
    listed = _listed_files(path, problems)
    sizes = {file: _size_of(file) for file in listed}
    there = {file: size for file, size in sizes.items() if size is not None}
    gone = [file for file in sizes if file not in there and file.suffix != ".pyc"]  # those come and go
    if gone:
        problems.append(f"{len(gone)} of its {len(sizes)} files are gone, {gone[0]} first")
    own = [file for file in there if path not in file.parents]
    return _Measured(
        count=len(there),
        size_bytes=sum(there.values()),
        licence_files=tuple(file for file in there if _is_licence_file(file)),
        is_gone=bool(gone) and not own,
    )


def _is_licence_file(file: Path) -> bool:
    return _LICENCE_FILE.match(file.name) is not None and file.suffix not in _CODE


def _listed_files(path: Path, problems: list[str]) -> list[Path]:
    if not path.is_dir() or path.suffix != ".dist-info":
        return []  # an egg; only wheels have a list
    text = _read_text(path / "RECORD", RECORD_BYTES_MAX, problems)
    try:
        rows = list(csv.reader((text or "").splitlines()))
    except csv.Error as error:
        problems.append(f"RECORD cannot be read: {error}")
        return []
    names = dict.fromkeys(row[0] for row in rows if row and row[0] and "\0" not in row[0])
    return [Path(os.path.normpath(path.parent / name)) for name in names]


def _size_of(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except (OSError, ValueError):
        return None


def _read_text(file: Path, bytes_max: int, problems: list[str]) -> str | None:
    """The beginning of a file; ``None`` and a line in ``problems`` if it cannot be read."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            problems.append(f"{file.name} is not a regular file")
            return None
        with file.open("rb") as stream:
            data = stream.read(bytes_max)
    except FileNotFoundError:
        problems.append(f"{file.name} is missing")
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{file.name} cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    if status.st_size > bytes_max:
        problems.append(f"{file.name} has {status.st_size:,} bytes; only the first {bytes_max:,} were read")
    return _decode(file, data, problems)


def _decode(file: Path, data: bytes, problems: list[str]) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(data) - error.start >= UTF8_BYTES_MAX:  # else the limit cut a character in two
            problems.append(f"{file.name} is not UTF-8; it was read as Latin-1")
        return data.decode("latin-1")
