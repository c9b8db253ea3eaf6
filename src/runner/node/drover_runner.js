// SPDX-License-Identifier: Apache-2.0
// The Node.js runner: runs the functions of a JavaScript module for an agent, which it talks to over
// the socket on file descriptor 3. docs/runner-protocol.md describes what is said. Node 18 or newer.
//
// The runner has a Service: the module in this process ("threads": executions share the event loop),
// or a Nursery of processes that each load the module and run one execution ("processes"). Both tell
// what happens to an Outlet, which keeps the log's credit.
'use strict';
const { AsyncLocalStorage } = require('node:async_hooks');
const childProcess = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const util = require('node:util');
const { pathToFileURL } = require('node:url');

const WINDOW = 1 << 20; // bytes of log frames before the agent gives credit
const WAITING_MOST = 8 << 20; // bytes of an execution's log that wait for credit; more is dropped
const FRAME_MAX = 64 << 20;
const OUTPUT_MAX = 63 << 20;
const TEXT_MAX = 64 << 10; // of progress
const LINE_BYTES = 16384;
const DEPTH = 64;
const DONE = '[Done] Executing function.';
const LATE_MS = 500; // for what a dead process's pipes still hold
const SPARES = 2; // processes that are loaded ahead

const asFailure = (type, message) => ({ message, type, stack: message });

// What was thrown, without the runner's own frames.
function describe(error) {
  if (!(error instanceof Error)) {
    const text = `thrown: ${util.inspect(error)}`;
    return asFailure('Error', clean(text));
  }
  const stack = String(error.stack || error).split('\n').filter((line) => !line.includes(__filename)).join('\n');
  return { message: clean(String(error)), type: clean(String(error.name)), stack: clean(stack) };
}

// No text of ours holds NUL or half a surrogate pair.
function clean(text) {
  return text.replace(/\0/g, '\ufffd').replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '?');
}

function cut(text, most) {
  const size = Buffer.byteLength(text);
  if (size <= most) return text;
  const kept = splitAt(text, most)[0];
  return `${kept} [cut: ${Buffer.byteLength(kept)} of ${size} bytes]`;
}

// The longest beginning of at most `most` bytes that splits no character, and the rest.
function splitAt(text, most) {
  const bytes = Buffer.from(text);
  let end = Math.min(most, bytes.length);
  while (end > 0 && end < bytes.length && (bytes[end] & 0xc0) === 0x80) end--;
  return [bytes.toString('utf8', 0, end), bytes.toString('utf8', end)];
}

// ── outputs ──────────────────────────────────────────────────────────────────────────────────

function depthOf(json) {
  let depth = 0;
  let most = 0;
  for (const part of json.match(/"(?:[^"\\]|\\.)*"|[[\]{}]/g) || []) {
    if (part === '[' || part === '{') most = Math.max(most, ++depth);
    else if (part === ']' || part === '}') depth--;
  }
  return most;
}

function encode(output, limits) {
  const json = JSON.stringify(output === undefined ? null : output, (key, value) => {
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new TypeError(`the output holds ${value}${key && ` at "${key}"`}, and JSON has no NaN or Infinity`);
    }
    return value;
  });
  if (json === undefined) throw new TypeError(`the output is a ${typeof output}, which JSON has no form for`);
  const size = Buffer.byteLength(json);
  const most = limits.outputBytes || OUTPUT_MAX;
  const depth = depthOf(json);
  if (size > most) throw new RangeError(`the output has ${size} bytes of JSON, the limit is ${most} (--max-output)`);
  if (depth > (limits.jsonDepth || DEPTH)) {
    throw new RangeError(`the output is nested ${depth} levels deep, the limit is ${limits.jsonDepth || DEPTH} levels (limits.jsonDepth)`);
  }
  if (/(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f])/i.test(json)) {
    throw new TypeError('the output holds the character NUL, or text that is not valid Unicode');
  }
  return json;
}

// ── the user's module ────────────────────────────────────────────────────────────────────────

class LoadError extends Error {
  constructor(kind, error) {
    super(String(error));
    this.kind = kind;
    this.error = error;
  }
}

// The module's functions, bound: of the class that the package names where the module exports it, else
// those that the module exports.
class Module {
  async load(load) {
    const declared = load.module;
    const file = path.join(load.folder, declared.entryPoint);
    let exported;
    try {
      const loaded = await import(pathToFileURL(fs.realpathSync(file)).href);
      exported = { ...(isObject(loaded.default) ? loaded.default : {}), ...loaded };
    } catch (error) {
      throw new LoadError('codebase', error);
    }
    const Class = [exported[declared.className], exported.default].find(
      (one) => typeof one === 'function' && one.name === declared.className);
    try {
      this.functions = Class ? new Class(load.initParams || {}) : exported;
    } catch (error) {
      throw new LoadError('init', error);
    }
    for (const { name } of declared.functions || []) {
      if (!this.find(name)) {
        const where = Class ? `the class ${declared.className}` : 'what the module exports';
        throw new LoadError('codebase', new ReferenceError(
          `the package declares the function "${name}", and ${where} has no such function (${declared.entryPoint})`));
      }
    }
  }

  find(name) {
    const found = name.startsWith('_') || name === 'constructor' ? undefined : this.functions[name];
    if (typeof found === 'function') return found.bind(this.functions);
    return name === 'ping' ? () => 'pong' : undefined;
  }
}

function isObject(value) {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

// ── executions in this process ───────────────────────────────────────────────────────────────

const current = new AsyncLocalStorage(); // the Execution whose code runs

class Execution {
  constructor(invoke, outlet, limits) {
    this.invoke = invoke;
    this.outlet = outlet; // log(level, text), progress(members), end(outcome)
    this.limits = limits;
    this.abort = new AbortController();
    this.part = { INFO: '', ERROR: '' }; // lines of stdout and stderr that have no end yet
  }

  get context() {
    const { id, execution = {} } = this.invoke;
    const self = this;
    return {
      ...execution,
      id,
      signal: this.abort.signal,
      get cancelled() { return self.abort.signal.aborted; },
      progress: (percent, message, status) => self.outlet.progress({ percent, message, status }),
    };
  }

  async run(module) {
    let outcome;
    try {
      const call = module.find(this.invoke.function);
      if (!call) throw new ReferenceError(`the module has no function "${this.invoke.function}"`);
      if (this.abort.signal.aborted) throw this.abort.signal.reason;
      const output = await current.run(this, () => call(this.invoke.input || {}, this.context));
      outcome = { status: 'success', output: encode(output, this.limits) };
    } catch (error) {
      const ended = this.abort.signal.aborted && error && (error === this.abort.signal.reason || error.name === 'AbortError');
      outcome = { status: ended ? 'terminated' : 'failed', error: describe(error) };
    }
    this.flush();
    this.outlet.end(outcome);
  }

  // A piece of stdout or stderr.
  write(level, text) {
    const lines = (this.part[level] + text).split('\n');
    this.part[level] = lines.pop();
    for (const line of lines) this.line(level, line);
    if (this.part[level].length > (this.limits.logLineBytes || LINE_BYTES)) this.flush(level);
  }

  flush(...levels) {
    for (const level of levels.length ? levels : ['INFO', 'ERROR']) {
      const rest = this.part[level];
      this.part[level] = '';
      if (rest) this.line(level, rest);
    }
  }

  // Of a line that was written over (progress bars) the last state counts; a long one is split.
  line(level, text) {
    let rest = text.replace(/\r$/, '').replace(/^.*\r/s, '');
    const most = this.limits.logLineBytes || LINE_BYTES;
    for (;;) {
      const [piece, more] = splitAt(rest, most);
      this.outlet.log(level, piece);
      if (!more) return;
      rest = more;
    }
  }
}

// What user code prints is an entry of its execution, or of none: `nobody`.
function takeOutput(nobody) {
  const owner = () => {
    const execution = current.getStore();
    return execution && !execution.outlet.ended ? execution : nobody;
  };
  for (const [stream, level] of [[process.stdout, 'INFO'], [process.stderr, 'ERROR']]) {
    stream.write = (chunk, encoding, done) => {
      owner().write(level, typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString());
      const callback = typeof encoding === 'function' ? encoding : done;
      if (callback) process.nextTick(callback);
      return true;
    };
  }
  const levels = { debug: 'DEBUG', log: 'INFO', info: 'INFO', warn: 'WARNING', error: 'ERROR' };
  for (const [method, level] of Object.entries(levels)) {
    console[method] = (...values) => owner().outlet.log(level, util.format(...values));
  }
  for (const event of ['uncaughtException', 'unhandledRejection']) {
    process.on(event, (error) => owner().outlet.log('ERROR', `${event}: ${describe(error).stack}`));
  }
}

// ── the agent ────────────────────────────────────────────────────────────────────────────────

class Agent {
  constructor(onFrame) {
    this.socket = new net.Socket({ fd: 3, readable: true, writable: true });
    this.credit = WINDOW;
    this.outlets = new Set(); // those with entries that wait for credit
    this.parts = [];
    this.size = 0;
    this.onFrame = onFrame;
    this.socket.on('data', (data) => this.receive(data));
    for (const event of ['end', 'error', 'close']) this.socket.on(event, () => process.exit(1));
  }

  receive(data) {
    this.parts.push(data);
    this.size += data.length;
    while (this.size >= 4) {
      if (this.parts[0].length < 4) this.parts = [Buffer.concat(this.parts)];
      const length = this.parts[0].readUInt32BE(0);
      if (length > FRAME_MAX) process.exit(1);
      if (this.size < 4 + length) return;
      const bytes = this.parts.length > 1 ? Buffer.concat(this.parts) : this.parts[0];
      this.parts = [bytes.subarray(4 + length)];
      this.size -= 4 + length;
      this.hear(JSON.parse(bytes.toString('utf8', 4, 4 + length)));
    }
  }

  hear(frame) {
    if (frame.t !== 'credit') {
      this.onFrame(frame);
      return;
    }
    this.credit += frame.bytes;
    for (const outlet of [...this.outlets]) outlet.pump();
  }

  send(text, done) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(text));
    this.socket.cork();
    this.socket.write(length);
    this.socket.write(text, done);
    this.socket.uncork();
  }

  leave(code) {
    for (const event of ['end', 'error', 'close']) this.socket.removeAllListeners(event);
    this.socket.end(() => process.exit(code));
  }
}

// Where the words of one execution go (invoke null: of none): frames for the agent, in their order, as
// its credit allows.
class Outlet {
  constructor(agent, limits, invoke, onEnd) {
    Object.assign(this, { agent, limits, invoke, onEnd });
    this.started = Date.now();
    this.lines = this.dropped = this.bytes = 0;
    this.waiting = []; // {text, cost}
    this.ended = false;
  }

  log(level, text) {
    if (this.ended) return;
    const most = this.invoke && this.limits.logLinesPerExecution;
    if ((most && this.lines >= most) || this.bytes > WAITING_MOST) {
      this.dropped++;
      return;
    }
    this.lines++;
    this.entry(level, text);
  }

  entry(level, text) {
    const message = cut(clean(text), this.limits.logLineBytes || LINE_BYTES);
    const frame = JSON.stringify({
      t: 'log', at: Date.now(), level, id: this.invoke ? this.invoke.id : null,
      function: this.invoke ? this.invoke.function : null, message,
    });
    this.put(frame, Buffer.byteLength(frame));
  }

  progress({ percent, message, status }) {
    if (this.ended) return;
    const number = typeof percent === 'number' && percent >= 0 && percent <= 100 ? percent : null;
    const text = (value) => (typeof value === 'string' ? cut(clean(value), TEXT_MAX) : null);
    this.put(JSON.stringify({
      t: 'progress', id: this.invoke.id, fence: this.invoke.fence, percent: number, status: text(status),
      message: text(message), output: null,
    }), 0);
  }

  end({ status, output, error, usage }) {
    if (this.ended) return;
    if (error) this.log(status === 'failed' ? 'ERROR' : 'WARNING', error.stack);
    if (this.dropped) {
      const most = this.limits.logLinesPerExecution;
      const why = most && this.lines >= most ? `the limit is ${most} lines per execution` : 'they were not read in time';
      this.entry('WARNING', `${this.dropped} more lines were dropped: ${why}`);
    }
    this.entry('INFO', DONE);
    this.ended = true;
    const { id, fence } = this.invoke;
    const what = status === 'success' ? `"output":${output}` : `"error":${JSON.stringify(error)}`;
    const used = usage ? `,"usage":${JSON.stringify(usage)}` : '';
    this.put(`{"t":"result","id":${JSON.stringify(id)},"fence":${fence},"status":"${status}",${what},` +
      `"startedAt":${this.started},"endedAt":${Date.now()}${used}}`, 0);
  }

  put(text, cost) {
    this.waiting.push({ text, cost });
    this.bytes += cost;
    this.pump();
  }

  pump() {
    while (this.waiting.length && (this.waiting[0].cost === 0 || this.agent.credit >= this.waiting[0].cost)) {
      const { text, cost } = this.waiting.shift();
      this.agent.credit -= cost;
      this.bytes -= cost;
      this.agent.send(text);
    }
    if (this.waiting.length) this.agent.outlets.add(this);
    else this.agent.outlets.delete(this);
    if (this.ended && !this.waiting.length && this.onEnd) this.onEnd();
  }
}

// ── executions on the event loop ─────────────────────────────────────────────────────────────

class Service {
  constructor(load, limits, agent) {
    Object.assign(this, { load, limits, agent });
    this.module = new Module();
  }

  start(nobody) {
    takeOutput(new Execution({}, nobody, this.limits));
    return this.module.load(this.load);
  }

  begin(outlet) {
    const execution = new Execution(outlet.invoke, outlet, this.limits);
    execution.run(this.module);
    return { cancel: () => execution.abort.abort(), kill() {} };
  }
}

// ── executions in processes of their own ─────────────────────────────────────────────────────

// A process that has loaded the module, and runs one execution.
class Worker {
  constructor(load, limits, nobody) {
    this.outlet = nobody;
    this.process = childProcess.fork(__filename, ['--child'],
      { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true });
    this.loaded = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.loaded.catch(() => {});
    this.process.on('message', (message) => this.hear(message));
    this.process.on('error', (error) => this.die(String(error)));
    this.process.on('exit', (code, signal) => this.onExit(code, signal));
    for (const [stream, level] of [[this.process.stdout, 'INFO'], [this.process.stderr, 'ERROR']]) {
      const lines = new Execution({}, { log: (...entry) => this.outlet.log(...entry) }, limits);
      stream.setEncoding('utf8').on('data', (text) => lines.write(level, text)).on('end', () => lines.flush());
    }
    this.process.send({ t: 'load', load });
  }

  // What user code sends to its parent by itself is nothing that is heard.
  hear(message) {
    if (!isObject(message)) return;
    if (message.t === 'loaded') this.resolve();
    else if (message.t === 'failed') this.reject(new LoadError(String(message.kind), message.error));
    else if (message.t === 'log') this.outlet.log(String(message.level), String(message.text));
    else if (message.t === 'progress' && this.outlet.invoke) this.outlet.progress(message);
    else if (message.t === 'outcome' && !this.outcome) this.finish(message);
  }

  begin(outlet) {
    this.outlet = outlet;
    outlet.started = Date.now();
    this.process.send({ t: 'invoke', invoke: outlet.invoke }, (error) => error && this.die(String(error)));
  }

  finish(outcome) {
    this.outcome = outcome;
    this.killGroup();
  }

  die(why) {
    this.reject(new LoadError('init', new Error(why)));
    if (!this.outcome) this.finish({ status: 'failed', error: asFailure('ProcessEnded', why) });
  }

  killGroup() {
    try {
      process.kill(-this.process.pid, 'SIGKILL');
    } catch {
      // it has ended, with all of its group
    }
  }

  onExit(code, signal) {
    this.killGroup();
    const late = setTimeout(() => this.tell(), LATE_MS);
    this.process.on('close', () => {
      clearTimeout(late);
      this.tell();
    });
    this.how = signal ? `the function's process was killed by signal ${signal}`
      : `the function's process exited with status ${code} before the function returned`;
  }

  tell() {
    this.die(this.how);
    if (this.outlet.invoke) this.outlet.end(this.outcome);
  }
}

class Nursery {
  constructor(load, limits) {
    Object.assign(this, { load, limits });
    this.spares = [];
  }

  start(nobody) {
    this.nobody = nobody;
    this.fill();
    return this.spares[0].loaded;
  }

  fill() {
    while (this.spares.length < Math.min(SPARES, this.load.concurrency || 1)) {
      this.spares.push(new Worker(this.load, this.limits, this.nobody));
    }
  }

  begin(outlet) {
    this.fill();
    const worker = this.spares.shift();
    setImmediate(() => this.fill());
    worker.loaded.then(() => worker.begin(outlet), (failure) => {
      if (!outlet.ended) outlet.end({ status: 'failed', error: describe(failure.error) });
    });
    return {
      cancel: () => worker.process.connected && worker.process.send({ t: 'cancel' }),
      kill: () => worker.die("the function's process was ended from outside"),
    };
  }

  stop() {
    for (const worker of this.spares) worker.killGroup();
  }
}

// ── the two kinds of process ─────────────────────────────────────────────────────────────────

function runnerMain() {
  const running = new Map(); // id → what begin gave
  let service;
  let stopping = false;

  const leaveWhenDone = () => {
    if (!stopping || running.size) return;
    if (service && service.stop) service.stop();
    agent.leave(0);
  };
  const begin = (invoke) => {
    const outlet = new Outlet(agent, service.limits, invoke, () => {
      running.delete(invoke.id);
      leaveWhenDone();
    });
    running.set(invoke.id, { cancel() {}, kill() {} });
    const handle = service.begin(outlet);
    if (running.has(invoke.id)) running.set(invoke.id, handle);
  };
  const load = async (frame) => {
    const limits = frame.limits || {};
    const nobody = new Outlet(agent, limits, null);
    try {
      const Kind = { threads: Service, processes: Nursery }[frame.mode];
      if (!Kind) throw new LoadError('internal', new Error(`this runner has no mode "${frame.mode}"`));
      if (parseInt(process.versions.node, 10) < 18) {
        throw new LoadError('internal', new Error(`Node.js 18 or newer is needed, and this is ${process.version}`));
      }
      service = new Kind(frame, limits);
      await service.start(nobody);
      agent.send(JSON.stringify({ t: 'ready', node: process.versions.node, pid: process.pid }));
    } catch (failure) {
      const error = failure.error instanceof Error || !isObject(failure.error) ? describe(failure.error || failure) : failure.error;
      nobody.log('ERROR', error.stack);
      if (service && service.stop) service.stop();
      agent.send(JSON.stringify({ t: 'failed', type: failure.kind || 'internal', error }));
      agent.leave(1);
    }
  };
  const agent = new Agent((frame) => {
    if (frame.t === 'load' && !service) load(frame);
    else if (frame.t === 'invoke') begin(frame);
    else if (frame.t === 'cancel' && running.has(frame.id)) running.get(frame.id).cancel();
    else if (frame.t === 'kill' && running.has(frame.id)) running.get(frame.id).kill();
    else if (frame.t === 'settings' && service) service.load.concurrency = frame.concurrency;
    else if (frame.t === 'stop') {
      stopping = true;
      leaveWhenDone();
    }
  });
  // Signals to the process group are the agent's business.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {});
}

function childMain() {
  const say = (message) => process.connected && process.send(message);
  const outlet = {
    log: (level, text) => say({ t: 'log', level, text: clean(text) }),
    progress: (members) => say({ t: 'progress', ...members }),
    end: (outcome) => {
      const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
      const usage = { peakMemoryKib: maxRSS, cpuMs: Math.round((userCPUTime + systemCPUTime) / 1000) };
      say({ t: 'outcome', ...outcome, usage });
    },
  };
  const module = new Module();
  let limits = {};
  let execution;
  process.on('disconnect', () => process.exit(1));
  process.on('message', async (message) => {
    if (message.t === 'load') {
      limits = message.load.limits || {};
      takeOutput(new Execution({}, outlet, limits));
      try {
        await module.load(message.load);
        say({ t: 'loaded' });
      } catch (failure) {
        say({ t: 'failed', kind: failure.kind, error: describe(failure.error || failure) });
      }
    } else if (message.t === 'invoke') {
      execution = new Execution(message.invoke, outlet, limits);
      execution.run(module);
    } else if (message.t === 'cancel' && execution) {
      execution.abort.abort();
    }
  });
}

if (process.argv[2] === '--child') childMain();
else runnerMain();
