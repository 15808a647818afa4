"""Label Studio's JSON of whole images, in and out.

Reading takes any project's export: keypoints (``KeyPointLabels``), boxes of people (``RectangleLabels``), skeletons
(``VectorLabels`` whose vertices are named), and what is said about them. Files and what each decides:

    labelstudio_tasks.py     the tasks of a file, and which annotation of each one counts
    labelstudio_image.py     which image a task shows
    labelstudio_regions.py   what is drawn, and the words for visibility
    labelstudio_people.py    whose keypoint it is
    labelstudio_poses.py     a person as a pose
    labelstudio_form.py      labelling configurations
    labelstudio_writing.py   tasks, for people to look at and to change

How our values stand in a task that we write:

* Points are percent of (x + 0.5) / width, as the ``meta`` of the task says; without that block they are read as
  percent of x / width. Boxes are edges and never shifted.
* A person is a rectangle (``person``, or ``crowd`` for an ignore region), and its keypoints have it as ``parentID``. A
  pose without a box gets the extent of its keypoints.
* Visibility is a choice of the keypoint's region: visible, hidden, absent. A keypoint without a region is unlabelled.
* What Label Studio has no word for stands in the ``meta`` of the region, which it keeps: exact places, presence,
  doubt, origin, ids, attributes. It comes back as long as nobody moved the region.

What a project says and we have no field for (ids, times, answers about the whole task, other fields of its data)
travels in the attribute ``labelstudio`` of samples and poses.

Tasks of one cropped person, as ``autolabel push`` makes them, are another thing: ``autolabel pull`` reads those.
"""

from autolabel.formats.labelstudio_reading import read_labelstudio
from autolabel.formats.labelstudio_tasks import AnnotationChoice
from autolabel.formats.labelstudio_writing import CANNOT, LOCAL_FILES, TaskKind, write_labelstudio

__all__ = ["CANNOT", "LOCAL_FILES", "AnnotationChoice", "TaskKind", "read_labelstudio", "write_labelstudio"]
