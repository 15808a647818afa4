"""SLEAP's label files (``.slp``), read and written through sleap-io.

What the file says, and what that is here:

- A pixel's centre is an integer, as ours (since SLEAP's format 1.1; sleap-io moves older files by half a pixel):
  nothing is shifted.
- *User instances* are labels: imported, visible where a point is visible. A point that SLEAP calls *not visible* is
  unlabelled here, with its coordinates kept: SLEAP never trains on it, and its editor puts such points anywhere. It
  says neither that the point is hidden nor that it is outside the image.
- *Predicted instances* come in as poses that a model placed, with scores, unless a user instance replaces them: one
  that was made of them (``from_predicted``), or that has their track.
- A user instance has the scores of the prediction that it was made of, where the two still agree on the place.
- *Tracks* become the attribute ``track`` of a pose. Symmetries become flip pairs, edges edges.
- The frames of an image list are its files. Those of a video are ``VIDEO/00000012.jpg``, as
  ``autolabel scan --every 1`` writes them. Embedded frames (``.pkg.slp``) are those of the video or the images that
  they were taken from.
- Videos are groups: their frames never part when a data set is split.
- A frame without instances is an image without animals; how many of them nobody marked as negative is told.
- Suggestions, tracking scores, regions, masks, boxes, sessions and identities are left out.

Writing makes one image list per group and image size. A settled pose is a user instance, and its scores stand in a
predicted instance that it is linked to (SLEAP shows and uses only the user's); a pose that waits for review, or that
a model placed and nobody accepted, is a predicted instance alone, which SLEAP does not train on. Hidden keypoints are
visible points, since somebody said where they are. Images without animals are marked as negative frames, unless
everything is written as it stands. Our skeleton, with its sigmas, and the names of groups stand in the provenance.

sleap-io holds all labels in memory: of 17 keypoints, a pose takes about 6.5 kB when it is read, and twice that when it
is written with scores. Each file is first read by another process, since damaged HDF5 can crash whoever reads it.
"""

from autolabel.formats.sleap_reading import read_sleap
from autolabel.formats.sleap_writing import CANNOT, write_sleap

__all__ = ["CANNOT", "read_sleap", "write_sleap"]
