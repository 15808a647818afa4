"""A personal access token of a new user, made as a person makes one: sign up by invitation, then ask for the token."""

import json
import secrets
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.cookiejar import CookieJar

from tests.live.labelstudio_client import Server


@dataclass(frozen=True)
class Newcomer:
    """A user with a session in a browser's place."""

    url: str
    email: str
    jar: CookieJar

    def post(self, path: str, body: bytes, kind: str) -> bytes:
        """Post within the session, with the form's own proof that it is not forged."""
        [proof] = [cookie.value for cookie in self.jar if cookie.name == "csrftoken"]
        headers = {"X-CSRFToken": proof or "", "Referer": self.url + path, "Content-Type": kind}
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        with opener.open(urllib.request.Request(self.url + path, body, headers, method="POST"), timeout=60) as answer:
            return answer.read()

    def new_token(self) -> str:
        return json.loads(self.post("/api/token/", b"{}", "application/json"))["token"]

    def revoke(self, token: str) -> None:
        self.post("/api/token/blacklist/", json.dumps({"refresh": token}).encode(), "application/json")


def newcomer(server: Server) -> Newcomer:
    server.json("POST", "/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
    invitation = server.json("GET", "/api/invite")["invite_url"]
    jar = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with opener.open(server.url + invitation, timeout=60):
        pass
    person = Newcomer(server.url, f"person-{secrets.token_hex(4)}@example.com", jar)
    form = {"email": person.email, "password": secrets.token_urlsafe(12)}
    person.post(invitation, urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded")
    return person
