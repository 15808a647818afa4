"""Shares as people write them: ``1.23 %``. What is promised to be *at most* a share is never rounded down."""

from decimal import ROUND_CEILING, Context, Decimal


def percent(share: float) -> str:
    """A share with three significant digits."""
    return f"{100 * share:.3g} %"


def percent_at_most(limit: float) -> str:
    """An upper limit with three significant digits, rounded up: what it says is true of the limit too."""
    rounded = Context(prec=3, rounding=ROUND_CEILING).create_decimal(Decimal(repr(float(limit))) * 100)
    return f"{rounded.normalize():f} %"


def percent_confidence(confidence: float) -> str:
    """A confidence with as many digits as it has, up to six: 99.99 % is not 100 %."""
    return f"{100 * confidence:.6g} %"
