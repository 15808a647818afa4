"""--where: what can be said, what it chooses, and what is refused."""

import numpy as np
import pytest

from autolabel.curate.columns import COLUMNS, columns
from autolabel.curate.documents import documents
from autolabel.curate.where import Where
from autolabel.errors import ConfigError
from tests.autolabel.curate.test_documents import FILES
from tests.curation import some_samples
from tests.standing import COCO

TABLE = columns(documents(some_samples(), FILES, COCO))


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("p_bad > 0.3", [0]),
        ("p_bad > 0", [0, 1]),  # the third is unknown, and unknown is not more than anything
        ("not p_bad > 0", [2]),
        ("p_bad < 0.2 or swap", [0, 1]),
        ("swap and truncated and state == 'open'", [0]),
        ("num_poses == 1", [2]),
        ("path in ['a/1.png', 'b']", [2]),
        ("path not in ('a/1.png',)", [0, 1]),
        ("matches(path, 'a/0*')", [0, 1]),
        ("matches(reasons, '*knee*')", [0]),
        ("'mirrored limb' in lint", [0]),
        ("'knee' in by", []),
        ("'et' in by", [0, 1, 2]),
        ("labelled == 15", [0, 2]),
        ("width / height < 1", [0, 1, 2]),
        ("height - width > -1 * 3", [0, 1, 2]),
        ("oks < 0.5", []),
        ("True", [0, 1, 2]),
    ],
)
def test_what_is_asked_for_is_chosen(text: str, chosen: list[int]) -> None:
    assert np.flatnonzero(Where.parse(text, COLUMNS)(TABLE)).tolist() == chosen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pbad > 0.3", "Did you mean 'p_bad'"),
        ("p_bad >", "is no expression"),
        ("", "is no expression"),
        ("__import__('os').system('true')", "the only call is matches"),
        ("p_bad.__class__", "attribute cannot be said"),
        ("[x for x in path]", "cannot be said"),
        ("0.1 < p_bad < 0.3", "compare two things at a time"),
        ("p_bad is None", "`is` cannot be said"),
        ("matches(path, by)", "the only call is matches"),
        ("lambda: 1", "cannot be said"),
        ("p_bad ** 99", "cannot be said"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_read(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"--where") as error:
        Where.parse(text, COLUMNS)
    assert said in f"{error.value} {error.value.remedy}"


def test_a_text_is_no_number() -> None:
    with pytest.raises(ConfigError, match="cannot be worked out"):
        Where.parse("path > 3", COLUMNS)(TABLE)


def test_every_column_is_there() -> None:
    assert set(TABLE) == set(COLUMNS)
    assert {len(values) for values in TABLE.values()} == {3}
