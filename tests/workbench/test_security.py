"""What a stranger, another site, a wrong name, a bad file or a small role gets: nothing."""

from __future__ import annotations

import asyncio
import io
import re
import struct
import tarfile
import zipfile
import zlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from blastscope.workbench import people, settings, uploads
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.people import ROLES
from blastscope.workbench.preparation import prepare
from blastscope.workbench.refusal import RefusalError
from tests.workbench.conftest import HOST
from tests.workbench.filling import _picture

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def test_a_foreign_host_is_refused_on_loopback_too(served):
    asking = served.ask()
    for host in ("evil.example", "127.0.0.1.evil.example:8400", "169.254.169.254"):
        assert asking.get("/cases", headers={"Host": host}).status_code == 400
    for host in ("127.0.0.1:8400", "localhost:8400", "[::1]:8400"):
        assert asking.get("/cases", headers={"Host": host}).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
def test_another_sites_requests_change_nothing(served, local, headers):
    body = {"identifier": "B-1", "material": "blood", "sampling": "all"}
    answer = local.post("/api/v1/cases", json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign-origin")
    bare = served.person("local")
    del bare.headers["Sec-Fetch-Site"], bare.headers["Origin"]
    assert bare.post("/api/v1/cases", json=body).status_code == 403
    assert local.get("/api/v1/cases").json()["cases"] == []


def test_a_script_needs_a_token_and_no_origin(served, local):
    secret = local.post("/api/v1/tokens", json={"name": "script"}).json()["token"]
    script = served.ask()
    del script.headers["Sec-Fetch-Site"], script.headers["Origin"]
    script.headers["Authorization"] = f"Bearer {secret}"
    body = {"identifier": "B-1", "material": "blood", "sampling": "all"}
    assert script.post("/api/v1/cases", json=body).status_code == 201
    token = local.get("/api/v1/tokens").json()["tokens"][0]["id"]
    assert local.delete(f"/api/v1/tokens/{token}").status_code == 204
    assert script.get("/api/v1/cases").status_code == 401


def test_the_launch_address_holds_once(served):
    token = served.bench.launch_token()
    first, second = served.ask(), served.ask()
    assert second.get("/launch", params={"token": "x" * 32}).headers["location"] == (
        "/sign-in?used=1"
    )
    answer = first.get("/launch", params={"token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert first.get("/api/v1/boot").json()["person"]["role"] == "admin"
    assert "used" in second.get("/launch", params={"token": token}).headers["location"]
    assert second.get("/api/v1/boot").status_code == 401
    assert first.delete("/api/v1/session").status_code == 204
    first.cookies.set("blastscope_session", re.search("session=([^;]+)", cookie)[1])
    assert first.get("/api/v1/boot").status_code == 401


def test_headers_allow_nothing_from_elsewhere(served, local):
    for address in ("/cases", "/api/v1/cases", "/nowhere", "/static/x/../../people.py"):
        headers = local.get(address).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "name",
    ["../../people.py", "..%2f..%2fpeople.py", "%2e%2e/%2e%2e/people.py", "/etc/passwd", "x.py"],
)
def test_static_files_do_not_leave_their_folder(served, name):
    assert served.ask().get(f"/static/0/{name}").status_code == 404


@pytest.mark.parametrize(
    "next", ["/\t/evil.example", "/\n/evil.example", "//evil.example", "/\\evil.example", "x"]
)
def test_signing_in_leads_to_no_other_server(served, next):
    text = served.ask().get("/sign-in", params={"next": next}).text
    assert '"next": "/",' in text
    inside = served.ask().get("/sign-in", params={"next": "/cases/1/gallery?order=n"}).text
    assert '"next": "/cases/1/gallery?order=n",' in inside


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/v1/cases/{0}", 422),
        ("/api/v1/cases/1/history?after={0}", 422),
        ("/static/0/%00.js", 404),
    ],
)
def test_what_no_database_holds_is_refused(served, local, address, status):
    served.case(10)
    assert local.get(address.format(10**20)).status_code == status


def routes(app):
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method, path


def test_every_route_refuses_strangers_and_smaller_roles(served):
    nobody, viewer = served.ask(), served.person("vera", "viewer")
    reader = served.person("rita", "reader")
    tried = 0
    for method, path in routes(served.app):
        if path == "/api/v1/session" and method == "post":
            continue
        address = re.sub(r"\{[^}]+\}", "1", path)
        answer = nobody.request(method, address, params={"name": "a.png", "identifier": "x"})
        assert answer.status_code == 401, (method, path)
        tried += 1
        if method != "get" and path != "/api/v1/session":
            answer = viewer.request(method, address, params={"name": "a.png"}, json={})
            assert answer.status_code in (403, 422), (method, path, answer.text)
    assert tried > 45
    for method, path in (
        ("post", "/api/v1/people"),
        ("get", "/api/v1/system"),
        ("get", "/api/v1/audit"),
        ("post", "/api/v1/backup"),
    ):
        assert reader.request(method, path, json={}).status_code in (403, 422)
    body = {"name": "eve", "password": "long enough 1", "role": "admin"}
    assert reader.post("/api/v1/people", json=body).status_code == 403


def test_a_role_change_signs_out_and_the_last_admin_stays(served, local, monkeypatch):
    monkeypatch.setattr(people, "_hasher", lambda: Quick())
    for role in ROLES[:3]:
        body = {"name": f"the {role}", "password": "long enough 1", "role": role}
        assert local.post("/api/v1/people", json=body).status_code == 201
    ann = served.person("ann", "reader")
    people_ = {one["name"]: one["id"] for one in local.get("/api/v1/people").json()["people"]}
    changed = local.patch(f"/api/v1/people/{people_['ann']}", json={"role": "viewer"})
    assert changed.json()["role"] == "viewer"
    assert ann.get("/api/v1/boot").status_code == 401
    last = local.patch(f"/api/v1/people/{people_['local']}", json={"active": False})
    assert (last.status_code, last.json()["error"]["code"]) == (409, "last-admin")


def test_passwords_are_hashed_and_wrong_ones_lock(served, local, monkeypatch):
    monkeypatch.setattr(people, "_hasher", lambda: Quick())
    body = {"name": "ann", "password": "long enough 1", "role": "reader"}
    assert local.post("/api/v1/people", json={**body, "password": "short"}).status_code == 422
    assert local.post("/api/v1/people", json=body).status_code == 201
    door = served.ask()
    wrong = {"name": "ann", "password": "wrong"}
    unknown = door.post("/api/v1/session", json={"name": "nobody", "password": "wrong"})
    first = door.post("/api/v1/session", json=wrong)
    assert (first.status_code, first.json()) == (401, unknown.json())
    assert door.post("/api/v1/session", json={**wrong, "password": "long enough 1"}).is_success
    for _ in range(people.MOST_TRIES - 2):
        assert door.post("/api/v1/session", json=wrong).status_code == 401
    locked = door.post("/api/v1/session", json={**wrong, "password": "wrong"})
    assert locked.status_code == 429
    assert 0 < int(locked.headers["retry-after"]) <= 15 * 60
    right = door.post("/api/v1/session", json={**wrong, "password": "long enough 1"})
    assert right.status_code == 429
    until = {
        one["name"]: one["locked_until"] for one in local.get("/api/v1/people").json()["people"]
    }
    assert until["local"] is None
    left = datetime.fromisoformat(until["ann"]) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= 15 * 60


@pytest.mark.parametrize(
    ("host", "proxy", "sender", "locked"),
    [
        ("127.0.0.1", False, "127.0.0.1", True),
        ("0.0.0.0", False, "10.0.0.7", True),
        ("127.0.0.1", True, "10.0.0.7", True),  # told by a proxy on this machine
        ("127.0.0.1", True, "127.0.0.1", False),  # that proxy tells no address
        ("0.0.0.0", True, "172.18.0.2", False),  # a proxy on another machine
    ],
)
def test_wrong_passwords_do_not_lock_everybody_out_behind_a_proxy(
    served, local, monkeypatch, host, proxy, sender, locked
):
    monkeypatch.setattr(people, "_hasher", lambda: Quick())
    body = {"name": "ann", "password": "long enough 1", "role": "signer"}
    assert local.post("/api/v1/people", json=body).status_code == 201
    bench = served.bench
    monkeypatch.setattr(bench, "settings", replace(bench.settings, host=host, behind_proxy=proxy))
    door = TestClient(served.app, base_url=HOST, headers=local.headers, client=(sender, 5))
    for k in range(people.MOST_TRIES * 6):
        wrong = door.post("/api/v1/session", json={"name": f"n{k}", "password": "wrong"})
        assert wrong.status_code == 401 or k == people.MOST_TRIES * 6 - 1
    right = {"name": "ann", "password": "long enough 1"}
    assert door.post("/api/v1/session", json=right).status_code == (429 if locked else 200)
    for _ in range(people.MOST_TRIES):  # a name is locked in any case
        door.post("/api/v1/session", json={"name": "ann", "password": "wrong"})
    assert door.post("/api/v1/session", json=right).status_code == 429


class Quick:
    """A hash that takes no time, and is not the password."""

    def hash(self, password: str) -> str:
        return f"hash of {len(password)} {sum(password.encode())}"

    def verify(self, password: str, hashed: str) -> bool:
        return self.hash(password) == hashed


def test_argon2_it_is():
    stored = people.hashed("a password of some length")
    assert stored.startswith("$argon2id$")
    assert "password" not in stored


def new_case(asking) -> int:
    body = {"identifier": "B-1", "material": "blood", "sampling": "all"}
    return asking.post("/api/v1/cases", json=body).json()["id"]


def put(asking, case: int, name: str, content):
    return asking.put(f"/api/v1/cases/{case}/files", params={"name": name}, content=content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cell.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"),
        ("cell.bmp", b"<!doctype html><script>alert(1)</script>"),
        ("cells.zip", b"not a zip at all"),
        ("cell.png", b""),
    ],
)
def test_what_is_not_an_image_is_refused_whatever_its_name(local, name, content):
    told = put(local, new_case(local), name, content).json()["file"]
    assert told["state"] == "refused"
    assert told["reason"]


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "C:\\x.png", "", "."])
def test_names_that_lead_out_are_refused(local, served, name):
    refused = put(local, new_case(local), name, PNG)
    assert refused.status_code == 422
    message = refused.json()["error"]["message"]
    assert message == "The file has no name: give it one." or message.startswith(f"{name} is not a")
    assert not list(served.bench.settings.incoming.iterdir())


def test_a_body_that_is_announced_too_long_is_refused_in_a_sentence(local, served):
    case = new_case(local)
    for address, length in (
        (f"/api/v1/cases/{case}/files?name=a.zip", settings.MOST_ZIP_BYTES + 1),
        (f"/api/v1/cases/{case}/events", settings.MOST_JSON_BYTES + 1),
    ):
        method = "PUT" if "files" in address else "POST"
        headers = {"Content-Length": str(length)}
        answer = local.request(method, address, content=b"x", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-large")
        assert answer.json()["error"]["message"].endswith(".")


def test_a_file_that_stops_in_the_middle_leaves_nothing(local, served):
    case = new_case(local)
    cookie = "; ".join(f"{name}={value}" for name, value in local.cookies.items())
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PUT",
        "scheme": "http", "path": f"/api/v1/cases/{case}/files", "raw_path": b"",
        "query_string": b"name=half.png", "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8400), "state": {},
        "headers": [
            (b"host", b"127.0.0.1:8400"), (b"cookie", cookie.encode()),
            (b"sec-fetch-site", b"same-origin"), (b"content-length", b"1000"),
        ],
    }  # fmt: skip
    sent: list[dict] = []
    parts = [
        {"type": "http.request", "body": PNG[:20], "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict:
        return parts.pop(0) if len(parts) > 1 else parts[0]

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(served.app(scope, receive, send))  # and raises nothing
    assert [one["status"] for one in sent if "status" in one] == [400]
    assert b"send it again" in b"".join(one.get("body", b"") for one in sent)
    assert not list(served.bench.settings.incoming.iterdir())
    assert local.get(f"/api/v1/cases/{case}/files").json()["files"] == []
    assert put(local, case, "half.png", PNG).status_code == 201  # the rest goes on


def test_odd_files_are_told_of_and_the_rest_goes_on(local, served):
    case = new_case(local)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    chunks = [
        b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(bytes(10_000)),
        b"IEND",
    ]
    bomb = PNG[:8] + b"".join(
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks
    )
    odd = {
        "empty.png": b"", "tar.png": packed.getvalue(), "text.png": b"This is a text.\n",
        "bomb.png": bomb, f"UID_{'9' * 90}_1_1_all.png": _picture(2, 0.3),
    }  # fmt: skip
    for name, content in odd.items():
        assert put(local, case, name, content).status_code == 201
    assert put(local, case, "n" * 301, PNG).json()["error"]["message"].endswith("shorten it.")
    assert put(local, case, "cell.png", _picture(1, 0.3)).status_code == 201
    again = put(local, case, "cell.png", _picture(3, 0.3))
    assert (again.status_code, again.json()["error"]["code"]) == (409, "other-content")
    assert local.post(f"/api/v1/cases/{case}/files/done", json={}).status_code == 200
    prepare(served.bench.database, served.bench.images, case, lambda *_: True)
    files = local.get(f"/api/v1/cases/{case}/files").json()["files"]
    states = {one["name"]: (one["state"], one["reason"]) for one in files}
    assert states.pop("cell.png") == ("taken", None)
    assert {name: state for name, (state, _) in states.items()} == dict.fromkeys(odd, "refused")
    assert states["empty.png"][1] == "is empty"
    assert "64 megapixels" in states["bomb.png"][1]
    assert "more than 80 characters" in states[f"UID_{'9' * 90}_1_1_all.png"][1]
    told = local.get(f"/api/v1/cases/{case}").json()
    assert (told["progress"]["sent"], told["progress"]["refused"]) == (6, 5)
    assert told["counts"]["cells"] == 1


def test_a_name_is_never_a_path(local, served):
    answer = put(local, new_case(local), "folder/häßlich\u202e.png", PNG)
    assert answer.status_code == 201
    kept = [path for path in served.bench.settings.images.rglob("*") if path.is_file()]
    assert [len(path.name) for path in kept] == [64]
    again = put(local, 1, "folder/häßlich\u202e.png", PNG)
    assert (again.status_code, again.json()["file"]["id"]) == (200, answer.json()["file"]["id"])
    other = put(local, 1, "folder/häßlich\u202e.png", PNG + b"1")
    assert other.json()["error"]["code"] == "other-content"


def test_long_bodies_are_refused_by_length_and_as_they_come(local, served, monkeypatch):
    case = new_case(local)
    monkeypatch.setattr(uploads, "MAX_BYTES", 1000)

    def pieces():
        for _ in range(100):
            yield bytes(100)

    for content in (bytes(5000), pieces()):
        answer = put(local, case, "a.png", content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-large")
    assert not list(served.bench.settings.incoming.iterdir())
    long = b"x" * (settings.MOST_JSON_BYTES + 1)
    answer = local.post("/api/v1/cases", content=long, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413

    def many():
        for _ in range(settings.MOST_JSON_BYTES // 2**16 + 2):
            yield bytes(2**16)

    assert local.post("/api/v1/cases", content=many()).status_code == 413


def test_zips_cannot_slip_or_explode(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "_MOST_PACKED", 10)
    images = ImageStore(tmp_path / "images", tmp_path / "incoming")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../outside.png", PNG)
        archive.writestr("good/cell.png", PNG)
        archive.writestr("bomb.png", PNG + bytes(11 * 2**20))
        archive.writestr("page.png", b"<html>")
        archive.writestr("notes.txt", b"text")
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    sha = images.put(content.getvalue())
    found = {name: reason for name, _, _, reason in uploads.unpack(images, sha, "cells.zip")}
    assert found.pop("cells.zip/good/cell.png") is None
    assert set(found) == {f"cells.zip/{n}.png" for n in ("../../outside", "bomb", "page", "link")}
    assert all(found.values())
    assert not (tmp_path.parent / "outside.png").exists()
    assert len(list(images.incoming.iterdir())) == 0


def test_a_damaged_zip_is_one_sentence(tmp_path):
    images = ImageStore(tmp_path / "images", tmp_path / "incoming")
    sha = images.put(b"PK\x03\x04" + bytes(100))
    with pytest.raises(RefusalError):
        list(uploads.unpack(images, sha, "cells.zip"))


def test_every_page_asks_to_sign_in_first(served):
    asking = served.ask()
    for page in ("/cases", "/cases/new", "/cases/1", "/cases/1/gallery", "/cases/1/cells/2",
                 "/cases/1/export", "/admin"):  # fmt: skip
        answer = asking.get(page)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={page}")
    assert HOST.startswith("http://127.0.0.1")
