"""A project: the folder of one dataset in the making, and its ``autolabel.toml``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from autolabel.errors import ConfigError
from autolabel.formats.yolo_data import SPLITS
from autolabel.settings import Settings
from autolabel.split import parse_shares

FILE = "autolabel.toml"


class Corpus(Settings):
    """Where the images are and what a pose is.

    Attributes:
        images: Folder of the images, absolute or relative to the project.
        skeleton: A built-in skeleton's name, or a JSON file; by default what the labelled poses have, or the network.
        boxes: Manifest with the boxes to label; by default the images are scanned and taken whole.
        labelled: Manifest of labelled poses to start from; none for a project that has a checkpoint.
        calibration: Manifest of labelled poses to calibrate on; their images are never trained on.
        test: Manifest of labelled poses that every round's network is measured on; never trained on either. The last
            step corrects by them how many bad poses it expects among the accepted, and plants errors from them.
        base: Manifest of labelled poses that stays the same for good, on which no new network may get worse; never
            trained on. By default ``test``.
    """

    images: str
    skeleton: str = ""
    boxes: str = ""
    labelled: str = ""
    calibration: str = ""
    test: str = ""
    base: str = ""


class Promise(Settings):
    """What the finished dataset must keep.

    Attributes:
        max_bad: Largest share of bad poses among the accepted ones.
        confidence: With which the audit must show it.
        audit: Tasks of the last step: the audit, what is counted below, and with what they leave, review of what is not
            accepted.
        plants: Known errors among them, which tell how many errors reviewers find; without any, and without blind
            tasks, reviewers are assumed to find all.
        blind: Audited poses that are also placed without a pre-label, which tells how much a pre-label persuades. As
            many poses to review are too, as decoys, out of what the audit leaves: N opens 2 N tasks.
        keypoints: Keypoints of reviewed poses that nobody touched, drawn singly, which are looked at again.
        images: Whole images on which people look for somebody without a box.
    """

    max_bad: float = Field(default=0.02, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    audit: int = Field(default=500, ge=0)
    plants: int = Field(default=0, ge=0)
    blind: int = Field(default=0, ge=0)
    keypoints: int = Field(default=0, ge=0)
    images: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _leaves_an_audit(self) -> Self:
        beside = self.plants + self.blind + self.keypoints + self.images
        if beside and beside >= self.audit:
            raise ValueError(
                f"plants, blind, keypoints and images are {beside} tasks, which leave nothing to audit of {self.audit}"
            )
        return self


class Rounds(Settings):
    """How the loop turns.

    Attributes:
        count: Rounds of review before the audit.
        budget: Tasks a round.
        first: Images that people label before there is any network: those of a cold start, a project without labelled
            poses and without a network's weights. Where boxes are given, as many people, of different images first.
        random_share: Share of them drawn at random, to measure by: to calibrate on, and without ``corpus.test`` to
            choose by what is accepted; never trained on.
        order: What is reviewed first: ``doubt``; ``clean``, most errors removed a second; ``learn``, doubtful and
            unlike what people have seen; or ``random``, for comparison.
        replay: Share of every batch that comes from ``corpus.labelled``, where that is given.
        hard_share: Largest share of every batch that comes from poses which were opened because they were doubted; the
            rest are poses drawn at random, replay, and, where both are fewer, poses that the routing accepts.
        fill_below: Keypoints that nobody said anything about are taught by the network of before where its calibrated
            ``p_gross`` is less than this; 0 leaves them unlabelled.
        gate_share: Share of the random draws that is kept to compare a new network with the old one; people place
            each of these poses without a pre-label, and it serves one comparison. 0: a new network is only asked what
            it forgot.
        base_drop: How much mean OKS a new network may lose on ``corpus.base``. With a ``gate_share`` above 0 it has to
            be shown that it loses less; else it is used unless it is shown to lose more.
        when_blind: What happens where too few poses are there to compare networks by: ``promote`` uses the new one,
            ``keep`` stays with the old one.
        budget_total: How many poses and images people may open in all rounds together, before the audit; the last
            round is cut to what is left. 0: as many as there are rounds for.
        least_gain: Bad poses that an hour of review must be expected to find, by the forecast of the next round's own
            tasks; where it is fewer, the rounds end and the audit follows. It never ends the first round. 0: rounds do
            not end for it.
        seed: Of all draws.
    """

    count: int = Field(default=3, ge=0)
    budget: int = Field(default=200, ge=1)
    first: int = Field(default=100, ge=2)
    random_share: float = Field(default=0.2, ge=0, le=1)
    order: Literal["doubt", "random", "clean", "learn"] = "doubt"
    replay: float = Field(default=0.5, ge=0, lt=1)
    hard_share: float = Field(default=0.5, gt=0, le=1)
    fill_below: float = Field(default=0.02, ge=0, le=1)
    gate_share: float = Field(default=0.0, ge=0, lt=1)
    base_drop: float = Field(default=0.01, ge=0, le=1)
    when_blind: Literal["promote", "keep"] = "promote"
    budget_total: int = Field(default=0, ge=0)
    least_gain: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seed: int = 0

    @model_validator(mode="after")
    def _lets_some_network_pass(self) -> Self:
        if self.when_blind == "keep" and not self.gate_share:
            raise ValueError('when_blind = "keep" needs a gate_share above 0: no new network would ever be used')
        return self


class Network(Settings):
    """Which network labels.

    Attributes:
        weights: A checkpoint to start from: folder, file or hub id; empty trains one from ``corpus.labelled``, or from
            what people place in a cold start. An encoder (a folder of ``pretrain``, MAE's ``.pth``, ``timm:NAME``) is
            what that training starts from.
        pretrain_from: A cold start on so many images or more (people, where boxes are given) pre-trains an encoder on
            them first, where ``weights`` gives none; 0 never does.
        size: ``s``, ``b``, ``l`` or ``h``; or give the fields of ``custom``.
        custom: Fields of ``model.config.ViTPoseConfig`` that differ from the size's.
        dataset: Expert and head of a ViTPose++.
        flip_test: Predict the mirrored crop too.
    """

    weights: str = ""
    pretrain_from: int = Field(default=5000, ge=0)
    size: str = "s"
    custom: dict[str, Any] = Field(default_factory=dict[str, Any])
    dataset: str = ""
    flip_test: bool = True


class Student(Settings):
    """A fast network that labels beside the one that learns from people, its teacher.

    Attributes:
        steps: Of its distillation; 0: there is no student.
        size: ``ti``, ``s``, ``b`` or ``l``; or give the fields of ``custom``.
        custom: Fields of ``model.config.ViTPoseConfig`` that differ from the size's.
        refresh: It is distilled anew when the teacher places at least this share of people elsewhere than the teacher
            that it learnt from.
        doubt: From which ``p_bad`` of the student's on the teacher labels.
        training: Fields of ``model.recipe.Training`` that its distillation has, but for ``steps``.
        distillation: Fields of ``model.distil.Distillation``.
    """

    steps: int = Field(default=0, ge=0)
    size: str = "ti"
    custom: dict[str, Any] = Field(default_factory=dict[str, Any])
    refresh: float = Field(default=0.05, ge=0, le=1)
    doubt: float = Field(default=0.1, ge=0, le=1)
    training: dict[str, Any] = Field(default_factory=dict[str, Any])
    distillation: dict[str, Any] = Field(default_factory=dict[str, Any])

    @field_validator("training")
    @classmethod
    def _steps_once(cls, training: dict[str, Any]) -> dict[str, Any]:
        if "steps" in training:
            raise ValueError("gives steps, which [student] says itself: move it there")
        return training

    @property
    def network(self) -> dict[str, Any]:
        """What it is, as a distillation's ``[model]``."""
        return {"size": self.size, **self.custom}


class LabelStudio(Settings):
    """Where people review.

    Attributes:
        url: Address of the Label Studio server; empty works through files alone, imported and exported by hand.
        project: The server's number of the project; 0 until the first ``push`` makes one and writes its number here.
        delivery: How images reach the annotators: ``upload`` to the server; ``local-files``, which the server's machine
            reads itself; ``url-prefix``, which are served elsewhere.
        prefix: What stands before a crop's name with ``url-prefix``, such as ``https://host/folder`` or
            ``s3://bucket/folder``; with ``local-files`` where the folder with the link to the crops lies below the
            server's document root, empty where it is the root.
        annotators: How many people answer each task.
        rule: What counts of several answers to one task: the ``latest``, or their ``consensus``.
        smart: Whether a box that is drawn in a whole image gets a pose at once, from ``autolabel serve``. Tasks then
            show no limbs.
    """

    url: str = ""
    project: int = Field(default=0, ge=0)
    delivery: Literal["upload", "local-files", "url-prefix"] = "upload"
    prefix: str = ""
    annotators: int = Field(default=1, ge=1)
    rule: Literal["latest", "consensus"] = "latest"
    smart: bool = False

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        """An address without what would leak or mislead; the slash at its end is dropped."""
        if not url:
            return url
        wrong = "give the server's address, such as http://127.0.0.1:8080"
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError as error:
            raise ValueError(wrong) from error
        if not usable or re.search(r"\s", url):
            raise ValueError(wrong)
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("give the address alone, without a password, ? or #")
        if re.search(r"/(projects|api|user)(/|$)", parts.path):
            raise ValueError(f"give the server's address alone, without {parts.path}")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _prefix_where_it_is_used(self) -> Self:
        if self.delivery == "url-prefix" and not re.match(r"(https?|s3|gs|azure-blob)://.", self.prefix):
            raise ValueError('delivery "url-prefix" needs prefix = "https://..." or "s3://bucket/folder"')
        if self.delivery == "local-files" and "://" in self.prefix:
            raise ValueError('with delivery "local-files" prefix is a folder below the server\'s document root')
        if self.delivery == "upload" and self.prefix:
            raise ValueError('prefix is used with delivery = "url-prefix" or "local-files" only')
        return self


class Dataset(Settings):
    """What comes out, and what only the user knows about it.

    Attributes:
        licence: Of the images and their labels, in the words of the dataset card; where it is empty, the card says
            that it is missing.
        source: Where the images come from, likewise.
        split: Shares of ``train``, ``val`` and ``test`` in the YOLO-pose data set, such as ``train=0.8,val=0.2``; empty
            writes none. Near-duplicates, and images of one group or video, never part.
    """

    licence: str = ""
    source: str = ""
    split: str = "train=0.8,val=0.2"

    @field_validator("split")
    @classmethod
    def _splits_that_yolo_knows(cls, split: str) -> str:
        try:
            unknown = set(parse_shares(split)) - set(SPLITS) if split else set[str]()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if unknown:
            raise ValueError(f"{sorted(unknown)[0]!r} is no split; known: {', '.join(SPLITS)}")
        return split


class Project(Settings):
    """The content of ``autolabel.toml``.

    Attributes:
        name: What the project is called in reports and in Label Studio.
        corpus: See :class:`Corpus`.
        promise: See :class:`Promise`.
        rounds: See :class:`Rounds`.
        network: See :class:`Network`.
        student: See :class:`Student`.
        labelstudio: See :class:`LabelStudio`.
        dataset: See :class:`Dataset`.
        training: Fields of ``model.train.Training`` for the first network.
        finetuning: Fields that differ when a round fine-tunes on corrections. What neither table says is chosen by
            :func:`pipelines.loop_learn.settings_of`.
        pretraining: Fields of ``model.recipe.Training`` for the encoder of a cold start; see ``network.pretrain_from``.
    """

    name: str
    corpus: Corpus
    promise: Promise = Promise()
    rounds: Rounds = Rounds()
    network: Network = Network()
    student: Student = Student()
    labelstudio: LabelStudio = LabelStudio()
    dataset: Dataset = Dataset()
    training: dict[str, Any] = Field(default_factory=dict[str, Any])
    finetuning: dict[str, Any] = Field(default_factory=dict[str, Any])
    pretraining: dict[str, Any] = Field(default_factory=dict[str, Any])


def require_folder(folder: str | Path) -> None:
    """Refuse a project folder that is not there; one without settings may still have a review folder.

    Raises:
        ConfigError: There is no such folder.
    """
    if not Path(folder).is_dir():
        raise ConfigError(
            "there is no such project folder",
            subject=str(folder),
            remedy="Correct --project, or make a project with `autolabel init`.",
        )


def read_project(folder: str | Path) -> Project:
    """Read a project's settings.

    Raises:
        ConfigError: There is no project, or a setting is unknown or impossible.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ConfigError(f"has no {FILE}", subject=str(folder), remedy="Make a project with `autolabel init`.")
    return Project.load(path)


def to_toml(values: Mapping[str, Any]) -> str:
    """TOML text of plain settings, which reads back as the same values: see :func:`toml_value`.

    Raises:
        ConfigError: TOML cannot hold a value.
    """
    return "\n".join(_tables(values, ()))


def toml_value(value: Any) -> str:
    """A text, number, truth value, list, or mapping inside a list, as TOML writes it.

    Raises:
        ConfigError: It is something else, such as None, or text that is not valid Unicode.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return repr(float(value))
        case str():
            return _text(value)
        case Mapping():
            items = cast("Mapping[str, Any]", value).items()
            return "{" + ", ".join(f"{_key(name)} = {toml_value(item)}" for name, item in items) + "}"
        case Sequence():
            return "[" + ", ".join(toml_value(item) for item in cast("Sequence[Any]", value)) + "]"
        case _:
            raise ConfigError(f"{value!r} cannot be written as TOML")


def _tables(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """The plain values of a table, then the tables below it."""
    plain = [f"{_key(k)} = {toml_value(v)}\n" for k, v in values.items() if not isinstance(v, Mapping)]
    below = [(k, cast("Mapping[str, Any]", v)) for k, v in values.items() if isinstance(v, Mapping)]
    head = f"[{'.'.join(map(_key, path))}]\n" if path else ""
    own = ["".join([head, *plain])] if plain or path else []
    return [*own, *(text for name, table in below for text in _tables(table, (*path, name)))]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(text: str) -> str:
    """A basic string: quotes, backslashes and control characters escaped."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{text!r} is not valid Unicode, which TOML cannot hold") from error
    escapes = {c: f"\\u{c:04x}" for c in (*range(32), 127)} | {ord(c): f"\\{c}" for c in '"\\'}
    return f'"{text.translate(escapes)}"'
