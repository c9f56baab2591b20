"""Finding a workflow by ``module:name``. The user names it, so importing it is what the user asked for."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from blazen_trio import Workflow, WorkflowValidationError
from blazen_trio.cli.exits import CommandError


def load_workflow(target: str) -> Workflow:
    """The workflow that ``module:name`` names; ``name`` may have dots.

    Raises:
        CommandError: there is none, with what would help.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise CommandError(f"{target!r} names no workflow; write module:name, such as blazen_trio.demo:audit")
    module = _import(module_name)
    found: object = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise CommandError(f"module {module_name} has no {name!r}; {_workflows_of(module)}") from None
    if not isinstance(found, Workflow):
        raise CommandError(f"{target} is no Workflow but of type {type(found).__name__}; {_workflows_of(module)}")
    return found


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CommandError(f"there is no module {name!r}, neither installed nor in {here}") from error
        raise CommandError(f"module {name} needs {error.name!r}, which is not installed") from error
    except WorkflowValidationError as error:
        raise CommandError(str(error)) from error
    except (Exception, SystemExit) as error:
        raise CommandError(f"module {name} cannot be imported: {type(error).__name__}: {error}") from error


def _workflows_of(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, Workflow)]
    return f"its workflows are: {', '.join(names)}" if names else "it has no workflow"
