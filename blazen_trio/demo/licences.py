"""Which licence is it, and what does it ask of those who use it? Pure: text in, ``Licence`` out.

The rules of this file:

* Evidence in order of its worth: a ``License-Expression`` (PEP 639), the free text of the ``License`` field, the
  classifiers, the text of the licence files. The first one that is understood decides.
* Names are SPDX identifiers (https://spdx.org/licenses/) where the evidence is that exact. "BSD" alone says less.
* Several licences all hold, unless it is said that they are a choice. Classifiers of different families, say "BSD" and
  "GPL", leave that open and it matters: a person has to say.
* All input is hostile: it is cut before it is looked at, and nothing recurses deeper than a constant.
"""

import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

EXPRESSION_CHARS_MAX: Final = 1_000
"""Real expressions have less than 100 characters; a longer one is not worth reading."""

EXPRESSION_DEPTH_MAX: Final = 20
"""Brackets inside brackets; real ones have two."""

STATEMENT_CHARS_MAX: Final = 80
"""A longer ``License`` field is a licence's text and not its name."""


class Family(enum.Enum):
    """What a licence asks for, from the most lenient to the strictest; ``UNKNOWN`` could be anything."""

    PUBLIC_DOMAIN = "public domain"
    PERMISSIVE = "permissive"
    WEAK_COPYLEFT = "weak copyleft"
    COPYLEFT = "copyleft"
    PROPRIETARY = "proprietary"
    UNKNOWN = "unknown"


_STRICTNESS: Final = {family: place for place, family in enumerate(Family)}


@attrs.frozen
class Licence:
    """A licence, its family, and what told so (``source``)."""

    name: str
    family: Family
    source: str


@attrs.frozen
class Statement:
    """All that a distribution says about its licence: three metadata fields and the texts of its licence files."""

    expression: str = ""
    field: str = ""
    classifiers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What it says, in one short line; empty if it says nothing."""
        candidates = (self.expression, self.field, ", ".join(_tails(self.classifiers)), *self.texts)
        lines = (line.strip() for text in candidates for line in text.splitlines())
        return next((line[:STATEMENT_CHARS_MAX] for line in lines if line), "")


def classify(statement: Statement) -> Licence | None:
    """The licence that a statement means, or ``None``: then a person has to say."""
    for name, source in _attempts(statement):
        if name == _AMBIGUOUS:
            return None
        if name is not None:
            return Licence(name, family_of(name), source)
    return None


def _attempts(statement: Statement) -> Iterator[tuple[str | None, str]]:
    yield _known_expression(statement.expression), "expression"
    yield _from_field(statement.field), "licence field"
    yield _from_classifiers(statement.classifiers), "classifier"
    yield _from_texts(statement.texts), "licence file"


def licence_named(answer: str, source: str) -> Licence:
    """The licence that a person names: by an expression, by a common name, or by its family alone."""
    answer = " ".join(answer.split())[:EXPRESSION_CHARS_MAX]
    for family in Family:
        if answer.lower() == family.value:
            return Licence(answer.lower(), family, source)
    name = _from_field(answer) or answer
    return Licence(name, family_of(name), source)


_AMBIGUOUS: Final = "ambiguous"


# --- Families --------------------------------------------------------------------------------------------------------

_FAMILIES: Final = {
    Family.PUBLIC_DOMAIN: "CC0-1.0 Unlicense 0BSD Public-Domain MIT-0 WTFPL",
    Family.PERMISSIVE: """
        MIT MIT-CMU X11 BSD BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause Apache-1.1 Apache-2.0
        ISC Zlib PSF-2.0 Python-2.0 Python-2.0.1 CNRI-Python BSL-1.0 HPND NCSA PostgreSQL AFL-3.0 ZPL-2.1 blessing
        Artistic-2.0 UPL-1.0 BlueOak-1.0.0 CC-BY-4.0 OFL-1.1 Unicode-3.0 Unicode-DFS-2016 curl libpng-2.0 FTL Beerware
        bzip2-1.0.6
    """,
    Family.WEAK_COPYLEFT: """
        MPL-1.1 MPL-2.0 LGPL LGPL-2.0 LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1 LGPL-2.1-only LGPL-2.1-or-later
        LGPL-3.0 LGPL-3.0-only LGPL-3.0-or-later EPL-1.0 EPL-2.0 CDDL-1.0 CDDL-1.1
    """,
    Family.COPYLEFT: """
        GPL GPL-2.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0 GPL-3.0-only GPL-3.0-or-later AGPL AGPL-3.0 AGPL-3.0-only
        AGPL-3.0-or-later EUPL-1.1 EUPL-1.2 CC-BY-SA-4.0 OSL-3.0
    """,
    Family.PROPRIETARY: "Proprietary",
}

_FAMILY_BY_NAME: Final = {name.lower(): family for family, names in _FAMILIES.items() for name in names.split()}
_SPELLING: Final = {name.lower(): name for names in _FAMILIES.values() for name in names.split()}


def family_of(expression: str) -> Family:
    """The family of an SPDX expression: the strictest of what holds together, the most lenient of a choice."""
    parsed = _Expression.parse(expression)
    return Family.UNKNOWN if parsed is None else parsed.family


def _known_expression(text: str) -> str | None:
    """The expression in the usual spelling, if every licence in it is known."""
    parsed = _Expression.parse(text)
    if parsed is None or parsed.family is Family.UNKNOWN:
        return None
    return " ".join(parsed.words).replace("( ", "(").replace(" )", ")")


@attrs.define
class _Expression:
    """A reader of SPDX expressions: ``WITH`` binds before ``AND``, that before ``OR``; brackets before all."""

    words: list[str]
    family: Family = Family.UNKNOWN
    _place: int = 0

    @classmethod
    def parse(cls, text: str) -> "_Expression | None":
        """The words and the family; ``None`` if it is no expression at all."""
        if not text or len(text) > EXPRESSION_CHARS_MAX:
            return None
        words = re.findall(r"[()]|[^\s()]+", text)
        reader = cls([_spelled(word) for word in words])
        try:
            reader.family = reader.choice(0)
        except ValueError:
            return None
        return reader if reader.next_word() == "" else None

    def next_word(self) -> str:
        return self.words[self._place] if self._place < len(self.words) else ""

    def take(self, word: str) -> bool:
        """Whether this is the next word; if so it is read."""
        if self.next_word() != word:
            return False
        self._place += 1
        return True

    def choice(self, depth: int) -> Family:
        families = [self.together(depth)]
        while self.take("OR"):
            families.append(self.together(depth))
        return min(families, key=_STRICTNESS.__getitem__)

    def together(self, depth: int) -> Family:
        families = [self.single(depth)]
        while self.take("AND"):
            families.append(self.single(depth))
        return max(families, key=_STRICTNESS.__getitem__)

    def single(self, depth: int) -> Family:
        if self.take("("):
            if depth == EXPRESSION_DEPTH_MAX:
                raise ValueError("too deep")
            family = self.choice(depth + 1)
            if not self.take(")"):
                raise ValueError("no closing bracket")
            return family
        family = _FAMILY_BY_NAME.get(self.licence_id().lower().removesuffix("+"), Family.UNKNOWN)
        if self.take("WITH"):
            self.licence_id()
            return Family.WEAK_COPYLEFT if family is Family.COPYLEFT else family  # exceptions only ever permit more
        return family

    def licence_id(self) -> str:
        word = self.next_word()
        if not re.fullmatch(r"[A-Za-z0-9.:+-]+", word) or word in ("AND", "OR", "WITH"):
            raise ValueError("no licence where one should be")
        self._place += 1
        return word


def _spelled(word: str) -> str:
    if word.upper() in ("AND", "OR", "WITH"):
        return word.upper()
    return _SPELLING.get(word.lower(), word)


# --- The License field and the classifiers ---------------------------------------------------------------------------

_NOISE: Final = re.compile(r"\b(the|licen[cs]ed?|version|software|under|terms|of)\b|[,;'\"()]|\bv(?=\d)")

_COMMON_NAMES: Final = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache2": "Apache-2.0",
    "asl 2": "Apache-2.0",
    "bsd 2-clause": "BSD-2-Clause",
    "2-clause bsd": "BSD-2-Clause",
    "simplified bsd": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "bsd-like": "BSD",
    "bsd style": "BSD",
    "expat": "MIT",
    "mit x11": "MIT",
    "mit/x11": "MIT",
    "boost 1.0": "BSL-1.0",
    "psf": "PSF-2.0",
    "psfl": "PSF-2.0",
    "python foundation": "PSF-2.0",
    "python": "PSF-2.0",
    "zpl 2.1": "ZPL-2.1",
    "mpl 2.0": "MPL-2.0",
    "mozilla public 2.0": "MPL-2.0",
    "gplv2": "GPL-2.0-only",
    "gplv2+": "GPL-2.0-or-later",
    "gplv3": "GPL-3.0-only",
    "gplv3+": "GPL-3.0-or-later",
    "gnu gpl": "GPL",
    "gnu general public": "GPL",
    "gnu lgpl": "LGPL",
    "lgplv2+": "LGPL-2.0-or-later",
    "lgplv2.1": "LGPL-2.1-only",
    "lgplv2.1+": "LGPL-2.1-or-later",
    "lgplv3": "LGPL-3.0-only",
    "lgplv3+": "LGPL-3.0-or-later",
    "agplv3": "AGPL-3.0-only",
    "agplv3+": "AGPL-3.0-or-later",
    "cc0": "CC0-1.0",
    "public domain": "Public-Domain",
    "proprietary": "Proprietary",
    "commercial": "Proprietary",
}

_CLASSIFIERS: Final = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "BSD License": "BSD",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "zlib/libpng License": "Zlib",
    "Python Software Foundation License": "PSF-2.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "Zope Public License": "ZPL-2.1",
    "Academic Free License (AFL)": "AFL-3.0",
    "Artistic License": "Artistic-2.0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU General Public License (GPL)": "GPL",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "The Unlicense (Unlicense)": "Unlicense",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Public Domain": "Public-Domain",
    "Other/Proprietary License": "Proprietary",
}


def _from_field(text: str) -> str | None:
    """The licence that free text names, or is the text of."""
    text = text.strip()
    if len(text) > STATEMENT_CHARS_MAX or "\n" in text:
        return _from_texts([text])
    known = _known_expression(text)
    if known is not None:
        return known
    bare = " ".join(_NOISE.sub(" ", text.lower()).split())
    return _COMMON_NAMES.get(bare) or _SPELLING.get(bare) or _SPELLING.get(bare.replace(" ", "-"))


def _from_classifiers(classifiers: Iterable[str]) -> str | None:
    """All licences that the classifiers name; one that is not understood makes the rest worth nothing."""
    names = [_CLASSIFIERS.get(tail) for tail in _tails(classifiers)]
    known = [name for name in names if name is not None]
    if len(known) != len(names):
        return None
    return _AMBIGUOUS if len({family_of(name) for name in known}) > 1 else _all_of(known)


def _tails(classifiers: Iterable[str]) -> list[str]:
    tails = (each.rpartition("::")[2].strip() for each in classifiers if each.startswith("License ::"))
    return [tail for tail in tails if tail != "OSI Approved"]


# --- Licence texts ---------------------------------------------------------------------------------------------------

HEAD_CHARS: Final = 400
"""The GNU licences quote each other; which one it is stands at the top."""


@attrs.frozen
class _Fingerprint:
    """Phrases that only this licence has, in small letters and without punctuation."""

    name: str
    phrases: tuple[str, ...]
    is_in_head: bool = False

    def matches(self, words: str) -> bool:
        words = words[:HEAD_CHARS] if self.is_in_head else words
        return all(phrase in words for phrase in self.phrases)

    def is_part_of(self, other: "_Fingerprint") -> bool:
        """Whether whatever is the other one looks like this one, too."""
        return set(self.phrases) < set(other.phrases)


_REDISTRIBUTION: Final = "redistribution and use in source and binary forms"
_IN_BINARY: Final = "in binary form must reproduce"
_FREE_OF_CHARGE: Final = "permission is hereby granted free of charge to any person obtaining a copy"
_NO_FEE: Final = "distribute this software for any purpose with or without fee is hereby granted"

_FINGERPRINTS: Final = (
    _Fingerprint("AGPL-3.0", ("gnu affero general public license version 3",), is_in_head=True),
    _Fingerprint("LGPL-3.0", ("gnu lesser general public license version 3",), is_in_head=True),
    _Fingerprint("LGPL-2.1", ("gnu lesser general public license version 2 1",), is_in_head=True),
    _Fingerprint("GPL-3.0", ("gnu general public license version 3",), is_in_head=True),
    _Fingerprint("GPL-2.0", ("gnu general public license version 2",), is_in_head=True),
    _Fingerprint("MPL-2.0", ("mozilla public license version 2 0",), is_in_head=True),
    _Fingerprint("Apache-2.0", ("apache license version 2 0",)),
    _Fingerprint("PSF-2.0", ("python software foundation license version 2",)),
    _Fingerprint("BSL-1.0", ("boost software license version 1 0",)),
    _Fingerprint("CC0-1.0", ("cc0 1 0 universal",)),
    _Fingerprint("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    _Fingerprint("BSD-3-Clause", (_REDISTRIBUTION, _IN_BINARY, "to endorse or promote products derived from")),
    _Fingerprint("BSD-2-Clause", (_REDISTRIBUTION, _IN_BINARY)),
    _Fingerprint("MIT", (_FREE_OF_CHARGE, "this permission notice shall be included")),
    _Fingerprint("MIT-0", (_FREE_OF_CHARGE,)),
    _Fingerprint("ISC", (_NO_FEE, "provided that the above copyright notice")),
    _Fingerprint("0BSD", (_NO_FEE,)),
    _Fingerprint("Zlib", ("the origin of this software must not be misrepresented",)),
)


def _from_texts(texts: Iterable[str]) -> str | None:
    """The licences that the texts are; texts that are none (a list of authors, say) do not count."""
    return _all_of([name for text in texts for name in _recognised(text)])


def _recognised(text: str) -> list[str]:
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    found = [each for each in _FINGERPRINTS if each.matches(words)]
    top = [each.name for each in found if each.is_in_head]
    return top[:1] or [each.name for each in found if not any(each.is_part_of(other) for other in found)]


def _all_of(names: Sequence[str]) -> str | None:
    return " AND ".join(dict.fromkeys(names)) or None
