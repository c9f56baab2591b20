"""Licences are known by what distributions say of them, the most exact statement first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.demo.licences import Family, Licence, Statement, classify, family_of, licence_named

from .packages_for_tests import MIT_TEXT

BSD_TEXT = "Redistribution and use in source and binary forms ... in binary form must reproduce"


@pytest.mark.parametrize(
    ("expression", "family"),
    [
        ("MIT", Family.PERMISSIVE),
        ("mit or apache-2.0", Family.PERMISSIVE),
        ("MIT AND GPL-3.0-only", Family.COPYLEFT),
        ("MIT OR GPL-3.0-only", Family.PERMISSIVE),
        ("MIT OR Apache-2.0 AND GPL-2.0-only", Family.PERMISSIVE),
        ("(MIT OR Apache-2.0) AND GPL-2.0-only", Family.COPYLEFT),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", Family.WEAK_COPYLEFT),
        ("Apache-2.0 WITH LLVM-exception", Family.PERMISSIVE),
        ("GPL-2.0+", Family.COPYLEFT),
        ("MIT AND LicenseRef-Ours", Family.UNKNOWN),
        ("MIT AND", Family.UNKNOWN),
        ("(MIT", Family.UNKNOWN),
        ("MIT MIT", Family.UNKNOWN),
        ("", Family.UNKNOWN),
        ("(" * 400 + "MIT" + ")" * 400, Family.UNKNOWN),
        ("MIT OR " * 1_000 + "MIT", Family.UNKNOWN),
    ],
)
def test_an_expression_has_the_family_of_what_holds_and_of_the_best_choice(expression, family):
    assert family_of(expression) is family


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("MIT License", "MIT"),
        ("The MIT License (MIT)", None),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache Software License 2.0", "Apache-2.0"),
        ("BSD-3-Clause license", "BSD-3-Clause"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("new BSD", "BSD-3-Clause"),
        ("MPL 2.0", "MPL-2.0"),
        ("LGPLv3+", "LGPL-3.0-or-later"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("PSF", "PSF-2.0"),
        ("see LICENSE", None),
        ("Dual License", None),
        (MIT_TEXT, "MIT"),
    ],
)
def test_free_text_is_understood_where_it_is_common(field, name):
    licence = classify(Statement(field=field))

    assert (licence.name if licence else None) == name


def test_an_expression_is_believed_before_everything_else():
    statement = Statement("ISC", "MIT", ("License :: OSI Approved :: BSD License",), (MIT_TEXT,))

    assert classify(statement) == Licence("ISC", Family.PERMISSIVE, "expression")


def test_what_is_not_understood_gives_way_to_the_next_best():
    assert classify(Statement("LicenseRef-Ours", "see LICENSE", ("License :: Strange",), (MIT_TEXT,))) == Licence(
        "MIT", Family.PERMISSIVE, "licence file"
    )


def test_several_classifiers_of_one_family_all_hold():
    statement = Statement(
        classifiers=("License :: OSI Approved :: MIT License", "License :: OSI Approved :: BSD License")
    )

    assert classify(statement) == Licence("MIT AND BSD", Family.PERMISSIVE, "classifier")


def test_classifiers_of_different_families_are_for_a_person():
    gpl = "License :: OSI Approved :: GNU General Public License (GPL)"
    statement = Statement(classifiers=("License :: OSI Approved :: MIT License", gpl), texts=(MIT_TEXT,))

    assert classify(statement) is None
    assert statement.summary == "MIT License, GNU General Public License (GPL)"


def test_who_says_nothing_is_not_classified():
    assert classify(Statement()) is None
    assert Statement().summary == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT_TEXT, "MIT"),
        ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "GPL-3.0"),
        (
            "GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999 ... GNU General Public License version 2",
            "LGPL-2.1",
        ),
        ("Mozilla Public License Version 2.0 ... compatible with the Apache License, Version 2.0", "MPL-2.0"),
        ("Apache License\n Version 2.0, January 2004 " + MIT_TEXT, "Apache-2.0 AND MIT"),
        (BSD_TEXT + " or to endorse or promote products derived from", "BSD-3-Clause"),
        (BSD_TEXT, "BSD-2-Clause"),
        ("To whom it may concern: all rights reserved.", None),
    ],
)
def test_a_licence_text_is_known_by_its_phrases(text, name):
    licence = classify(Statement(texts=(text,)))

    assert (licence.name if licence else None) == name


@pytest.mark.parametrize(
    ("answer", "name", "family"),
    [
        ("mit", "MIT", Family.PERMISSIVE),
        ("gplv3+", "GPL-3.0-or-later", Family.COPYLEFT),
        ("Permissive", "permissive", Family.PERMISSIVE),
        ("weak  copyleft", "weak copyleft", Family.WEAK_COPYLEFT),
        ("ask our lawyer", "ask our lawyer", Family.UNKNOWN),
    ],
)
def test_a_person_may_name_a_licence_or_its_family(answer, name, family):
    assert licence_named(answer, "a person") == Licence(name, family, "a person")


@given(st.text(), st.text(), st.lists(st.text()), st.lists(st.text()))
def test_no_statement_is_too_strange(expression, field, classifiers, texts):
    statement = Statement(expression, field, tuple(classifiers), tuple(texts))

    assert isinstance(classify(statement), Licence | None)
    assert "\n" not in statement.summary
