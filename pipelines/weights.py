"""``autolabel weights``: which weights were released, one layout into another, and whether they are what they say.

Joins the four commands; each has its file. As everywhere, ``autolabel weights convert`` is also ``convert`` of this
module.
"""

from pipelines.weights_convert import To, WeightsConverted, weights_convert
from pipelines.weights_export import WeightsExported, weights_export
from pipelines.weights_list import WeightsList, weights_list
from pipelines.weights_verify import WeightsVerified, weights_verify

__all__ = [
    "To",
    "WeightsConverted",
    "WeightsExported",
    "WeightsList",
    "WeightsVerified",
    "convert",
    "export",
    "list_",
    "verify",
    "weights_convert",
    "weights_export",
    "weights_list",
    "weights_verify",
]

list_, convert, export, verify = weights_list, weights_convert, weights_export, weights_verify
