"""Small YOLO-pose data sets on disk, written by hand as other tools write them."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

SIZE = (100, 50)
YAML = "train: images/train\nval: images/val\nnames: [fox]\nkpt_shape: [2, 3]\nkpt_names: {0: [nose, tail]}\n"
LINE = "0 0.5 0.5 0.2 0.4 0.25 0.5 2 0.75 0.5 1"


def image(path: Path, size: tuple[int, int] = SIZE, **saving: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path, **saving)  # pyright: ignore[reportArgumentType]


def data_set(folder: Path, labels: Mapping[str, str | bytes | None] | None = None, *, yaml: str | bytes = YAML) -> Path:
    """``data.yaml`` and images with their labels, by the image's path; None for an image without labels."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_bytes(yaml.encode() if isinstance(yaml, str) else yaml)
    for name, text in ({"images/train/a.png": LINE, "images/val/b.png": LINE} if labels is None else labels).items():
        image(folder / name)
        if text is not None:
            head, found, tail = name.rpartition("images/")
            file = folder / (f"{head}labels/{tail}" if found else name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.with_suffix(".txt").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder
