"""Where the YAML files live and what can be chosen from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def conf_dir() -> Path:
    """Return the folder of the YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def group_options() -> dict[str, list[str]]:
    """Return the options of every group that a user chooses from; names with an underscore are only shared parts."""
    folders = sorted(path for path in conf_dir().iterdir() if path.is_dir() and path.name != "hydra")
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml") if not file.stem.startswith("_"))
        for folder in folders
    }


def register_resolvers() -> None:
    """Make ``${option_groups:}``, the list for ``--help``, known to OmegaConf; a group named in it is shown, too.

    Where a run is shipped is no matter of training here: only ``${option_groups:launch}`` shows that group.
    """
    from omegaconf import OmegaConf

    def option_groups(*more: str) -> str:
        shown = {group: options for group, options in group_options().items() if group != "launch" or group in more}
        width = max(map(len, shown))
        return "\n".join(f"  {group:<{width}} {', '.join(options)}" for group, options in shown.items())

    OmegaConf.register_new_resolver("option_groups", option_groups, replace=True)


def literal_folder(node: DictConfig) -> Path | None:
    """Return the folder that the user has named in ``hydra.run`` or ``hydra.sweep``; None for one named by the time."""
    from omegaconf import OmegaConf

    name = str(OmegaConf.to_container(node, resolve=False)["dir"])  # type: ignore[index, call-overload]
    return None if "${" in name else Path(name)
