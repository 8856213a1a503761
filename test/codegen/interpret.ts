// What nests mean, in f64: every form as the plainest loops, for tests of whatever turns nests into code.

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

const orders = new Map<Expr, readonly Expr[]>();
export function valueOf(root: Expr, env: Env, memory: Memory): number {
  let order = orders.get(root);
  if (!order) {
    order = termsOf([root]);
    orders.set(root, order);
  }
  const at = new Map<Expr, number>();
  const get = (e: Expr) => at.get(e) as number;
  for (const e of order) {
    switch (e.kind) {
      case "num":
        at.set(e, e.value);
        break;
      case "var":
      case "local": {
        const v = env.get(e.name);
        if (v === undefined) throw new Error(`${e.name} is not defined`);
        at.set(e, v);
        break;
      }
      case "load": {
        if (e.inside && !get(e.inside)) {
          at.set(e, 0);
          break;
        }
        const steps = strides(e.buffer);
        const place = e.index.reduce((n, i, k) => n + get(i) * (steps[k] as number), 0);
        const x = memory.get(e.buffer)?.[place];
        if (x === undefined) throw new Error(`${e.buffer.name}: load at ${place} of ${elements(e.buffer)}`);
        at.set(e, x);
        break;
      }
      case "call": {
        const parts = partsOf(e);
        const [a, b] = parts.map(get) as [number, number];
        if (e.prim === "idiv") at.set(e, Math.floor(a / b));
        else if (e.prim === "imod") at.set(e, a - b * Math.floor(a / b));
        else
          at.set(
            e,
            Number(
              evaluate(
                e.prim,
                parts.map((p): Value => (p.type === "bool" ? get(p) !== 0 : get(p))),
              ),
            ),
          );
        break;
      }
      case "random":
        at.set(e, draw(e.draw, e.key, e.extend.map(get), get(e.counter)));
        break;
    }
  }
  return get(root);
}

const extentOf = (a: Axis, env: Env): number => (typeof a.extent === "number" ? a.extent : valueOf(extentVar(a.extent), env, new Map()));
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
  const at = strides(buffer).reduce((n, s, k) => n + s * valueOf(index[k] as Expr, env, memory), 0);
  const data = memory.get(buffer) as Float64Array;
  if (at < 0 || at >= data.length) throw new Error(`${buffer.name}: store at ${at} of ${data.length}`);
  data[at] = buffer.dtype === "bf16" ? Number(evaluate("toBf16", [value])) : buffer.dtype === "f16" ? Number(evaluate("toF16", [value])) : value;
}
const store = (stores: readonly Store[], env: Env, memory: Memory) => {
  for (const s of stores) put(s.buffer, s.index, valueOf(s.value, env, memory), env, memory);
};
function combine(m: Monoid, x: readonly number[], y: readonly number[], env: Env, memory: Memory): readonly number[] {
  m.names.forEach((n, c) => {
    env.set(`x.${n}`, x[c] as number);
    env.set(`y.${n}`, y[c] as number);
  });
  return m.combine.map((e) => valueOf(e, env, memory));
}
function stage(s: Stage, env: Env, memory: Memory) {
  switch (s.stage) {
    case "fold": {
      let acc: readonly number[] = s.monoid.empty;
      each(s.over, env, () => {
        acc = combine(
          s.monoid,
          acc,
          s.elements.map((e) => valueOf(e, env, memory)),
          env,
          memory,
        );
      });
      s.bind.forEach((b, c) => env.set(b, acc[c] as number));
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
          s.elements.map((e) => valueOf(e, env, memory)),
          env,
          memory,
        );
        (s.exclusive ? acc : next).forEach((x, c) => env.set(s.bind[c] as string, x));
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
          sum += valueOf(n.a, env, memory) * valueOf(n.b, env, memory);
        });
        env.set("sum", sum);
        store(n.stores, env, memory);
      });
    case "scatter":
      return each(n.rows, env, () => {
        each([n.target], env, () => put(n.into.buffer, n.into.index, 0, env, memory));
        each(n.over, env, () => {
          const at = valueOf(n.index, env, memory);
          if (at < 0 || at >= extentOf(n.target, env)) return;
          const value = valueOf(n.value, env, memory);
          env.set(n.target.v, at);
          const now = valueOf(loadOf(n), env, memory);
          put(n.into.buffer, n.into.index, now + value, env, memory);
        });
      });
    case "top":
      return each(n.rows, env, () => {
        const all: [number, number][] = [];
        each([n.over], env, () => all.push([valueOf(n.element, env, memory), env.get(n.over.v) as number]));
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
const loads = new Map<Nest, Expr>();
function loadOf(n: Nest & { form: "scatter" }): Expr {
  const known = loads.get(n) ?? load(n.into.buffer, n.into.index);
  loads.set(n, known);
  return known;
}
