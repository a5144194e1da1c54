"""Reads a model's protobuf, and the files beside it that hold its weights.

Nothing outside the model's folder is ever opened for external data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from aivmc.importer._errors import ImportModelError
from aivmc.ir.constants import Array

_PROTOBUF_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Folder:
    """Where external data may lie: ``path`` and below. None for a model that came without one."""

    path: Path | None

    def read(self, location: str, offset: int, length: int) -> Array:
        """``length`` bytes of a file. ``ImportModelError`` if it leaves the folder or is short."""
        path = self._resolve(location)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                data = np.fromfile(file, np.uint8, length)
        except OSError as error:
            raise ImportModelError(f"can't read external data {location!r}: {error}") from None
        if data.size != length:
            raise ImportModelError(
                f"external data {location!r} is too short: bytes {offset} to {offset + length} "
                f"are needed and it has {path.stat().st_size}"
            )
        return data

    def _resolve(self, location: str) -> Path:
        if self.path is None:
            raise ImportModelError(
                f"the model's weights are in the file {location!r}; "
                "give the model as a path, so that its folder is known"
            )
        named = PurePosixPath(location)
        if not location or named.is_absolute() or ".." in named.parts or "\\" in location:
            raise ImportModelError(f"external data {location!r} leaves the model's folder")
        try:
            folder = self.path.resolve()
            path = (folder / named).resolve()
            outside = not path.is_relative_to(folder)
            missing = not path.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            raise ImportModelError(f"external data {location!r}: {error}") from None
        if outside:
            raise ImportModelError(f"external data {location!r} leaves the model's folder")
        if missing:
            raise ImportModelError(f"external data {location!r} is missing beside the model")
        return path


def load_model(source: str | Path | bytes | onnx.ModelProto) -> tuple[Any, Folder]:
    """The ``ModelProto`` and its folder. ``ImportModelError`` for what is not an ONNX model."""
    if isinstance(source, onnx.ModelProto):
        return _checked(source, "the model"), Folder(None)
    if isinstance(source, bytes):
        return _checked(_parse(source, "the model"), "the model"), Folder(None)
    path = Path(source)
    return _checked(_parse(_file_bytes(path), str(path)), str(path)), Folder(path.parent)


def _file_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            state = "is not a file" if path.exists() else "does not exist"
            raise ImportModelError(f"{path} {state}; give the path of an ONNX model")
        if path.stat().st_size > _PROTOBUF_LIMIT:
            raise ImportModelError(
                f"{path} is over 2 GiB, more than protobuf reads; save its weights as external data"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise ImportModelError(f"can't read {path}: {error}") from None


def _parse(data: bytes, name: str) -> Any:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError, MemoryError):
        raise ImportModelError(f"{name} is not an ONNX model, or is cut short") from None
    return model


def _checked(model: Any, name: str) -> Any:
    if not model.HasField("graph") or not model.opset_import:
        raise ImportModelError(f"{name} is not an ONNX model: it has no graph or names no opset")
    if not _is_text(model):
        raise ImportModelError(f"{name} is not an ONNX model: it has a name that is not UTF-8")
    return model


def _is_text(message: Any) -> bool:
    """Whether all strings of a message are; protobuf gives others as bytes, or raises."""
    if isinstance(message, onnx.TensorProto):  # most of its fields are data
        fields = [message.name, *(text for e in message.external_data for text in (e.key, e.value))]
        return all(isinstance(text, str) for text in fields)
    try:
        for field, value in message.ListFields():
            if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
                continue
            is_text = _is_text if field.type == FieldDescriptor.TYPE_MESSAGE else _is_str
            if not all(
                map(is_text, [value] if isinstance(value, str | bytes | Message) else value)
            ):
                return False
    except UnicodeDecodeError:
        return False
    return True


def _is_str(text: object) -> bool:
    return isinstance(text, str)
