"""`blazen-trio serve` and `watch`: an engine behind a websocket, and its runs as if they ran here."""

import contextlib
import http.client
import json
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from blazen_trio import SqliteStore, open_engine
from blazen_trio.cli import main
from blazen_trio.cli.loading import load_workflow
from blazen_trio.websocket import RemoteEngine, open_websocket_client
from tests.websocket.clients import request

from .terminal_for_tests import ROOT, begin_piped, end_of, interrupt, run_at_terminal, run_piped, terminate, wait_for

HERE = "tests.cli.workflows_for_tests"
PEM = Path(__file__).parent.parent / "websocket" / "localhost.pem"
TOKEN = "correct-horse"


@attrs.frozen
class Served:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    console: str
    port: int

    def start(self, workflow: str, run_id: str, data: object = None) -> None:
        """Start a run there."""

        async def start(engine: RemoteEngine) -> None:
            await engine.start(workflow, data, run_id)

        self.ask(start)

    def ask(self, what: Callable[[RemoteEngine], Awaitable[object]]) -> object:
        """What a client there does."""

        async def main() -> object:
            async with open_websocket_client(self.url) as engine:
                return await what(engine)

        return trio.run(main)

    def status(self, run_id: str) -> str:
        """Of a run there."""

        async def status(engine: RemoteEngine) -> str:
            return (await engine.get(run_id)).status.value

        return str(self.ask(status))

    def stop(self, number: int) -> tuple[int, str]:
        """Send a signal; the exit code, and what was said since then."""
        self.process.send_signal(number)
        ended = end_of(self.process)
        return ended.code, ended.err


@contextlib.contextmanager
def serving(*argv: str, cwd: Path = ROOT) -> Iterator[Served]:
    """The command, from when it listens; then it is killed."""
    with begin_piped("serve", *argv, "--port", "0", "--json", cwd=cwd) as process:
        try:
            wait_for(process, "Ctrl-C stops")
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Served(process, told["url"], told["console"], told["port"])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served():
    """A server that all who only look share."""
    with serving(*(f"{HERE}:{name}" for name in ("echoing", "failing", "asking", "endless", "judging"))) as server:
        yield server


@pytest.fixture
def token_file(tmp_path):
    """A file as it should be."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return str(file)


# --- Serving ----------------------------------------------------------------------------------------------------------


def test_a_server_says_where_it_is_and_answers_there(served):
    assert json.loads(page(served.port, "/health")) == {"status": "ok"}
    assert b"<html" in page(served.port, "/")


@pytest.mark.parametrize("stop", [interrupt(), terminate()], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_says_goodbye_and_parks_the_runs(stop, tmp_path, capsys):
    db = str(tmp_path / "runs.db")
    with serving(f"{HERE}:asking", "--db", db) as server:
        server.start("asking", "a")
        with connected(server.port) as client:
            code, said = server.stop(stop)
            assert close_code(client) == 1001

    assert code == 0
    assert "Traceback" not in said
    assert main(["show", "a", "--db", db, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["status"], shown["held_by"]) == ("awaiting_input", None)


def test_calls_that_run_are_waited_for_until_the_second_ctrl_c(tmp_path):
    with serving(f"{HERE}:endless", "--db", str(tmp_path / "runs.db")) as server:
        server.start("endless", "a")
        server.process.send_signal(interrupt())
        wait_for(server.process, "stops when its calls have ended")
        code, said = server.stop(interrupt())

    assert (code, said) == (130, "")


def test_runs_in_the_file_go_on_with_the_next_server(tmp_path, capsys):
    db = str(tmp_path / "runs.db")
    assert main(["run", f"{HERE}:asking", "--db", db, "--run-id", "a"]) == 3
    capsys.readouterr()

    with serving(f"{HERE}:asking", "--db", db) as server:
        ended = run_at_terminal("watch", server.url, "a", script=[("First?", "1\n"), ("Second?", "2\n")])

    assert (ended.code, ended.out) == (0, "['1', '2']\n")


def test_a_server_with_a_token_and_tls_is_for_those_who_have_both(token_file, monkeypatch):
    with serving(f"{HERE}:echoing", "--token-file", token_file, "--certificate", str(PEM)) as server:
        assert server.url.startswith("wss://127.0.0.1:")
        monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
        without = run_piped("watch", server.url, "a")
        stranger = run_piped("watch", server.url, "a", "--token-file", token_file)

    assert (without.code, stranger.code) == (2, 2)
    assert "status 401" in without.err
    assert "there is no run 'a'" in stranger.err


def test_a_name_of_the_server_is_what_people_are_told():
    with serving(f"{HERE}:echoing", "--hostname", "runs.example") as server:
        assert server.url == f"ws://runs.example:{server.port}/"


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["nowhere"], "write module:name"),
        ([f"{HERE}:echoing", f"{HERE}:missing"], "its workflows are: echoing"),
        ([f"{HERE}:echoing", "--host", "192.0.2.1"], "--host 192.0.2.1 can be reached from other machines"),
        ([f"{HERE}:echoing", "--port", "99999"], "--port 99999 is none"),
        ([f"{HERE}:echoing", "--port", "-1"], "--port -1 is none"),
        ([f"{HERE}:echoing", "--token-file", "no-such-file"], "--token-file no-such-file: No such file"),
        ([f"{HERE}:echoing", "--token-file", "."], "--token-file .: Is a directory"),
        ([f"{HERE}:echoing", "--token-file", "/dev/null"], "that is no token"),
        ([f"{HERE}:echoing", "--certificate", "no-such-file"], "--certificate no-such-file: No such file"),
        ([f"{HERE}:echoing", "--certificate", "README.md"], "--certificate README.md: no certificate with its key"),
        ([f"{HERE}:echoing", "--key", "README.md"], "give --certificate, too"),
        ([f"{HERE}:echoing", "--origin", "nonsense"], "'nonsense' is not written like https://"),
        ([f"{HERE}:echoing", "--hostname", "a b"], "'a b' is no host name"),
        ([f"{HERE}:echoing", "--db", "/no/such/place/runs.db"], "its directory does not exist"),
    ],
)
def test_what_cannot_be_served_is_explained_with_code_2(argv, hint, capsys):
    assert main(["serve", "--port", "0", *argv] if "--port" not in argv else ["serve", *argv]) == 2

    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "others can read it" not in line]
    assert hint in said.err
    assert len(lines) == 1
    assert said.out == ""


@pytest.fixture
def marking(tmp_path, monkeypatch):
    """A file with a run that has something to do, of a workflow that leaves marks of it."""
    marks, db = tmp_path / "marks", tmp_path / "runs.db"
    (tmp_path / "marking_steps.py").write_text(MARKING.format(str(marks)))
    monkeypatch.syspath_prepend(tmp_path)

    async def park() -> None:
        with trio.CancelScope() as scope:
            async with open_engine(SqliteStore(db), [load_workflow("marking_steps:marking")]) as engine:
                await engine.start("marking", None, "a")
                scope.cancel()

    trio.run(park)
    marks.write_text("")
    yield marks, ["marking_steps:marking", "--db", str(db)]
    sys.modules.pop("marking_steps", None)


MARKING = """
import pathlib
import trio
from blazen_trio import StartEvent, StopEvent, Workflow, step


@step
async def mark(event: StartEvent) -> StopEvent:
    with pathlib.Path({!r}).open("a") as file:
        file.write("called\\n")
    await trio.sleep_forever()
    return StopEvent()


marking = Workflow("marking", [mark])
"""


@pytest.mark.parametrize(
    "mistake",
    [
        ["--token-file", "missing"],
        ["--certificate", "missing.pem"],
        ["--origin", "nonsense"],
        ["--hostname", "a b"],
        ["--port", "taken"],
    ],
    ids=" ".join,
)
def test_no_step_begins_before_all_options_are_found_right(mistake, marking, capsys):
    marks, argv = marking
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mistake = [str(taken.getsockname()[1]) if each == "taken" else each for each in mistake]
        started = time.monotonic()
        assert main(["serve", *argv, *([] if "--port" in mistake else ["--port", "0"]), *mistake]) == 2
    assert time.monotonic() - started < 4  # of the five that a step would have to end
    assert marks.read_text() == ""
    assert capsys.readouterr().err.count("\n") == 1


def test_and_then_they_begin_at_once(marking):
    marks, argv = marking
    with serving(*argv, cwd=marks.parent):
        deadline = time.monotonic() + 10
        while not marks.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert marks.read_text() == "called\n"


def test_two_workflows_of_one_name_cannot_be_served(tmp_path, monkeypatch, capsys):
    (tmp_path / "named_alike.py").write_text(
        f"from {HERE} import echo\nfrom blazen_trio import Workflow\nother = Workflow('echoing', [echo])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert main(["serve", f"{HERE}:echoing", "named_alike:other"]) == 2
    assert "two of the workflows have one name: echoing, echoing" in capsys.readouterr().err


def test_a_port_that_is_taken_is_explained_with_code_2(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", f"{HERE}:echoing", "--port", port]) == 2

    said = capsys.readouterr().err
    assert f"cannot serve on 127.0.0.1:{port}: " in said
    assert "in use" in said
    assert said.count("\n") == 1


def test_a_token_that_others_can_read_is_a_warning(tmp_path, capsys):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)

    assert main(["serve", f"{HERE}:echoing", "--token-file", str(file), "--origin", "stops here"]) == 2
    assert f"others can read it; chmod 600 {file}" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", " \n", "two words", "two\nlines", "\u00fc", "x" * 5_000])
def test_what_is_no_token_is_explained(text, tmp_path, capsys):
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)

    assert main(["serve", f"{HERE}:echoing", "--token-file", str(file)]) == 2
    assert "that is no token" in capsys.readouterr().err


# --- Watching ---------------------------------------------------------------------------------------------------------


def test_a_run_is_watched_to_its_end(served, capsys):
    served.start("echoing", "done", {"a": [1, 2]})

    assert main(["watch", served.url, "done"]) == 0
    assert capsys.readouterr().out == "{'a': [1, 2]}\n"

    assert main(["watch", served.url, "done", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run_id": "done", "status": "completed", "result": {"a": [1, 2]}}


def test_a_run_that_failed_is_code_1(served, capsys):
    served.start("failing", "failed")

    assert main(["watch", served.url, "failed", "--json"]) == 1

    said = capsys.readouterr()
    assert "the run failed: StepFailedError: step 'fail'" in said.err
    assert "no luck \\x1b[31mtoday" in said.err
    assert json.loads(said.out)["error"]["type"] == "StepFailedError"


def test_a_question_that_nobody_here_answers_is_code_3(served, capsys):
    served.start("asking", "unanswered")

    assert main(["watch", served.url, "unanswered", "--json"]) == 3

    said = capsys.readouterr()
    assert "waits for an answer to 'First?'" in said.err
    assert f"answer it: blazen-trio watch {served.url} unanswered" in said.err
    assert json.loads(said.out)["status"] == "awaiting_input"
    assert served.status("unanswered") == "awaiting_input"


def test_a_person_at_the_terminal_answers(served):
    served.start("asking", "answered")

    ended = run_at_terminal("watch", served.url, "answered", script=[("Enter: x", "\n"), ("Second?", "2\n")])

    assert (ended.code, ended.out) == (0, "['x', '2']\n")


def test_an_answer_that_comes_too_late_is_no_failure(served):
    async def answer(engine: RemoteEngine) -> None:
        run = await engine.get("contested")
        await run.respond_to_input(run.pending_inputs[0].request_id, "theirs")

    served.start("asking", "contested")
    ended = run_at_terminal(
        "watch",
        served.url,
        "contested",
        script=[("First?", lambda: served.ask(answer)), ("> ", "ours\n"), ("Second?", "2\n")],
    )

    assert (ended.code, ended.out) == (0, "['theirs', '2']\n")
    assert "(nobody asks that any more: First?)" in ended.err


def test_a_result_of_a_class_that_is_not_known_here_needs_its_workflow(served, capsys):
    served.start("judging", "judged")

    assert main(["watch", served.url, "judged", "--json"]) == 1
    said = capsys.readouterr()
    assert "the run cannot be followed any more: EventDecodeError" in said.err
    assert json.loads(said.out)["status"] == "unknown"

    assert main(["watch", served.url, "judged", "--workflow", f"{HERE}:judging"]) == 0
    assert "guilty" in capsys.readouterr().out


@pytest.mark.parametrize(("stop", "code"), [(interrupt(), 130), (terminate(), 143)], ids=["Ctrl-C", "SIGTERM"])
def test_whoever_stops_watching_leaves_the_run_running(stop, code, served):
    run_id = f"left-{code}"
    served.start("endless", run_id)

    with begin_piped("watch", served.url, run_id) as process:
        wait_for(process, "5 of 5")
        process.send_signal(stop)
        ended = end_of(process)

    assert ended.code == code
    assert f"after 5 of 5 steps of waiting begun; go on with: blazen-trio watch {served.url} {run_id}" in ended.err
    assert served.status(run_id) == "running"


def test_a_server_that_goes_away_is_code_1_and_no_failure_of_the_run():
    with serving(f"{HERE}:endless") as server:
        server.start("endless", "a")
        with begin_piped("watch", server.url, "a", "--patience", "0.2", "--json") as process:
            wait_for(process, "5 of 5")
            server.process.kill()
            ended = end_of(process)

    assert ended.code == 1
    assert "the run cannot be followed any more: PeerError: " in ended.err
    assert "Traceback" not in ended.err
    assert json.loads(ended.out)["status"] == "unknown"
    assert json.loads(ended.out)["go_on"].startswith(f"blazen-trio watch {server.url} a")


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["{url}", "nowhere"], "there is no run 'nowhere'"),
        (["{url}", "\udcff"], "there is no run '\\udcff'"),
        (["ws://127.0.0.1:1/", "a"], "does the server run, and is this its address?"),
        (["http://127.0.0.1:1/", "a"], "is no URL of a websocket"),
        (["{url}", "a", "--patience", "0"], "patience= must be more than 0 seconds"),
        (["{url}", "a", "--token-file", "no-such-file"], "--token-file no-such-file: No such file"),
        (["{url}", "a", "--workflow", "nowhere"], "write module:name"),
    ],
)
def test_what_cannot_be_watched_is_explained_with_code_2(argv, hint, served, capsys):
    assert main(["watch", *(each.format(url=served.url) for each in argv)]) == 2

    said = capsys.readouterr()
    assert hint in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_wrong_token_is_code_2(token_file, tmp_path, capsys):
    other = tmp_path / "other"
    other.write_text("wrong")
    other.chmod(0o600)
    with serving(f"{HERE}:echoing", "--token-file", token_file) as server:
        assert main(["watch", server.url, "a", "--token-file", str(other)]) == 2

    assert "status 401" in capsys.readouterr().err


# --- A client of few words --------------------------------------------------------------------------------------------


def page(port: int, path: str) -> bytes:
    """What a browser gets."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    return connection.getresponse().read()


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A websocket that says nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request())
        while b"welcome" not in client.recv(65_536, socket.MSG_PEEK):
            pass
        yield client


def close_code(client: socket.socket) -> int:
    """With which code the server closes; what came before is left out."""
    data = b""
    while piece := client.recv(65_536):
        data += piece
    at = data.rindex(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4], "big")
