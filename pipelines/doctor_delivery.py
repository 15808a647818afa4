"""How ``autolabel doctor`` tries the project's own delivery policy: a crop goes that way, and the server must show it.

``local-files`` needs a file where the server reads: it is put among the project's crops for as long as the check lasts.
What stands behind ``url-prefix`` belongs to others, so only a crop that was copied there can be looked at.
"""

import io
import secrets
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from autolabel.labelstudio.delivery import Delivery, deliver
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.golden import picture
from autolabel.labelstudio.lock import alone_in
from autolabel.labelstudio.server import Server
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import make_folder
from autolabel.progress import SILENT, Progress
from autolabel.project import read_project
from pipelines.doctor_check import Check, Outcome

NAME = "delivery"


def delivery_check(server: Server, folder: Path, scratch: int) -> Check:
    """Whether the server shows a crop that is delivered as the project's settings say.

    Args:
        server: The server.
        folder: The project folder.
        scratch: A project to upload to; with ``local-files`` the project's own connection is used where it has one.

    Raises:
        AutolabelError: The server refuses, or does not find the crop.
    """
    settings, crops = read_project(folder).labelstudio, ReviewFolder.of(folder).crops
    policy = Delivery(settings.delivery)
    if policy is Delivery.URL_PREFIX:
        return _served_by_others(server, crops, settings.prefix)
    project = settings.project or scratch
    if policy is Delivery.UPLOAD:
        with tempfile.TemporaryDirectory(prefix="autolabel-doctor-") as place:
            return _shown(server, scratch, Path(place), policy, "")
    make_folder(crops)
    return _shown(server, project, crops, policy, settings.prefix)


def _shown(server: Server, project: int, place: Path, policy: Delivery, prefix: str) -> Check:
    crop, content = place / f"autolabel-doctor-{secrets.token_hex(8)}.jpg", io.BytesIO()
    Image.fromarray(picture(0)).save(content, "JPEG")
    try:
        crop.write_bytes(content.getvalue())
        address = deliver(server, project, [crop], policy, prefix)[crop.name]
        same = server.served(address) == content.getvalue()
    finally:
        crop.unlink(missing_ok=True)
    if same:
        return Check(NAME, Outcome.OK, f"{policy}: a picture came back byte for byte")
    return Check(NAME, Outcome.FAILED, f"{policy}: {address} shows something else")


def _served_by_others(server: Server, crops: Path, prefix: str) -> Check:
    crop = next(iter(sorted(crops.glob("*.jpg"))), None)
    if not prefix.startswith(("http://", "https://")):
        return Check(NAME, Outcome.NOTE, f"{prefix}: only a browser can open it, so look at one task")
    if crop is None:
        return Check(NAME, Outcome.NOTE, f"{prefix}: no crop yet to look for; copy {crops} there after a push")
    address = deliver(server, 0, [crop], Delivery.URL_PREFIX, prefix)[crop.name]
    if server.served(address) == crop.read_bytes():
        return Check(NAME, Outcome.OK, f"{address} is {crop}")
    return Check(NAME, Outcome.FAILED, f"{address} is not {crop}")


def golden_delivery(folder: Path, url: str) -> dict[str, str]:
    """The settings by which golden poses go a project's own way; their crops stand in :func:`borrowed_crops`."""
    settings = read_project(folder).labelstudio
    match Delivery(settings.delivery):
        case Delivery.UPLOAD:
            return {}
        case Delivery.URL_PREFIX:
            return {"delivery": Delivery.URL_PREFIX, "prefix": settings.prefix}
        case Delivery.LOCAL_FILES:
            # The address that local files have. The project's own connection lets the server show them.
            place = quote(
                "/".join(part for part in (settings.prefix.strip("/"), ReviewFolder.of(folder).crops.name) if part)
            )
            return {"delivery": Delivery.URL_PREFIX, "prefix": f"{url}/data/local-files/?d={place}"}


@contextmanager
def borrowed_crops(folder: Path, golden: Path, progress: Progress = SILENT) -> Generator[None]:
    """With ``local-files`` let the golden project write its crops among the project's own; they go at the end."""
    if Delivery(read_project(folder).labelstudio.delivery) is not Delivery.LOCAL_FILES:
        yield
        return
    review, mine = ReviewFolder.of(folder), ReviewFolder.of(golden)
    with alone_in(review, progress):
        make_folder(review.crops)
        make_folder(mine.path)
        mine.crops.symlink_to(review.crops.resolve(), target_is_directory=True)
        try:
            yield
        finally:
            for record in read_task_map(mine.taskmap).values():
                (mine.crops / record.crop).unlink(missing_ok=True)
