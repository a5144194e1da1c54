"""``aivmc config``."""

from __future__ import annotations

from pathlib import Path

from aivmc.backends.targets import resolve_all
from aivmc.cli.output import print_json, print_text
from aivmc.configuration import Configuration, manifest_config, read_settings
from aivmc.settings import json_schema


def run(path: Path | None, schema: bool, as_json: bool) -> None:
    if schema:
        print_json(json_schema())
        return
    configuration = Configuration.of({} if path is None else read_settings(path))
    targets = resolve_all(configuration.values["targets"])
    manifest = manifest_config(targets, configuration.seed)
    if as_json:
        requires = {t.name: list(t.requires) for t in targets}
        print_json(
            {"settings": configuration.to_json(), "manifest": manifest, "requires": requires}
        )
        return
    print_text(configuration.to_toml())
    for target in targets:
        told = ", ".join(
            f"{name} {value}"
            for name, value in manifest["targets"][target.name].items()
            if value and isinstance(value, str)
        )
        needs = ", ".join(target.requires)
        print_text(f"\n# {target.name}: {told}\n#   needs {needs}")
