// The JavaScript kernel. Code runs in node's own global scope the way a debugger's console runs it: values of cells
// stay, `let` and `const` may be declared again, `await` works at the top.
//
// Arguments: descriptors of a socket that orders come by, of a pipe for answers, and of one for what is displayed;
// each a JSON object a line.
'use strict';

const fs = require('node:fs');
const inspector = require('node:inspector');
const { builtinModules, createRequire } = require('node:module');
const net = require('node:net');
const util = require('node:util');
const { pathToFileURL } = require('node:url');
const vm = require('node:vm');

const [orders, answers, displays] = process.argv.splice(2).map(Number);
const GENERATION = '/run/martlet/generation';
const DISPLAY = Symbol.for('Jupyter.display');
const MAX_JSON = 1024 * 1024;
const INTERRUPTED = { error: { name: 'Interrupted', value: 'the execution was interrupted', traceback: '' } };

const session = new inspector.Session();
session.connect();

// ---- Randomness. The engine's generator cannot be given a new seed when the machine is a copy: this one can.

const state = new Uint32Array(4);
const rotated = (word, bits) => ((word << bits) | (word >>> (32 - bits))) >>> 0;

function reseed() {
  const source = fs.openSync('/dev/urandom', 'r');
  try { fs.readSync(source, new Uint8Array(state.buffer)); } finally { fs.closeSync(source); }
  state[0] |= 1;
}

// xoshiro128** by D. Blackman and S. Vigna, which they gave to the public domain.
function nextWord() {
  const result = Math.imul(rotated(Math.imul(state[1], 5) >>> 0, 7), 9) >>> 0;
  const shifted = state[1] << 9;
  state[2] ^= state[0]; state[3] ^= state[1]; state[1] ^= state[2]; state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotated(state[3], 11);
  return result;
}

reseed();
Object.defineProperty(Math, 'random', {
  value: function random() { return ((nextWord() >>> 5) * 67108864 + (nextWord() >>> 6)) / 9007199254740992; },
  writable: true, configurable: true,
});

function generation() { try { return fs.readFileSync(GENERATION, 'latin1'); } catch { return ''; } }
let knownGeneration = generation();

// ---- What code is shown as.

function inspect(value) {
  return util.inspect(value, { depth: 4, maxArrayLength: 200, maxStringLength: 1024 * 1024, breakLength: 100 });
}

async function bundleOf(value) {
  const isObject = value !== null && (typeof value === 'object' || typeof value === 'function');
  if (isObject && typeof value[DISPLAY] === 'function') {
    const bundle = await value[DISPLAY]();
    if (bundle && typeof bundle === 'object') return bundle;
  }
  const bundle = { 'text/plain': inspect(value) };
  if (isObject && [Object.prototype, Array.prototype, null].includes(Object.getPrototypeOf(value))) {
    try {
      const text = JSON.stringify(value);
      if (text !== undefined && text.length <= MAX_JSON) bundle['application/json'] = JSON.parse(text);
    } catch { /* What is no JSON is shown as text. */ }
  }
  return bundle;
}

function blame(error) {
  if (!(error instanceof Error) && !util.types.isNativeError(error)) {
    return { name: 'Error', value: inspect(error), traceback: `Uncaught ${inspect(error)}` };
  }
  const ours = (line) => /^\s+at (new Promise|.*(node:internal|node:inspector|node:vm|javascript\.js))/.test(line);
  const stack = String(error.stack || error).split('\n').filter((line) => !ours(line));
  return { name: String(error.name), value: String(error.message), traceback: stack.join('\n') };
}

function send(descriptor, message) {
  const bytes = Buffer.from(JSON.stringify(message) + '\n');
  for (let done = 0; done < bytes.length;) done += fs.writeSync(descriptor, bytes, done);
}

// ---- What code finds beside the language.

const required = createRequire(process.cwd() + '/kernel.js');
const module_ = { exports: {} };

// Loads a module as code in the working directory would.
async function load(name) {
  if (/^(node:|data:|file:)/.test(name) || builtinModules.includes(name)) return import(name);
  return import(pathToFileURL(required.resolve(name)));
}

// Handles by which the debugger's side reaches values of ours.
const LOAD = "globalThis[Symbol.for('martlet.load')]";
Object.defineProperty(globalThis, Symbol.for('martlet.load'), { value: load });
Object.assign(globalThis, {
  require: required, module: module_, exports: module_.exports,
  display: async function display(value, options = {}) {
    send(displays, { bundle: options.raw ? value : await bundleOf(value) });
  },
});

// Import statements, which scripts do not have, as expressions that they do have.
function translated(code) {
  return code
    .replace(/((?<=^|;)[ \t]*)import\s+(?:([\w$]+)\s*,?\s*)?(?:\*\s*as\s+([\w$]+)|\{([^}]*)\})?\s*from\s*(['"])([^'"]+)\5[ \t]*;?/gm,
      (all, before, name, whole, names, quote, source) => {
        const loaded = `await ${LOAD}(${JSON.stringify(source)})`;
        if (whole) return `${before}const ${whole} = ${loaded};` + (name ? ` const ${name} = ${whole}.default;` : '');
        const parts = (names || '').split(',').map((one) => one.trim().replace(/\s+as\s+/, ': ')).filter(Boolean);
        if (name) parts.unshift(`default: ${name}`);
        return parts.length ? `${before}const { ${parts.join(', ')} } = ${loaded};` : all;
      })
    .replace(/((?<=^|;)[ \t]*)import\s*(['"])([^'"]+)\2[ \t]*;?/gm,
      (all, before, quote, source) => `${before}await ${LOAD}(${JSON.stringify(source)});`)
    .replace(/(^|[^.\w$'"`])import\s*\(/gm, (all, before) => `${before}${LOAD}(`);
}

// ---- Running code.

// The value or error the debugger names, which is in this very thread.
let handed;
Object.defineProperty(globalThis, Symbol.for('martlet.hand'), { value: (value) => { handed = value; } });

function valueOf(remote) {
  if (!remote.objectId) {
    if (remote.unserializableValue === undefined) return remote.value;
    return remote.type === 'bigint' ? BigInt(remote.unserializableValue.slice(0, -1)) : Number(remote.unserializableValue);
  }
  handed = undefined;
  session.post('Runtime.callFunctionOn', {
    objectId: remote.objectId, functionDeclaration: "function() { globalThis[Symbol.for('martlet.hand')](this); }",
  });
  return handed;
}

async function outcomeOf(error, evaluated) {
  if (error) return { error: { name: 'Error', value: error.message, traceback: '' } };
  if (evaluated.exceptionDetails) {
    const { exception, text } = evaluated.exceptionDetails;
    return { error: exception ? blame(valueOf(exception)) : { name: 'Error', value: text, traceback: '' } };
  }
  if (evaluated.result.type === 'undefined') return {};
  try {
    return { bundle: await bundleOf(valueOf(evaluated.result)) };
  } catch (failure) {
    return { error: blame(failure) };
  }
}

let pending = null;
const SCRIPT = new vm.Script("globalThis[Symbol.for('martlet.run')]()", { filename: __filename });

function evaluate(expression) {
  return new Promise((resolve) => {
    pending = resolve;
    const parameters = { expression, replMode: true, awaitPromise: true, objectGroup: 'cell' };
    Object.defineProperty(globalThis, Symbol.for('martlet.run'), {
      configurable: true,
      value: () => session.post('Runtime.evaluate', parameters, (error, evaluated) => {
        outcomeOf(error, evaluated).then(resolve);
      }),
    });
    try {
      // Code that never yields is stopped by SIGINT here, and only here.
      SCRIPT.runInThisContext({ breakOnSigint: true });
    } catch {
      resolve(INTERRUPTED);
    }
  });
}

async function run(order) {
  const current = generation();
  if (current !== knownGeneration) reseed();
  knownGeneration = current;
  Object.assign(process.env, order.base);
  const saved = Object.keys(order.environment).map((name) => [name, process.env[name]]);
  Object.assign(process.env, order.environment);
  try {
    return await evaluate(translated(order.code));
  } finally {
    pending = null;
    session.post('Runtime.releaseObjectGroup', { objectGroup: 'cell' });
    for (const [name, value] of saved) {
      if (value === undefined) delete process.env[name]; else process.env[name] = value;
    }
  }
}

process.on('uncaughtException', (error) => { process.stderr.write(`Uncaught ${inspect(error)}\n`); });
process.on('unhandledRejection', (error) => { process.stderr.write(`Uncaught (in promise) ${inspect(error)}\n`); });
// Code that waits is not stopped by a signal, but by an order.
process.on('SIGINT', () => {});

let rest = '';
const socket = new net.Socket({ fd: orders, readable: true, writable: false });
socket.setEncoding('utf8');
socket.on('end', () => process.exit());
socket.on('data', (text) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop();
  for (const order of lines.map((line) => JSON.parse(line))) {
    if (order.interrupt) { if (pending) pending(INTERRUPTED); continue; }
    run(order).catch((error) => ({ error: blame(error) })).then((answer) => send(answers, answer));
  }
});
send(answers, { ready: true });
