"""Draw the demo's picture: `python -m examples.ocr.make_picture [TEXT] [PICTURE.png]`.

The committed line.png is what the demo reads; a FreeType of another version may draw other pixels.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TEXT = "The same bits on every machine, 2026"
PICTURE = Path(__file__).with_name("line.png")

Colour = tuple[int, int, int]
PAPER: Colour = (246, 243, 235)
INK: Colour = (28, 36, 66)


def font_of(size: float) -> ImageFont.FreeTypeFont:
    """Pillow's bundled font, so that no font of the system takes part."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow has no FreeType: install a binary wheel of Pillow")
    return font


def draw_line(
    text: str, size: float = 40, margin: int = 12, paper: Colour = PAPER, ink: Colour = INK
) -> Image.Image:
    """One line of text as an RGB picture, `margin` pixels around the font's line box."""
    font = font_of(size)
    ascent, descent = font.getmetrics()
    width = round(font.getlength(text)) + 2 * margin
    picture = Image.new("RGB", (width, ascent + descent + margin), paper)
    ImageDraw.Draw(picture).text((margin, margin // 2), text, fill=ink, font=font)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a line of text for the demo to read.")
    parser.add_argument("text", nargs="?", default=TEXT)
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE)
    options = parser.parse_args()
    draw_line(options.text).save(options.picture, optimize=True)


if __name__ == "__main__":
    main()
