from importlib.metadata import version as installed_version

project = "pyro_langevin"
author = "The pyro_langevin contributors"
copyright = f"2026, {author}"
release = version = installed_version("pyro-langevin")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

nb_execution_mode = "off"  # `make tutorials` runs them, at full size, and keeps what they print and draw

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings name types and shapes where they matter
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes need no index entries of their own

html_theme = "furo"
html_title = "pyro_langevin"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
