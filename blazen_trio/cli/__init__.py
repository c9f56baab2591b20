"""The command ``blazen-trio``.

==============  =======================================================================================================
``app``         the commands and their options
``demo``        ``blazen-trio demo``: the licence audit, its table and its JSON
``running``     ``run``, ``resume`` and ``respond``: any workflow
``listing``     ``runs`` and ``show``: what is in a file, without anybody's code
``aborting``    ``abort``: here, or where the run is
``serving``     ``serve``: an engine behind a websocket, until somebody stops it
``watching``    ``watch``: a run on a server
``attended``    runs in this process only; one that is stopped becomes a file
``beginning``   the ways to begin with a run in a file: new, where it was, with an answer
``durable``     runs in a file, with an engine as long as the command lives
``database``    the file: opened or explained, who holds a run
``following``   watches a run to its end, answers its questions
``endings``     says how it ended: result, words, JSON, exit code
``interrupts``  Ctrl-C and SIGTERM as requests
``questions``   who answers: a person at the terminal, the defaults, nobody
``view``        what is shown of a run meanwhile, on a terminal and in a log
``drawing``     a workflow as an SVG picture
``loading``     finds ``module:workflow``
``output``      text that is safe to print, values as JSON
``streams``     standard output and error that may be closed or full
``exits``       exit codes
==============  =======================================================================================================

The rules of this package: a result goes to stdout, all else to stderr; every mistake of the user is one line and exit
code 2; a run is watched through the public API only; whoever stops the command is told how to go on.
"""

import sys
from collections.abc import Sequence
from typing import Final

from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.streams import guarded_streams

_EXTRA: Final = ("cyclopts", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` is without the program's name. The exit code: see ``Exit``."""
    with guarded_streams():
        try:
            code = _run(sys.argv[1:] if argv is None else argv)
            sys.stdout.flush()
        except CommandError as error:
            _say(f"blazen-trio: {error}")
            return error.code
        except KeyboardInterrupt:
            _say("blazen-trio: interrupted")
            return Exit.INTERRUPTED
        return code


def _run(argv: Sequence[str]) -> int:
    try:
        import rich as rich  # the commands import it when they run; that it is missing is told at once

        from blazen_trio.cli.app import run_command
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        raise CommandError(
            f"the command line needs {error.name}, which is not installed: pip install 'blazen-trio[cli]'"
        ) from error
    return run_command(argv)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
