"""Jobs, one file per command: the only place that wires, prints, parses, parallelises and starts processes.

Every command ``autolabel some-name`` is also the function ``some_name`` of ``pipelines/some_name.py``, its
flags the keyword arguments (``import`` is a Python keyword: ``import_``)::

    from pipelines.scan import scan

    scanned = scan("photos", out="photos.m")

The functions are not lifted up into this package: ``pipelines.scan`` is the file, and what one name for two
things means would depend on what was imported first. Option lists live in ``cli.py`` and ``cli_*.py``,
progress and output in ``console.py``.
"""
