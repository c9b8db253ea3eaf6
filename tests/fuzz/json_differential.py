#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares base/json with Python's json on many mutated documents.

    python3 tests/fuzz/json_differential.py path/to/json_check [--seconds 20] [--seed 20261123]

Both must agree on what is valid, and what json_check writes anew must mean the same to Python as
the document did, numbers compared by their exact text. The same seed gives the same documents.

Where base/json deliberately differs from Python's json (it refuses, Python accepts):
  NaN and Infinity      no JSON (RFC 8259)
  \\u0000                texts end at NUL in both databases
  lone surrogates       no character; cannot be stored as UTF-8
  nesting over 64       bounds the stack
  invalid UTF-8, a BOM  Python's json.loads(str) never sees them; decoding them is done here
Of repeated keys both take the last one.
"""
import argparse
import json
import random
import struct
import subprocess
import sys
import time

DEPTH_MAX = 64
BATCH = 4000

SEEDS = [
    b'{"id":"01a20a6274ca6f8141b49613","n":5,"x":[1,2.5,-3e-7,true,false,null],"s":"a\\n\\u00e9"}',
    b'[]', b'{}', b'""', b'0', b'-0', b'-1.5E+3', b'1e5', b'0.1', b'null', b'true', b'false',
    b'[[[[1]]],{"a":{"b":{"c":[]}}}]', b'{"a":1,"a":2,"\\u0061":3}', b' [ 1 , 2 ]\t\r\n',
    b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\\ude00\\ud83d"', b'"\\u0000"', b'"\\u001f\\/\\b\\f"',
    '{"ключ":"значение","你":"好😀","é":["ñ"]}'.encode(), b'"\x7f"', b'"\xed\xa0\x80"', b'"\xc0\x80"',
    b'"\xf4\x90\x80\x80"', b'"\xf0\x9f\x98\x80"', b'\xef\xbb\xbf{}', b'NaN', b'[-Infinity,Infinity]',
    b'"' + b'plain text of some length, ' * 4 + b'\\"quoted\\" and \\\\ more"',
    b'[' * 64 + b']' * 64, b'[' * 65 + b']' * 65, b'{"a":' * 64 + b'1' + b'}' * 64,
    b'123456789012345678901234567890.123456789e-400', b'[1e999,-1e-999,0e0,0.0e-0]',
    b'01', b'1.', b'.5', b'+1', b'1e', b'0x1', b'"\t"', b"'a'", b'[1,]', b'{"a":1,}', b'{a:1}', b'',
]
TOKENS = [b'{', b'}', b'[', b']', b',', b':', b'"', b'\\', b'\\u', b'\\u0000', b'\\ud800', b'\\udc00',
          b'\\u00e9', b'\\n', b'\\x', b'0', b'-', b'.', b'e', b'E+', b'1', b'9' * 20, b'null', b'tru',
          b'true', b'false', b'NaN', b'Infinity', b' ', b'\n', b'\t', b'\x00', b'\x1f', b'\x80',
          b'\xc3\xa9', b'\xed\xa0\x80', b'\xf0\x9f\x98\x80', b'\xff', b'\x0b', b'\xa0', b'//', b'/**/',
          b'"a":', b'""', b'\xe2\x80\xa8', b'\xef\xbb\xbf']


class Refused(ValueError):
    """Valid for Python, refused by policy."""


def decode(raw):
    """The document as Python sees it under base/json's policy; ValueError when invalid."""
    if raw.startswith(b'\xef\xbb\xbf'):
        raise Refused('byte order mark')
    text = raw.decode('utf-8')  # strict: UnicodeDecodeError is a ValueError

    def constant(name):
        raise Refused(name)

    # Numbers stay texts, in a type of their own, so that their exact form is compared.
    value = json.loads(text, parse_constant=constant, parse_int=Number, parse_float=Number,
                       object_pairs_hook=Pairs)
    # Over the pairs, not the dict they make: a repeated key does not hide what base/json refuses.
    check_policy(value, 0)
    return value


class Number(str):
    __slots__ = ()


class Pairs(list):
    """The members of an object, repeated keys included."""


def check_policy(value, depth):
    if isinstance(value, str) and not isinstance(value, Number):
        if '\0' in value:
            raise Refused('NUL')
        if any('\ud800' <= c <= '\udfff' for c in value):
            raise Refused('lone surrogate')
    elif isinstance(value, list):
        if depth == DEPTH_MAX:
            raise Refused('depth')
        for child in value:
            if isinstance(value, Pairs):
                check_policy(child[0], depth)
                child = child[1]
            check_policy(child, depth + 1)


def mutate(rng, corpus):
    raw = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        at = rng.randrange(len(raw) + 1)
        end = min(len(raw), at + rng.randrange(1, 9))
        kind = rng.randrange(7)
        if kind == 0:
            raw[at:at] = rng.choice(TOKENS)
        elif kind == 1:
            raw[at:end] = b''
        elif kind == 2 and at < len(raw):
            raw[at] = rng.randrange(256)
        elif kind == 3:
            raw[at:end] = rng.choice(TOKENS)
        elif kind == 4:
            raw[at:at] = raw[at:end]
        elif kind == 5:
            other = rng.choice(corpus)
            raw[at:at] = other
        elif at < len(raw):
            raw[at] ^= 1 << rng.randrange(8)
    return bytes(raw[:4096])


def generate(rng, depth=4):
    """A valid document, with odd but legal spelling."""
    space = lambda: rng.choice(('', '', '', ' ', '\n', '\t ', '\r\n'))
    kind = rng.randrange(8 if depth else 5)
    if kind == 0:
        text = rng.choice(('null', 'true', 'false'))
    elif kind in (1, 2):
        text = rng.choice(('', '-')) + str(rng.choice((0, rng.randrange(100), rng.randrange(10**25))))
        text += rng.choice(('', '', '.' + str(rng.randrange(1000)).zfill(rng.randrange(1, 6))))
        text += rng.choice(('', '', rng.choice('eE') + rng.choice(('', '+', '-')) + str(rng.randrange(400))))
    elif kind in (3, 4):
        text = generate_string(rng)
    elif kind in (5, 6):
        parts = (generate(rng, depth - 1) for _ in range(rng.randrange(5)))
        text = '[' + (','.join(parts) or space()) + ']'
    else:
        parts = (space() + generate_string(rng) + space() + ':' + generate(rng, depth - 1)
                 for _ in range(rng.randrange(5)))
        text = '{' + (','.join(parts) or space()) + '}'
    return space() + text + space()


def generate_string(rng):
    letters = ('a', 'b', 'é', '漢', '😀', '\\n', '\\"', '\\\\', '\\/', '\\u0041', '\\uD83D\\ude00',
               '\\u0001', ' ', ',', ':', '{', ']', '\x7f', '\u2028')
    return '"' + ''.join(rng.choice(letters) for _ in range(rng.randrange(24))) + '"'


def ask(program, documents):
    """json_check's answers: (valid, text) each."""
    stdin = b''.join(struct.pack('<I', len(d)) + d for d in documents)
    done = subprocess.run([program], input=stdin, capture_output=True, check=False, timeout=120)
    answers, at = [], 0
    while at < len(done.stdout):
        size, = struct.unpack_from('<I', done.stdout, at + 1)
        answers.append((done.stdout[at:at + 1] == b'V', done.stdout[at + 5:at + 5 + size]))
        at += 5 + size
    if done.returncode != 0 or len(answers) != len(documents):
        culprit = documents[len(answers)] if len(answers) < len(documents) else b'?'
        sys.exit(f'{program} ended with {done.returncode} at {culprit!r}\n'
                 + done.stderr.decode(errors='replace'))
    return answers


def compare(document, answer, counts):
    """None, or a sentence about the difference."""
    valid, text = answer
    try:
        expected = decode(document)
    except Refused as policy:
        counts['policy'] += 1
        return f'was taken in spite of the policy on {policy}' if valid else None
    except ValueError as reason:
        counts['invalid'] += 1
        if not valid and not text.startswith(b'invalid JSON at line '):
            return f'has the message {text!r}, which does not say where'
        return f'was taken; Python says: {reason}' if valid else None
    counts['valid'] += 1
    if not valid:
        return f'was refused: {text.decode()}'
    if decode(text) != expected:
        return f'was written anew as {text!r}'
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('program', help='the built tests/fuzz/json_check.c')
    parser.add_argument('--seconds', type=float, default=20, help='stop after this long')
    parser.add_argument('--seed', type=int, default=20261123)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    corpus = list(SEEDS)
    counts = {'valid': 0, 'invalid': 0, 'policy': 0}
    stop = time.monotonic() + options.seconds
    documents = list(SEEDS)
    while True:
        for document, answer in zip(documents, ask(options.program, documents)):
            difference = compare(document, answer, counts)
            if difference:
                sys.exit(f'{document!r} {difference}')
        if time.monotonic() > stop:
            break
        corpus = SEEDS + [generate(rng).encode() for _ in range(BATCH // 8)]
        documents = [mutate(rng, corpus) for _ in range(BATCH)]
    print('json_differential: no difference in', sum(counts.values()), 'documents:', counts)
    if min(counts.values()) < 10:
        sys.exit('json_differential: too few documents of one kind to mean anything')


if __name__ == '__main__':
    main()
