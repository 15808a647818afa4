"""COCO keypoint files, in and out without loss.

A file that another tool wrote comes back out with everything it held, and our poses come back from a file
that we wrote; coordinates to the last bit of single precision. How our values stand in a COCO file:

* ``keypoints``: x, y, v in the shortest decimal that gives the same float32, whole numbers without a point
  (412.8, 416). A keypoint nobody placed is 0, 0, 0; a coordinate beside v=0 is kept.
* ``absent``: indices of the keypoints known to be outside or unknowable; they are written with v=0.
* ``keypoint_scores``: K scores, null for none. ``score``: the box's score.
* ``bbox``, ``area``: double precision. An unknown area is written as our similarity uses it, because COCO's
  tools require one.
* ``num_keypoints``: always the count of keypoints with v > 0. ``iscrowd``: a crowd region.
* ``skeleton`` of the category: edges, counted from 1.
* ``autolabel``: what COCO has no word for; other tools ignore it. At the image hash, group, copies and
  attributes; at the annotation the pose's id, presence, doubt, origin and attributes; at the category the
  skeleton.

Every other key of the source's images and annotations, ids, ``segmentation`` and category included, travels
in the sample's and the pose's attribute ``coco``. Other top-level keys, such as ``info``, are
the header.
"""

from autolabel.formats.coco_boxes import Boxes, read_boxes
from autolabel.formats.coco_reading import read_coco
from autolabel.formats.coco_writing import write_coco

__all__ = ["Boxes", "read_boxes", "read_coco", "write_coco"]
