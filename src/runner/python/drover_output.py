# SPDX-License-Identifier: Apache-2.0
"""JSON of what functions give back; what has no JSON is named by its type and its place."""
import json
import re
from json import encoder as _encoder

DEPTH = 64  # levels of nesting that pass where limits.jsonDepth does not say
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
DEPTH_MAX = 200  # levels that are searched for the place of an error


class OutputError(Exception):
    """The output cannot be sent."""


class OutputTooLarge(OutputError):
    """It has more bytes than are allowed."""


def entity(value):
    """The JSON of an SDK entity: its to_json(), else its id."""
    cls = type(value)
    if any(base.__module__.partition(".")[0] == "dtlpy" for base in cls.__mro__):
        to_json = getattr(value, "to_json", None)
        if callable(to_json):
            return to_json()
        if isinstance(getattr(value, "id", None), str):
            return value.id
    raise TypeError("an object of type %s has no JSON" % type_name(cls))


def type_name(cls):
    if cls.__module__ in ("builtins", "__main__"):
        return cls.__qualname__
    return "%s.%s" % (cls.__module__, cls.__qualname__)


def _make():
    """Text pieces of a value. Without the check for circles, which is not thread safe when two
    threads encode one object: recursion ends those."""
    if _encoder.c_make_encoder:
        return _encoder.c_make_encoder(
            None, entity, _encoder.c_encode_basestring or _encoder.encode_basestring,
            None, ":", ",", False, False, False)
    plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False,
                             separators=(",", ":"), default=entity)
    return lambda value, level: plain.iterencode(value)


_pieces = _make()


def encode(value, most=0, depth=DEPTH):
    """The output as JSON in UTF-8, at most so many bytes (0: any number) and levels deep."""
    if value is None:
        return b"null"
    try:
        data = "".join(_pieces(value, 0)).encode("utf-8")
    except RecursionError:
        raise OutputError(
            "the output is nested too deeply for JSON, or contains itself") from None
    except UnicodeEncodeError as error:
        raise OutputError("the output has text that is not valid Unicode (%s)"
                          % error.reason) from None
    except (TypeError, ValueError) as error:
        raise OutputError(_explain(value) or "the output has no JSON: %s" % error) from None
    if most and len(data) > most:
        raise OutputTooLarge("the output has %d bytes of JSON, the limit is %d (--max-output)"
                             % (len(data), most))
    if b"\\u0000" in data and _NUL.search(data):
        raise OutputError("the output has a text with the character NUL (\\0), which cannot be kept")
    if data.count(b"[") + data.count(b"{") > depth and _deeper(data, depth):
        raise OutputError("the output is nested too deeply: the limit is %d levels"
                          " (limits.jsonDepth)" % depth)
    return data


def _deeper(data, depth):
    """Whether this JSON has more levels than that: each round takes the innermost ones away."""
    left = _STRING.sub(b"", data).translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(depth):
        if not left:
            return False
        left = left.replace(b"[]", b"")
    return bool(left)


def _explain(value):
    """Where the value has something without JSON, and what it is."""
    found = _search(value, "output", 0)
    return found and "the output is not JSON: " + found


def _search(value, path, depth):
    if value is None or isinstance(value, (str, bool, int)):
        return None
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return "%s is %r, and JSON has no NaN or Infinity" % (path, value)
        return None
    if depth > DEPTH_MAX:
        return None
    if isinstance(value, dict):
        return _search_dict(value, path, depth)
    if isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            found = _search(part, "%s[%d]" % (path, index), depth + 1)
            if found:
                return found
        return None
    try:
        return _search(entity(value), path, depth + 1)
    except Exception as error:
        name = type_name(type(value))
        if isinstance(error, TypeError) and "has no JSON" in str(error):
            return "%s is of type %s" % (path, name)
        return "%s is of type %s, whose to_json() failed: %s" % (path, name, error)


def _search_dict(value, path, depth):
    for key, part in value.items():
        if not (key is None or isinstance(key, (str, bool, int, float))):
            return "%s has a key of type %s: %.100r" % (path, type_name(type(key)), key)
        if isinstance(key, float) and _search(key, path, depth):
            return "%s has the key %r, and JSON has no NaN or Infinity" % (path, key)
        found = _search(part, "%s.%s" % (path, key), depth + 1)
        if found:
            return found
    return None
