"""Flask: an application's container, started at its first request, with a scope for each request.

::

    wired = Wellwired()

    def create_app() -> Flask:
        app = Flask(__name__)
        app.register_blueprint(orders)
        wired.init_app(app, container=Shop)
        return app

    @orders.post("/orders")
    @inject
    def order(writes: WriteManager = Provide["write_manager"]): ...

The modules of the application and of its blueprints are wired: views get what they mark. Two applications have two
containers, also when one factory makes both. Nothing connects before the first request of a process, so that an
application may be loaded by a command, or by gunicorn before it forks.

``flask wellwired check``, and ``health``, ``graph``, ``load``, ``replay`` and ``purge``, are the `wellwired` command
about the application's container.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from types import GeneratorType

from wellwired.containers._serving import look_with
from wellwired.containers.container import ContainerInstance
from wellwired.errors import MissingExtraError, StateError, WiringError
from wellwired.integrations._commands import COMMANDS, run
from wellwired.integrations._hosting import Hosted, Source
from wellwired.integrations._wsgi import SCOPE, ScopedRequests

try:
    import click
    from flask import Flask, Response, current_app, has_app_context, request
    from flask.cli import AppGroup, with_appcontext
except ModuleNotFoundError:
    raise MissingExtraError("Flask", extra="flask", purpose="wellwired.integrations.flask") from None

__all__ = ["Wellwired", "container_of"]

_NAME = "wellwired"


class Wellwired:
    """The extension; it keeps nothing of an application, so that one object may serve many.

    Args:
        app: an application to set up at once; see `init_app`.
        container: its container; see `init_app`.
        modules: see `init_app`.
        packages: see `init_app`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        container: Source | None = None,
        modules: Iterable[str] = (),
        packages: Iterable[str] = (),
    ) -> None:
        self._defaults = container
        if app is not None:
            self.init_app(app, container=container, modules=modules, packages=packages)

    def init_app(
        self,
        app: Flask,
        *,
        container: Source | None = None,
        modules: Iterable[str] = (),
        packages: Iterable[str] = (),
    ) -> None:
        """Gives an application a container; nothing connects yet.

        Args:
            app: the application. Its own module and those of its blueprints are wired.
            container: a container class, an instance, or ``module:Class``; the extension's own if None.
            modules: names of further modules to wire.
            packages: names of packages of which every module is imported and wired.

        Raises:
            StateError: there is no container, or the application has one already.
            WiringError: a marker in a module that has been imported leads nowhere.
        """
        source = self._defaults if container is None else container
        if source is None:
            raise StateError("this application needs a container: init_app(app, container=Shop)")
        if _NAME in app.extensions:
            raise StateError(f"the application {app.name!r} has a container already")
        hosted = app.extensions[_NAME] = _Application(app, source, modules, packages)
        app.wsgi_app = ScopedRequests(app.wsgi_app, hosted.serve)  # type: ignore[method-assign]
        app.after_request(_note_body)
        app.teardown_request(_note_failure)
        app.cli.add_command(_commands())
        look_with(_current)

    @property
    def container(self) -> ContainerInstance:
        """The container of the current application, started.

        Raises:
            StateError: the current application has none.
        """
        return container_of(current_app)


def container_of(app: Flask, *, start: bool = True) -> ContainerInstance:
    """The container of an application.

    Args:
        app: the application, or Flask's `current_app`.
        start: whether to start it in this process, if it is not. A test that overrides something does so before.

    Raises:
        StateError: the application has none.
        ExceptionGroup: it cannot be started; of all faults that `check()` found.
    """
    hosted = _hosted(app)
    return hosted.serve() if start else hosted.container


class _Application(Hosted):
    """One application's container and what of it is wired."""

    def __init__(self, app: Flask, source: Source, modules: Iterable[str], packages: Iterable[str]) -> None:
        # An application may be given a name that is no module's, as tests do.
        own = [app.import_name] if app.import_name in sys.modules else []
        super().__init__(source, modules=(*modules, *own), packages=packages)
        self._app = app
        # Now for whoever calls a view without a request; again at the first one, when the blueprints are known.
        self.wire()

    def late_modules(self) -> Iterable[str]:
        """The modules of the blueprints, when they are all registered."""
        return [blueprint.import_name for blueprint in self._app.blueprints.values()]


def _hosted(app: Flask) -> _Application:
    hosted = app.extensions.get(_NAME)
    if not isinstance(hosted, _Application):
        raise StateError(f"the application {app.name!r} has no container; call Wellwired(app, container=Shop)")
    return hosted


def _current() -> ContainerInstance | None:
    """The container of the application whose context is active, started or not."""
    hosted = current_app.extensions.get(_NAME) if has_app_context() else None
    return hosted.container if isinstance(hosted, _Application) else None


def _commands() -> AppGroup:
    group = AppGroup(_NAME, help="Check, show and use the application's container.")
    for name, text in COMMANDS.items():
        # The words behind it, --help among them, are for the command that it leads to.
        everything = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
        words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
        group.add_command(click.Command(name, everything, with_appcontext(partial(_run, name)), [words], help=text))
    return group


def _run(name: str, words: tuple[str, ...]) -> None:
    hosted = _hosted(current_app)
    try:
        hosted.complete()
    except WiringError as error:
        raise click.ClickException(str(error)) from None
    run(hosted.container, [name, *words], name=f"flask {_NAME}")


def _note_body(response: Response) -> Response:
    """A body that is complete needs no scope any more; a streamed one is made in it."""
    ours = request.environ.get(SCOPE)
    if ours is not None:
        if response.status_code >= 400 and not isinstance(response.response, GeneratorType):
            response.make_sequence()  # an error page of Werkzeug's comes as an iterator over one piece
        ours.complete = not response.is_streamed
    return response


def _note_failure(error: BaseException | None) -> None:
    """Flask answers an error with a page; the objects of the request's scope must hear of it all the same."""
    ours = request.environ.get(SCOPE)
    if error is not None and ours is not None:
        ours.failed(error)
