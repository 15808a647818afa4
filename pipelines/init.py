"""``autolabel init``: a new project."""

from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ExistsError, InputError
from autolabel.manifest import make_folder, write_text
from autolabel.project import FILE, Project, read_project, toml_value
from autolabel.skeleton import Skeleton

_TEMPLATE = """# An autolabel project. Every setting that is commented out shows its default.
name = {name}

[corpus]
images = {images}
skeleton = {skeleton}
# boxes = ""            # manifest with the boxes to label (autolabel import / detect); else whole images
# labelled = ""         # manifest of labelled poses to start from; without it and network.weights people label first
# calibration = ""      # manifest of labelled poses to calibrate on; their images are never trained on
# test = ""             # manifest of labelled poses that every round's network is measured on
# base = ""             # manifest of labelled poses on which no new network may get worse; else test

[promise]
# max_bad = 0.02        # of the accepted poses at most this share is bad ...
# confidence = 0.95     # ... with this confidence over the audit's draw
# audit = 500           # tasks of the last step: the audit, what follows, the rest of them review
# plants = 0            # known errors among them: 60 show what share of errors reviewers find; 0 assumes all
# blind = 0             # audited poses placed without a pre-label too: 20 tell if it persuades; with decoys 40 tasks
# keypoints = 0         # untouched keypoints of reviewed poses that are looked at again
# images = 0            # whole images on which people look for somebody without a box

[rounds]
# count = 3             # rounds of review before the audit
# budget = 200          # tasks a round
# first = 100           # images (people, where boxes are given) that people label before there is any network
# random_share = 0.2    # of them drawn at random, to measure by; never trained on
# order = "doubt"       # or "clean" (errors removed a second), "learn" (unlike what was seen), "random"
# replay = 0.5          # share of every batch from corpus.labelled
# hard_share = 0.5      # largest share of every batch from poses that were opened because they were doubted
# fill_below = 0.02     # keypoints that nobody labelled are taught by the last network where p_gross is less; 0: never
# gate_share = 0.0      # of the random draws, placed without a pre-label to compare a new network with the old one: 0.5
                        # with 100 or more draws a round; 0 keeps none, and only corpus.base can refuse a network
# base_drop = 0.01      # mean OKS that a new network may lose on corpus.base (or corpus.test)
# when_blind = "promote"  # with too few poses to compare by, use the new network; or "keep" the old one
# budget_total = 0      # poses that people may open in all rounds together, before the audit; 0 sets no limit
# least_gain = 0.0      # bad poses an hour that the next round must be expected to find, or the rounds end; 0: any
# seed = 0

[network]
# weights = ""          # a checkpoint to start from: folder, file or hub id; or an encoder: of pretrain, timm:NAME
# pretrain_from = 5000  # without weights and labelled poses: from so many images on, pre-train an encoder; 0 never
# size = "s"            # of a network trained from corpus.labelled: s, b, l, h
# dataset = ""          # expert and head of a ViTPose++: coco, aic, mpii, ap10k, apt36k, wholebody
# flip_test = true

[student]               # a fast network that labels, and asks the other one about whom it doubts
# steps = 0             # of its distillation, such as 20000; 0: there is no student
# size = "ti"           # 192 wide, 12 blocks; or s, b, l
# refresh = 0.05        # share of people whom the network must place elsewhere before the student is distilled anew
# doubt = 0.1           # from which p_bad of the student's on the other network labels

[labelstudio]
# url = ""              # a Label Studio server, http://...; else tasks and answers go through files, by hand
# project = 0           # its number there; 0: the first push makes one and writes its number here
# delivery = "upload"   # images are uploaded; or "local-files" (the server's machine has them), "url-prefix"
# prefix = ""           # with url-prefix: what stands before a crop's name, https://... or s3://bucket/folder
# annotators = 1        # how many people answer each task
# rule = "latest"       # what counts of several answers to one task; or "consensus"
# smart = false         # a box drawn in a whole image gets a pose at once, from `autolabel serve`; no limbs then

[dataset]
# licence = ""          # of images and labels, for the dataset card, such as "CC BY 4.0"
# source = ""           # where the images come from
# split = "train=0.8,val=0.2"   # of the YOLO-pose data set; near-duplicates and videos never part; "" writes none

[training]
# steps = 5000
# batch_size = 64
# learning_rate = 5e-4

[finetuning]            # what differs from [training] when a round fine-tunes on corrections
steps = 500
warmup_steps = 50
# learning_rate = 5e-5  # by default a tenth of [training]'s
# layer_decay = 0.75    # factor of the rate from one block to the one below; by default 0.8 for networks up to S
# ema = 0.998           # moving average of the weights
# partial = {{ freeze = ["attention"] }}   # what stays as it is; [] trains everything

[pretraining]           # of an encoder on the corpus: see network.pretrain_from
# steps = 5000
# batch_size = 64
"""


@dataclass(frozen=True)
class InitResult:
    """A new project.

    Attributes:
        folder: Where it is.
        project: Its settings.
        sigmas: Where the skeleton's OKS sigmas come from: they decide which poses are bad.
    """

    folder: Path
    project: Project
    sigmas: str

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "project": self.folder,
            "settings": self.folder / FILE,
            "skeleton": self.project.corpus.skeleton,
            "sigmas": self.sigmas,
        }


def init(directory: str | Path, *, images: str | Path, skeleton: str | Path) -> InitResult:
    """Make a project folder with a commented settings file.

    Args:
        directory: The project; made if it is not there.
        images: Folder of the images; it must exist.
        skeleton: A built-in skeleton's name, or a JSON file.

    Raises:
        InputError: There are no such images.
        SkeletonError: There is no such skeleton.
        ExistsError: The folder holds a project already, which is never overwritten; or it is a file.
        ConfigError: A path is not valid Unicode, which TOML cannot hold.
    """
    folder = Path(directory)
    images = Path(images)
    if not images.is_dir():
        raise InputError("is not a folder", subject=str(images), remedy="Give the folder that holds the images.")
    sigmas = Skeleton.load(skeleton).sigma_source
    if (folder / FILE).exists():
        raise ExistsError("holds a project already", subject=str(folder), remedy=f"Edit {folder / FILE}.")
    if Path(skeleton).is_file():
        skeleton = Path(skeleton).resolve()
    values = {"name": folder.resolve().name, "images": str(images.resolve()), "skeleton": str(skeleton)}
    text = _TEMPLATE.format(**{name: toml_value(value) for name, value in values.items()})
    for name in ("rounds", "labelstudio"):
        make_folder(folder / name)
    write_text(folder / FILE, text)
    return InitResult(folder, read_project(folder), sigmas)
