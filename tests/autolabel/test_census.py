"""The price of a promise beside that of a census: which is called cheaper, and why."""

import pytest

from autolabel.census import Price


@pytest.mark.parametrize(
    ("price", "promise", "pays", "words"),
    [
        (Price(open=1000, accepted=800, audit=200), 400, True, "takes 400 tasks (200 audited, 200 others)"),
        (Price(open=116, accepted=70, audit=60, planted=10, blind=5), 121, False, "Check them all"),
        (Price(open=900, accepted=500, audit=99, blind=20, decoys=18), 537, True, "20 blind, 18 decoys of these"),
        (Price(open=100, accepted=60, audit=49, blind=1), 90, True, "49 audited, 1 blind, 40 others"),
        (Price(open=100, accepted=60, audit=49, blind=1, decoys=1), 91, False, "Check them all"),
        (Price(open=100, accepted=60, audit=60), 100, False, "Check them all"),
        (Price(open=100, accepted=0, audit=0), 100, False, "Nothing is accepted unseen"),
        (Price(open=0, accepted=0, audit=0), 0, False, "No pose is open"),
        (
            Price(open=1000, accepted=800, audit=200, planted=50, blind=20, development=600),
            470,
            True,
            "With the 600 poses that it was developed on, it has not paid off",
        ),
        (
            Price(open=9000, accepted=8000, audit=500, development=600),
            1500,
            True,
            "opening every open pose takes 9,000",
        ),
    ],
)
def test_a_promise_pays_when_fewer_poses_are_opened(price: Price, promise: int, pays: bool, words: str) -> None:
    assert (price.promise, price.pays) == (promise, pays)
    assert words in price.words()
    assert price.to_dict()["promise"] == promise
