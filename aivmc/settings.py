"""The settings of ``aivm.toml``: each one's key, allowed values, default and meaning.

The JSON Schema and docs/configuration.md follow from this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

from aivmc.backends.cpu.targets import DEFAULT
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.manifest import NUMERICS_VERSION
from aivmc.kernel_file.seed_policy import POLICIES

Schema: TypeAlias = dict[str, Any]

IMPORTER_VERSION = 1
"""Another one where the importer reads some model as another program than before."""

ENTRY, AUDIT = "entry", "audit"


@dataclass(frozen=True)
class Setting:
    """One key of the file, dotted where it is in a table; its JSON Schema, default and meaning.

    ``enforced`` says how a setting of the hardware is: by the code's entry, which sets the
    processor's control register on every thread, or by the audit of every instruction.
    """

    key: str
    schema: Schema
    default: Any
    meaning: str
    enforced: str = ""

    @property
    def name(self) -> str:
        """The key without its table."""
        return self.key.rpartition(".")[2]


def _only(value: Any) -> Schema:
    return {"const": value}


_STRINGS: Schema = {"type": "array", "items": {"type": "string"}}
_DIM: Schema = {"type": ["integer", "string"]}

SETTINGS: tuple[Setting, ...] = (
    Setting("numerics", _only(NUMERICS_VERSION), NUMERICS_VERSION, "Version of docs/numerics.md."),
    Setting(
        "targets",
        {**_STRINGS, "minItems": 1},
        [DEFAULT],
        f"What to compile for, as compile's --target names it; cpu and llvm mean {DEFAULT}.",
    ),
    Setting(
        "threads",
        _only("any"),
        "any",
        "How many threads may run the kernel: no bit depends on it.",
    ),
    Setting(
        "importer.version",
        _only(IMPORTER_VERSION),
        IMPORTER_VERSION,
        "Version of the way models are read.",
    ),
    Setting(
        "passes.plugins",
        _STRINGS,
        [],
        "Python modules with passes to add. All passes that ran, with options and versions, are in "
        "the kernel's ledger.",
    ),
    Setting(
        "shapes",
        {"type": "object", "additionalProperties": {"type": "array", "items": _DIM}},
        {},
        "Dims by input, integers or names of symbols; others stay as the model has them.",
    ),
    Setting("seed.policy", {"enum": list(POLICIES)}, "fixed", "Where random ops' seed comes from."),
    Setting(
        "seed.value",
        {"type": ["integer", "string"], "pattern": "^[0-9]{1,78}$", "minimum": 0},
        None,
        "The seed with the policy fixed, 0 to 2^256 - 1, as a string where TOML has no such "
        "integer. Default: 0.",
    ),
    Setting(
        "hardware.rounding",
        _only("nearest-even"),
        "nearest-even",
        "Rounding mode of every float operation.",
        ENTRY,
    ),
    Setting(
        "hardware.subnormals",
        _only("kept"),
        "kept",
        "Subnormal operands and results: flush-to-zero and denormals-are-zero are off.",
        ENTRY,
    ),
    Setting(
        "hardware.exceptions",
        _only("masked"),
        "masked",
        "Floating-point exceptions interrupt nothing.",
        ENTRY,
    ),
    Setting(
        "hardware.contraction",
        _only("explicit"),
        "explicit",
        "A product and a sum are fused where the program has fma, and nowhere else.",
        AUDIT,
    ),
    Setting(
        "hardware.fast-math",
        _only("never"),
        "never",
        "Instructions that reorder, approximate or assume no NaN.",
        AUDIT,
    ),
    Setting(
        "hardware.float-tensor-cores",
        _only("unused"),
        "unused",
        "Matrix units that round otherwise, TF32 among them.",
        AUDIT,
    ),
    Setting("toolchain.apache-tvm", {"type": "string"}, None, "Required version of TVM."),
    Setting("toolchain.llvmlite", {"type": "string"}, None, "Required version of llvmlite."),
    Setting("toolchain.llvm", {"type": "string"}, None, "Required version of LLVM."),
)
BY_KEY = {setting.key: setting for setting in SETTINGS}
TABLES = {key.partition(".")[0] for key in BY_KEY if "." in key}


def json_schema() -> Schema:
    """JSON Schema (2020-12) of ``aivm.toml``."""
    root = _object({})
    for setting in SETTINGS:
        table, dot, name = setting.key.partition(".")
        place = root["properties"].setdefault(table, _object({})) if dot else root
        default = {} if setting.default is None else {"default": setting.default}
        place["properties"][name or table] = {
            "description": setting.meaning,
            **setting.schema,
            **default,
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "aivm.toml", **root}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def check_setting(key: str, value: Any) -> None:
    """``AivmcError`` for an unknown key, with a suggestion, and for a value that isn't allowed."""
    if key not in BY_KEY:
        raise AivmcError(f"there is no setting {key!r}{_suggestion(key)}")
    wrong = _fault(BY_KEY[key].schema, value)
    if wrong:
        raise AivmcError(f"the setting {key} {wrong}")


def _suggestion(key: str) -> str:
    if key in TABLES:
        inner = ", ".join(k.partition(".")[2] for k in BY_KEY if k.startswith(f"{key}."))
        return f": it is a table, of {inner}"
    close = get_close_matches(key, BY_KEY, 1, 0.5)
    # A name without its table is close to none by letters.
    close += [s.key for s in SETTINGS if s.name == key.rpartition(".")[2]]
    return f": did you mean {close[0]!r}?" if close else f"; there are {', '.join(BY_KEY)}"


_TYPES: dict[str, type] = {"integer": int, "string": str, "array": list, "object": dict}


def _fault(schema: Schema, value: Any) -> str:
    """Why ``value`` doesn't meet the schema, in the part of JSON Schema that is used here."""
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if allowed is not None:
        good = any(type(a) is type(value) and a == value for a in allowed)
        return "" if good else f"is {value!r}, and can only be {' or '.join(map(repr, allowed))}"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(type(value) is _TYPES[kind] for kind in kinds):
        return f"is {value!r}, and must be of type {' or '.join(kinds)}"
    return _inner_fault(schema, value)


def _inner_fault(schema: Schema, value: Any) -> str:
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            return "is empty"
        return next(filter(None, (_fault(schema["items"], v) for v in value)), "")
    if isinstance(value, dict):
        inner = schema["additionalProperties"]
        return next(filter(None, (_fault(inner, v) for v in value.values())), "")
    if isinstance(value, int) and value < schema.get("minimum", value):
        return f"is {value}, and must be at least {schema['minimum']}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return f"is {value!r}, which is not of the form {schema['pattern']}"
    return ""
