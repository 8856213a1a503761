// Runs loop IR with workgroups, invocations and barriers, as a GPU would: all invocations of a workgroup go from barrier to
// barrier, in an order that changes from one stretch to the next. An invocation that misses a barrier, a read of memory
// that nobody wrote, or an address out of bounds is an error.

import type { Kernel, Stmt } from "../../compiler/loop/ir.js";
import type { Buffer, Expr } from "../../compiler/lower/expr.js";
import { elements, strides } from "../../compiler/lower/expr.js";
import { primitives, type Value } from "../../dsl/primitives.js";

export type Memory = Map<Buffer, Float64Array>;

class Invocation {
  readonly names: Map<string, Value>;
  readonly own: Memory = new Map();
  constructor(
    names: ReadonlyMap<string, Value>,
    readonly shared: Memory,
    readonly outer: Memory,
  ) {
    this.names = new Map(names);
  }
  array(b: Buffer): Float64Array {
    const found = this.own.get(b) ?? this.shared.get(b) ?? this.outer.get(b);
    if (!found) throw new Error(`buffer ${b.name} has no memory`);
    return found;
  }
  address(b: Buffer, index: readonly Expr[]): number {
    const s = strides(b);
    const at = index.reduce((n, e, k) => n + Number(this.value(e)) * (s[k] as number), 0);
    if (!(at >= 0 && at < elements(b))) throw new Error(`${b.name}[${at}] is out of bounds`);
    return at;
  }
  value(e: Expr): Value {
    switch (e.kind) {
      case "num":
        return e.type === "bool" ? e.value !== 0 : e.value;
      case "var":
      case "local": {
        const v = this.names.get(e.name);
        if (v === undefined) throw new Error(`${e.name} has no value`);
        return v;
      }
      case "load": {
        if (e.inside && !this.value(e.inside)) return e.type === "bool" ? false : 0;
        const v = this.array(e.buffer)[this.address(e.buffer, e.index)] as number;
        if (Number.isNaN(v)) throw new Error(`${e.buffer.name} is read before it is written`);
        return e.type === "bool" ? v !== 0 : v;
      }
      case "random":
        throw new Error("no draws here");
      case "call": {
        const args = e.args.map((a) => this.value(a));
        const [x, y] = args as [number, number];
        if (e.prim === "idiv") return Math.floor(x / y);
        if (e.prim === "imod") return x - y * Math.floor(x / y);
        return (primitives[e.prim].value as (...v: Value[]) => Value)(...args);
      }
    }
  }
  /** Stops at each barrier. */
  *run(body: readonly Stmt[]): Generator<Stmt, void> {
    for (const s of body) {
      switch (s.s) {
        case "let":
        case "var":
        case "set":
          this.names.set(s.name, this.value(s.value));
          break;
        case "alloc":
          if (s.space !== "workgroup") this.own.set(s.buffer, new Float64Array(elements(s.buffer)).fill(Number.NaN));
          break;
        case "store":
          this.array(s.buffer)[this.address(s.buffer, s.index)] = Number(this.value(s.value));
          break;
        case "if":
          yield* this.run(this.value(s.cond) ? s.then : s.otherwise);
          break;
        case "for":
          for (let i = Number(this.value(s.from)); i < Number(this.value(s.to)); i += s.step) {
            this.names.set(s.v, i);
            yield* this.run(s.body);
          }
          break;
        case "barrier":
          yield s;
          break;
        case "use":
          yield* this.run(s.meaning);
      }
    }
  }
}

/** The statements of a level, with every combination of its loops' indices. */
function unrolled(
  body: readonly Stmt[],
  bind: "workgroup" | "local",
  at: Invocation,
): readonly { names: Map<string, Value>; body: readonly Stmt[] }[] {
  const index = body.findIndex((s) => s.s === "for" && s.bind === bind);
  const s = body[index];
  if (s?.s !== "for") return [{ names: at.names, body }];
  if (index !== body.length - 1) throw new Error(`statements after a ${bind} loop`);
  const before = new Invocation(at.names, at.shared, at.outer);
  // What stands before the loop is computed by all alike; memory is the workgroup's.
  for (const b of before.run(body.slice(0, index))) throw new Error(`a ${b.s} outside the ${bind} loops`);
  const out = [];
  for (let i = Number(before.value(s.from)); i < Number(before.value(s.to)); i += s.step) {
    before.names.set(s.v, i);
    out.push(...unrolled(s.body, bind, new Invocation(before.names, at.shared, at.outer)));
  }
  return out;
}

export function simulate(kernel: Kernel, memory: Memory, ints: ReadonlyMap<string, number> = new Map()): void {
  const root = new Invocation(new Map(ints), new Map(), memory);
  for (const group of unrolled(kernel.body, "workgroup", root)) {
    const shared: Memory = new Map();
    for (const s of group.body)
      if (s.s === "alloc" && s.space === "workgroup") shared.set(s.buffer, new Float64Array(elements(s.buffer)).fill(Number.NaN));
    const members = unrolled(group.body, "local", new Invocation(group.names, shared, memory)).map((m) =>
      new Invocation(m.names, shared, memory).run(m.body),
    );
    for (let stretch = 0; ; stretch++) {
      const order = stretch % 2 ? [...members].reverse() : members;
      const stops = order.map((m) => m.next());
      if (stops.every((x) => x.done)) break;
      if (!stops.every((x) => !x.done && x.value === stops[0]?.value)) throw new Error("invocations disagree about a barrier");
    }
  }
}
