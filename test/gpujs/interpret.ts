// Nests evaluated as their definitions read, in f64, one value after another: what the tests compare kernels with. Results
// are kept unrounded, but for integers and bools.
import type { Buffer, Expr } from "../../compiler/lower/expr.js";
import { elements, extentVar, strides } from "../../compiler/lower/expr.js";
import type { Axis, Monoid, Nest, Step, Store } from "../../compiler/lower/nest.js";
import type { Plan } from "../../compiler/plan.js";
import type { Extent } from "../../dsl/node.js";
import { primitives, type Value } from "../../dsl/primitives.js";
import { draw } from "../../dsl/random.js";

export type Arrays = Map<Buffer, Float64Array>;

class Evaluation {
  readonly vars = new Map<string, number>();
  readonly locals = new Map<string, Value>();
  constructor(
    readonly arrays: Arrays,
    readonly extents: ReadonlyMap<number, number>,
  ) {}

  size = (e: Extent): number => (typeof e === "number" ? e : (this.extents.get(e.id) as number));
  array(b: Buffer): Float64Array {
    const known = this.arrays.get(b) ?? (b.data ? Float64Array.from(b.data) : new Float64Array(elements(b)));
    this.arrays.set(b, known);
    return known;
  }
  address = (b: Buffer, index: readonly Expr[]): number => {
    const s = strides(b);
    return index.reduce((n, e, k) => n + Number(this.value(e)) * (s[k] as number), 0);
  };
  value(e: Expr): Value {
    switch (e.kind) {
      case "num":
        return e.type === "bool" ? e.value !== 0 : e.value;
      case "var":
        return this.vars.get(e.name) as number;
      case "local": {
        const v = this.locals.get(e.name) as Value;
        return e.type === "bool" ? Boolean(v) : Number(v);
      }
      case "load": {
        const v = e.inside && !this.value(e.inside) ? 0 : (this.array(e.buffer)[this.address(e.buffer, e.index)] as number);
        return e.type === "bool" ? v !== 0 : v;
      }
      case "random":
        return draw(
          e.draw,
          e.key,
          e.extend.map((x) => Number(this.value(x))),
          Number(this.value(e.counter)),
        );
      case "call": {
        const args = e.args.map((a) => this.value(a));
        const [x, y] = args as [number, number];
        if (e.prim === "idiv") return Math.floor(x / y);
        if (e.prim === "imod") return x - y * Math.floor(x / y);
        const f = primitives[e.prim].value as (...v: Value[]) => Value;
        return f(...args);
      }
    }
  }
  each(axes: readonly Axis[], body: () => void): void {
    const [axis, ...rest] = axes;
    if (!axis) {
      body();
      return;
    }
    for (let i = 0; i < this.size(axis.extent); i++) {
      this.vars.set(axis.v, i);
      this.each(rest, body);
    }
  }
  store(stores: readonly Store[]): void {
    const values = stores.map((s) => Number(this.value(s.value)));
    stores.forEach((s, k) => {
      this.array(s.buffer)[this.address(s.buffer, s.index)] = values[k] as number;
    });
  }
  combine(m: Monoid, x: readonly Value[], y: readonly Value[]): Value[] {
    m.names.forEach((n, c) => {
      this.locals.set(`x.${n}`, x[c] as Value);
      this.locals.set(`y.${n}`, y[c] as Value);
    });
    return m.combine.map((e) => this.value(e));
  }
  bind(names: readonly string[], values: readonly Value[]): void {
    names.forEach((n, c) => {
      this.locals.set(n, values[c] as Value);
    });
  }

  nest(n: Nest): void {
    switch (n.form) {
      case "map":
        this.each(n.axes, () => this.store(n.stores));
        break;
      case "contract":
        this.each([...n.batch, ...n.m, ...n.n], () => {
          let sum = 0;
          this.each(n.k, () => {
            sum += Number(this.value(n.a)) * Number(this.value(n.b));
          });
          this.locals.set("sum", sum);
          this.store(n.stores);
        });
        break;
      case "row":
        this.each(n.rows, () => {
          for (const s of n.stages) {
            if (s.stage === "map") this.each(s.axes, () => this.store(s.stores));
            else if (s.stage === "fold") {
              let acc: Value[] = [...s.monoid.empty];
              this.each(s.over, () => {
                acc = this.combine(
                  s.monoid,
                  acc,
                  s.elements.map((e) => this.value(e)),
                );
              });
              this.bind(s.bind, acc);
            } else {
              let acc: Value[] = [...s.monoid.empty];
              const length = this.size(s.over.extent);
              for (let k = 0; k < length; k++) {
                this.vars.set(s.over.v, s.reverse ? length - 1 - k : k);
                const next = this.combine(
                  s.monoid,
                  acc,
                  s.elements.map((e) => this.value(e)),
                );
                this.bind(s.bind, s.exclusive ? acc : next);
                this.store(s.stores);
                acc = next;
              }
            }
          }
        });
        break;
      case "scatter": {
        this.each(n.rows, () => {
          const sums = new Float64Array(this.size(n.target.extent));
          this.each(n.over, () => {
            const t = Number(this.value(n.index));
            if (t >= 0 && t < sums.length) sums[t] = (sums[t] as number) + Number(this.value(n.value));
          });
          sums.forEach((v, t) => {
            this.vars.set(n.target.v, t);
            this.array(n.into.buffer)[this.address(n.into.buffer, n.into.index)] = v;
          });
        });
        break;
      }
      case "top":
        this.each(n.rows, () => {
          const values = Array.from({ length: this.size(n.over.extent) }, (_, i) => {
            this.vars.set(n.over.v, i);
            return Number(this.value(n.element));
          });
          const key = (i: number) => (Number.isNaN(values[i]) ? Number.NEGATIVE_INFINITY : (values[i] as number));
          const order = values.map((_, i) => i).sort((a, b) => (key(a) === key(b) ? a - b : key(b) > key(a) ? 1 : -1));
          const k = this.size(n.slot.extent);
          for (let s = 0; s < k; s++) {
            this.vars.set(n.slot.v, s);
            const index = order[s] ?? -1;
            this.bind(["value", "index"], [values[index] ?? Number.NEGATIVE_INFINITY, index]);
            this.store(n.stores);
          }
          if (n.chosen)
            for (let i = 0; i < values.length; i++) {
              this.vars.set(n.over.v, i);
              this.array(n.chosen.buffer)[this.address(n.chosen.buffer, n.chosen.index)] = order.indexOf(i) < k ? 1 : 0;
            }
        });
    }
  }
  steps(list: readonly Step[]): void {
    for (const s of list) {
      if (s.step === "nest") this.nest(s.nest);
      else
        for (let k = 0; k < s.count; k++) {
          this.vars.set(s.v, s.reverse ? s.count - 1 - k : k);
          this.steps(s.body);
        }
    }
  }
}

/** Runs a plan on these arrays (inputs and state; maximal sizes), in place. */
export function interpret(plan: Plan, arrays: Arrays, extents: ReadonlyMap<number, number> = new Map()): void {
  const e = new Evaluation(arrays, extents);
  for (const u of plan.extents) {
    const v = extentVar(u);
    if (v.kind === "var") e.vars.set(v.name, extents.get(u.id) as number);
  }
  e.steps(plan.steps);
}
