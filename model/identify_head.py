"""Which keypoints a lone head predicts, where its file describes nothing.

From the first of these that says something: the caller, a ``skeleton.json`` beside the file, the labels inside it, its
name (``vitpose-b-ap10k.pth``, the split tool's ``aic.pth``), the number of keypoints. One that says otherwise is not
passed over: labels and names speak for the file, and a head under another dataset's names answers with noise.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import DATASETS, Codec
from model.layouts import Origin

_DATASET_REMEDY = "Name the dataset (--dataset), or put a skeleton.json into the same folder."


def identify_head(keypoints: int, origin: Origin) -> tuple[Skeleton, tuple[str, ...], Codec]:
    """Skeleton, dataset (one name or none) and codec of a lone head.

    Args:
        keypoints: K of it.
        origin: What is known besides. 17 keypoints mean COCO where nothing else is said.

    Raises:
        CheckpointError: Nothing tells, or what tells contradicts the head, the file's labels or its name.
    """
    name: str | None
    if origin.dataset is None and origin.skeleton is not None:
        skeleton = origin.skeleton
        name = next((name for name, known in _known(keypoints).items() if _same(known, skeleton)), None)
    else:
        name = _dataset_asked_for(origin) or _likely_dataset(keypoints, origin)
        skeleton = Skeleton.load(DATASETS[name].skeleton)
    if skeleton.num_keypoints != keypoints:
        raise CheckpointError(
            f"its head has {keypoints} keypoints, {skeleton.name!r} has {skeleton.num_keypoints}",
            subject=origin.subject,
            remedy="Name the dataset that it was trained on, or put its skeleton.json into the same folder.",
        )
    _require_no_contradiction(skeleton, name, origin)
    return (skeleton, (name,), DATASETS[name].codec) if name else (skeleton, (), "udp")


def _known(keypoints: int) -> dict[str, Skeleton]:
    """The public datasets with this many keypoints."""
    skeletons = {name: Skeleton.load(known.skeleton) for name, known in DATASETS.items()}
    return {name: skeleton for name, skeleton in skeletons.items() if skeleton.num_keypoints == keypoints}


def _same(one: Skeleton, other: Skeleton | None) -> bool:
    return other is not None and one.keypoints == other.keypoints


def _dataset_asked_for(origin: Origin) -> str | None:
    if origin.dataset is not None and origin.dataset not in DATASETS:
        raise CheckpointError(
            f"no dataset {origin.dataset!r}",
            subject=origin.subject,
            remedy=f"Known: {', '.join(DATASETS)}.",
        )
    return origin.dataset


def _likely_dataset(keypoints: int, origin: Origin) -> str:
    skeletons = _known(keypoints)
    matching = list(skeletons)
    if not matching:
        raise CheckpointError(
            f"its head has {keypoints} keypoints, which is no known dataset's",
            subject=origin.subject,
            remedy="Put a skeleton.json that names them into the same folder.",
        )
    if origin.labels:
        matching = [name for name in matching if labels_agree(origin.labels, skeletons[name])]
    else:
        matching = _named_in_file(matching, origin.subject, keypoints)
    if len(matching) == 1:
        return matching[0]
    found = f"may be those of {' or '.join(matching)}" if matching else f"({_shown(origin)}) are no known dataset's"
    remedy = _DATASET_REMEDY if matching else "Put a skeleton.json that names them into the same folder."
    raise CheckpointError(f"its {keypoints} keypoints {found}", subject=origin.subject, remedy=remedy)


def _named_in_file(matching: list[str], subject: str, keypoints: int) -> list[str]:
    """The datasets with the head's keypoints that the file's name speaks for; those of an unspeaking name: COCO."""
    said = datasets_in_name(PurePath(subject).name)
    if agreeing := [name for name in matching if name in said]:
        return agreeing
    if said:
        raise CheckpointError(
            f"its name says {' and '.join(said)}, its head has {keypoints} keypoints",
            subject=subject,
            remedy=_DATASET_REMEDY,
        )
    if matching == ["coco_25"]:  # easy_ViTPose's files always say so; others of 25 have other keypoints
        raise CheckpointError(
            f"its {keypoints} keypoints may be those of coco_25, but nothing says so",
            subject=subject,
            remedy=_DATASET_REMEDY,
        )
    return ["coco"] if "coco" in matching else matching


# What speaks against an answer.


def _require_no_contradiction(skeleton: Skeleton, name: str | None, origin: Origin) -> None:
    """Refuse keypoints that the file's own labels, or else its name, speak against."""
    if origin.labels:
        _require_labels(skeleton, name, origin)
        return
    file = PurePath(origin.subject).name
    fitting = [said for said in datasets_in_name(file) if said in _known(skeleton.num_keypoints)]
    # A skeleton.json of AP-10K's keypoints does not say which of the two datasets is meant.
    if fitting and name not in fitting and (origin.dataset or not any(_is_of(said, skeleton) for said in fitting)):
        other = f"--dataset says {name}" if origin.dataset else f"the skeleton.json beside it {skeleton.name!r}"
        raise CheckpointError(
            f"its name says {' and '.join(fitting)}, {other}",
            subject=origin.subject,
            remedy=f"Name what is right (--dataset {fitting[0]}), or rename the file.",
        )


def _require_labels(skeleton: Skeleton, name: str | None, origin: Origin) -> None:
    """Labels agree with a dataset that is asked for; a skeleton.json may rename them, but not to another dataset's."""
    if labels_agree(origin.labels, skeleton) or (origin.dataset and _same(skeleton, origin.skeleton)):
        return
    fitting = [known for known, other in _known(skeleton.num_keypoints).items() if labels_agree(origin.labels, other)]
    if origin.dataset is None and not fitting:
        return
    raise CheckpointError(
        f"its own labels ({_shown(origin)}) are not the keypoints of {name or skeleton.name}",
        subject=origin.subject,
        remedy=f"They are those of {' or '.join(fitting)}: name that (--dataset)."
        if fitting
        else "If they mean these keypoints, put the dataset's skeleton.json into the same folder.",
    )


def _is_of(dataset: str, skeleton: Skeleton) -> bool:
    return _same(Skeleton.load(DATASETS[dataset].skeleton), skeleton)


def _shown(origin: Origin) -> str:
    return ", ".join(origin.labels[:3]) + ", …"


_IN_NAMES = (
    ("coco_25", r"coco_?25"),
    ("wholebody", r"wholebody"),
    ("crowdpose", r"crowdpose"),
    ("ap10k", r"ap-?10k"),
    ("apt36k", r"apt-?36k"),
    ("mpii", r"mpii"),
    ("aic", r"(?<![a-z])aic(?![a-z])"),
    # mmpose's best_coco_AP_epoch_210.pth names a metric, which it takes of any dataset.
    ("coco", r"(?<!best_)coco(?!_?25)"),
)


def datasets_in_name(name: str) -> tuple[str, ...]:
    """The public datasets that a file's name mentions.

    >>> datasets_in_name("vitpose-b-ap10k.pth"), datasets_in_name("vitpose-l-coco_25.pth")
    (('ap10k',), ('coco_25',))
    """
    return tuple(dataset for dataset, pattern in _IN_NAMES if re.search(pattern, name.lower()))


def labels_agree(labels: Sequence[str], skeleton: Skeleton) -> bool:
    """Whether labels name a skeleton's keypoints in their order, in other words ("L_Hip" for "left_hip").

    Three in four contain the last word of our name, and none says left for right.
    """
    if len(labels) != skeleton.num_keypoints:
        return False
    words = [name.rsplit("_", 1)[-1].lower() for name in skeleton.keypoints]
    alike = sum(word in label.lower() for word, label in zip(words, labels, strict=True))
    sides = [(_side(name), _side(label)) for name, label in zip(skeleton.keypoints, labels, strict=True)]
    return 4 * alike >= 3 * len(words) and not any({"l", "r"} == set(both) for both in sides)


def _side(label: str) -> str:
    """``l`` or ``r`` where a label tells ("L_Eye", "left eye", "leftEye", "eye_l"), else ""."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", label)
    told = {word[0].lower() for word in words if re.fullmatch(r"l|r|left.*|right.*", word.lower())}
    return told.pop() if len(told) == 1 else ""
