"""Label Studio: the form people see, the tasks they get, the answers that come back.

One task is one pose, cropped and enlarged, with the model's keypoints filled in; the audit of whole images shows
them with a box a pose instead. What a task says and what an
answer means is decided here and in one place each:

    form.py      the labelling form of a skeleton, and the names of its controls
    frame.py     the part of the image that a task shows; pixels to percent and back
    tasks.py     a pose as a task with its prediction
    images.py    a whole image as a task with everybody boxed, and what its answer says
    exports.py   reading an export: who answered which task, and what they submitted
    answers.py   a submitted result as a correction
    folder.py    the review folder of a project, and its append-only files

How the server behaves (what survives a submit, which region lies on top, what a skip holds) was tried on
Label Studio 1.23.2 and is held by ``tests/live/test_labelstudio_files.py``.
"""
