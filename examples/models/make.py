"""Write an example model: `python -m examples.models.make resnet50 resnet50.onnx [--small]`.

The file is a function of the model's name and options: the same bytes on every machine.
"""

import argparse
from collections.abc import Callable

import onnx

from examples.models import bert_base, gpt2_step, mobilenet_v2, resnet50, resnet50_int8
from examples.models.graph import save

Build = Callable[[], onnx.ModelProto]

FULL: dict[str, Build] = {
    "resnet50": resnet50.build,
    "resnet50_int8": resnet50_int8.build,
    "mobilenet_v2": mobilenet_v2.build,
    "bert_base": bert_base.build,
    "gpt2_step": gpt2_step.build,
}
SMALL: dict[str, Build] = {
    "resnet50": lambda: resnet50.build(resnet50.SMALL),
    "resnet50_int8": lambda: resnet50_int8.build(resnet50_int8.SMALL),
    "mobilenet_v2": lambda: mobilenet_v2.build(mobilenet_v2.SMALL),
    "bert_base": lambda: bert_base.build(bert_base.SMALL),
    "gpt2_step": lambda: gpt2_step.build(gpt2_step.SMALL),
}


def make(name: str, path: str, small: bool = False) -> None:
    """Write the named model (a key of `FULL`) to `path`."""
    save((SMALL if small else FULL)[name](), path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write an example ONNX model, seeded weights.")
    parser.add_argument("model", choices=sorted(FULL))
    parser.add_argument("path", help="the ONNX file to write")
    parser.add_argument("--small", action="store_true", help="a narrow, shallow variant")
    options = parser.parse_args()
    make(options.model, options.path, options.small)


if __name__ == "__main__":
    main()
