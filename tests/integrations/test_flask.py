"""A container in a Flask application: wired views, a scope for each request, and no connection before the first."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from tests.containers.forking import in_child
from tests.integrations import views
from tests.integrations.shop import Shop
from wellwired.containers import Container, Provide, inject, providers
from wellwired.containers.container import ContainerInstance
from wellwired.errors import StateError, WellwiredError, WiringError
from wellwired.integrations._wsgi import SCOPE, ScopedRequests
from wellwired.integrations.flask import Wellwired, container_of

MODULE = "tests.integrations.views"


def create_app(container: Any = Shop, **options: Any) -> Flask:
    """An application as a factory makes it."""
    app = Flask(__name__)
    app.register_blueprint(views.pages)
    Wellwired(app, container=container, **options)
    return app


@pytest.fixture
def app() -> Iterator[Flask]:
    """An application, its container stopped at the end."""
    made = create_app()
    yield made
    container_of(made, start=False).stop()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the application."""
    return app.test_client()


def log(app: Flask) -> list[str]:
    """What happened in the application's container."""
    found: list[str] = container_of(app, start=False).log()
    return found


def test_views_get_what_they_mark(client: FlaskClient) -> None:
    """A function, an asynchronous function and a class get their objects, next to the arguments of the route."""
    assert client.get("/hello").text == "hello from pool"
    assert client.get("/soon").text == "soon hello from pool"
    assert client.get("/shelf/books").text == "hello from pool books"


def test_nothing_opens_before_the_first_request(app: Flask) -> None:
    """Loading an application and wiring it opens no pool; the first request does, once."""
    assert not container_of(app, start=False).started and log(app) == []
    client = app.test_client()
    client.get("/hello")
    client.get("/hello")
    assert log(app) == ["opened"]


def test_two_applications_of_one_factory_have_two_containers() -> None:
    """Each is served by its own, over the same views, however their requests come."""
    one, other = create_app(), create_app()
    with container_of(one, start=False).overriding({"greeting": "I am one"}):
        assert [each.test_client().get("/hello").text for each in (one, other, one)] == [
            "I am one",
            "hello from pool",
            "I am one",
        ]
        with one.app_context():
            assert views.hello() == "I am one"
        streamed = [each.test_client().get("/stream", buffered=True).text for each in (one, other)]
        assert streamed == ["at work True;" * 3] * 2
        with pytest.raises(WiringError, match="2 containers share"):
            views.hello()
    for each in (one, other):
        container_of(each, start=False).stop()


def test_a_request_has_a_scope(app: Flask, client: FlaskClient) -> None:
    """One object for a request, whoever asks, ended with it; the next request has another."""
    assert client.get("/visit").json == {"same": True, "number": 1}
    assert client.get("/visit").json == {"same": True, "number": 2}
    assert log(app) == ["opened", "visit 1 ended well", "visit 2 ended well"]


@pytest.mark.parametrize("query", ["", "?context=1"])
def test_a_streamed_body_is_inside_the_scope(app: Flask, client: FlaskClient, query: str) -> None:
    """Every piece of it has the request's objects, which end after the last one."""
    response = client.get(f"/stream{query}", buffered=False)
    assert "visit 1 ended well" not in log(app)
    assert response.text == "at work True;" * 3
    response.close()
    assert log(app)[-1] == "visit 1 ended well"


def test_a_client_that_goes_away_ends_the_scope(app: Flask, client: FlaskClient) -> None:
    """A server that closes a body before its end has ended the request."""
    response = client.get("/stream", buffered=False)
    next(iter(response.response))
    response.close()
    assert log(app)[-1] == "visit 1 ended well"


def test_an_error_ends_the_scope_as_an_error(app: Flask, client: FlaskClient) -> None:
    """What rolls back on an error does so, although Flask answers with a page."""
    assert client.get("/fail").status_code == 500
    assert log(app)[-1] == "visit 1 ended by RuntimeError"
    app.testing = True
    with pytest.raises(RuntimeError, match="after visit 2"):
        client.get("/fail")
    assert log(app)[-1] == "visit 2 ended by RuntimeError"


def test_a_body_that_breaks_ends_the_scope_as_an_error(app: Flask, client: FlaskClient) -> None:
    """Also when the first pieces have been sent."""
    with pytest.raises(RuntimeError, match="torn"):
        client.get("/torn", buffered=True)
    assert log(app)[-1] == "visit 1 ended by RuntimeError"


def test_a_file_is_left_to_the_server(app: Flask) -> None:
    """A server that sends files by itself is handed the very object that it made."""

    class Wrapper:
        def __init__(self, file: io.BytesIO, size: int = 8192) -> None:
            self.file = file

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.file)

        def close(self) -> None:
            self.file.close()

    made: list[Wrapper] = []

    def serve(environ: dict[str, Any], start_response: Any) -> Wrapper:
        made.append(environ["wsgi.file_wrapper"](io.BytesIO(b"file")))
        return made[0]

    environ: dict[str, Any] = {"wsgi.file_wrapper": Wrapper}
    body = ScopedRequests(serve, lambda: container_of(app))(environ, lambda *_: None)
    assert body is made[0] and environ[SCOPE].scope.closed


def test_an_application_of_any_kind_is_served_by_its_container() -> None:
    """Around a plain WSGI application, injected functions are filled in too."""
    containers = [Shop(), Shop()]
    for each in containers:
        each.wire([MODULE], shared=True)

    def serve(_environ: dict[str, Any], _start: Any) -> list[bytes]:
        return [views.hello().encode()]

    with containers[0].overriding({"greeting": "I am one"}):
        bodies = [ScopedRequests(serve, each.start)({}, lambda *_: None) for each in containers]
        assert [b"".join(body) for body in bodies] == [b"I am one", b"hello from pool"]
    for body, each in zip(bodies, containers, strict=True):
        body.close()  # type: ignore[attr-defined]
        each.stop()


def test_an_override_before_the_start_opens_nothing_real(app: Flask, client: FlaskClient) -> None:
    """A test that replaces a pool never opens it."""
    with container_of(app, start=False).overriding({"pool": "fake"}):
        assert client.get("/hello").text == "hello from fake"
    assert "opened" not in log(app)


def test_a_start_that_fails_is_tried_again(app: Flask) -> None:
    """A request that finds the container broken fails; when it is mended the next one is served."""
    tries = iter([ConnectionError("no pool today")])

    def late() -> str:
        for error in tries:
            raise error
        return "late"

    class Late(Shop):
        pool = providers.Resource(late)

    late_app = create_app(Late)
    client = late_app.test_client()
    with pytest.raises(ConnectionError):
        client.get("/hello")
    assert client.get("/hello").text == "hello from late"
    container_of(late_app, start=False).stop()


def test_a_marker_that_leads_nowhere_is_an_error(make_blueprint: Any) -> None:
    """A blueprint's views are checked before the first request is served, and the error names the view."""
    app = Flask(__name__)
    app.register_blueprint(make_blueprint("nowhere"))
    Wellwired(app, container=Shop)
    with pytest.raises(WiringError, match="nowhere"):
        app.test_client().get("/lost")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["check"], 0, "Shop is well wired"),
        (["health", "--json"], 0, '"status"'),
        (["graph", "--format", "mermaid"], 0, "flowchart"),
        (["check", "--help"], 0, "Usage: flask wellwired check"),
        (["graph", "--format", "png"], 2, "is none of"),
        (["load", "--help"], 0, "FILE.jsonl"),
    ],
)
def test_the_command_is_about_the_applications_container(
    app: Flask, capfd: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    """`flask wellwired ...` takes the options of the command, and gives its exit codes."""
    result = app.test_cli_runner().invoke(args=["wellwired", *words])
    told = result.output + "".join(capfd.readouterr())
    assert (result.exit_code, said in told) == (code, True), told


def test_the_command_finds_markers_that_lead_nowhere(make_blueprint: Any) -> None:
    """`flask wellwired check` wires the blueprints as the first request would."""
    app = Flask(__name__)
    app.register_blueprint(make_blueprint("astray"))
    Wellwired(app, container=Shop)
    result = app.test_cli_runner().invoke(args=["wellwired", "check"])
    assert result.exit_code == 1 and "astray" in result.output


def test_each_process_starts_for_itself(app: Flask, client: FlaskClient) -> None:
    """A worker that was forked from a started application opens its own pool, and leaves the parent's alone."""
    client.get("/hello")

    def child() -> list[str]:
        app.test_client().get("/hello")
        return log(app)

    assert in_child(child).count("opened") == 2
    assert log(app) == ["opened"]


def test_what_cannot_be_is_refused(app: Flask) -> None:
    """No container, a second one, and what is none, each with a word about what to do."""
    with pytest.raises(StateError, match=r"init_app\(app, container=Shop\)"):
        Wellwired().init_app(Flask("bare"))
    with pytest.raises(StateError, match="has a container already"):
        Wellwired(app, container=Shop)
    with pytest.raises(StateError, match=r"no container; call Wellwired"):
        container_of(Flask("bare"))
    with pytest.raises(WellwiredError, match="no container; give a class"):
        create_app(Container.__mro__[-1])
    for place, why in (
        ("nowhere", "module:Class"),
        (f"{MODULE}:Shopp", "has no 'Shopp'; write"),
        (f"{MODULE}:Visit", "no c"),
    ):
        with pytest.raises(WellwiredError, match=why):
            create_app(place)
    with pytest.raises(WellwiredError, match=r"has no 'Shopp'; it has Shop$"):
        create_app("tests.integrations.shop:Shopp")


@pytest.mark.parametrize("source", ["tests.integrations.shop:Shop", "tests.integrations.shop.Shop", Shop, Shop()])
def test_a_container_can_be_named_in_many_ways(source: Any) -> None:
    """By its place, as a class, or as an instance of the application's own."""
    app = create_app(source)
    container = container_of(app)
    assert isinstance(container, ContainerInstance) and container.title == "Shop"
    container.stop()


def test_the_extension_finds_the_current_applications_container(app: Flask) -> None:
    """One extension object serves every application that it set up."""
    wired = Wellwired(container=Shop)
    other = Flask("other")
    wired.init_app(other)
    with other.app_context():
        assert wired.container is container_of(other)
    with app.app_context():
        assert wired.container is container_of(app)
    container_of(other, start=False).stop()


@pytest.fixture
def make_blueprint(request: pytest.FixtureRequest) -> Any:
    """Makes a blueprint in a module of its own, with a view that marks some id."""
    import sys
    from types import ModuleType

    def make(id: str) -> Blueprint:
        name = f"tests_blueprint_{id}"
        module = sys.modules[name] = ModuleType(name)
        request.addfinalizer(lambda: sys.modules.pop(name))

        def lost(found: Any = Provide[id]) -> str:
            return str(found)

        lost.__module__ = name
        blueprint = Blueprint(id, name)
        blueprint.get("/lost")(inject(lost))
        vars(module)["lost"] = lost
        return blueprint

    return make
