"""Write what the demo gives on this machine into README.md, for both models.

`python -m examples.ocr.state_values`. For the maintainer, after a change that moves identities or
bits on purpose; CHANGELOG.md says why.
"""

import re

from examples.ocr.demo import PICTURE, README, SMALL, Reading, read_line
from examples.published import published

THREADS = 2


def with_values(readme: str, label: str, reading: Reading) -> str:
    """The README with the two lines of this label stating `reading`."""
    for key, value in (("identity", reading.identity), ("output", reading.output)):
        readme, count = re.subn(
            rf"^{label} {key}: .*$", f"{label} {key}: {value}", readme, flags=re.MULTILINE
        )
        if count != 1:
            raise ValueError(f"README.md has {count} lines '{label} {key}: …', not one")
    return readme


def main() -> None:
    text = README.read_text("utf-8")
    for label, model in (("demo", published("ppocr_rec")), ("fallback", SMALL)):
        text = with_values(text, label, read_line(model, PICTURE, THREADS))
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
