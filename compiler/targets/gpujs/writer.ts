// Writes one gpu.js kernel: expressions become single assignments, each placed in the outermost loop that knows its
// variables, so what a loop does not change is computed once. Deep expressions never nest: gpu.js walks its syntax tree
// recursively and asks for types again at every level.

import { type Buffer, type Expr, elements, partsOf, strides, type Type } from "../../lower/expr.js";
import { type Bounds, rangeOf } from "../../lower/ranges.js";
import { type Dialect, javascript } from "./dialect.js";
import { glsl } from "./glsl/dialect.js";
import { type GpujsMode, limits } from "./limits.js";
import type { GpujsKernel } from "./program.js";
import { isCondition, type Parts } from "./spelling.js";

/** A name or an integer literal. */
export interface Value {
  readonly text: string;
  readonly type: Type;
}
/** An array that is a part of another. */
export interface Packed {
  readonly buffer: Buffer;
  readonly offset: number;
}
export type Arg = { readonly kind: "buffer"; readonly buffer: Buffer } | { readonly kind: "int"; readonly name: string };

interface Scope {
  readonly lines: string[];
  readonly values: Map<Expr, Value>;
  readonly bound: Map<string, Value>;
}
const isLiteral = (text: string) => /^-?\d+$/.test(text);
const scope = (): Scope => ({ lines: [], values: new Map(), bound: new Map() });

/** The variables and locals in an expression, by the keys they are bound under. */
const freeNames = new WeakMap<Expr, ReadonlySet<string>>();
const none: ReadonlySet<string> = new Set();
function namesIn(root: Expr): ReadonlySet<string> {
  const stack = [root];
  for (let e = stack.at(-1); e; e = stack.at(-1)) {
    const missing = freeNames.has(e) ? [] : partsOf(e).filter((p) => !freeNames.has(p));
    stack.push(...missing);
    if (missing.length > 0) continue;
    stack.pop();
    collectNames(e);
  }
  return freeNames.get(root) ?? none;
}
function collectNames(e: Expr): void {
  if (freeNames.has(e)) return;
  if (e.kind === "var" || e.kind === "local") {
    freeNames.set(e, new Set([`${e.kind === "var" ? "v" : "l"}:${e.name}`]));
    return;
  }
  const parts = partsOf(e).map((p) => freeNames.get(p) ?? none);
  const largest = parts.reduce((a, b) => (b.size > a.size ? b : a), none);
  const whole = parts.every((p) => [...p].every((n) => largest.has(n)));
  freeNames.set(e, whole ? largest : new Set(parts.flatMap((p) => [...p])));
}

export class Writer implements Parts {
  readonly args: Arg[] = [];
  readonly #argNames = new Map<string, string>();
  readonly #used = new Set<string>();
  readonly dialect: Dialect;
  readonly #scopes: Scope[] = [scope()];
  /** Where lines go while an expression is written. */
  #at = 0;
  #names = 0;

  constructor(
    mode: GpujsMode,
    readonly bounds: Bounds,
    /** What is read inside other arrays. */
    readonly packs: ReadonlyMap<Buffer, Packed> = new Map(),
  ) {
    this.dialect = mode === "webgl2" ? glsl : javascript(mode);
  }

  // ---- names and lines

  name(prefix: string): string {
    return `${prefix}${this.#names++}`;
  }
  line(text: string): void {
    (this.#scopes[this.#at] as Scope).lines.push(text);
  }
  real(text: string): string {
    return this.bind("real", text).text;
  }
  int(text: string): string {
    return this.bind("int", text).text;
  }
  truth(condition: string): string {
    return this.bind("bool", condition).text;
  }
  helper<H extends string>(name: H): H {
    this.#used.add(name);
    return name;
  }
  bind(type: Type, text: string): Value {
    const name = this.name(type === "real" ? "t" : type === "int" ? "i" : "b");
    this.line(this.dialect.bind(type, name, text));
    return { type, text: name };
  }
  /** A mutable copy, for accumulators. */
  copy(v: Value): Value {
    if (v.type === "int") return this.bind("int", v.text);
    const name = this.name("s");
    this.line(this.dialect.copy(v.type, name, v.text));
    return { type: v.type, text: name };
  }

  // ---- scopes

  #innermost<T>(find: (s: Scope, depth: number) => T | undefined): T | undefined {
    for (let d = this.#scopes.length - 1; d >= 0; d--) {
      const found = find(this.#scopes[d] as Scope, d);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  /** Binds a loop variable (`v:`) or a local (`l:`) in the current scope. */
  define(key: string, value: Value): void {
    (this.#scopes.at(-1) as Scope).bound.set(key, value);
  }
  nested(head: string, body: () => void): void {
    this.#scopes.push(scope());
    this.#at = this.#scopes.length - 1;
    body();
    const inner = this.#scopes.pop() as Scope;
    this.#at = this.#scopes.length - 1;
    this.line(`${head} {\n${inner.lines.map((l) => `  ${l.replaceAll("\n", "\n  ")}`).join("\n")}\n}`);
  }
  /** A scope of names alone: what it binds and computes is forgotten after it; its lines stand where it stands. */
  block(body: () => void): void {
    this.#scopes.push(scope());
    this.#at = this.#scopes.length - 1;
    body();
    const inner = this.#scopes.pop() as Scope;
    this.#at = this.#scopes.length - 1;
    for (const l of inner.lines) this.line(l);
  }
  /** for index from 0 up to `bound`. gpu.js counts loops in f32: the index proper is a copy. */
  loop(bound: string, body: (index: string) => void): void {
    const k = this.name("k");
    this.nested(this.dialect.turns(k, bound), () => body(this.int(k)));
  }

  // ---- arguments

  argument(arg: Arg): string {
    const key = arg.kind === "buffer" ? `b${arg.buffer.id}` : `i${arg.name}`;
    const known = this.#argNames.get(key);
    if (known) return known;
    const name = arg.kind === "buffer" ? `a${this.args.length}` : `n${this.args.length}`;
    this.args.push(arg);
    this.#argNames.set(key, name);
    return name;
  }

  // ---- expressions

  convert(v: Value, type: Type): Value {
    if (v.type === type) return v;
    if (type === "bool") {
      const x = isLiteral(v.text) ? this.int(v.text) : v.text;
      return { type, text: this.truth(`${x} !== ${v.type === "int" ? "0" : this.dialect.zero}`) };
    }
    if (type === "int") return { type, text: this.int(this.dialect.toInt(v.text)) };
    const { text, named } = this.dialect.toReal(v.type === "bool" ? "bool" : "int", v.text);
    return { type, text: named ? text : this.real(text) };
  }
  /** The value of e in the current scope. */
  write(e: Expr): Value {
    const stack: { readonly e: Expr; next: number }[] = [{ e, next: 0 }];
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const part = top.next === 0 && this.#known(top.e) ? undefined : partsOf(top.e)[top.next];
      top.next++;
      if (part) {
        stack.push({ e: part, next: 0 });
        continue;
      }
      stack.pop();
      if (!this.#known(top.e)) this.#emit(top.e);
    }
    return this.#valueOf(e);
  }
  /** Computed already, in this scope or in one around it with the same bindings. */
  #known(e: Expr): { readonly value: Value; readonly depth: number } | undefined {
    const names = namesIn(e);
    for (let d = this.#scopes.length - 1; d >= 0; d--) {
      const s = this.#scopes[d] as Scope;
      const value = s.values.get(e);
      if (value) return { value, depth: d };
      for (const n of names) if (s.bound.has(n)) return undefined;
    }
    return undefined;
  }
  #valueOf(e: Expr): Value {
    return (this.#known(e) as { readonly value: Value }).value;
  }
  #emit(e: Expr): void {
    const current = this.#scopes.length - 1;
    let depth = 0;
    let extents = false;
    for (const n of namesIn(e)) {
      const at = this.#innermost((s, d) => (s.bound.has(n) ? d : undefined));
      depth = Math.max(depth, at ?? 0);
      extents ||= at === undefined;
    }
    // An index made of a run-time extent may be in range only if the loops inside turn at all: it stays where it is.
    if (e.kind === "load" && !e.inside && extents) depth = current;
    for (const p of partsOf(e)) depth = Math.max(depth, this.#known(p)?.depth ?? 0);
    this.#at = depth;
    const value = this.#spell(e);
    this.#at = current;
    (this.#scopes[depth] as Scope).values.set(e, value);
  }
  #spell(e: Expr): Value {
    switch (e.kind) {
      case "num":
        return e.type === "int" ? { type: "int", text: String(e.value) } : { type: e.type, text: this.constant(e.value, e.type) };
      case "var":
        return this.#innermost((s) => s.bound.get(`v:${e.name}`)) ?? { type: "int", text: this.argument({ kind: "int", name: e.name }) };
      case "local": {
        const bound = this.#innermost((s) => s.bound.get(`l:${e.name}`));
        if (!bound) throw new Error(`compiler bug: local ${e.name} is read before it is bound`);
        return this.convert(bound, e.type);
      }
      case "load":
        return this.#load(e);
      case "call":
        return this.#call(e);
      case "random":
        return {
          type: "real",
          text: this.dialect.drawn(
            this,
            e.draw,
            e.key,
            e.extend.map((x) => this.#named(x)),
            this.#named(e.counter),
          ),
        };
    }
  }
  /** Always a name: gpu.js treats 2 and 2.0 as one literal whose type depends on its neighbours. */
  constant(value: number, type: Type = "real"): string {
    const name = this.name("c");
    this.line(this.dialect.constant(type, name, value));
    return name;
  }
  address(buffer: Buffer, index: readonly Value[], offset = 0): string {
    const step = strides(buffer);
    let constant = offset;
    const terms: string[] = [];
    index.forEach((v, k) => {
      const s = step[k] as number;
      if (isLiteral(v.text)) constant += Number(v.text) * s;
      else terms.push(s === 1 ? v.text : `${v.text} * ${s}`);
    });
    if (constant !== 0 || terms.length === 0) terms.push(String(constant));
    return terms.join(" + ");
  }
  #load(e: Extract<Expr, { kind: "load" }>): Value {
    const packed = this.packs.get(e.buffer);
    const a = this.argument({ kind: "buffer", buffer: packed?.buffer ?? e.buffer });
    const index = e.index.map((i) => this.#valueOf(i));
    const read = this.dialect.read(a, this.address(e.buffer, index, packed?.offset));
    const text = e.inside ? `${this.#valueOf(e.inside).text} !== 0 ? ${read} : ${this.dialect.zero}` : read;
    if (e.type === "int") return this.bind("int", this.dialect.toInt(text));
    const name = this.name("t");
    this.line(this.dialect.copy(e.type, name, text)); // what an array holds is f32 already
    return { type: e.type, text: name };
  }
  #call(e: Extract<Expr, { kind: "call" }>): Value {
    const row = this.dialect.spelling[e.prim];
    const values = e.args.map((a) => this.#valueOf(a));
    const ints = values.every((v) => v.type === "int");
    const wanted = (k: number): Type => {
      switch (row.operands) {
        case "real":
        case "int":
        case "bool":
          return row.operands;
        case "select":
          return k === 0 ? "bool" : e.type;
        case "same":
          return e.type === "bool" ? (ints ? "int" : "real") : e.type;
        case "own":
          return (values[k] as Value).type;
      }
    };
    const texts = values.map((v, k) => {
      const c = this.convert(v, wanted(k)).text;
      return isLiteral(c) && (k < values.length - 1 || Math.abs(Number(c)) >= limits.exactInt) ? this.int(c) : c;
    });
    const own = row.operands === "own" ? (values[0] as Value).type : e.type;
    const asInt = own === "int" && row.int !== undefined;
    const text = (asInt && row.int ? row.int : row.real)(this, texts, e.args.length === 2 && this.#exactQuotient(e.args));
    if (isCondition(e.type) && e.prim === "select") {
      const name = this.name("t");
      this.line(this.dialect.copy("bool", name, text)); // no condition: one of two bools
      return { type: "bool", text: name };
    }
    return this.bind(e.type, text);
  }
  #named(e: Expr): string {
    const v = this.#valueOf(e);
    return isLiteral(v.text) ? this.int(v.text) : v.text;
  }
  #exactQuotient(args: readonly Expr[]): boolean {
    return args.every((a) => {
      if (a.type !== "int") return false;
      const [lo, hi] = rangeOf(a, this.bounds);
      return lo > -limits.exactInt && hi < limits.exactInt;
    });
  }

  /** The kernel's text, returning this value. */
  finish(v: Value, cells: number): Pick<GpujsKernel, "source" | "functions" | "native"> {
    const out = this.convert(v, "real").text;
    this.line(`return ${out};`);
    const lines = (this.#scopes[0] as Scope).lines.map((l) => `  ${l.replaceAll("\n", "\n  ")}`);
    const args = this.args.map((a) => ({ name: this.argument(a), length: a.kind === "int" ? null : Math.max(1, elements(a.buffer)) }));
    return this.dialect.kernel(args, lines, this.#used, cells);
  }
}
