# SPDX-License-Identifier: Apache-2.0
"""The Node.js runner: functions of a JavaScript module, on the event loop and in processes."""
import os
import shutil
import signal
import time

import pytest

from agent import Agent

DONE = "[Done] Executing function."
BOTH = pytest.mark.parametrize("mode", ["threads", "processes"])
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(not NODE, reason="there is no node")


@pytest.fixture
def start(runner_folder, tmp_path):
    agents = []

    def begin(code, entry="main.js", files=None):
        folder = tmp_path / f"code{len(agents)}"
        folder.mkdir()
        for name, text in {entry: code, **(files or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        agent = Agent(runner_folder, folder, command=[NODE, os.path.join(runner_folder, "drover_runner.js")])
        agent.entry = entry
        agents.append(agent)
        return agent

    yield begin
    for agent in agents:
        agent.close()


def load(agent, functions=("run",), mode="threads", class_name="ServiceRunner", **more):
    return agent.load(list(functions), entry=agent.entry, mode=mode, class_name=class_name, **more)


def entries(agent, id):
    return [(log["level"], log["message"]) for log in agent.logs if log["id"] == id]


@BOTH
def test_a_class_is_constructed(start, mode):
    agent = start("""
        class ServiceRunner {
          constructor({ factor }) { this.factor = factor; console.log('made'); }
          run({ n }) { return { product: n * this.factor }; }
        }
        module.exports = { ServiceRunner };""")
    ready = load(agent, mode=mode, init_params={"factor": 3})
    assert ready["pid"] == agent.process.pid and int(ready["node"].split(".")[0]) >= 18
    before = int(time.time() * 1000) - 1
    result = agent.call("e1", n=14)
    assert result["status"] == "success" and result["output"] == {"product": 42} and result["fence"] == 7
    assert before <= result["startedAt"] <= result["endedAt"] <= time.time() * 1000 + 1
    assert agent.output("e2", "ping") == "pong"
    assert agent.lines()[0] == "made"
    assert agent.stop() == 0


@pytest.mark.parametrize("entry, code", [
    ("main.js", "exports.run = async ({ n }) => n + 1;"),
    ("lib/main.mjs", "export async function run({ n }) { return n + 1; }"),
    ("main.mjs", "export default { run: ({ n }) => n + 1 };"),
    ("main.cjs", "exports.run = ({ n }) => require('./other.cjs').next(n);"),
])
def test_exported_functions_are_bound(start, entry, code):
    agent = start(code, entry, {"other.cjs": "exports.next = (n) => n + 1;"})
    load(agent)
    assert agent.output("e1", n=1) == 2


@BOTH
def test_values_pass(start, mode):
    agent = start("exports.run = (inputs) => inputs;")
    load(agent, mode=mode)
    inputs = {"b": 0.1, "c": "é\u2028😀\"\\\n", "d": [None, True, {"x": []}], "e": "1", "__proto__": 3, "long": "y" * 300000}
    assert agent.output("e1", **inputs) == inputs


@BOTH
def test_errors_carry_the_users_frames(start, mode):
    agent = start("""
        function inner() { throw new TypeError('no such thing\\0'); }
        exports.run = async () => { await null; inner(); };
        exports.odd = () => { throw { code: 7 }; };""")
    load(agent, ["run", "odd"], mode)
    result = agent.call("e1")
    error = result["error"]
    assert result["status"] == "failed"
    assert error["message"] == "TypeError: no such thing\ufffd" and error["type"] == "TypeError"
    assert "inner" in error["stack"] and "main.js" in error["stack"] and "drover_runner" not in error["stack"]
    assert entries(agent, "e1") == [("ERROR", error["stack"]), ("INFO", DONE)]
    assert agent.call("e2", "odd")["error"]["message"] == "thrown: { code: 7 }"
    assert 'no function "nobody"' in agent.call("e3", "nobody")["error"]["message"]


def test_outputs_without_json_say_why(start):
    agent = start("""
        const nested = (levels) => (levels > 1 ? [nested(levels - 1)] : {});
        const circle = {};
        circle.self = circle;
        const made = {
          nan: () => [1, { x: NaN }], big: () => 'x'.repeat(2000), circle: () => circle, bigint: () => 2n ** 70n,
          nul: () => ['one\\0two'], half: () => '\\ud800', deep: () => nested(11), call: () => () => 1,
          fits: () => [nested(9), { a: '\\u005Cu0000 ]"[' }], nothing: () => undefined,
        };
        exports.run = ({ kind }) => made[kind]();""")
    load(agent, limits={"outputBytes": 1000, "jsonDepth": 10})

    def message(kind):
        result = agent.call(kind, kind=kind)
        assert result["status"] == "failed", result
        return result["error"]["message"]

    assert 'holds NaN at "x", and JSON has no NaN' in message("nan")
    assert "2002 bytes of JSON, the limit is 1000 (--max-output)" in message("big")
    assert "circular" in message("circle") and "BigInt" in message("bigint")
    assert "the character NUL" in message("nul") and "not valid Unicode" in message("half")
    assert "11 levels deep, the limit is 10 levels" in message("deep")
    assert "is a function" in message("call")
    assert agent.output("e1", kind="fits")[1] == {"a": '\\u0000 ]"['}
    assert agent.output("e2", kind="nothing") is None


@BOTH
def test_every_kind_of_output(start, mode):
    agent = start("""
        exports.run = async () => {
          console.log('one %d', 1, { a: 2 });
          console.info('info'); console.warn('warning'); console.error('error'); console.debug('debug');
          process.stdout.write('two\\nth'); await null; process.stdout.write('ree\\n10%\\r20%\\n');
          process.stderr.write('to stderr\\n');
          console.log('nul\\0 lone \\ud800');
          console.log('é'.repeat(1000));
          process.stdout.write('é'.repeat(1000));
        };""")
    load(agent, mode=mode, limits={"logLineBytes": 1501})
    agent.output("e1")
    assert entries(agent, "e1") == [
        ("INFO", "one 1 { a: 2 }"), ("INFO", "info"), ("WARNING", "warning"), ("ERROR", "error"), ("DEBUG", "debug"),
        ("INFO", "two"), ("INFO", "three"), ("INFO", "20%"), ("ERROR", "to stderr"), ("INFO", "nul\ufffd lone ?"),
        ("INFO", "é" * 750 + " [cut: 1500 of 2000 bytes]"), ("INFO", "é" * 750), ("INFO", "é" * 250), ("INFO", DONE)]


def test_entries_belong_to_their_execution(start):
    agent = start("""
        exports.run = async ({ name }) => {
          for (let i = 0; i < 20; i++) {
            process.stdout.write(`${name} `);
            await new Promise((next) => setTimeout(next, 1));
            console.log(name, i);
          }
        };""")
    load(agent)
    for name in "abcd":
        agent.invoke(name, name=name)
    for name in "abcd":
        agent.result(name)
        assert agent.lines(name) == [f"{name} {i}" for i in range(20)] + [f"{name} " * 20, DONE]


@BOTH
def test_context_and_progress(start, mode):
    agent = start("""
        exports.run = (inputs, context) => {
          context.progress(25, 'a quarter');
          context.progress(400, 7, 'working');
          return [context.id, context.creator, context.attempt, context.cancelled];
        };""")
    load(agent, mode=mode)
    assert agent.output("e1") == ["e1", "a@b.c", 1, False]
    first, second = (agent.until(t="progress", id="e1") for _ in range(2))
    assert (first["percent"], first["message"], first["status"], first["fence"]) == (25, "a quarter", None, 7)
    assert (second["percent"], second["message"], second["status"]) == (None, None, "working")


@BOTH
def test_kill_event(start, mode):
    agent = start("""
        const { setTimeout: sleep } = require('node:timers/promises');
        exports.wait = async (inputs, { signal }) => { console.log('waiting'); await sleep(600000, 0, { signal }); };
        exports.stubborn = (inputs, { signal }) => new Promise((done) => {
          console.log('waiting');
          const timer = setInterval(() => {}, 1000);
          signal.addEventListener('abort', () => { clearInterval(timer); done('finished'); });
        });""")
    load(agent, ["wait", "stubborn"], mode)
    for id, function in (("e1", "wait"), ("e2", "stubborn"), ("e3", "wait")):
        agent.invoke(id, function)
        agent.wait_line("waiting", id)
    for id in ("nobody", "e1", "e2"):
        agent.send(t="cancel", id=id, fence=7)
    assert agent.result("e1")["status"] == "terminated"
    assert agent.result("e2")["output"] == "finished"
    assert agent.output("e4", "ping") == "pong"
    agent.send(t="cancel", id="e3", fence=7)
    assert agent.result("e3")["status"] == "terminated"


@BOTH
def test_who_has_no_credit_waits_alone(start, mode):
    agent = start("""
        exports.flood = () => { for (let i = 0; i < 3000; i++) console.log('x'.repeat(1000)); };
        exports.quiet = () => 1;""")
    agent.credit_back = False
    load(agent, ["flood", "quiet"], mode)
    agent.invoke("e1", "flood")
    agent.socket.settimeout(2)
    with pytest.raises(TimeoutError):
        while True:
            agent.seen.append(agent.frame())
    agent.socket.settimeout(60)
    assert 900 < len(agent.lines("e1")) < 1050
    agent.send(t="credit", bytes=600)
    assert agent.output("e2", "quiet") == 1
    agent.credit_back = True
    agent.give(1 << 20)
    assert agent.result("e1")["status"] == "success"
    assert agent.lines("e1") == ["x" * 1000] * 3000 + [DONE]


def test_lines_past_the_limit_are_counted(start):
    agent = start("exports.run = ({ n }) => { for (let i = 0; i < n; i++) console.log(i); };")
    load(agent, limits={"logLinesPerExecution": 10})
    agent.output("e1", n=25)
    assert agent.lines("e1") == [str(i) for i in range(10)] + [
        "15 more lines were dropped: the limit is 10 lines per execution", DONE]


@BOTH
@pytest.mark.parametrize("code, kind, words", [
    ("syntax error", "codebase", "SyntaxError"),
    ("require('nothing-of-that-name');", "codebase", "Cannot find module 'nothing-of-that-name'"),
    ("exports.other = () => 1;", "codebase", 'declares the function "run", and what the module exports has no such'),
    ("exports.ServiceRunner = class ServiceRunner { constructor() { throw new Error('no key'); } };", "init", "Error: no key"),
])
def test_what_cannot_be_loaded(start, mode, code, kind, words):
    agent = start(code)
    failed = load(agent, mode=mode, answer="failed")
    assert failed["type"] == kind and words in failed["error"]["message"]
    assert agent.drain() == 1
    assert agent.logs[-1]["level"] == "ERROR" and words in agent.logs[-1]["message"]


def test_a_process_that_ends_while_it_loads(start):
    failed = load(start("process.exit(4);"), mode="processes", answer="failed")
    assert failed["type"] == "init" and "exited with status 4" in failed["error"]["message"]


@BOTH
def test_the_sockets_end_is_the_runners(start, mode):
    agent = start("exports.run = () => new Promise(() => console.log('waiting'));")
    load(agent, mode=mode)
    agent.invoke("e1")
    agent.wait_line("waiting", "e1")
    agent.socket.close()
    assert agent.exit_code() == 1


def test_a_stray_exception_ends_nobody(start):
    agent = start("""
        exports.run = async () => {
          setTimeout(() => { throw new Error('stray'); }, 0);
          Promise.reject(new Error('rejected'));
          await new Promise((next) => setTimeout(next, 100));
          return 1;
        };""")
    load(agent)
    assert agent.output("e1") == 1
    texts = " ".join(log["message"] for log in agent.logs)
    assert "uncaughtException: Error: stray" in texts and "unhandledRejection: Error: rejected" in texts
    assert agent.output("e2", "ping") == "pong"


@pytest.mark.parametrize("code, words", [
    ("process.kill(process.pid, 'SIGSEGV'); while (true);", "killed by signal SIGSEGV"),
    ("process.exit(3);", "exited with status 3 before the function returned"),
    ("process.kill(0, 'SIGKILL'); while (true);", "killed by signal SIGKILL"),
    ("process.disconnect(); return new Promise(() => setInterval(() => {}, 1000));", "exited with status 1"),
])
def test_a_crash_fails_its_execution_alone(start, code, words):
    agent = start(f"""
        exports.run = () => {{ require('node:fs').writeSync(1, 'last words'); {code} }};
        exports.wait = () => new Promise(() => {{ console.log('waiting'); setInterval(() => {{}}, 1000); }});
        exports.twice = ({{ n }}) => n * 2;""")
    load(agent, ["run", "wait", "twice"], "processes")
    agent.invoke("other", "wait")
    agent.wait_line("waiting", "other")
    result = agent.call("e1")
    assert result["status"] == "failed" and result["error"]["type"] == "ProcessEnded"
    assert words in result["error"]["message"]
    assert agent.lines("e1") == ["last words", result["error"]["message"], DONE]
    assert agent.output("e2", "twice", n=2) == 4
    agent.send(t="kill", id="other", fence=7)
    assert "ended from outside" in agent.result("other")["error"]["message"]
    assert agent.stop() == 0


def test_a_crash_in_this_process_is_the_runners(start):
    agent = start("exports.run = () => { process.kill(process.pid, 'SIGSEGV'); while (true); };")
    load(agent)
    agent.invoke("e1")
    assert agent.drain() == -signal.SIGSEGV


def test_processes_share_nothing_and_are_measured(start):
    agent = start("let count = 0; exports.run = () => [++count, process.pid];")
    load(agent, mode="processes", concurrency=3)
    results = [agent.call(f"e{number}") for number in range(6)]
    assert {result["output"][0] for result in results} == {1}
    assert len({result["output"][1] for result in results}) == 6
    assert all(result["usage"]["peakMemoryKib"] > 1 << 10 and result["usage"]["cpuMs"] >= 0 for result in results)
