"""DeepLabCut's labelled images: ``labeled-data/VIDEO/CollectedData_SCORER.csv`` and the project around it.

A CSV has one row an image, and a header of rows: ``scorer``, ``individuals`` (multi-animal projects only),
``bodyparts``, ``coords`` (x, y, and likelihood in tables that a network made). Its first column is the image's path,
or the first three are the path's three parts; the path starts from the project's folder. ``config.yaml`` adds the
edges of the skeleton.

What it says and does not say:

- A pixel's centre is an integer: DeepLabCut's annotation tool draws points in napari's coordinates, where the first
  pixel's centre is 0. These are our own coordinates, so nothing is shifted.
- An empty cell is a keypoint that is not labelled; nothing tells whether nobody looked or it cannot be seen. There
  is no visibility, no box and no pose as such: an individual without a point in an image is not in it, and an image
  without points says no more than that.
- (0, 0) is a place like any other, but old projects wrote it for "missing": it is counted aloud.
- An individual ``single`` that has body parts of its own holds points of the scene, not of an animal ("unique body
  parts"): it is left out, aloud.
- ``.h5`` files are not read: pandas stores pickled objects in them, and reading a pickle runs its program. DeepLabCut
  keeps a CSV with the same labels beside each.

The table is read here and not through sleap-io, which reads every other file of this kind: of version 0.9.5,
``load_dlc`` puts labels on the wrong images when an image of the folder is missing (the frames' numbers count the
rows, the list of images only those that it found), drops rows whose images are not beside the CSV, sorts body parts
by name, drops likelihoods and scorers, reads nothing from a table of one row whose path has three columns, and needs
time that grows with the square of the rows. The tests hold what is written and read here against ``load_dlc``.

Writing gives a project folder that DeepLabCut opens::

    DIR/config.yaml
    DIR/labeled-data/VIDEO/CollectedData_SCORER.csv
    DIR/labeled-data/VIDEO/IMAGE            a link to the image
    DIR/autolabel.json                      our skeleton, for whoever imports it again

VIDEO is the folder of the image below its root: DeepLabCut knows one level of folders, so ``a/b`` becomes ``a%2Fb``,
and the root itself ``_``. DeepLabCut trains from ``.h5``: ``deeplabcut.convertcsv2h5("DIR/config.yaml")`` makes them.
"""

from autolabel.formats.deeplabcut_reading import read_dlc
from autolabel.formats.deeplabcut_writing import CANNOT, write_dlc

__all__ = ["CANNOT", "read_dlc", "write_dlc"]
