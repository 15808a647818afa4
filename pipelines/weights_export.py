"""``autolabel weights export``: a network for ONNX Runtime, OpenVINO and whatever else reads those files."""

import json
from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ConfigError
from autolabel.manifest import Existing, write_text
from autolabel.progress import SILENT, Progress
from autolabel.run import DONE, Run, RunState

FILES = {"onnx": "model.onnx", "openvino": "model.xml"}


@dataclass(frozen=True)
class WeightsExported:
    """What was written.

    Attributes:
        file: The network.
        skeleton: Its keypoints, beside it.
        input_size: (H, W) in pixels.
        outputs: Their names, in order.
        difference: The largest difference of its answers on random crops from the network's, in shares of the largest.
    """

    file: Path
    skeleton: Path
    input_size: tuple[int, int]
    outputs: tuple[str, ...]
    difference: float

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return dict(vars(self))


def weights_export(
    weights: str | Path,
    *,
    out: str | Path,
    to: str = "onnx",
    dataset: str | None = None,
    batch_size: int = 1,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> WeightsExported:
    """Write a network for another runtime, and check that it answers there as it does here.

    The input is ``images``, (B, 3, H, W) float32 RGB, normalised with ImageNet's mean and deviation; heatmaps are
    ``maps``. How crops are cut and heatmaps are decoded is told in ``docs/weights.md``.

    Args:
        weights: Anything ``model.checkpoint.load_model`` reads.
        out: The folder to write.
        to: ``onnx``, for any number of crops at a time; ``openvino``, for ``batch_size``.
        dataset: Which expert and head of a ViTPose++.
        batch_size: Crops at a time, of OpenVINO's.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        CheckpointError: Weights that cannot be read.
        ConfigError: An unknown format, or its library is not installed.
        ExistsError: ``out`` holds another result.
        WorkError: What was written answers otherwise.
    """
    from model.backends import output_names
    from model.checkpoint import load_model, model_digest
    from model.export import difference, run_onnx, run_openvino, write_onnx, write_openvino

    if to not in FILES:
        raise ConfigError(f"unknown format {to!r}", subject="--to", remedy=f"Use {' or '.join(FILES)}.")
    model = load_model(weights, dataset=dataset)
    config = {"to": to} | ({"batch_size": batch_size} if to == "openvino" else {})
    inputs = {"weights": model_digest(model)}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "weights export", config=config, inputs=inputs, existing=existing, commit=DONE) as run:
        file, skeleton = run.path / FILES[to], run.path / "skeleton.json"
        if run.state is not RunState.DONE:
            progress.note(f"writing {sum(p.numel() for p in model.parameters()):,} parameters")
            if to == "onnx":
                write_onnx(model, file)
            else:
                write_openvino(model, file, batch_size)
            write_text(skeleton, json.dumps(model.skeleton.to_dict(), indent=1) + "\n")
        # Always, because the other runtime may be another one today.
        runtime = run_onnx(file) if to == "onnx" else run_openvino(file)
        apart = difference(model, runtime, batch_size if to == "openvino" else 3)
        if run.state is not RunState.DONE:
            run.finish({"difference": apart})
    return WeightsExported(file, skeleton, model.input_size, tuple(output_names(model)), apart)
