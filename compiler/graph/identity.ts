// The identity of a program: a text that two programs share exactly where the compiler cannot tell them apart, in whatever
// process and whatever order they were built. A cache of compiled programs is looked up by it before any pass runs.
//
// Nothing is listed here that a node has: every property of every node is written, but for its number, so that a new
// property cannot be forgotten. What is shared (nodes, loops, scalar terms, run-time extents, functions) is written once
// and numbered by where it first stands. A function is its own text with what it captures, as it is for capture
// (compiler/capture): it is closed, so nothing else has a part in its meaning; where capture has been given the author's
// syntax, it is that. Names of loop placeholders are numbers of this process, and are left out.
import { type Arrow, type Leaf, type Loop, type Node, UpTo } from "../../dsl/node.js";
import { type Scalar, terms } from "../../dsl/scalar.js";
import { isNode } from "../../dsl/tensor.js";
import { aheadOf } from "../capture/ahead.js";
import { textOf } from "../capture/text.js";
import { captured } from "../capture/values.js";
import { orderWithMentions } from "./walk.js";

export interface Identity {
  readonly text: string;
  /** What the text numbers, by its number: how another process finds its own leaves and extents again. */
  readonly leaves: readonly Leaf[];
  readonly extents: readonly UpTo[];
}

/** `program`: records and lists of nodes, names and settings, in any nesting. */
export function identityOf(program: unknown): Identity {
  const w = new Writer();
  for (const n of orderWithMentions(nodesIn(program))) w.define(n);
  w.lines.push(w.value(program));
  return { text: w.lines.join("\n"), leaves: w.leaves, extents: w.extents };
}

function nodesIn(program: unknown): readonly Node[] {
  const out: Node[] = [];
  const todo: unknown[] = [program];
  for (let at = 0; at < todo.length; at++) {
    const x = todo[at];
    if (isNode(x)) out.push(x);
    else if (typeof x === "object" && x !== null && !(x instanceof UpTo)) todo.push(...Object.values(x));
  }
  return out;
}

const isScalar = (x: object): x is Scalar => "kind" in x && "id" in x && typeof x.id === "number";
const isLoop = (x: object): x is Loop => "carry" in x && "slices" in x && "counter" in x && "next" in x;
const literal = (x: number): string => (Object.is(x, -0) ? "-0" : String(x));

class Writer {
  readonly lines: string[] = [];
  readonly leaves: Leaf[] = [];
  readonly extents: UpTo[] = [];
  readonly #numbers = new Map<object, number>();
  readonly #functions = new Map<string, number>();

  #number(x: object): number {
    const n = this.#numbers.size;
    this.#numbers.set(x, n);
    return n;
  }
  /** A line for a node whose parts have theirs. */
  define(n: Node): number {
    const known = this.#numbers.get(n);
    if (known !== undefined) return known;
    const text = this.#record(n, n.op === "leaf" && n.role === "bound" ? ["id", "name"] : ["id"]);
    const number = this.#number(n);
    if (n.op === "leaf") this.leaves.push(n);
    this.lines.push(`#${number} ${text}`);
    return number;
  }
  value(x: unknown): string {
    switch (typeof x) {
      case "string":
        return JSON.stringify(x);
      case "number":
        return literal(x);
      case "boolean":
      case "undefined":
        return String(x);
      case "function":
        return `f${this.#function(x as Arrow)}`; // nodes hold no other functions
      case "object":
        return this.#object(x);
      default:
        throw new Error(`identity: a ${typeof x} in a program`); // ours to keep out
    }
  }
  #object(x: object | null): string {
    if (x === null) return "null";
    if (isNode(x)) return `#${this.#reference(x)}`;
    if (x instanceof UpTo) return `u${this.#extent(x)}`;
    if (Array.isArray(x)) return `[${x.map((y) => this.value(y)).join()}]`;
    if (isLoop(x)) return `@${this.#loop(x)}`;
    if (isScalar(x)) return `$${this.#scalar(x)}`;
    return this.#record(x, []);
  }
  /** In the order of the record: that of axes is the layout's. */
  #record(x: object, without: readonly string[]): string {
    return `{${Object.entries(x)
      .filter(([k, v]) => v !== undefined && !without.includes(k))
      .map(([k, v]) => `${JSON.stringify(k)}:${this.value(v)}`)
      .join()}}`;
  }
  /** All parts come before; but a loop names placeholders that its body may not read. */
  #reference(n: Node): number {
    if (n.op === "leaf") return this.define(n);
    const known = this.#numbers.get(n);
    if (known === undefined) throw new Error(`identity: ${n.op} ${n.id} stands before its parts`);
    return known;
  }
  #extent(e: UpTo): number {
    const known = this.#numbers.get(e);
    if (known !== undefined) return known;
    const number = this.#number(e);
    this.extents.push(e);
    this.lines.push(`u${number} ${e.max} ${JSON.stringify(e.name)}`);
    return number;
  }
  #loop(l: Loop): number {
    const known = this.#numbers.get(l);
    if (known !== undefined) return known;
    const text = this.#record(l, ["id"]);
    const number = this.#number(l);
    this.lines.push(`@${number} ${text}`);
    return number;
  }
  #scalar(root: Scalar): number {
    for (const t of terms([root])) {
      if (this.#numbers.has(t)) continue;
      const text = t.kind === "call" ? `${t.prim}(${t.args.map((a) => this.#numbers.get(a)).join()})` : this.#record(t, ["id"]);
      this.lines.push(`$${this.#number(t)} ${text}`);
    }
    return this.#numbers.get(root) as number;
  }
  #function(fn: Arrow): number {
    const text = functionText(fn);
    const known = this.#functions.get(text);
    if (known !== undefined) return known;
    const number = this.#functions.size;
    this.#functions.set(text, number);
    this.lines.push(`f${number} ${JSON.stringify(text)}`);
    return number;
  }
}

const texts = new WeakMap<Arrow, string>();
function functionText(fn: Arrow): string {
  const known = texts.get(fn);
  if (known !== undefined) return known;
  const value = captured(fn);
  const read = aheadOf(fn);
  const text =
    value.kind === "builtin"
      ? `built in ${JSON.stringify(value.builtin)}`
      : read
        ? `read ahead ${JSON.stringify(read.syntax)}`
        : `text ${textOf(fn)}`;
  texts.set(fn, text);
  return text;
}
