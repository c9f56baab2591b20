"""What is told of an error: clients learn what was wrong with what they asked, and nothing of bugs."""

import logging
from typing import Final

from blazen_trio.core.errors import WorkflowError
from blazen_trio.websocket.protocol import ErrorView, write_error

INTERNAL: Final = "internal error; the log of the server says more"

logger: Final = logging.getLogger("blazen_trio")


def told_error(error: Exception, what: str) -> ErrorView:
    """The error as a client sees it; one that is a bug is logged, as having happened in ``what``.

    ``ValueError`` is what the engine says of arguments that it does not take.
    """
    if isinstance(error, WorkflowError) or type(error) is ValueError:
        return write_error(error)
    logger.error("%s: %s", what, INTERNAL, exc_info=error)
    return write_error(WorkflowError(INTERNAL))
