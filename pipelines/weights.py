"""``autolabel weights``: which weights were released, one layout into another, and whether they are what they say.

Joins the three commands; each has its file. As everywhere, ``autolabel weights convert`` is also ``convert`` of this
module.
"""

from pipelines.weights_convert import To, WeightsConverted, weights_convert
from pipelines.weights_list import WeightsList, weights_list
from pipelines.weights_verify import WeightsVerified, weights_verify

__all__ = [
    "To",
    "WeightsConverted",
    "WeightsList",
    "WeightsVerified",
    "convert",
    "list_",
    "verify",
    "weights_convert",
    "weights_list",
    "weights_verify",
]

list_, convert, verify = weights_list, weights_convert, weights_verify
