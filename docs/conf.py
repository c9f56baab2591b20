"""Settings of the documentation: `sphinx-build -W --keep-going -b html docs docs/_build`."""

from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

import blazen_trio

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "blazen_trio"
author = "blazen_trio contributors"
project_copyright = f"2026, {author}"
version = release = blazen_trio.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"blazen_trio {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}


def setup(app: "Sphinx") -> None:
    """Let a ```mermaid block be shown as its text: Pygments knows no such language, which would be a warning."""
    app.add_lexer("mermaid", TextLexer)
