"""The password of ``autolabel serve``, as HTTP Basic authentication carries it."""

import base64
import binascii
import secrets

USER = "autolabel"


def basic(password: str) -> str:
    """What a request's ``Authorization`` header has to say."""
    return f"Basic {base64.b64encode(f'{USER}:{password}'.encode()).decode()}"


def knows(authorization: str, password: str) -> bool:
    """Whether a request's ``Authorization`` header gives the password; as slow for a wrong one as for the right one."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        said = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and secrets.compare_digest(said, f"{USER}:{password}".encode())
