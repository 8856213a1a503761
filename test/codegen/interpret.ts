// What nests mean, in f64: every form as the plainest loops, for tests of whatever turns nests into code.

import { type Kernel, type Stmt, THREADS } from "../../compiler/loop/ir.js";
import { termsOf } from "../../compiler/loop/terms.js";
import { type Buffer, type Expr, elements, extentVar, load, partsOf, strides } from "../../compiler/lower/expr.js";
import type { Axis, Monoid, Nest, Stage, Step, Store } from "../../compiler/lower/nest.js";
import type { Plan } from "../../compiler/plan.js";
import type { UpTo } from "../../dsl/node.js";
import { evaluate, type Value } from "../../dsl/primitives.js";
import { draw } from "../../dsl/random.js";

export type Memory = Map<Buffer, Float64Array>;
type Env = Map<string, number>;

/** Memory for every buffer: tables hold their data, the rest zeros until filled. */
export const memoryOf = (plan: Plan): Memory =>
  new Map(plan.buffers.map((b) => [b, b.data ? Float64Array.from(b.data) : new Float64Array(elements(b))]));

export function interpret(plan: Plan, memory: Memory, extents: ReadonlyMap<UpTo, number> = new Map()): void {
  const env: Env = new Map();
  for (const e of plan.extents) {
    const v = extentVar(e);
    if (v.kind === "var") env.set(v.name, extents.get(e) ?? e.max);
  }
  steps(plan.steps, env, memory);
}
function steps(list: readonly Step[], env: Env, memory: Memory) {
  for (const s of list) {
    if (s.step === "nest") nest(s.nest, env, memory);
    else
      for (let i = 0; i < s.count; i++) {
        env.set(s.v, s.reverse ? s.count - 1 - i : i);
        steps(s.body, env, memory);
      }
  }
}

type Eval = (env: Env, memory: Memory) => number;
const compiled = new Map<Expr, Eval>();
/** Terms as closures over their parts, each built once. A shared part is computed for each use: terms here are small. */
export function termValue(root: Expr, env: Env, memory: Memory): number {
  if (!compiled.has(root)) for (const e of termsOf([root])) if (!compiled.has(e)) compiled.set(e, evaluator(e));
  return (compiled.get(root) as Eval)(env, memory);
}
function evaluator(e: Expr): Eval {
  const parts = partsOf(e).map((p) => compiled.get(p) as Eval);
  switch (e.kind) {
    case "num":
      return () => e.value;
    case "var":
    case "local":
      return (env) => {
        const v = env.get(e.name);
        if (v === undefined) throw new Error(`${e.name} is not defined`);
        return v;
      };
    case "load": {
      const steps = strides(e.buffer);
      const inside = e.inside ? parts[e.index.length] : undefined;
      return (env, memory) => {
        if (inside && !inside(env, memory)) return 0;
        let at = 0;
        for (let i = 0; i < steps.length; i++) at += (parts[i] as Eval)(env, memory) * (steps[i] as number);
        const x = memory.get(e.buffer)?.[at];
        if (x === undefined) throw new Error(`${e.buffer.name}: load at ${at} of ${elements(e.buffer)}`);
        return x;
      };
    }
    case "call": {
      const { prim } = e;
      const [a, b] = parts as [Eval, Eval];
      if (prim === "add") return (env, m) => a(env, m) + b(env, m);
      if (prim === "mul") return (env, m) => a(env, m) * b(env, m);
      if (prim === "idiv") return (env, m) => Math.floor(a(env, m) / b(env, m));
      if (prim === "imod")
        return (env, m) => {
          const [x, y] = [a(env, m), b(env, m)];
          return x - y * Math.floor(x / y);
        };
      const types = e.args.map((p) => p.type);
      return (env, m) =>
        Number(
          evaluate(
            prim,
            parts.map((p, i): Value => (types[i] === "bool" ? p(env, m) !== 0 : p(env, m))),
          ),
        );
    }
    case "random":
      return (env, m) =>
        draw(
          e.draw,
          e.key,
          parts.slice(0, -1).map((p) => p(env, m)),
          (parts.at(-1) as Eval)(env, m),
        );
  }
}

const extentOf = (a: Axis, env: Env): number => (typeof a.extent === "number" ? a.extent : termValue(extentVar(a.extent), env, new Map()));
function each(axes: readonly Axis[], env: Env, f: () => void) {
  const sizes = axes.map((a) => extentOf(a, env));
  const n = sizes.reduce((x, y) => x * y, 1);
  for (let i = 0; i < n; i++) {
    let rest = i;
    for (let k = axes.length - 1; k >= 0; k--) {
      env.set((axes[k] as Axis).v, rest % (sizes[k] as number));
      rest = Math.floor(rest / (sizes[k] as number));
    }
    f();
  }
}
/** Rounds to 16-bit storage as a store does; wider formats keep f64. */
function put(buffer: Buffer, index: readonly Expr[], value: number, env: Env, memory: Memory) {
  const at = strides(buffer).reduce((n, s, k) => n + s * termValue(index[k] as Expr, env, memory), 0);
  const data = memory.get(buffer) as Float64Array;
  if (at < 0 || at >= data.length) throw new Error(`${buffer.name}: store at ${at} of ${data.length}`);
  data[at] = buffer.dtype === "bf16" ? Number(evaluate("toBf16", [value])) : buffer.dtype === "f16" ? Number(evaluate("toF16", [value])) : value;
}
/** Every value before any store: memory updated in place reads its old value. */
const store = (stores: readonly Store[], env: Env, memory: Memory) => {
  const values = stores.map((s) => termValue(s.value, env, memory));
  for (const [i, s] of stores.entries()) put(s.buffer, s.index, values[i] as number, env, memory);
};
function combine(m: Monoid, x: readonly number[], y: readonly number[], env: Env, memory: Memory): readonly number[] {
  m.names.forEach((n, c) => {
    env.set(`x.${n}`, x[c] as number);
    env.set(`y.${n}`, y[c] as number);
  });
  return m.combine.map((e) => termValue(e, env, memory));
}
function stage(s: Stage, env: Env, memory: Memory) {
  switch (s.stage) {
    case "fold": {
      let acc: readonly number[] = s.monoid.empty;
      each(s.over, env, () => {
        acc = combine(
          s.monoid,
          acc,
          s.elements.map((e) => termValue(e, env, memory)),
          env,
          memory,
        );
      });
      for (const [c, b] of s.bind.entries()) env.set(b, acc[c] as number);
      return;
    }
    case "map":
      return each(s.axes, env, () => store(s.stores, env, memory));
    case "scan": {
      let acc: readonly number[] = s.monoid.empty;
      const n = extentOf(s.over, env);
      for (let i = 0; i < n; i++) {
        env.set(s.over.v, s.reverse ? n - 1 - i : i);
        const next = combine(
          s.monoid,
          acc,
          s.elements.map((e) => termValue(e, env, memory)),
          env,
          memory,
        );
        for (const [c, x] of (s.exclusive ? acc : next).entries()) env.set(s.bind[c] as string, x);
        store(s.stores, env, memory);
        acc = next;
      }
      return;
    }
  }
}
function nest(n: Nest, env: Env, memory: Memory) {
  switch (n.form) {
    case "map":
      return each(n.axes, env, () => store(n.stores, env, memory));
    case "row":
      return each(n.rows, env, () => {
        for (const s of n.stages) stage(s, env, memory);
      });
    case "contract":
      return each([...n.batch, ...n.m, ...n.n], env, () => {
        let sum = 0;
        each(n.k, env, () => {
          sum += termValue(n.a, env, memory) * termValue(n.b, env, memory);
        });
        env.set("sum", sum);
        store(n.stores, env, memory);
      });
    case "tiles":
      return tiles(n, env, memory);
    case "scatter":
      return each(n.rows, env, () => {
        if (!n.onto) each([n.target], env, () => put(n.into.buffer, n.into.index, 0, env, memory));
        each(n.over, env, () => {
          const at = termValue(n.index, env, memory);
          if (at < 0 || at >= extentOf(n.target, env)) return;
          const value = termValue(n.value, env, memory);
          env.set(n.target.v, at);
          const now = termValue(loadOf(n), env, memory);
          put(n.into.buffer, n.into.index, now + value, env, memory);
        });
      });
    case "top":
      return each(n.rows, env, () => {
        const all: [number, number][] = [];
        each([n.over], env, () => all.push([termValue(n.element, env, memory), env.get(n.over.v) as number]));
        all.sort((a, b) => b[0] - a[0] || a[1] - b[1]);
        const chosen = new Set<number>();
        each([n.slot], env, () => {
          const [value, index] = all[env.get(n.slot.v) as number] as [number, number];
          chosen.add(index);
          env.set("value", value);
          env.set("index", index);
          store(n.stores, env, memory);
        });
        const { chosen: mask } = n;
        if (mask) each([n.over], env, () => put(mask.buffer, mask.index, chosen.has(env.get(n.over.v) as number) ? 1 : 0, env, memory));
      });
  }
}
/** Folds that read earlier ones take their final values: what rescaling has to come to. */
function tiles(n: Nest & { form: "tiles" }, env: Env, memory: Memory) {
  const sidesOf = (of: "rows" | "over") => {
    for (const s of n.sides) {
      if (s.of !== of) continue;
      let acc: readonly number[] = s.monoid.empty;
      each(s.fold, env, () => {
        acc = combine(s.monoid, acc, [termValue(s.element, env, memory)], env, memory);
      });
      env.set(s.name, acc[0] as number);
    }
  };
  /** At each over index inside the mask, dots and sides known. */
  const inside = (f: () => void) =>
    each(n.over, env, () => {
      sidesOf("over");
      if (!termValue(n.mask, env, memory)) return;
      for (const d of n.dots) {
        let sum = 0;
        each(d.k, env, () => {
          sum += termValue(d.a, env, memory) * termValue(d.b, env, memory);
        });
        env.set(d.name, sum);
      }
      f();
    });
  const key = (axes: readonly Axis[]) => axes.map((a) => env.get(a.v)).join();
  each(n.batch, env, () => {
    const columns = n.columns.map(() => new Map<string, number>());
    each(n.rows, env, () => {
      sidesOf("rows");
      const sums = n.folds.map((f) => {
        const at = new Map<string, number>();
        let acc: readonly number[] = f.monoid.empty;
        each(f.n, env, () => at.set(key(f.n), 0));
        inside(() => {
          const elements = f.elements.map((e) => termValue(e, env, memory));
          if (f.n.length === 0) acc = combine(f.monoid, acc, elements, env, memory);
          else if (f.at) {
            const k = String(termValue(f.at, env, memory));
            if (at.has(k)) at.set(k, (at.get(k) as number) + (elements[0] as number));
          } else each(f.n, env, () => at.set(key(f.n), (at.get(key(f.n)) as number) + (elements[0] as number) * termValue(f.b as Expr, env, memory)));
        });
        if (f.n.length === 0) for (const [c, b] of f.bind.entries()) env.set(b, acc[c] as number);
        return at;
      });
      inside(() => {
        store(n.quads, env, memory);
        n.columns.forEach((c, i) => {
          const element = termValue(c.element, env, memory);
          each(c.n, env, () => {
            const k = key([...n.over, ...c.n]);
            columns[i]?.set(k, (columns[i]?.get(k) ?? 0) + element * termValue(c.a, env, memory));
          });
        });
      });
      for (const s of n.stores)
        each(s.n, env, () => {
          const own = new Set(s.n.map((a) => a.v));
          n.folds.forEach((f, i) => {
            if (f.n.length > 0 && f.n.every((a) => own.has(a.v))) env.set(f.bind[0] as string, sums[i]?.get(key(f.n)) as number);
          });
          store(s.stores, env, memory);
        });
    });
    n.columns.forEach((c, i) => {
      each([...n.over, ...c.n], env, () => {
        env.set("sum", columns[i]?.get(key([...n.over, ...c.n])) ?? 0);
        store([c.store], env, memory);
      });
    });
  });
}
const loads = new Map<Nest, Expr>();
function loadOf(n: Nest & { form: "scatter" }): Expr {
  const known = loads.get(n) ?? load(n.into.buffer, n.into.index);
  loads.set(n, known);
  return known;
}

/** What loop IR means: a kernel's statements in order, by one thread. Vector loops run backwards, since the order of their
 *  iterations must not matter; instructions run as their meaning. */
export function interpretKernel(kernel: Kernel, memory: Memory, extents: Env = new Map()): void {
  statements(kernel.body, new Map([...extents, [THREADS, 1]]), new Map(memory));
}
function statements(body: readonly Stmt[], env: Env, memory: Memory) {
  for (const s of body) {
    switch (s.s) {
      case "let":
      case "var":
      case "set":
        env.set(s.name, termValue(s.value, env, memory));
        break;
      case "alloc":
        memory.set(s.buffer, new Float64Array(elements(s.buffer)));
        break;
      case "store":
        put(s.buffer, s.index, termValue(s.value, env, memory), env, memory);
        break;
      case "if":
        statements(termValue(s.cond, env, memory) ? s.then : s.otherwise, env, memory);
        break;
      case "barrier":
      case "fetch":
        break;
      case "use":
        statements(s.meaning, env, memory);
        break;
      case "for": {
        const [from, to] = [termValue(s.from, env, memory), termValue(s.to, env, memory)];
        const at: number[] = [];
        for (let i = from; i < to; i += s.step) at.push(i);
        if (s.bind === "vector") at.reverse();
        for (const i of at) {
          env.set(s.v, i);
          statements(s.body, env, memory);
        }
      }
    }
  }
}
