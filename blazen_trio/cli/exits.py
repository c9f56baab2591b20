"""How the command ends: exit codes, and the one exception that carries one."""

import enum


class Exit(enum.IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1  # the run failed, or what came of it could not be written
    USAGE = 2  # what was asked for makes no sense
    WAITING = 3  # the run waits for an answer
    INTERRUPTED = 130  # Ctrl-C, as shells say it: 128 + SIGINT
    TERMINATED = 143  # 128 + SIGTERM


class CommandError(Exception):
    """Ends the command with one line on stderr and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code
