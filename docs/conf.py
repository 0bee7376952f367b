"""The documentation's settings: `make docs` builds it, warnings are errors."""

project = "shapesweep"
author = "the shapesweep authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "gallery"]
html_theme = "furo"
html_title = "shapesweep"
# Headings can be linked to as GitHub names them.
myst_heading_anchors = 3
myst_enable_extensions = ["html_image"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
# An attribute is no target of its own: several classes have n_points.
napoleon_use_ivar = True
# Every name of ours that is referred to must exist; other projects' are not looked up.
nitpick_ignore_regex = [("py:.*", r"(?!shapesweep).*")]
