"""YAML of strangers, read safely, and ours, written plainly.

What is read is bounded in size and depth, without tags, and without aliases, whose few bytes can stand for many. A
key that stands twice is refused, where YAML readers silently take the last.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autolabel.errors import FormatError
from autolabel.formats.records import read_text

_MAX_BYTES = 2**20
_MAX_DEPTH = 20


def read_yaml(file: Path) -> Any:
    """The value in a YAML file.

    Raises:
        FormatError: It is no YAML, or YAML that is not read; names the line.
    """
    subject = str(file)
    if file.exists() and not file.is_file():
        raise FormatError("is not a file", subject=subject)
    if file.is_file() and file.stat().st_size > _MAX_BYTES:
        raise FormatError(f"is larger than {_MAX_BYTES >> 20} MiB, more than is read of YAML", subject=subject)
    text, yaml = read_text(file), _library()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is fast, and not in every build
    try:
        _refuse_unsafe(yaml, yaml.parse(text, Loader=loader), subject)
        _refuse_repeated_keys(yaml, yaml.compose(text, Loader=loader), subject)
        return yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise FormatError(f"is not YAML: {error.problem or error.context}{place}", subject=subject) from error
    except yaml.YAMLError as error:
        raise FormatError(f"is not YAML: {' '.join(str(error).split())}", subject=subject) from error
    except (ValueError, OverflowError) as error:
        raise FormatError(f"holds a value that cannot be: {error}", subject=subject) from error


def yaml_text(value: Any) -> str:
    """A value of plain types as YAML; innermost lists and mappings take one line."""
    yaml = _library()
    dumper = type("Plain", (yaml.SafeDumper,), {"ignore_aliases": _always})  # what stands twice is written twice
    return yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def _library() -> Any:
    """PyYAML, which many who use the package never need; its types say nothing."""
    import yaml

    return yaml


def _always(*_: object) -> bool:
    return True


def _refuse_unsafe(yaml: Any, events: Iterable[Any], subject: str) -> None:
    depth = 0
    for event in events:
        line = f"line {event.start_mark.line + 1}"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise FormatError(f"is nested more than {_MAX_DEPTH} deep", record=line, subject=subject)
        if isinstance(event, yaml.AliasEvent):
            remedy = "Write the value out where *name stands."
            raise FormatError("YAML aliases are not read", record=line, subject=subject, remedy=remedy)
        if getattr(event, "tag", None):
            remedy = "Remove what begins with an !."
            raise FormatError("YAML tags are not read", record=line, subject=subject, remedy=remedy)


def _refuse_repeated_keys(yaml: Any, root: Any, subject: str) -> None:
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = str(key.value)
                if name in seen:
                    line = f"line {key.start_mark.line + 1}"
                    raise FormatError(f"the key {name!r} stands twice", record=line, subject=subject)
                seen.add(name)
                pending.append(value)
