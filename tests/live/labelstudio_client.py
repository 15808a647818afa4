"""A Label Studio server as the tests talk to it: plain requests, as any script would make them."""

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOUNDARY = "autolabel-boundary"


@dataclass(frozen=True)
class Server:
    """Address, token, the folder below which it may show files (make it where it is missing), and that of its data."""

    url: str
    token: str
    files: Path
    data: Path

    def call(self, method: str, path: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
        headers = {"Authorization": f"Token {self.token}", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()

    def json(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self.call(method, path, data) or b"null")

    def upload(self, project: int, files: list[Path]) -> dict[str, str]:
        """Upload images; gives the path that serves each, by its name."""
        body = b""
        for file in files:
            head = f'form-data; name="{file.name}"; filename="{file.name}"\r\nContent-Type: image/jpeg'
            body += f"--{BOUNDARY}\r\nContent-Disposition: {head}\r\n\r\n".encode() + file.read_bytes() + b"\r\n"
        body += f"--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        self.call("POST", f"/api/projects/{project}/import?commit_to_project=false", body, kind)
        uploads = self.json("GET", f"/api/projects/{project}/file-uploads?all=true")
        # The server puts 8 hex digits and a dash before a file's name.
        return {Path(upload["file"]).name[9:]: f"/data/{upload['file']}" for upload in uploads}
