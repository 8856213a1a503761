// Recipes of the WGSL target with extents known only at run time, from none to all, on the simulator against the interpreter:
// rows, what is in a row, targets and what is scattered, and state that is updated in place.
import { describe, expect, it } from "vitest";
import { apply, type Buffer, type Expr, elements, local, num, real } from "../../compiler/lower/expr.js";
import type { Monoid, Nest } from "../../compiler/lower/nest.js";
import { guaranteed, type WgslLimits } from "../../compiler/targets/wgsl/limits.js";
import { UpTo } from "../../dsl/node.js";
import type { Primitive } from "../../dsl/primitives.js";
import { interpret } from "../gpujs/interpret.js";
import { at, axis, input, into, output, plan, state, stream, v, values } from "../gpujs/plans.js";
import { simulatePlan } from "./plan.js";

const r = (prim: Primitive, ...args: Expr[]) => apply(prim, "real", ...args);
const component = (kind: Monoid["kind"], prim: Primitive, empty: number): Monoid => ({
  names: ["s"],
  empty: [empty],
  combine: [r(prim, local("x.s", "real"), local("y.s", "real"))],
  kind,
});
const sum = component("sum", "add", 0);
/** (scale, shift): composition of linear functions, which does not commute. */
const linear: Monoid = {
  names: ["a", "b"],
  empty: [1, 0],
  combine: [
    r("mul", local("x.a", "real"), local("y.a", "real")),
    r("add", r("mul", local("x.b", "real"), local("y.a", "real")), local("y.b", "real")),
  ],
  kind: "general",
};
const limits: readonly WgslLimits[] = [guaranteed, { ...guaranteed, subgroups: { min: 8, max: 32 } }, { ...guaranteed, processor: true }];

function agree(
  nests: readonly Nest[],
  buffers: readonly Buffer[],
  extents: ReadonlyMap<UpTo, number>,
  given: Readonly<Record<string, number>> = {},
): void {
  const p = plan(nests, buffers, [...extents.keys()]);
  const sizes = new Map([...extents].map(([e, n]) => [e.id, n]));
  for (const l of limits) {
    const next = stream(7);
    // What nobody stores is 9 in both.
    const start = new Map(
      buffers.map((b) => [
        b,
        b.role === "output"
          ? new Float64Array(elements(b)).fill(9)
          : Float64Array.from(values(b.dtype, elements(b), next), (x) => (b.name in given ? Math.floor((x + 2) * (given[b.name] as number)) : x)),
      ]),
    );
    const [want, got] = [new Map([...start].map(([b, x]) => [b, x.slice()])), new Map([...start].map(([b, x]) => [b, x.slice()]))];
    interpret(p, want, sizes);
    simulatePlan(p, l, got, sizes);
    for (const b of buffers)
      for (const [i, w] of (want.get(b) as Float64Array).entries()) {
        const g = got.get(b)?.[i] as number;
        if (!(Math.abs(g - w) <= 1e-9 * Math.max(1, Math.abs(w)))) expect(g, `${b.name}[${i}]`).toBe(w);
      }
  }
}
const sizes: readonly (readonly [number, number])[] = [
  [0, 5],
  [3, 0],
  [1, 1],
  [5, 66],
  [40, 131],
];

describe("run-time extents", () => {
  for (const [n, k] of sizes) {
    it(`${n} rows of ${k}: folds in any order and in one, a prefix, state in place`, () => {
      const [rows, cols] = [new UpTo(40, "rows"), new UpTo(131, "cols")];
      const [i, a, b, c, d] = [axis("i", rows), axis("a", cols), axis("b", cols), axis("c", cols), axis("d", cols)];
      const [x, s] = [input("x", "f32", [i, a]), state("s", "f32", [i, a])];
      const [y, last] = [output("y", "f32", [i, a]), output("last", "f32", [i])];
      const here = (j: typeof a) => r("mul", at(x, i, j), real(0.25));
      agree(
        [
          {
            form: "row",
            name: "row",
            nodes: [],
            rows: [i],
            stages: [
              { stage: "fold", over: [a], monoid: sum, elements: [r("mul", at(x, i, a), at(s, i, a))], bind: ["total"] },
              { stage: "fold", over: [b], monoid: linear, elements: [here(b), at(x, i, b)], bind: ["scale", "shift"] },
              { stage: "map", axes: [c], stores: [into(s, [i, c], r("add", at(s, i, c), local("total", "real")))] },
              {
                stage: "scan",
                over: d,
                monoid: linear,
                elements: [here(d), at(s, i, d)],
                bind: ["p", "q"],
                exclusive: k % 2 === 0,
                reverse: n % 2 === 0,
                stores: [into(y, [i, d], r("add", local("q", "real"), local("shift", "real")))],
              },
              { stage: "map", axes: [], stores: [into(last, [i], r("add", local("scale", "real"), local("total", "real")))] },
            ],
          },
        ],
        [x, s, y, last],
        new Map([
          [rows, n],
          [cols, k],
        ]),
      );
    });
    it(`${k} scattered to ${n} targets, in few rows and in many`, () => {
      const [targets, many] = [new UpTo(40, "targets"), new UpTo(131, "many")];
      const [t, e, few, wide] = [axis("t", targets), axis("e", many), axis("few", 3), axis("wide", 37)];
      const index = input("index", "i32", [e]);
      const nests = [few, wide].map((row, z) => {
        const value = input(`value${z}`, "f32", [e, row]);
        const out = output(`out${z}`, "f32", [t, row]);
        const nest: Nest = {
          form: "scatter",
          name: `scatter${z}`,
          nodes: [],
          rows: [row],
          over: [e],
          target: t,
          index: at(index, e),
          value: at(value, e, row),
          into: { buffer: out, index: [v(t), v(row)] },
          onto: false,
        };
        return { nest, buffers: [value, out] };
      });
      agree(
        nests.map((x) => x.nest),
        [index, ...nests.flatMap((x) => x.buffers)],
        new Map([
          [targets, n],
          [many, k],
        ]),
        { index: 12 },
      );
    });
    if (k >= 3)
      it(`the greatest 3 of ${k} in ${n} rows, with equals`, () => {
        const [rows, cols] = [new UpTo(40, "rows"), new UpTo(131, "cols")];
        const [i, o, slot] = [axis("i", rows), axis("o", cols), axis("slot", 3)];
        const x = input("x", "f32", [i, o]);
        const [value, index, chosen] = [output("value", "f32", [i, slot]), output("index", "i32", [i, slot]), output("chosen", "bool", [i, o])];
        const nest: Nest = {
          form: "top",
          name: "top",
          nodes: [],
          rows: [i],
          over: o,
          slot,
          element: apply("select", "real", apply("lt", "bool", at(x, i, o), num(2, "real")), num(-Infinity, "real"), at(x, i, o)),
          stores: [into(value, [i, slot], local("value", "real")), into(index, [i, slot], local("index", "int"))],
          chosen: { buffer: chosen, index: [v(i), v(o)] },
        };
        agree(
          [nest],
          [x, value, index, chosen],
          new Map([
            [rows, n],
            [cols, k],
          ]),
          { x: 3 },
        );
      });
  }
});
