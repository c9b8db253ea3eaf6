# SPDX-License-Identifier: Apache-2.0
"""The user's module: imported, its class constructed, its functions bound to their declarations."""
import datetime
import importlib
import importlib.util
import os
import sys
import types

from drover_sdk import TYPES

COROUTINE, GENERATOR, ASYNC_GENERATOR = 0x80, 0x20, 0x200  # flags of code objects


class LoadError(Exception):
    """Loading failed. kind: the failed frame's type."""

    def __init__(self, kind, error):
        super().__init__(str(error))
        self.kind = kind
        self.error = error


def ping(progress):
    """The built-in function of every service."""
    progress.logger.debug("received ping at: %s", datetime.datetime.now().isoformat())
    return "pong"


def parameters(call):
    """The names of a callable's parameters."""
    code = getattr(getattr(call, "__func__", call), "__code__", None)
    if code is not None and not hasattr(call, "__wrapped__"):
        return code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    import inspect
    try:
        return tuple(inspect.signature(call).parameters)
    except (TypeError, ValueError):
        return ()


class Function:
    """One callable with what it needs besides its inputs."""

    def __init__(self, name, call, inputs, sdk, simple_progress=None):
        names = parameters(call)
        self.name = name
        self.call = call
        self.typed = [(one["name"], one["type"]) for one in inputs or ()
                      if one.get("type") in TYPES]
        self.progress = "progress" in names
        self.context = "context" in names
        self.plain = not (self.typed or self.progress or self.context)
        self._sdk = sdk
        self._simple_progress = simple_progress

    def needs_sdk(self):
        return not self.plain and self._simple_progress is None

    def arguments(self, inputs, invoke):
        """inputs with entities in place of ids, and progress and context where wanted."""
        for name, declared in self.typed:
            if name in inputs:
                inputs[name] = self._sdk.convert(name, declared, inputs[name])
        if self.progress or self.context:
            make = self._simple_progress or self._sdk.progress
            progress = make(invoke)
            if self.progress:
                inputs["progress"] = progress
            if self.context:
                inputs["context"] = self._sdk.context(invoke, progress)
        return inputs


class SimpleProgress:
    """All that ping needs, without importing the SDK."""

    def __init__(self, invoke):
        import logging
        self.logger = logging.getLogger("ping")


def import_file(folder, entry, module_name):
    """Imports folder/entry, as its own name where that is free, and as module_name too."""
    path = os.path.join(folder, entry)
    if not os.path.isfile(path):
        raise FileNotFoundError("the entry point %r is not in the package's code" % entry)
    sys.path.insert(0, folder)
    parts = os.path.splitext(os.path.normpath(entry))[0].split(os.sep)
    name = ".".join(parts)
    if not all(part.isidentifier() for part in parts) or parts[0] in sys.modules:
        name = module_name
    if "." in name:
        importlib.import_module(name.rpartition(".")[0])
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError("the entry point %r is not a Python file" % entry)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.modules.setdefault(module_name, module)
    spec.loader.exec_module(module)
    return module


class Module:
    """The loaded module. load: the members of the load frame."""

    def __init__(self, load, sdk):
        self._description = load.get("module") or {}
        self._folder = load["folder"]
        self._init_params = load.get("initParams") or {}
        self._sdk = sdk
        self.functions = {}
        self.instance = None

    def load(self):
        """Imports, constructs, binds; LoadError."""
        target = self._code()
        if isinstance(target, type) or self._description.get("className"):
            target = self.instance = self._construct(target)
        self._target = target
        try:
            for declared in self._description.get("functions") or ():
                self._bind(declared["name"], declared.get("input"))
            if any(function.needs_sdk() for function in self.functions.values()):
                self._warm_up()
        except Exception as error:
            raise LoadError("codebase", error) from error

    def _warm_up(self):
        """Imports the SDK before the first execution rather than in it."""
        typed = any(function.typed for function in self.functions.values())
        try:
            self._sdk.get()
        except ImportError:
            if typed:
                raise
        self._sdk.classes()

    def _code(self):
        """The class, or the module where no class is named."""
        entry = self._description.get("entryPoint") or "main.py"
        class_name = self._description.get("className")
        try:
            module = import_file(self._folder, entry, self._description.get("name") or "module")
            if not class_name:
                return module
            cls = getattr(module, class_name, None)
            if cls is None:
                raise AttributeError("there is no class %r in %s" % (class_name, entry))
            if not callable(cls):
                raise TypeError("%r in %s is not a class" % (class_name, entry))
            return cls
        except BaseException as error:
            raise LoadError("codebase", error) from error

    def _construct(self, cls):
        try:
            params = dict(self._init_params)
            for declared in self._description.get("initInputs") or ():
                name = declared["name"]
                if declared.get("type") in TYPES and name in params:
                    params[name] = self._sdk.convert(name, declared["type"], params[name])
            self._give_service(cls)
            instance = cls(**params)
            self._give_service(instance)
            return instance
        except BaseException as error:
            refused = type(error).__name__ in ("Unauthorized", "Forbidden") \
                and type(error).__module__.startswith("dtlpy")
            raise LoadError("authorization" if refused else "init", error) from error

    def _give_service(self, runner):
        """service_entity of a dl.BaseServiceRunner, for its constructor and after."""
        dl = self._sdk.imported
        base = getattr(dl, "BaseServiceRunner", None)
        cls = runner if isinstance(runner, type) else type(runner)
        if base is None or not issubclass(cls, base):
            return
        service = self._sdk.entities()[0]
        if service is not None:
            runner._service_entity = service

    def _bind(self, name, inputs):
        call = getattr(self._target, name, None)
        simple = None
        if name == "ping" and (call is None or getattr(call, "__module__", "").startswith("dtlpy.")):
            call, simple = ping, SimpleProgress
        if call is None:
            where = self._description.get("entryPoint") or "main.py"
            if self.instance is not None:
                where = "class %s" % type(self.instance).__name__
            raise AttributeError("there is no function %r in %s" % (name, where))
        if not callable(call):
            raise TypeError("%r is not a function but of type %s" % (name, type(call).__name__))
        function = self.functions[name] = Function(name, call, inputs, self._sdk, simple)
        return function

    def function(self, name):
        """A function by name; one that is not declared gets its inputs as they are."""
        function = self.functions.get(name)
        if function is None:
            if name.startswith("_") or isinstance(getattr(self._target, name, None), type):
                raise AttributeError("%r is not a function of this service" % name)
            function = self._bind(name, None)
        return function

    def terminate(self, thread):
        """Tells a dl.BaseServiceRunner that the thread's execution is to end."""
        tell = getattr(self.instance, "_terminate", None)
        if callable(tell):
            tell(thread)

    def forget(self, thread):
        """Takes back what terminate said, so that the thread's next execution is not hit."""
        told = getattr(self.instance, "_threads_terminated", None)
        if isinstance(told, list):
            while thread in told:
                told.remove(thread)

    def wants_reset(self):
        return getattr(self.instance, "_do_reset", False) is True


def finish(output, name):
    """The value of a function that gave a coroutine; generators are refused."""
    if isinstance(output, types.GeneratorType) or hasattr(output, "__anext__"):
        close = getattr(output, "close", None)
        if close:
            close()
        raise TypeError("the function %r is a generator: return a value, for instance a list"
                        % name)
    return output
