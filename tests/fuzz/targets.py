"""Everything that is fuzzed, by name."""

from collections.abc import Mapping

from tests.fuzz import image_readers, label_readers, own_readers, tool_readers, video_readers, weight_readers
from tests.fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    **label_readers.TARGETS,
    **tool_readers.TARGETS,
    **image_readers.TARGETS,
    **video_readers.TARGETS,
    **weight_readers.TARGETS,
    **own_readers.TARGETS,
}
