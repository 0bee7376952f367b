"""Sphinx settings of the documentation. `make docs` builds it, and treats warnings as errors."""

project = "shapesweep"
author = "the shapesweep authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "gallery"]
html_theme = "furo"
html_title = "shapesweep"
# Links to headings use the same anchors as on GitHub.
myst_heading_anchors = 3
myst_enable_extensions = ["html_image"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
# Several classes have attributes of the same name, such as n_points. Attributes are therefore not
# link targets.
napoleon_use_ivar = True
# References to names in shapesweep must exist. Names in other projects are not checked.
nitpick_ignore_regex = [("py:.*", r"(?!shapesweep).*")]
