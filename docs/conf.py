"""Sphinx's settings."""

import tomllib
from pathlib import Path

from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer

_TOP = Path(__file__).resolve().parents[1]

project = "dogbreed"
release = tomllib.loads((_TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The anchors that a forge makes of headings.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "deflist"]
# Quotes stay as they were typed; two hyphens are a dash.
smartquotes_action = "D"
# Single backticks in docstrings are names.
default_role = "code"

# Signatures and docstrings need none of these, whose import takes seconds.
autodoc_mock_imports = [
    *("lightning", "matplotlib", "numpy", "safetensors", "simplejpeg", "tensorboard", "timm", "torch", "torchvision"),
    *("PIL", "huggingface_hub", "hydra", "nvidia_ml_py", "omegaconf", "optuna", "pynvml", "tqdm"),
]
# Sphinx would import them all the same, to read the sources of base classes.
for _name in ("lightning", "torch", "torch.nn"):
    ModuleAnalyzer.cache["module", _name] = PycodeError("not looked at")
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"dogbreed {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True, "footer_icons": []}
