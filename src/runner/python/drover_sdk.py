# SPDX-License-Identifier: Apache-2.0
"""The SDK (dtlpy), imported only when something needs it: signed in, its entities from inputs,
progress and context for functions."""
import base64
import json
import logging
import os
import sys
import threading

import drover_logs
from drover_logs import clean
from drover_output import DEPTH, OutputTooLarge, encode

ENTITIES = ("Dataset", "Item", "Annotation", "Execution", "Task", "Assignment", "Service",
            "Package", "Project", "Recipe", "Model")
SAID_MAX = 64 << 10  # bytes of a progress message that are kept
TYPES = frozenset(ENTITIES) | frozenset(name + "[]" for name in ENTITIES)


class InputError(ValueError):
    """An input is not what its declared type needs."""


def version():
    """The SDK's version without importing it; None when it is not there."""
    module = sys.modules.get("dtlpy")
    if module is not None:
        return getattr(module, "__version__", None)
    for folder in sys.path:
        try:
            with open(os.path.join(folder, "dtlpy", "__version__.py"), encoding="utf-8") as file:
                return file.read().split("=", 1)[1].strip().strip("'\"")
        except (OSError, IndexError, ValueError):
            continue
    return None


class Sdk:
    """dtlpy as user code meets it. load: the members of the load frame."""

    def __init__(self, channel, load):
        self._channel = channel
        self._given = load.get("sdk") or {}
        self._load = load
        self._lock = threading.RLock()
        self._entities = None
        self._classes = None
        if self._given.get("url"):
            os.environ["DTLPY_CUSTOM_ENV"] = self._environment()
        if self._given.get("certificate"):
            self._trust(self._given["certificate"])
        sys.meta_path.insert(0, drover_logs.AfterImport(
            "dtlpy", self._sign_in, self._give_folder))

    def _environment(self):
        environment = {"url": self._given["url"], "alias": "custom", "verify_ssl": "true",
                       "gate_url": self._given.get("gate"), "token": None, "refresh_token": None,
                       "audience": None, "client_id": None, "auth0_url": None}
        return base64.b64encode(json.dumps(environment).encode()).decode()

    def _trust(self, certificate):
        """Has this process trust the server's certificate beside all that it trusts anyway. dtlpy
        leaves no choice of authorities: requests asks certifi, aiohttp asks OpenSSL."""
        import ssl
        import tempfile
        known = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        try:
            import certifi
            known = os.environ.get("SSL_CERT_FILE") or certifi.where()
        except ImportError:
            certifi = None
        with tempfile.NamedTemporaryFile("w", prefix="drover-trust-", suffix=".pem", delete=False) as bundle:
            if known and os.path.exists(known):
                with open(known, encoding="utf-8", errors="replace") as file:
                    bundle.write(file.read() + "\n")
            bundle.write(certificate)
        os.environ["SSL_CERT_FILE"] = bundle.name
        if "REQUESTS_CA_BUNDLE" in os.environ:
            os.environ["REQUESTS_CA_BUNDLE"] = bundle.name
        if certifi is not None:
            certifi.where = certifi.core.where = lambda: bundle.name

    def _give_folder(self):
        """Where dtlpy keeps its files, unless somebody said: a folder of this process."""
        if "DATALOOP_PATH" not in os.environ:
            import tempfile
            os.environ["DATALOOP_PATH"] = tempfile.mkdtemp(prefix="drover-sdk-")

    @property
    def imported(self):
        return sys.modules.get("dtlpy") if "dtlpy" in sys.modules else None

    def get(self):
        """The module dtlpy; ImportError where it is not installed."""
        import dtlpy
        return dtlpy

    def _sign_in(self, dl):
        """Runs right after the first import of dtlpy, before anybody uses it. No HTTP calls; the
        token is kept in memory only."""
        logger = logging.getLogger("dtlpy")
        if logger.handlers:
            # The first handler's level is what dl.verbose.logging_level sets.
            own = drover_logs.Handler(self._channel)
            own.setLevel(logger.handlers[0].level)
            for handler in logger.handlers:
                handler.close()
            logger.handlers[:] = [own]
            logger.propagate = False
        api = dl.client_api
        cookie = api.cookie_io
        kept = cookie.read_json()

        def put(key, value):
            kept[key] = value

        cookie.read_json = lambda create=False: kept
        cookie.get = lambda key: kept.get(key)
        cookie.put = put
        dl.verbose.disable_progress_bar = True  # bars are for terminals; here each step would be a log line
        token = self._given.get("token")
        if not self._given.get("url") or not token:
            return
        if os.environ.get("DTLPY_REFRESH_TOKEN_METHOD") != "proxy":
            api.renew_token_method = lambda: False  # the agent sends new tokens by itself
        environments = api.environments
        environments[self._given["url"]] = {"token": token, "alias": "custom"}
        api.environments = environments
        api.setenv("custom")

    def renew(self, token):
        """The agent has a new token."""
        with self._lock:
            self._given["token"] = token
            dl = self.imported
            if dl is not None and hasattr(dl, "client_api"):
                dl.client_api.token = token

    def born(self):
        """In a fork: connections and threads are the parent's, and made anew when needed."""
        self._lock = threading.RLock()
        api = getattr(self.imported, "client_api", None)
        if api is None:
            return
        for name, value in (("session", None), ("_event_loop", None), ("lock", threading.Lock()),
                            ("_thread_pools", {}), ("_pid", os.getpid())):
            if hasattr(api, name):
                setattr(api, name, value)

    # What the load frame says about this service

    def entities(self):
        """(service, package, project) as SDK entities, None for what the load frame lacks."""
        with self._lock:
            if self._entities is None:
                dl = self.get()
                api = dl.client_api
                project = package = service = None
                if self._load.get("project"):
                    project = dl.Project.from_json(_json=self._load["project"], client_api=api)
                if self._load.get("package"):
                    package = dl.Package.from_json(_json=self._load["package"], client_api=api,
                                                   project=project)
                if self._load.get("service"):
                    service = self._service(dl, package, project)
                self._entities = (service, package, project)
            return self._entities

    def _service(self, dl, package, project):
        given = {"client_api": dl.client_api, "package": package, "project": project}
        service = self._load["service"]
        try:
            return dl.Service.from_json(_json=service, **given)
        except NotImplementedError:
            # Its autoscaler is of a type (cpu) that dtlpy names but cannot read.
            runtime = {**service["runtime"], "autoscaler": None}
            return dl.Service.from_json(_json={**service, "runtime": runtime}, **given)

    # Inputs

    def convert(self, name, declared, value):
        """The value of an input of a declared entity type; None stays None."""
        if value is None:
            return None
        if not declared.endswith("[]"):
            return self._fetch(name, declared, value)
        values = value if isinstance(value, list) else [value]
        return [self._fetch(name, declared[:-2], one) for one in values]

    def _fetch(self, name, declared, value):
        kind = declared.lower()
        key = kind + "_id"
        id = value
        if isinstance(value, dict):
            id = value.get(key, value.get("id"))
        if not isinstance(id, str) or not id:
            raise InputError("input %r is of type %s: expected an id or an object with %r, got %.200r"
                             % (name, declared, key, value))
        return getattr(self.get(), kind + "s").get(**{key: id})

    # Progress and context

    def _make_classes(self):
        try:
            dl = self.get()
            bases = (dl.Progress, dl.Context)
        except ImportError:
            bases = (object, object)

        class Progress(_Progress, bases[0]):
            pass

        class Context(_Context, bases[1]):
            pass

        return Progress, Context

    def classes(self):
        """The classes of progress and context, children of the SDK's where it is installed."""
        with self._lock:
            if self._classes is None:
                self._classes = self._make_classes()
            return self._classes

    def progress(self, invoke):
        limits = self._load.get("limits") or {}
        depth = limits.get("jsonDepth") or DEPTH
        return self.classes()[0](self._channel, invoke, (limits.get("outputBytes") or 0, depth))

    def context(self, invoke, progress):
        cls = self.classes()[1]
        execution = json.loads(invoke.execution)
        details = self._execution(invoke, execution)
        logger = logging.getLogger("[AgentContext]")
        context = cls.__new__(cls)
        if cls.__mro__[-2] is _Cancellable:  # without the SDK
            context.__dict__.update(execution_dict=details, execution_id=invoke.id, logger=logger,
                                    trigger_id=details["trigger_id"], _progress=progress)
        else:
            service, package, project = self.entities()
            context.__init__(service=service, package=package, project=project,
                             event_context=execution.get("eventContext"), execution_dict=details,
                             progress=progress, logger=logger, sdk=self.get())
        context._invoke = invoke
        return context

    def _execution(self, invoke, execution):
        """The execution's JSON as the SDK expects it in a context."""
        load = self._load
        service = load.get("service") or {}
        details = dict(execution)
        details.pop("attempt", None)
        details.update(
            id=invoke.id, functionName=invoke.function, input=json.loads(invoke.input),
            serviceId=service.get("id"), serviceName=service.get("name"),
            serviceVersion=service.get("version"), packageId=service.get("packageId"),
            packageRevision=service.get("packageRevision"),
            packageName=(load.get("package") or {}).get("name"),
            projectId=service.get("projectId") or (load.get("project") or {}).get("id"),
            moduleName=(load.get("module") or {}).get("name"), trigger_id=execution.get("triggerId"),
            attempts=execution.get("attempt", 1), status=[], latestStatus={"status": "in-progress"},
            output=None)
        details.setdefault("pipeline", None)
        return details


def said(text):
    """A text of progress.update, whatever it was given as."""
    if text is None:
        return None
    data = clean(str(text)).encode()
    if len(data) <= SAID_MAX:
        return data.decode()
    kept = data[:SAID_MAX].decode("utf-8", "ignore")
    return "%s [cut: %d of %d bytes]" % (kept, len(kept.encode()), len(data))


def percent(value):
    """0 to 100, whatever was given; None for what is no number."""
    try:
        number = float(value)
    except OverflowError:
        return 100 if value > 0 else 0
    except (TypeError, ValueError):
        return None
    if number != number:
        return None
    number = min(max(number, 0.0), 100.0)
    return int(number) if number.is_integer() else number


class _Cancellable:
    """What progress and context have to notice a termination."""

    @property
    def cancelled(self):
        """True once the execution is to be terminated."""
        return self._invoke.cancelled

    def kill_event(self):
        """Raises InterruptedError once the execution is to be terminated, from any thread."""
        if self._invoke.cancelled:
            raise InterruptedError("Execution received termination signal")


class _Context(_Cancellable):
    _progress = None

    @property
    def progress(self):
        """The execution's progress."""
        return self._progress


class _Progress(_Cancellable):
    """progress.update(…) of a function; a repetition of what was said last is not sent."""

    def __init__(self, channel, invoke, limits):
        self._channel = channel
        self._invoke = invoke
        self._limits = limits  # bytes and levels
        self._last = None
        self.logger = logging.getLogger("progress")

    def update(self, status=None, progress=0, message=None, output=None, duration=None,
               action=None):
        members = {"percent": percent(progress), "status": said(status), "message": said(message)}
        if duration is not None:
            members["duration"] = duration
        if action is not None:
            members["action"] = action
        members["output"] = None
        data = encode(members)[1:-len("null}")] + self._output(output)
        if data != self._last:
            self._last = data
            self._channel.progress(self._invoke, data)

    def _output(self, output):
        """Its JSON; null and a line in the log where it is too large to be told."""
        try:
            return encode(output, *self._limits)
        except OutputTooLarge as error:
            self._channel.log(self._invoke, "WARNING", "progress.update: %s, and was left out" % error)
            return b"null"
