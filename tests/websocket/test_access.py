"""Who may come in."""

import pytest

from blazen_trio.websocket.server import access
from blazen_trio.websocket.server.access import is_loopback, read_hosts, read_origins, read_token
from blazen_trio.websocket.server.head import HeadReader, RefusedError
from tests.websocket.clients import TOKEN, doorkeeper, request


def status(data: bytes, **options) -> int:
    """101, or the status of the refusal."""
    head = HeadReader(16 * 1024).feed(data)
    assert head is not None
    try:
        doorkeeper(**options).admit(head)
    except RefusedError as refused:
        return refused.status
    return 101


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 101),
        ("LOCALHOST:1", 101),
        ("localhost.", 101),
        ("runs.localhost:8765", 101),
        ("127.0.0.1:99", 101),
        ("[::1]:8765", 101),
        ("192.168.1.7", 101),
        ("runs.example", 101),
        ("RUNS.example.:80", 101),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evillocalhost", 421),
        ("127.0.0.1.evil.example", 421),
        ("2130706433", 421),
        ("0x7f.1", 421),
        ("runs.example:99999", 400),
        ("runs.example:x", 400),
        ("user@localhost", 400),
        ("localhost, evil", 400),
        ("::1", 400),
        ("[::1", 400),
        ("", 400),
    ],
)
def test_a_host_is_ours_or_an_address(host, expected):
    assert status(request(Host=host), hosts=frozenset({"runs.example"})) == expected


def test_the_host_that_the_server_is_bound_to_is_ours():
    assert status(request(Host="Box"), host="box") == 101
    assert status(request(Host="box"), host="other") == 421


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:8765", 101),
        ("HTTP://LOCALHOST:8765", 101),
        ("https://localhost:8765", 101),
        ("https://friend.example", 101),
        ("https://friend.example:443", 101),
        ("http://friend.example", 403),
        ("https://friend.example:444", 403),
        ("http://localhost", 403),
        ("http://localhost:1", 403),
        ("http://localhost:8765/", 403),
        ("http://localhost:8765@evil.example", 400),
        ("http://evil.example", 403),
        ("https://friend.example.evil.example", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
        ("ws://localhost:8765", 403),
        ("http://[", 403),
    ],
)
def test_a_page_is_from_here_or_listed(origin, expected):
    assert status(request(Origin=origin), origins=read_origins(["https://friend.example"])) == expected


def test_without_ports_the_origin_is_compared_by_the_schemes_own():
    assert status(request(Host="localhost", Origin="http://localhost")) == 101
    assert status(request(Host="localhost", Origin="https://localhost")) == 101
    assert status(request(Host="localhost:443", Origin="https://localhost")) == 101
    assert status(request(Host="localhost:443", Origin="http://localhost")) == 403


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 101),
        ({"Authorization": f"bearer  {TOKEN}"}, 101),
        ({"Sec_WebSocket_Protocol": f"blazen.v1, bearer.{TOKEN}"}, 101),
        ({"Sec_WebSocket_Protocol": f"bearer.{TOKEN},blazen.v1", "Authorization": f"Bearer {TOKEN}"}, 101),
        ({}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Sec_WebSocket_Protocol": "blazen.v1, bearer."}, 401),
        ({"Sec_WebSocket_Protocol": f"blazen.v1, {TOKEN}"}, 401),
        ({"Sec_WebSocket_Protocol": f"blazen.v1, bearer.{TOKEN}, bearer.other"}, 400),
        ({"Sec_WebSocket_Protocol": f"bearer.{TOKEN}"}, 400),  # no version of ours
        ({"Sec_WebSocket_Protocol": "blazen.v2"}, 401),  # who has no token does not learn the versions
    ],
)
def test_the_token_is_needed_in_either_place(changed, expected):
    assert status(request(**changed), token=read_token(TOKEN)) == expected


def test_the_token_in_a_url_is_none():
    assert status(request(line=f"GET /?token={TOKEN} HTTP/1.1"), token=read_token(TOKEN)) == 401


def test_without_a_token_of_its_own_the_server_keeps_what_was_shown_for_the_hook():
    head = HeadReader(16 * 1024).feed(request(Authorization="Bearer theirs"))
    assert head is not None
    assert doorkeeper().admit(head).bearer == "theirs"
    assert not doorkeeper().caller(head).is_token_checked


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [
        ("blazen.v1", "blazen.v1"),
        ("blazen.v2", "blazen.v2"),
        ("blazen.v1, blazen.v2", "blazen.v2"),
        ("blazen.v2, bearer.x, blazen.v1", "blazen.v2"),
        ("blazen.v3, blazen.v1", "blazen.v1"),
    ],
)
def test_the_best_version_that_both_speak_is_spoken(monkeypatch, offered, spoken):
    monkeypatch.setattr(access, "VERSIONS", ("blazen.v2", "blazen.v1"))
    head = HeadReader(16 * 1024).feed(request(Sec_WebSocket_Protocol=offered))
    assert head is not None
    assert doorkeeper().admit(head).version == spoken
    assert status(request(Sec_WebSocket_Protocol="blazen.v3")) == 400


@pytest.mark.parametrize("token", ["", " ", "a b", "ä", "a,b", "a\n", 'a"b', 7, b"bytes", "x" * 1001])
def test_a_token_that_cannot_travel_is_refused(token):
    with pytest.raises(ValueError, match="token must be a string"):
        read_token(token)


@pytest.mark.parametrize(
    "origins",
    [
        "https://a.example",
        ["null"],
        ["a.example"],
        ["https://a.example/"],
        ["ftp://a.example"],
        ["*"],
        [7],
        ["http://"],
    ],
)
def test_origins_are_written_as_origins(origins):
    with pytest.raises(ValueError, match="origins"):
        read_origins(origins)


@pytest.mark.parametrize("hosts", ["a.example", ["https://a.example"], ["a.example:80"], ["*"], [""], ["a b"], [7]])
def test_hosts_are_names(hosts):
    with pytest.raises(ValueError, match="hosts"):
        read_hosts(hosts)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_loopback_is_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", [None, "", "0.0.0.0", "::", "192.168.1.7", "example.com", "localhost.example"])  # noqa: S104 - the subject
def test_all_else_is_not(host):
    assert not is_loopback(host)
