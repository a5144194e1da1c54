"""Published ONNX models, taken from their wheels at run time and checked against pinned digests.

The wheels are never installed: their dependencies and code play no part, only one member each.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOWNLOAD = (
    *("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"),
    *("--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=30"),
)


class ModelUnavailableError(Exception):
    """The model could not be downloaded, or is not the pinned file."""


@dataclass(frozen=True)
class Published:
    """One ONNX file inside a wheel: the pinned requirement, the member, its SHA-256."""

    requirement: str
    member: str
    sha256: str


MODELS = {
    # PaddleOCR's PP-OCRv4 text-line recognizer: CNN and transformer, dynamic width. Apache-2.0.
    "ppocr_rec": Published(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    ),
    # A YOLOX detector of characters in captchas. MIT.
    "yolox_det": Published(
        "ddddocr==1.6.1",
        "ddddocr/common_det.onnx",
        "6faa8ea85a8c1a634e5050c4a138fca10f30194e0d7abbe9ade1fcd423af6ed6",
    ),
    # Two small networks: stand-ins for a regressor and for a validity classifier. MIT.
    "mlp": Published(
        "surfaces-onnx-files==0.0.1",
        "surfaces_onnx_files/gradient_boosting_regressor.onnx",
        "284137f114c78852b169fbe2cfc45d2840ade35af28bfce50bf623c948afe42b",
    ),
    "classifier": Published(
        "surfaces-onnx-files==0.0.1",
        "surfaces_onnx_files/k_neighbors_classifier.validity.onnx",
        "f2201862fa79d2970b674c04df4e71a07f27736c0a40220e79bdd121fc1430f4",
    ),
}


def published(name: str) -> Path:
    """The path of the named model (a key of `MODELS`), downloaded on the first call.

    Kept in $XDG_CACHE_HOME/aivmc/models, or in .cache/models of the checkout.
    Raises `ModelUnavailableError` without a network, or when the file is not the pinned one.
    """
    model = MODELS[name]
    path = cache_folder("models") / f"{name}.onnx"
    if not path.exists() or _sha256(path.read_bytes()) != model.sha256:
        _write_whole(path, _extract(model))
    return path


def cache_folder(kind: str) -> Path:
    """The folder for files of this kind that can be made again; it exists on return."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) / "aivmc" if base else ROOT / ".cache") / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _extract(model: Published) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *DOWNLOAD, "--dest", folder, model.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            reason = done.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
            raise ModelUnavailableError(
                f"cannot download {model.requirement}: {reason[0]} (is there a network?)"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            data = wheel.read(model.member)
    if (digest := _sha256(data)) != model.sha256:
        raise ModelUnavailableError(
            f"{model.requirement} holds another {model.member} than expected: "
            f"sha256 {digest}, pinned {model.sha256}"
        )
    return data


def _write_whole(path: Path, data: bytes) -> None:
    """Write the file or nothing: other processes may fill the same cache."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.replace(file.name, path)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
