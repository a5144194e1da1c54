"""aivm.toml: one table of settings, from which file, schema, page and manifest follow."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import aivmc
from aivmc.backends.cpu.targets import resolve
from aivmc.configuration import Configuration, manifest_config, read_settings, toolchain
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.settings import SETTINGS, json_schema
from tests.small_model import small_model
from tests.test_docs import blocks, page


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "aivm.toml"
    path.write_text(text, "utf-8")
    return path


def resolved(tmp_path: Path, text: str) -> Configuration:
    return Configuration.of(read_settings(written(tmp_path, text)))


def test_nothing_is_needed(tmp_path: Path) -> None:
    default = Configuration.of({})
    assert resolved(tmp_path, "").values == default.values
    assert default.values["targets"] == ["x86-64-v3"]
    assert default.seed == SeedPolicy("fixed", 0)
    assert default.to_json()["toolchain"] == toolchain()


EVERY = """
numerics = 1
targets = ["llvm", "x86-64-v4", "cpu"]
threads = "any"
[importer]
version = 1
[passes]
plugins = ["a.b"]
[shapes]
x = [1, "N"]
"ü.\\"y" = []
[seed]
policy = "fixed"
value = "115792089237316195423570985008687907853269984665640564039457584007913129639935"
[hardware]
rounding = "nearest-even"
subnormals = "kept"
exceptions = "masked"
contraction = "explicit"
fast-math = "never"
float-tensor-cores = "unused"
"""


@pytest.mark.parametrize("text", ["", EVERY, '[seed]\npolicy = "vrf"', "[seed]\nvalue = 7"])
def test_what_is_printed_is_a_file_of_the_same_settings(tmp_path: Path, text: str) -> None:
    configuration = resolved(tmp_path, text)
    printed = configuration.to_toml()
    again = resolved(tmp_path, printed)
    assert again.values == configuration.values
    assert again.to_toml() == printed
    assert tomllib.loads(printed) == configuration.to_json()


def test_every_setting(tmp_path: Path) -> None:
    configuration = resolved(tmp_path, EVERY)
    assert configuration.values["targets"] == ["x86-64-v3", "x86-64-v4"]
    assert configuration.values["shapes"] == {"x": [1, "N"], 'ü."y': []}
    assert configuration.seed == SeedPolicy("fixed", 2**256 - 1)
    tools = {f"toolchain.{name}" for name in toolchain()}
    assert set(configuration.values) == {s.key for s in SETTINGS} >= tools


BAD = [
    ("target = []", "no setting 'target': did you mean 'targets'"),
    ("[hardware]\nsubnormal = 1", "'hardware.subnormal': did you mean 'hardware.subnormals'"),
    ("[hardware]\nftz = 1", "no setting 'hardware.ftz': did you mean 'hardware."),
    ("subnormals = 1", "no setting 'subnormals': did you mean 'hardware.subnormals'"),
    ("policy = 1", "no setting 'policy': did you mean 'seed.policy'"),
    ("zzz = 1", "no setting 'zzz'; there are numerics, targets"),
    ("seed = 7", "no setting 'seed': it is a table, of policy, value"),
    ('"seed.value" = 7', "no setting '\"seed.value\"'"),
    ("numerics = 2", "numerics is 2, and can only be 1"),
    ("numerics = true", "numerics is True, and can only be 1"),
    ("numerics = 1.0", "numerics is 1.0, and can only be 1"),
    ("targets = []", "targets is empty"),
    ('targets = "cpu"', "targets is 'cpu', and must be of type array"),
    ("targets = [3]", "targets is 3, and must be of type string"),
    ('targets = ["abacus"]', "unknown target 'abacus'"),
    ("[shapes]\nx = 3", "shapes is 3, and must be of type array"),
    ("[shapes]\nx = [1.5]", "shapes is 1.5, and must be of type integer or string"),
    ("shapes = 3", "shapes is 3, and must be of type object"),
    ('[seed]\npolicy = "dice"', "can only be 'fixed' or 'input' or 'vrf'"),
    ("[seed]\nvalue = -1", "seed.value is -1, and must be at least 0"),
    ('[seed]\nvalue = "0x1"', "seed.value is '0x1', which is not of the form"),
    ("[seed]\nvalue = true", "seed.value is True, and must be of type integer or string"),
    ('[seed]\npolicy = "vrf"\nvalue = 1', "the seed comes with each request"),
    (f'[seed]\nvalue = "{2**256}"', r"a seed is 0 to 2\^256 - 1"),
    ('[hardware]\nsubnormals = "flushed"', "can only be 'kept'"),
    ('[toolchain]\nllvm = "3.0"', "toolchain.llvm must be 3.0, and .* is installed"),
    ("a = 1\na = 2", "is not valid TOML"),
    ("= 1", "is not valid TOML"),
    ("#" * (1 << 21), "longer than"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[m for _, m in BAD])
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AivmcError, match=message):
        _ = resolved(tmp_path, text).seed


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(AivmcError, match="cannot read"):
        read_settings(tmp_path / "missing")
    (tmp_path / "latin").write_bytes(b'threads = "\xe9"')
    with pytest.raises(AivmcError, match="is not valid TOML"):
        read_settings(tmp_path / "latin")


# What a schema alone can't say: which targets and tools there are, that policy and value go
# together, that 1.0 is no integer, and what is TOML.
BEYOND_THE_SCHEMA = (
    *("unknown target", "comes with each request", "a seed is 0", "toolchain.llvm", "1.0"),
    *("not valid TOML", "longer than"),
)


def test_the_schema_allows_what_we_allow(tmp_path: Path) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good: list[Any] = [{}, tomllib.loads(EVERY), Configuration.of({}).to_json()]
    for value in good:
        validator.validate(value)
    for text, message in BAD:
        if not any(words in message for words in BEYOND_THE_SCHEMA):
            assert not validator.is_valid(tomllib.loads(text)), text


def test_the_page_lists_the_settings(tmp_path: Path) -> None:
    text = page("configuration.md")
    rows = [
        f"| `{s.key}` | {'' if s.default is None else f'`{json.dumps(s.default)}`'} | {s.meaning} |"
        for s in SETTINGS
    ]
    assert "\n".join(["|---|---|---|", *rows, ""]) in text
    (example,) = blocks(text, "toml")
    assert resolved(tmp_path, example).seed.policy == "vrf"


def test_the_manifest_speaks_of_targets_not_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [resolve("cpu"), resolve("aarch64")]
    config = manifest_config(targets, SeedPolicy())
    assert config["targets"]["aarch64"] == {
        "triple": "aarch64-linux-gnu",
        "os": "linux",
        "abi": "gnu",
        "cpu": "generic",
        "features": "+neon",
        "flags": {"opt": 3, "reloc": "pic", "codemodel": "default"},
    }
    enforced = [name for names in config["enforced"].values() for name in names]
    assert sorted(enforced) == sorted(config["hardware"])
    compiled = aivmc.compile(small_model()).file.manifest.config
    for name in ("platform.machine", "platform.system", "platform.node"):
        monkeypatch.setattr(name, lambda: "another host")
    assert manifest_config(targets, SeedPolicy()) == config
    assert manifest_config([resolve("cpu")], SeedPolicy()) == compiled
