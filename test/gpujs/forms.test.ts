// Every form of nest on small shapes (extents 0, 1, primes, around the chunk of 256), in both of gpu.js's modes.
import { describe, it } from "vitest";
import { apply, type Expr, int, load, local, random, real } from "../../compiler/lower/expr.js";
import type { Monoid } from "../../compiler/lower/nest.js";
import type { DType } from "../../dsl/node.js";
import { at, axis, check, input, into, output, plan, temp, v } from "./plans.js";

const r = (prim: Parameters<typeof apply>[0], ...args: Expr[]) => apply(prim, "real", ...args);
const i = (prim: Parameters<typeof apply>[0], ...args: Expr[]) => apply(prim, "int", ...args);
const b = (prim: Parameters<typeof apply>[0], ...args: Expr[]) => apply(prim, "bool", ...args);
const base = { nodes: [] };
const xy = (name: string, type: "real" | "int" = "real") => [local(`x.${name}`, type), local(`y.${name}`, type)] as const;
const sum: Monoid = { names: ["v"], empty: [0], combine: [r("add", ...xy("v"))], kind: "sum" };
const max: Monoid = { names: ["v"], empty: [Number.NEGATIVE_INFINITY], combine: [r("max", ...xy("v"))], kind: "max" };
/** Greatest value and its first index. */
const argMax: Monoid = {
  names: ["value", "index"],
  empty: [Number.NEGATIVE_INFINITY, -1],
  combine: [r("select", b("ge", ...xy("value")), ...xy("value")), i("select", b("ge", ...xy("value")), ...xy("index", "int"))],
  kind: "general",
};
const extents = [0, 1, 5, 13];
const dtypes: readonly DType[] = ["f32", "bf16", "f16"];

describe("map", () => {
  for (const dtype of dtypes)
    for (const n of extents)
      it(`${dtype}, ${n} × 7: two stores, broadcast, a guarded neighbour`, async () => {
        const [m, k] = [axis("m", n), axis("k", 7)];
        const [x, w] = [input("x", dtype, [m, k]), input("w", dtype, [k])];
        const [y, z] = [output("y", dtype, [m, k]), output("z", dtype, [k, m])];
        const before = load(x, [v(m), i("sub", v(k), int(1))], b("ge", v(k), int(1)));
        const nest = {
          ...base,
          form: "map" as const,
          name: "n",
          axes: [m, k],
          stores: [
            into(y, [m, k], r("add", r("mul", at(x, m, k), at(w, k)), before)),
            { buffer: z, index: [v(k), v(m)], value: r("exp", at(x, m, k)) },
          ],
        };
        await check(plan([nest], [x, w, y, z]), {}, n + 3);
      });
  for (const n of extents)
    it(`integers and bools, ${n}`, async () => {
      const [m, k] = [axis("m", n), axis("k", 6)];
      const [x, flag] = [input("x", "i32", [m, k]), input("flag", "bool", [m])];
      const [q, c] = [output("q", "i32", [m, k]), output("c", "bool", [m, k])];
      const value = i("add", i("idiv", at(x, m, k), int(3)), i("mul", i("imod", at(x, m, k), int(4)), i("mod", at(x, m, k), int(5))));
      const nest = {
        ...base,
        form: "map" as const,
        name: "n",
        axes: [m, k],
        stores: [
          into(q, [m, k], i("max", value, i("neg", i("abs", v(k))))),
          into(c, [m, k], b("and", at(flag, m), b("or", b("not", b("lt", at(x, m, k), v(k))), b("eq", i("sign", at(x, m, k)), int(-1))))),
        ],
      };
      await check(plan([nest], [x, flag, q, c]), {}, n);
    });
  it("gathers rows by an index tensor, out of range reads 0", async () => {
    const [t, d, rows] = [axis("t", 11), axis("d", 3), axis("rows", 4)];
    const [ids, table, y] = [input("ids", "i32", [t]), input("table", "f32", [rows, d]), output("y", "f32", [t, d])];
    const id = at(ids, t);
    const inside = b("and", b("ge", id, int(0)), b("lt", id, int(4)));
    const nest = { ...base, form: "map" as const, name: "n", axes: [t, d], stores: [into(y, [t, d], load(table, [id, v(d)], inside))] };
    await check(plan([nest], [ids, table, y]), { ids: [0, 3, 4, -1, 2, 1, 9, 0, 3, 3, -5] });
  });
  it("splits and merges axes in loads and in stores", async () => {
    const [m, h, d] = [axis("m", 3), axis("h", 2), axis("d", 5)];
    const flat = axis("f", 10);
    const [x, y, z] = [input("x", "f32", [m, flat]), temp("y", "f32", [m, h, d]), output("z", "f32", [m, flat])];
    const split = {
      ...base,
      form: "map" as const,
      name: "split",
      axes: [m, h, d],
      stores: [into(y, [m, h, d], load(x, [v(m), i("add", i("mul", v(h), int(5)), v(d))]))],
    };
    // The address of the second store is no linear function of the loop's variable.
    const merge = {
      ...base,
      form: "map" as const,
      name: "merge",
      axes: [m, flat],
      stores: [
        {
          buffer: z,
          index: [v(m), i("imod", i("mul", v(flat), int(3)), int(10))],
          value: load(y, [v(m), i("idiv", v(flat), int(5)), i("imod", v(flat), int(5))]),
        },
      ],
    };
    await check(plan([split, merge], [x, y, z]));
  });
  it("draws random numbers as dsl/random.ts defines them", async () => {
    const [m, k] = [axis("m", 5), axis("k", 9)];
    const [step, u, n] = [input("step", "i32", []), output("u", "f32", [m, k]), output("n", "f32", [m, k])];
    const counter = i("add", i("mul", v(m), int(9)), v(k));
    const nest = {
      ...base,
      form: "map" as const,
      name: "n",
      axes: [m, k],
      stores: [
        into(u, [m, k], random("uniform", "dropout", [], counter)),
        into(n, [m, k], random("normal", "noise", [load(step, []), int(3)], counter)),
      ],
    };
    await check(plan([nest], [step, u, n]), { step: [12345] });
  });
});

describe("row", () => {
  for (const n of [0, 1, 7, 255, 257, 600])
    it(`softmax over ${n}: folds that depend on folds, then a map`, async () => {
      const [m, k] = [axis("m", 3), axis("k", n)];
      const [x, y] = [input("x", "f32", [m, k]), output("y", "f32", [m, k])];
      const e = r("exp", r("sub", at(x, m, k), local("top", "real")));
      const nest = {
        ...base,
        form: "row" as const,
        name: "softmax",
        rows: [m],
        stages: [
          { stage: "fold" as const, over: [k], monoid: max, elements: [at(x, m, k)], bind: ["top"] },
          { stage: "fold" as const, over: [k], monoid: sum, elements: [e], bind: ["total"] },
          { stage: "map" as const, axes: [k], stores: [into(y, [m, k], r("div", e, local("total", "real")))] },
        ],
      };
      await check(plan([nest], [x, y]), {}, n);
    });
  for (const n of [0, 1, 13, 300])
    it(`arg-max over ${n}, with ties, a fold of two axes and a row of one number`, async () => {
      const [m, k, l] = [axis("m", 5), axis("k", n), axis("l", 3)];
      const [x, best, where, total] = [
        input("x", "f16", [m, k]),
        output("best", "f32", [m]),
        output("where", "i32", [m]),
        output("total", "f32", []),
      ];
      const nest = {
        ...base,
        form: "row" as const,
        name: "argmax",
        rows: [m],
        stages: [
          { stage: "fold" as const, over: [k], monoid: argMax, elements: [at(x, m, k), v(k)], bind: ["value", "index"] },
          { stage: "map" as const, axes: [], stores: [into(best, [m], local("value", "real")), into(where, [m], local("index", "int"))] },
        ],
      };
      const sums = {
        ...base,
        form: "row" as const,
        name: "total",
        rows: [],
        stages: [
          {
            stage: "fold" as const,
            over: [m, k, l],
            monoid: sum,
            elements: [r("mul", at(x, m, k), apply("toReal", "real", v(l)))],
            bind: ["s"],
          },
          { stage: "map" as const, axes: [], stores: [into(total, [], r("mul", local("s", "real"), real(0.5)))] },
        ],
      };
      await check(plan([nest, sums], [x, best, where, total]), {}, n);
    });
  for (const n of [0, 1, 7, 257, 530])
    for (const reverse of [false, true])
      for (const exclusive of [false, true])
        it(`scan over ${n}${reverse ? ", reverse" : ""}${exclusive ? ", exclusive" : ""}`, async () => {
          const [m, k] = [axis("m", 2), axis("k", n)];
          const [x, y, top] = [input("x", "f32", [m, k]), output("y", "f32", [m, k]), output("top", "f32", [m, k])];
          const nest = {
            ...base,
            form: "row" as const,
            name: "scan",
            rows: [m],
            stages: [
              { stage: "fold" as const, over: [k], monoid: max, elements: [at(x, m, k)], bind: ["most"] },
              {
                stage: "scan" as const,
                over: k,
                monoid: sum,
                elements: [r("div", at(x, m, k), local("most", "real"))],
                bind: ["prefix"],
                exclusive,
                reverse,
                stores: [into(y, [m, k], r("add", local("prefix", "real"), at(x, m, k)))],
              },
              {
                stage: "scan" as const,
                over: k,
                monoid: argMax,
                elements: [at(x, m, k), v(k)],
                bind: ["value", "index"],
                exclusive,
                reverse,
                stores: [into(top, [m, k], apply("toReal", "real", local("index", "int")))],
              },
            ],
          };
          await check(plan([nest], [x, y, top]), {}, n + 11);
        });
});

describe("contract", () => {
  for (const [batch, m, n, k] of [
    [1, 1, 1, 1],
    [2, 5, 7, 3],
    [1, 3, 2, 300],
    [2, 0, 3, 5],
    [2, 3, 5, 0],
  ] as const)
    for (const dtype of dtypes)
      it(`${dtype}, ${batch} × ${m} × ${n} over ${k}, with one epilogue and with two`, async () => {
        const [A, M, N, K] = [axis("a", batch), axis("m", m), axis("n", n), axis("k", k)];
        const [x, w, bias] = [input("x", dtype, [A, M, K]), input("w", dtype, [K, N]), input("bias", "f32", [N])];
        const [y, z, s] = [output("y", "f32", [A, M, N]), output("z", dtype, [A, N, M]), output("s", "f32", [A, M, N])];
        const total = local("sum", "real");
        const nest = (stores: readonly ReturnType<typeof into>[]) => ({
          ...base,
          form: "contract" as const,
          name: `product${stores.length}`,
          batch: [A],
          m: [M],
          n: [N],
          k: [K],
          a: at(x, A, M, K),
          b: at(w, K, N),
          stores,
        });
        const two = nest([into(y, [A, M, N], r("tanh", r("add", total, at(bias, N)))), { buffer: z, index: [v(A), v(N), v(M)], value: total }]);
        await check(plan([two, nest([into(s, [A, M, N], r("mul", total, real(0.25)))])], [x, w, bias, y, z, s]), {}, batch + m + n + k);
      });
});

describe("scatter", () => {
  for (const n of [0, 1, 29])
    it(`adds ${n} rows into 7 places, in order; others are dropped`, async () => {
      const [t, d, p] = [axis("t", n), axis("d", 3), axis("p", 7)];
      const [ids, g, y] = [input("ids", "i32", [t]), input("g", "f32", [t, d]), output("y", "f32", [p, d])];
      const nest = {
        ...base,
        form: "scatter" as const,
        name: "scatter",
        rows: [d],
        over: [t],
        target: p,
        index: at(ids, t),
        value: at(g, t, d),
        into: { buffer: y, index: [v(p), v(d)] },
        onto: false,
      };
      await check(plan([nest], [ids, g, y]), {}, n + 5);
    });
});

describe("top", () => {
  for (const [n, k] of [
    [1, 1],
    [7, 3],
    [13, 13],
    [40, 2],
    [2, 5],
    [0, 3],
  ] as const)
    it(`the ${k} greatest of ${n}, ties to the lower index; slots left over have −1 and −∞`, async () => {
      const [m, j, s] = [axis("m", 5), axis("j", n), axis("s", k)];
      const x = input("x", "i32", [m, j]);
      const [value, index, chosen] = [output("value", "f32", [m, s]), output("index", "i32", [m, s]), output("chosen", "bool", [m, j])];
      const nest = {
        ...base,
        form: "top" as const,
        name: "top",
        rows: [m],
        over: j,
        slot: s,
        element: r("mul", apply("toReal", "real", at(x, m, j)), real(0.5)),
        stores: [into(value, [m, s], local("value", "real")), into(index, [m, s], local("index", "int"))],
        chosen: { buffer: chosen, index: [v(m), v(j)] },
      };
      await check(plan([nest], [x, value, index, chosen]), {}, n);
    });
  it("puts NaN last and keeps infinities apart", async () => {
    const [j, s] = [axis("j", 6), axis("s", 6)];
    const [x, value, index] = [input("x", "f32", [j]), output("value", "f32", [s]), output("index", "i32", [s])];
    const nest = {
      ...base,
      form: "top" as const,
      name: "top",
      rows: [],
      over: j,
      slot: s,
      element: at(x, j),
      stores: [into(value, [s], local("value", "real")), into(index, [s], local("index", "int"))],
      chosen: null,
    };
    const inf = Number.POSITIVE_INFINITY;
    await check(plan([nest], [x, value, index]), { x: [Number.NaN, -inf, 2, inf, 2, -3] });
  });
});
