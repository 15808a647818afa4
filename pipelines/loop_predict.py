"""What a network of the loop says about a manifest: kept beside the network, so that nothing is predicted twice."""

from pathlib import Path

from autolabel.errors import ManifestError
from autolabel.manifest import COMMIT, Manifest
from pipelines.loop_state import Loop
from pipelines.predict import predict


def predicted_by(loop: Loop, n: int, source: Path, name: str) -> Manifest:
    """What the network in force after round ``n`` says; kept with the round that trained it.

    Args:
        loop: The loop.
        n: The round.
        source: Manifest of boxes or poses to predict.
        name: Of the result's folder.
    """
    owner, weights = loop.network(n)
    return predicted_with(loop, weights, source, loop.round(owner) / name)


def predicted_of(loop: Loop, n: int, some: Manifest, out: Path) -> Manifest:
    """What the network in force after round ``n`` says of some poses of the corpus, and perhaps of others.

    Args:
        loop: The loop.
        n: The round.
        some: The poses.
        out: Where it is written, unless that network labelled the whole corpus.
    """
    owner, weights = loop.network(n)
    whole = loop.round(owner) / "predicted"
    return Manifest.open(whole) if (whole / COMMIT).is_file() else predicted_with(loop, weights, some.path, out)


def predicted_with(loop: Loop, weights: str, source: Path, out: Path) -> Manifest:
    """What some network says, a candidate that is not in force among them; opened where it was written already.

    Args:
        loop: The loop.
        weights: Of the network.
        source: Manifest of boxes or poses to predict.
        out: The result's folder.
    """
    if (out / COMMIT).is_file():
        return Manifest.open(out)
    network = loop.project.network
    return predict(
        source,
        weights=weights,
        out=out,
        dataset=network.dataset or None,
        flip_test=network.flip_test,
        progress=loop.progress,
    ).manifest


def digest_in_force(loop: Loop, n: int) -> str:
    """Of the network in force after round ``n``, as what it predicted names it.

    Raises:
        ManifestError: What lies there names no network.
    """
    owner, weights = loop.network(n)
    folder = loop.round(owner) / "predicted"
    if not (folder / COMMIT).is_file():  # a student labels, and the network was asked about some poses only
        return digest_of_weights(loop, weights)
    predicted = Manifest.open(folder)
    for parent in predicted.parents:
        if parent.role == "weights":
            return parent.digest
    raise ManifestError("names no network", subject=str(predicted.path), remedy="Remove it, and it is predicted again.")


def digest_of_weights(loop: Loop, weights: str) -> str:
    """Of some network, a candidate that is not in force among them: the same that its predictions will name."""
    from model.checkpoint import load_model, model_digest

    return model_digest(load_model(weights, dataset=loop.project.network.dataset or None))
