"""However damaged a distribution is, it is found once, and what is wrong with it is said."""

import os
import sys

import pytest

from blazen_trio.demo.packages import LICENCE_BYTES_MAX, find_packages, read_package

from .packages_for_tests import MIT_TEXT, install


def only(site):
    [found] = find_packages([str(site)])
    return found


def test_a_sound_distribution_is_read_without_a_complaint(tmp_path):
    info = install(tmp_path, "sound", "License: MIT", "License-File: LICENSE", version="2.1")
    (info / "licenses").mkdir()
    (info / "licenses" / "LICENSE").write_text(MIT_TEXT)

    found = only(tmp_path)
    contents = read_package(found)

    assert (found.name, found.path, found.copies) == ("sound", info, ())
    assert (contents.version, contents.files, contents.problems) == ("2.1", 3, ())
    assert contents.size_bytes == sum(
        file.stat().st_size for file in (tmp_path / "sound.py", info / "METADATA", info / "RECORD")
    )
    assert contents.statement.field == "MIT"
    assert contents.statement.texts == (MIT_TEXT,)
    assert not contents.is_broken


def test_without_packages_nothing_is_found(tmp_path):
    assert find_packages([str(tmp_path), str(tmp_path / "missing")]) == []


def test_the_packages_of_this_python_are_found():
    assert "trio" in {found.name for found in find_packages()}


def test_missing_metadata_is_told_and_the_directory_gives_the_name(tmp_path):
    info = install(tmp_path, "lost")
    (info / "METADATA").unlink()

    found = only(tmp_path)
    contents = read_package(found)

    assert found.name == "lost"
    assert contents.is_broken
    assert "METADATA is missing" in contents.problems


@pytest.mark.parametrize("text", ["", "\n\n", "Version: 1.0\n", "Name:\nVersion: 1.0\n", "no header at all"])
def test_metadata_that_say_no_name_are_broken(tmp_path, text):
    info = install(tmp_path, "nameless")
    (info / "METADATA").write_text(text)

    found = only(tmp_path)

    assert found.name == "nameless"
    assert read_package(found).is_broken


def test_metadata_that_are_not_utf8_are_read_all_the_same(tmp_path):
    info = install(tmp_path, "latin", "License: MIT")
    (info / "METADATA").write_bytes(b"Name: latin\nVersion: 1.0\nAuthor: Andr\xe9 the author\nLicense: MIT\n\n")

    contents = read_package(only(tmp_path))

    assert contents.problems == ("METADATA is not UTF-8; it was read as Latin-1",)
    assert contents.statement.field == "MIT"
    assert not contents.is_broken


def test_files_that_vanished_are_counted(tmp_path):
    install(tmp_path, "half", files={"half/a.py": "a", "half/b.py": "b"})
    (tmp_path / "half" / "b.py").unlink()

    contents = read_package(only(tmp_path))

    assert contents.problems == (f"1 of its 4 files are gone, {tmp_path / 'half' / 'b.py'} first",)
    assert not contents.is_broken


def test_a_distribution_without_any_of_its_files_is_broken(tmp_path):
    install(tmp_path, "ghost")
    (tmp_path / "ghost.py").unlink()

    assert read_package(only(tmp_path)).is_broken


def test_compiled_files_may_be_gone(tmp_path):
    install(tmp_path, "compiled", files={"compiled.py": "a", "__pycache__/compiled.pyc": "b"})
    (tmp_path / "__pycache__" / "compiled.pyc").unlink()

    assert read_package(only(tmp_path)).problems == ()


@pytest.mark.parametrize("record", ['a.py,"unclosed', "\0,\0,\0\n", ",,,\n" * 3, "x" * 200_000 + ",,\n", "\n\n"])
def test_a_list_of_files_may_be_nonsense(tmp_path, record):
    info = install(tmp_path, "odd", "License: MIT")
    (info / "RECORD").write_text(record)

    contents = read_package(only(tmp_path))

    assert (contents.version, contents.statement.field) == ("1.0", "MIT")


def test_a_missing_list_of_files_is_told(tmp_path):
    info = install(tmp_path, "unlisted")
    (info / "RECORD").unlink()

    contents = read_package(only(tmp_path))

    assert (contents.files, contents.problems, contents.is_broken) == (0, ("RECORD is missing",), False)


def test_of_a_huge_licence_file_only_the_beginning_is_read(tmp_path):
    install(tmp_path, "huge", files={"huge/LICENSE.txt": MIT_TEXT + "x" * LICENCE_BYTES_MAX * 10})

    contents = read_package(only(tmp_path))

    assert len(contents.statement.texts[0]) == LICENCE_BYTES_MAX
    assert contents.problems[0].startswith("LICENSE.txt has 655,")
    assert contents.problems[0].endswith("only the first 65,536 were read")


def test_a_character_that_the_limit_cuts_in_two_is_no_complaint_about_the_encoding(tmp_path):
    install(tmp_path, "wide", files={"wide/LICENSE": "x" + "é" * LICENCE_BYTES_MAX})

    [problem] = read_package(only(tmp_path)).problems

    assert problem.endswith("were read")


def test_a_program_about_licences_is_no_licence(tmp_path):
    install(tmp_path, "lawyer", files={"lawyer/licences.py": "MIT = 1", "lawyer/LICENSE.MIT": MIT_TEXT})

    assert read_package(only(tmp_path)).statement.texts == (MIT_TEXT,)


def test_a_licence_file_that_is_a_directory_or_goes_in_circles_is_told(tmp_path):
    install(tmp_path, "weird", files={"weird/__init__.py": "", "weird/LICENSE/inner": "", "weird/COPYING": ""})
    record = tmp_path / "weird-1.0.dist-info" / "RECORD"
    record.write_text("weird/__init__.py,,\nweird/LICENSE,,\nweird/COPYING,,\n")
    (tmp_path / "weird" / "COPYING").unlink()
    (tmp_path / "weird" / "COPYING").symlink_to(tmp_path / "weird" / "COPYING")

    problems = read_package(only(tmp_path)).problems

    assert "LICENSE is not a regular file" in problems
    assert any("COPYING first" in problem for problem in problems)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
def test_a_licence_file_that_is_a_pipe_does_not_block(tmp_path):
    install(tmp_path, "piped", files={"piped/LICENSE": ""})
    (tmp_path / "piped" / "LICENSE").unlink()
    os.mkfifo(tmp_path / "piped" / "LICENSE")

    assert read_package(only(tmp_path)).problems == ("LICENSE is not a regular file",)


def test_a_licence_file_outside_of_the_distribution_is_not_read(tmp_path):
    (tmp_path / "secret").write_text("my password")
    install(tmp_path / "site", "nosy", "License-File: ../../../secret", f"License-File: {tmp_path / 'secret'}")

    assert read_package(only(tmp_path / "site")).statement.texts == ()


def test_one_directory_given_twice_and_by_a_link_is_one_place(tmp_path):
    install(tmp_path / "site", "single")
    (tmp_path / "link").symlink_to(tmp_path / "site")

    [found] = find_packages([str(tmp_path / "site"), str(tmp_path / "site"), str(tmp_path / "link")])

    assert found.copies == ()


def test_of_two_copies_the_first_counts_and_the_other_is_told(tmp_path):
    first = install(tmp_path / "first", "My.Twin", version="2.0")
    second = install(tmp_path / "second", "my_twin", version="1.0")

    [found] = find_packages([str(tmp_path / "first"), str(tmp_path / "second")])

    assert (found.name, found.path, found.copies) == ("My.Twin", first, (second,))
    assert read_package(found).problems == (f"hides another copy at {second}",)


def test_what_pip_left_of_an_older_version_hides_nothing(tmp_path):
    leftover = install(tmp_path, "tool", version="0.9").rename(tmp_path / "~ool-0.9.dist-info")
    current = install(tmp_path, "tool")

    found = only(tmp_path)

    assert (found.path, found.copies) == (current, (leftover,))


@pytest.mark.parametrize("name", ["-", "two words", "[red]x[/red]", "\x1b[31mred", "x" * 5_000 + "!", "naïve", "../up"])
def test_a_weird_name_is_kept_and_told(tmp_path, name):
    info = install(tmp_path, "weird")
    (info / "METADATA").write_text(f"Name: {name}\nVersion: 1\n\n", "utf-8")

    found = only(tmp_path)

    assert found.name == name
    assert "is no valid name" in read_package(found).problems[0]


def test_an_egg_info_file_is_a_distribution_too(tmp_path):
    (tmp_path / "old-1.0.egg-info").write_text("Name: old\nVersion: 1.0\nLicense: BSD\n\n")

    found = only(tmp_path)

    assert (found.name, read_package(found).statement.field) == ("old", "BSD")
