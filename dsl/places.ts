// Where nodes were written: a side table, apart from what they mean. A node that several places wrote has several
// origins; a rewrite gives its result the origins of what it replaced. A place is read from the stack of the call that
// made the node, lazily: the stack is kept as text and parsed when someone asks.
import type { Node } from "./node.js";

export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

const stacks = new WeakMap<Node, Set<string>>();
/** Frames in these folders are ours, not the author's. A runner that follows source maps (tsx) names the files that dist/
 *  was built from, which lie beside it. */
const here = import.meta.url.replace(/dsl\/places\.[jt]s$/, "");
const roots = here.endsWith("/dist/") ? [here, here.slice(0, -"dist/".length)] : [here];
const ours = roots.flatMap((root) => [`${root}dsl/`, `${root}compiler/`, `${root}runtime/`, `${root}index.`]);
/** Inputs that the command makes for a formula have no author. */
const command = roots.map((root) => `${root}cli/`);
const node = /^\s*at (?:.*? \()?(?:async )?(.*?):(\d+):(\d+)\)?$/;

let recording = true;
/** The compiler's own constructions have the origins of the node they expand, not a stack. */
export function withoutRecording<T>(f: () => T): T {
  const before = recording;
  recording = false;
  try {
    return f();
  } finally {
    recording = before;
  }
}

let expanded: Node | null = null;
/** What is built meanwhile, and is new, has this node's origins: a derivative those of what it is the derivative of. */
export function onBehalfOf<T>(n: Node, f: () => T): T {
  const before = [recording, expanded] as const;
  recording = false;
  expanded = n;
  try {
    return f();
  } finally {
    [recording, expanded] = before;
  }
}

export function record(n: Node): void {
  if (!recording) {
    if (expanded && !stacks.has(n)) inherit(n, expanded);
    return;
  }
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 12;
  const stack = new Error().stack ?? "";
  Error.stackTraceLimit = limit;
  const known = stacks.get(n);
  if (!known) stacks.set(n, new Set([stack]));
  else if (known.size < 16) known.add(stack); // a node built in a loop: more origins say no more
}

/** The rewrite's result keeps the origins of what it replaced. */
export function inherit(to: Node, from: Node): void {
  const origins = stacks.get(from);
  if (!origins || to === from) return;
  const known = stacks.get(to);
  if (!known) stacks.set(to, new Set(origins));
  else for (const s of origins) if (known.size < 16) known.add(s);
}

function parse(stack: string, skipped: readonly string[] = ours): Place | undefined {
  for (const line of stack.split("\n").slice(1)) {
    const m = node.exec(line);
    if (!m) continue;
    const url = m[1] as string;
    const asUrl = url.startsWith("/") ? `file://${url}` : url;
    if (url.startsWith("node:") || skipped.some((folder) => asUrl.startsWith(folder))) continue;
    return { file: url.startsWith("file://") ? decodeURIComponent(new URL(url).pathname) : url, line: Number(m[2]), column: Number(m[3]) };
  }
  return undefined;
}

/** The places that wrote this node, the first one first. */
export function placesOf(n: Node): readonly Place[] {
  const out: Place[] = [];
  for (const stack of stacks.get(n) ?? []) {
    const p = parse(stack, [...ours, ...command]);
    if (p && !out.some((q) => q.file === p.file && q.line === p.line && q.column === p.column)) out.push(p);
  }
  return out;
}
/** The author's call that is running now. */
export const callSite = (): Place | undefined => parse(new Error().stack ?? "");
