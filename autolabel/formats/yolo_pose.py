"""YOLO-pose data sets, in and out.

A data set is a file ``data.yaml``, images, and one text file of labels for each image. In ``data.yaml``:

* ``train``, ``val``, ``test``: a folder of images, a ``.txt`` file that lists images, or a list of such; below
  ``path``, or below the file's own folder where that is left out.
* ``names``: the classes, as a list or by index. ``kpt_shape``: [K, 2] or [K, 3], what each keypoint is stated with.
* ``flip_idx``: the keypoint that each becomes in the mirrored image. ``kpt_names``: names, a list for each class.

The labels of ``.../images/a/1.jpg`` lie in ``.../labels/a/1.txt``: the last folder ``images`` of the whole path
becomes ``labels``; without one they lie beside the image. A line is one instance::

    class x y width height x1 y1 v1 x2 y2 v2 ...

x, y is the middle of the box; v is 0 unlabelled, 1 hidden, 2 visible. All are parts of the width and the height of
the image as it is seen upright: trainers of this family read images with their EXIF orientation applied, and so do
we. A number times the width is our x: what others wrote is taken and given without a shift of half a pixel.

How our values stand in it:

* Numbers are written in the shortest decimal that gives the same float32 pixel; boxes, which we hold in double
  precision, in one that gives the same four edges when it is computed with decimals. Nothing moves there and back.
* A keypoint without a place is ``0 0 0``. With v = 0, another place than 0 0 is kept.
* Trainers refuse an image with a number outside 0..1. A keypoint outside the image is therefore written as
  ``0 0 0``, and a box is cut where it has to be; both are counted.
* Crowd regions are not written: trainers could not skip them.
* The class is in the attribute that the COCO reader uses for its category, so that either format writes what the
  other read.
* ``autolabel.skeleton`` in ``data.yaml`` holds edges and OKS sigmas; other tools ignore it.

Every image has a file of labels; an empty one is an image without people. Sources: the public pages on pose data
sets of Ultralytics, and what its users report of its refusals.
"""

from autolabel.formats.image_files import ImageFiles
from autolabel.formats.yolo_pose_reading import WhichSplit, read_yolo_pose
from autolabel.formats.yolo_pose_writing import CANNOT, write_yolo_pose

__all__ = ["CANNOT", "ImageFiles", "WhichSplit", "read_yolo_pose", "write_yolo_pose"]
