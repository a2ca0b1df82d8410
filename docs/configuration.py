"""The reference of the configuration, from ``conf/``: every key with its meaning, its default and its file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from docs.commented import CommentedFile, read
from docs.strings import TOP, arguments

CONF = TOP / "conf"
# The commands' own files.
PRIMARIES = ("train", *sorted({file.stem for file in CONF.glob("*.yaml")} - {"train"}))
# What the groups decide, in the order in which one meets them.
GROUPS = {
    "model": "The network.",
    "data": "The pictures.",
    "augment": "How training pictures are varied.",
    "loss": "What is minimised.",
    "optim": "How weights are moved.",
    "finetune": "Which weights learn, and when.",
    "ema": "An average of the weights.",
    "early_stopping": "When a run ends before its last epoch.",
    "trainer": "Devices, precision and length of a run: arguments of Lightning's `Trainer`.",
    "diagnose": "What watches a run.",
    "diagnose/hook": "Amazon's Debugger hook.",
    "logger": "Loggers besides the run folder's own files.",
    "sweep": "Search spaces.",
    "experiment": "Whole recipes on top of everything.",
    "launch": "The machine that a run is shipped to, and what it may cost.",
    "launch/debugger": "Amazon's Debugger in a job.",
}
# Keys without a file: those of Hydra's plugins, whose settings say what they mean.
PLUGINS = {
    "hydra.sweeper": ("dogbreed.sweeps.settings.SearchSweeperConf", "with `hydra/sweeper=dogbreed` or any `sweep=`"),
    "hydra.launcher": (
        "hydra_plugins.dogbreed_sagemaker.launcher.SageMakerLauncherConf",
        "with `hydra/launcher=sagemaker`",
    ),
}
# Settings whose docstrings say what keys mean that have no comment: by the beginning of a key's path.
SETTINGS = {"launch": "launch.settings.LaunchSettings"}
# Of commands' own files, the longest beginning first.
OWN_SETTINGS = {
    "deploy": {
        "launch": "launch.settings.LaunchSettings",
        "autoscale": "launch.hosting.settings.Autoscale",
        "capture": "launch.hosting.settings.Capture",
        "": "launch.hosting.settings.DeploySettings",
    },
    "transform": {
        "launch": "launch.settings.LaunchSettings",
        "": "launch.hosting.settings.TransformSettings",
    },
}
BUILDS = "What is built from the keys beside it, by its import path."

# Files of a group that the others build upon.
_FIRST = {"_base": 0, "auto": 1, "default": 2}

_BEGINNING = """\
# Configuration

Every key of every command, from the files in `conf/`. A key is set on the command line, `KEY=VALUE`; an option of a
group is chosen by `GROUP=OPTION`. `auto` is decided for your data, weights and machine, and printed. `null` is nothing.
`--cfg job` shows a whole configuration:

```bash
python -m dogbreed.train model=mobilenetv2 --cfg job
```

Hydra's own keys begin with `hydra.`: `hydra.run.dir=DIR` names the run folder, `hydra.sweep.dir=DIR` a sweep's.
"""


@dataclass
class Entry:
    """A key of the reference.

    Args:
        path: As one types it.
        value: Its default, as written; empty where only the code knows it.
        meaning: In one line.
        file: Where it stands.
        option: The one option that has it first; empty for keys of every option.
        others: Options besides, with their values.
    """

    path: str
    value: str
    meaning: str
    file: str
    option: str = ""
    others: dict[str, str] = field(default_factory=dict)


def pages() -> dict[str, str]:
    """Return the source of each page, by file name."""
    written = {"configuration.md": _overview()}
    for name in PRIMARIES:
        written[f"configuration/{name}.md"] = _primary_page(name)
    for group in GROUPS:
        written[f"configuration/{group.replace('/', '-')}.md"] = _group_page(group)
    written["configuration/plugins.md"] = _plugins_page()
    return written


def files_of(group: str) -> list[Path]:
    """Return a group's files, the ones that the others build upon first."""
    return sorted((CONF / group).glob("*.yaml"), key=lambda file: (_FIRST.get(file.stem, len(_FIRST)), file.stem))


def entries_of(group: str) -> tuple[list[Entry], dict[str, dict[str, str]]]:
    """Return a group's keys, and what each option sets besides: keys of other groups, and another value of its own."""
    entries: dict[str, Entry] = {}
    sets: dict[str, dict[str, str]] = {}
    root = group.split("/")[0]
    for file in files_of(group):
        commented = read(file)
        for key in commented.keys:
            path = _absolute(commented, group, key.path)
            if path.split(".")[0] != root:
                sets.setdefault(file.stem, {})[path] = key.value
            elif path in entries:
                entry = entries[path]
                if entry.option:
                    entry.others[file.stem] = key.value
                elif key.value != entry.value:
                    sets.setdefault(file.stem, {})[path] = key.value
            else:
                meaning = _meaning(key.path, key.comment, key.targets) or _settings_meaning(path)
                meaning = meaning or (commented.notes.get(key.path.rpartition(".")[0], "") if key.value == "{}" else "")
                option = "" if file.stem in _FIRST else file.stem
                entries[path] = Entry(path, key.value, meaning, file.relative_to(TOP).as_posix(), option)
    return list(entries.values()), sets


def _absolute(commented: CommentedFile, group: str, path: str) -> str:
    if commented.package == "_global_":
        return path
    return f"{commented.package or group.replace('/', '.')}.{path}"


def _meaning(path: str, comment: str, targets: tuple[tuple[str, str], ...]) -> str:
    """Say what a key means: its comment, else what the docstring of the thing that it is an argument of says."""
    if path.rpartition(".")[2] == "_target_":
        return BUILDS
    if comment:
        return comment
    for place, target in targets:
        relative = path.removeprefix(f"{place}.") if place else path
        found = arguments(target).get(relative.split(".")[0])
        if found:
            return found
    return ""


def _settings_meaning(path: str) -> str:
    root, _, key = path.partition(".")
    return arguments(SETTINGS[root]).get(key, "") if root in SETTINGS else ""


def primary_entries(name: str) -> list[Entry]:
    """Return the keys of a command's own file."""
    file = CONF / f"{name}.yaml"
    keys = [key for key in read(file).keys if not key.path.startswith("hydra.")]
    return [
        Entry(
            key.path,
            key.value,
            _meaning(key.path, key.comment, key.targets) or _own_meaning(name, key.path),
            f"conf/{file.name}",
        )
        for key in keys
    ]


def _own_meaning(name: str, path: str) -> str:
    for start, target in OWN_SETTINGS.get(name, {}).items():
        if path.startswith(start):
            return arguments(target).get(path.rpartition(".")[2], "")
    return ""


# -- Markdown ----------------------------------------------------------------


def plain(text: str) -> str:
    """Keep Markdown from reading signs into a comment."""
    return re.sub(r"([\\*_<\[])", r"\\\1", text)


def _code(text: str) -> str:
    return f"`{' '.join(text.split())}`"


def _listed(entries: list[Entry]) -> str:
    parts = []
    for entry in entries:
        value = f" = {_code(entry.value)}" if entry.value else ""
        others = "".join(
            f" {option}: {_code(value)}." for option, value in entry.others.items() if value != entry.value
        )
        parts.append(f"[{_code(entry.path)}]{{#{entry.path}}}{value}\n: {plain(entry.meaning)}{others}\n")
    return "\n".join(parts)


def _options(group: str, sets: dict[str, dict[str, str]]) -> str:
    parts = []
    for file in files_of(group):
        if file.stem == "_base":
            continue
        commented = read(file)
        said, colon, command = commented.head.partition(": python -m ")
        lines = [f"{_code(f'{group}={file.stem}')}", f": {plain(said)}. {plain(commented.more)}".rstrip()]
        changed = sets.get(file.stem, {})
        if changed:
            lines.append("  Sets " + ", ".join(f"{_code(f'{key}={value}')}" for key, value in changed.items()) + ".")
        if colon:
            lines.append(f"\n  {_code(f'python -m {command}')}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _group_page(group: str) -> str:
    entries, sets = entries_of(group)
    parts = [f"# {group}\n", f"{GROUPS[group]} Files: `conf/{group}/`.\n", "## Options\n", _options(group, sets)]
    by_file: dict[str, list[Entry]] = {}
    for entry in entries:
        by_file.setdefault(entry.file, []).append(entry)
    for file, found in by_file.items():
        parts += [f"## Keys of `{file}`\n", _listed(found)]
    return "\n".join(parts)


def _primary_page(name: str) -> str:
    said, _, command = read(CONF / f"{name}.yaml").head.partition(": python -m ")
    parts = [f"# {name}\n", f"{plain(said)}: `python -m {command}`\n", f"## Keys of `conf/{name}.yaml`\n"]
    if name == "tune":
        parts.insert(2, "All keys of [](train.md) and of every group are there, too.\n")
    return "\n".join([*parts, _listed(primary_entries(name))])


def plugin_entries(prefix: str) -> list[Entry]:
    """Return the keys of a plugin's settings."""
    target, _ = PLUGINS[prefix]
    home = f"plugins.{target}" if target.startswith("hydra_plugins") else target
    return [Entry(f"{prefix}.{name}", "", meaning, target) for name, meaning in arguments(home).items()]


def _plugins_page() -> str:
    parts = [
        "# hydra.sweeper, hydra.launcher\n",
        "Keys of what searches and what ships, Hydra's two plugins of ours.\n",
    ]
    for prefix, (_, when) in PLUGINS.items():
        parts += [f"## {prefix}\n", f"{when.capitalize()}.\n", _listed(plugin_entries(prefix))]
    return "\n".join(parts)


def _overview() -> str:
    commands = "\n".join(f"[](configuration/{name}.md)\n: {_said(name)}\n" for name in PRIMARIES)
    groups = "\n".join(f"[](configuration/{name.replace('/', '-')}.md)\n: {text}\n" for name, text in GROUPS.items())
    plugins = "[](configuration/plugins.md)\n: Searching, and shipping a sweep's jobs.\n"
    names = [*PRIMARIES, *(name.replace("/", "-") for name in GROUPS), "plugins"]
    listed = "\n".join(f"configuration/{name}" for name in names)
    tree = f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    return "\n".join([_BEGINNING, "## Commands\n", commands, "## Groups\n", groups, "## Plugins\n", plugins, tree])


def _said(name: str) -> str:
    return plain(read(CONF / f"{name}.yaml").head.partition(": python -m ")[0]) + "."
