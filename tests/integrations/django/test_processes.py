"""What a process of the project does before it serves: nothing that could not be forked, or need a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

PRELOADED = """
import os, socket, sys

connected = []
connect = socket.socket.connect
socket.socket.connect = lambda self, place: (connected.append(place), connect(self, place))[1]

from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()     # what gunicorn --preload does in the parent
from wellwired.integrations.django import _project, container
assert _project._Current.project is None and not connected, connected
assert "tests.integrations.django.containers" not in sys.modules

def serve():
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/visit", "SERVER_NAME": "x", "SERVER_PORT": "80",
               "wsgi.url_scheme": "http", "wsgi.input": sys.stdin.buffer}
    response = application(environ, lambda *_: None)
    body = b"".join(response)
    response.close()
    return body

for worker in range(2):
    if (pid := os.fork()) == 0:
        assert b'"number": 1' in serve()
        assert container(start=False).log() == ["opened", "visit 1 ended well"]
        raise SystemExit(0)              # as a worker ends: what is to be done at exit is done
    assert os.waitpid(pid, 0)[1] == 0
assert _project._Current.project is None and not connected, connected
"""

ENDING = """
import django
django.setup()
from wellwired.integrations.django import container
log = container().log()
import atexit
at_exit = lambda: print(*log)
atexit._run_exitfuncs()
at_exit()
"""


def run(script: str, settings: str = "tests.integrations.django.settings") -> str:
    """Runs a script in a process of its own, with the settings of the test project; gives what it prints."""
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_setting_django_up_connects_to_nothing() -> None:
    """A parent that loads the application and forks has opened nothing, nor made the container; each worker has."""
    run(PRELOADED)


def test_the_container_is_stopped_at_exit() -> None:
    """What it opened is closed when the process ends."""
    assert run(ENDING) == "opened closed\n"


def test_other_commands_of_a_project_that_is_set_up_do_without_the_environment() -> None:
    """Code without settings of the container still sets Django up, as migrations do."""
    run("import django; django.setup()", settings="tests.integrations.django.bare_settings")


def test_the_root_imports_no_framework() -> None:
    """Only who imports the integration imports Django."""
    run("import sys, wellwired, wellwired.integrations; assert not {'django', 'flask'} & set(sys.modules)")


def test_without_django_the_extra_is_named() -> None:
    """Importing the integration says what to install."""
    told = run(
        "import sys; sys.modules['django'] = None\n"
        "try: import wellwired.integrations.django\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    assert told.startswith("MissingExtraError") and "pip install 'wellwired[django]'" in told
