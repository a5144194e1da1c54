"""The demo: read a line of text with a compiled model and compare the bits with the README's.

`python -m examples.ocr.demo` compiles the recognizer for any width of picture, runs the kernel
from its saved file, and exits 1 unless kernel identity and output digest are those stated.
Without a network it reads with the small model that lies in this folder.
"""

import argparse
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import aivmc
from examples.ocr.recognize import HEIGHT, alphabet, decode, prepare, read_picture
from examples.published import ROOT, ModelUnavailableError, cache_folder, published

HERE = Path(__file__).parent
PICTURE = HERE / "line.png"
SMALL = HERE / "small.onnx"
README = ROOT / "README.md"


@dataclass(frozen=True)
class Reading:
    """What one run of the demo gave; `identity` and `output` are compared with the README."""

    text: str
    identity: str  # "aivm1:<hex>"
    output: str  # "sha256:<hex>", of the output tensor


def choose_model(fallback: bool) -> tuple[str, Path]:
    """The README's label of the model, and its file: the published one where it can be had."""
    if not fallback:
        try:
            return "demo", published("ppocr_rec")
        except ModelUnavailableError as error:
            print(f"{error}\nreading with the small model instead", file=sys.stderr)
    return "fallback", SMALL


def read_line(model: Path, picture: Path, threads: int) -> Reading:
    """Compile the model for any width, save it, load it again, and read the picture with it."""
    path = cache_folder("demo") / f"{model.stem}.aivm"
    print(f"compiling {model.name} to {path}", file=sys.stderr)
    aivmc.compile(model, target="cpu", shapes={"x": (1, 3, HEIGHT, "W")}).save(path)
    kernel = aivmc.load(path)
    (output,) = kernel.run({"x": prepare(read_picture(picture))}, threads=threads).values()
    text = decode(output[0], alphabet(model)).strip()
    return Reading(text, kernel.identity, f"sha256:{aivmc.tensor_digest(output)}")


def stated_values(readme: str, label: str) -> dict[str, str]:
    """The README's lines "LABEL identity: …" and "LABEL output: …", those that are there."""
    lines = re.findall(rf"^{label} (identity|output): (\S+)$", readme, re.MULTILINE)
    return dict(lines)


def differences(reading: Reading, stated: dict[str, str], label: str) -> list[str]:
    """One line for each value that is not what the README states."""
    found = {"identity": reading.identity, "output": reading.output}
    return [
        f"README.md states    {label} {key}: {stated.get(key, '(nothing)')}\n"
        f"this machine gives  {label} {key}: {value}"
        for key, value in found.items()
        if value != stated.get(key)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Read a line of text; check the README's bits.")
    parser.add_argument("--fallback", action="store_true", help="use the small model")
    parser.add_argument("--threads", type=int, default=2, help="changes speed, never bits")
    parser.add_argument("--json", action="store_true", help="print only JSON")
    options = parser.parse_args()
    label, model = choose_model(options.fallback)
    reading = read_line(model, PICTURE, options.threads)
    wrong = differences(reading, stated_values(README.read_text("utf-8"), label), label)
    if options.json:
        print(json.dumps({"model": model.name, **asdict(reading), "as_stated": not wrong}))
    else:
        print(f"text:     {reading.text}")
        print(f"identity: {reading.identity}")
        print(f"output:   {reading.output}")
        if not wrong:
            print("Both are what README.md states: this machine computes our bits.")
    if wrong:
        print("\n".join(["The bits differ from the README's:", *wrong]), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
