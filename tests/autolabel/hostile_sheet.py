"""Write the hostile images to a folder, and beside it a contact sheet of how each is read.

python -m tests.autolabel.hostile_sheet FOLDER
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from autolabel.errors import ImageError
from autolabel.images import decode_image
from tests.autolabel.hostile_images import Hostile, hostile_images


def contact_sheet(images: Sequence[Hostile]) -> Image.Image:
    """How each is read, or why it is not, in a table of little pictures."""
    columns, cell = 10, (150, 92)
    sheet = Image.new("RGB", (columns * cell[0], -(-len(images) // columns) * cell[1]), "white")
    pen = ImageDraw.Draw(sheet)
    for i, item in enumerate(images):
        x, y = i % columns * cell[0], i // columns * cell[1]
        try:
            seen = Image.fromarray(decode_image(item.data, subject=item.name))
            size = f"{seen.width}x{seen.height}"
            sheet.paste(seen.resize((96, 64), Image.Resampling.NEAREST), (x + 2, y + 2))
            pen.text((x + 100, y + 2), size, fill="grey")
        except ImageError as error:
            pen.multiline_text(
                (x + 4, y + 4), f"{error.reason}\n{error.message[:22]}\n{error.message[22:44]}", fill="red"
            )
        pen.text((x + 2, y + 70), item.name[:24], fill="black")
    return sheet


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    images = hostile_images()
    for item in images:
        (folder / item.name).write_bytes(item.data)
    contact_sheet(images).save(folder.with_name(f"{folder.name}-contact-sheet.png"))


if __name__ == "__main__":
    main()
