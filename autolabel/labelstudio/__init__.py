"""Label Studio: the form people see, the tasks they get, the answers that come back.

One task is one pose, cropped and enlarged, with the model's keypoints filled in; the audit of whole images shows
them with a box a pose instead. What a task says and what an
answer means is decided here and in one place each:

    form.py      the labelling form of a skeleton, and the names of its controls
    frame.py     the part of the image that a task shows; pixels to percent and back
    tasks.py     a pose as a task with its prediction
    images.py    a whole image as a task with everybody boxed, and what its answer says
    exports.py   reading annotations: who answered which task, and what they submitted
    fetch.py     what changed on the server since the last time
    journal.py   every annotation ever pulled, once
    oddities.py  what is odd about a result, and the rule for it
    answers.py   a submitted result as a correction
    folder.py    the review folder of a project, and its append-only files
    lock.py      one command at a time in a review folder

Tasks reach a server like this:

    validate.py        whether a task is sound, because the server takes nearly everything
    delivery.py        how the browser gets the crops
    remote_project.py  the project on the server, set up so that people see what they should
    form_check.py      whether its form, which people may edit, still asks what ours does
    sync.py            new tasks imported, changed ones refreshed, none there twice
    sent_log.py        what the server was sent

How the server behaves (what survives a submit, which region lies on top, what a skip holds) was tried on
Label Studio 1.23.2 and is held by ``tests/live/test_labelstudio_files.py``.
"""
