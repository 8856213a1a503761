// Whole plans on the gpu.js device: loops with carried state and slices, run-time extents, sharing of kernels, and what
// a wrong input or a plan that gpu.js cannot hold says.
import * as Either from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { apply, type Buffer, type Expr, int, load, local, real, variable } from "../../compiler/lower/expr.js";
import type { Monoid, Nest } from "../../compiler/lower/nest.js";
import { gpujs } from "../../compiler/targets/gpujs/index.js";
import { UpTo } from "../../dsl/node.js";
import { createGpujs } from "../../runtime/devices/gpujs/index.js";
import type { DeviceError } from "../../runtime/errors.js";
import { interpret } from "./interpret.js";
import { at, axis, check, compare, device, input, into, modes, output, plan, state, stream, temp, v, values } from "./plans.js";

const r = (prim: Parameters<typeof apply>[0], ...args: Expr[]) => apply(prim, "real", ...args);
const i = (prim: Parameters<typeof apply>[0], ...args: Expr[]) => apply(prim, "int", ...args);
const sum: Monoid = { names: ["v"], empty: [0], combine: [r("add", local("x.v", "real"), local("y.v", "real"))], kind: "sum" };
const map = (name: string, axes: readonly ReturnType<typeof axis>[], ...stores: readonly ReturnType<typeof into>[]): Nest => ({
  form: "map",
  name,
  nodes: [],
  axes,
  stores,
});
/** The error a promise is rejected with. */
const fault = async (p: Promise<unknown>): Promise<DeviceError> =>
  p.then(
    () => {
      throw new Error("it was accepted");
    },
    (e: DeviceError) => e,
  );

describe("loops", () => {
  for (const reverse of [false, true])
    it(`layers stacked on an axis${reverse ? ", in reverse" : ""}: a carry, a slice a turn, a value kept of each`, async () => {
      const [layers, m, k] = [axis("layers", 3), axis("m", 4), axis("k", 4)];
      const [x, w] = [input("x", "f32", [m]), state("w", "f32", [layers, m, k])];
      const [carry, next, kept] = [temp("carry", "f32", [m]), temp("next", "f32", [m]), output("kept", "f32", [layers, m])];
      const layer = variable("layer");
      const product: Nest = {
        form: "contract",
        name: "product",
        nodes: [],
        batch: [],
        m: [m],
        n: [],
        k: [k],
        a: load(w, [layer, v(m), v(k)]),
        b: load(carry, [v(k)]),
        stores: [into(next, [m], r("tanh", local("sum", "real")))],
      };
      const steps = [
        { step: "nest" as const, nest: map("start", [m], into(carry, [m], at(x, m))) },
        {
          step: "loop" as const,
          v: "layer",
          count: 3,
          reverse,
          body: [
            { step: "nest" as const, nest: map("keep", [m], { buffer: kept, index: [layer, v(m)], value: at(carry, m) }) },
            { step: "nest" as const, nest: product },
            { step: "nest" as const, nest: map("carry", [m], into(carry, [m], at(next, m))) },
            // In place, one layer's slice: w := 0.9·w.
            {
              step: "nest" as const,
              nest: map("decay", [m, k], {
                buffer: w,
                index: [layer, v(m), v(k)],
                value: r("mul", load(w, [layer, v(m), v(k)]), real(0.9)),
              }),
            },
          ],
        },
      ];
      await check(plan(steps, [x, w, carry, next, kept]), {}, 5, 3);
    });
  it("stores of one nest all see the state as it was", async () => {
    const m = axis("m", 5);
    const [g, w, momentum] = [input("g", "f32", [m]), state("w", "f32", [m]), state("momentum", "f32", [m])];
    const next = r("add", r("mul", at(momentum, m), real(0.5)), at(g, m));
    const nest = map("update", [m], into(momentum, [m], next), into(w, [m], r("sub", at(w, m), r("mul", real(0.1), next))));
    await check(plan([nest], [g, w, momentum]), {}, 2, 4);
  });
  it("random plans: chains of maps, folds and products through slices of shared buffers", async () => {
    for (let seed = 0; seed < 12; seed++) {
      const next = stream(seed * 77 + 1);
      const pick = (n: number) => Math.floor(next() * n);
      const [turns, m, k] = [axis("turns", 1 + pick(3)), axis("m", [1, 3, 7][pick(3)] as number), axis("k", [1, 2, 5][pick(3)] as number)];
      const [x, s] = [input("x", "f32", [m, k]), state("s", pick(2) ? "f32" : "bf16", [turns, m, k])];
      const all: Buffer[] = [x, s];
      const body: Nest[] = [];
      const turn = variable("turn");
      let current: Buffer = x;
      for (let d = 0; d < 2 + pick(4); d++) {
        const out = temp(`t${d}`, "f32", [m, k]);
        all.push(out);
        const before = pick(2) ? load(s, [turn, v(m), v(k)]) : load(current, [i("imod", i("add", v(m), int(1)), int(m.extent as number)), v(k)]);
        const here = at(current, m, k);
        const other = axis("o", k.extent);
        body.push(
          pick(3) === 0
            ? {
                form: "row",
                name: `row${d}`,
                nodes: [],
                rows: [m],
                stages: [
                  { stage: "fold", over: [other], monoid: sum, elements: [r("sin", load(current, [v(m), v(other)]))], bind: [`f${d}`] },
                  { stage: "map", axes: [k], stores: [into(out, [m, k], r("mul", local(`f${d}`, "real"), r("add", here, before)))] },
                ],
              }
            : map(`map${d}`, [m, k], into(out, [m, k], r(["add", "mul", "max"][pick(3)] as "add", r("tanh", here), before))),
        );
        current = out;
      }
      const last = output("last", "f32", [m, k]);
      all.push(last);
      body.push(map("kept", [m, k], { buffer: s, index: [turn, v(m), v(k)], value: r("mul", at(current, m, k), real(0.5)) }));
      body.push(map("last", [m, k], into(last, [m, k], r("add", at(last, m, k), at(current, m, k)))));
      const steps = [
        { step: "nest" as const, nest: map("clear", [m, k], into(last, [m, k], real(0))) },
        {
          step: "loop" as const,
          v: "turn",
          count: turns.extent as number,
          reverse: pick(2) === 1,
          body: body.map((nest) => ({ step: "nest" as const, nest })),
        },
      ];
      await check(plan(steps, all), {}, seed);
    }
  });
});

describe("run-time extents", () => {
  it("one compilation serves every length; buffers are sized for the greatest", async () => {
    const t = new UpTo(7, "time");
    const [m, q, k] = [axis("m", 2), axis("q", t), axis("k", t)];
    const [x, y, total] = [input("x", "f32", [m, q]), output("y", "f32", [q, m]), output("total", "f32", [m])];
    const prefix: Nest = {
      form: "row",
      name: "sums",
      nodes: [],
      rows: [m],
      stages: [
        { stage: "fold", over: [k], monoid: sum, elements: [load(x, [v(m), v(k)])], bind: ["s"] },
        { stage: "map", axes: [], stores: [into(total, [m], local("s", "real"))] },
        {
          stage: "scan",
          over: q,
          monoid: sum,
          elements: [at(x, m, q)],
          bind: ["p"],
          exclusive: false,
          reverse: true,
          stores: [{ buffer: y, index: [v(q), v(m)], value: r("sub", local("p", "real"), local("s", "real")) }],
        },
      ],
    };
    const p = plan([prefix], [x, y, total], [t]);
    for (const mode of modes) {
      using d = await device(mode);
      using program = await d.compile(p);
      using s = await d.alloc([]);
      for (const length of [0, 1, 5, 7]) {
        const data = values("f32", 2 * length, stream(length));
        const extents = new Map([[t.id, length]]);
        const out = await program.run(s, { x: data }, extents);
        const full = new Float64Array(14);
        for (let row = 0; row < 2; row++) for (let c = 0; c < length; c++) full[row * 7 + c] = data[row * length + c] as number;
        const arrays = new Map([[x, full]]);
        interpret(p, arrays, extents);
        compare("total", "f32", out.total as Float32Array, arrays.get(total) as Float64Array);
        compare("y", "f32", out.y as Float32Array, (arrays.get(y) ?? new Float64Array(14)).slice(0, 2 * length));
      }
      expect((await fault(program.run(s, { x: [] }, new Map([[t.id, 8]])))).message).toContain("from 0 to 7, got 8");
    }
  });
});

describe("kernels", () => {
  it("are shared by nests that differ in buffers alone", () => {
    const m = axis("m", 5);
    const [x, a, b] = [input("x", "f32", [m]), temp("a", "f32", [m]), output("b", "f32", [m])];
    const other = axis("m", 5);
    const p = plan(
      [
        map("one", [m], into(a, [m], r("exp", at(x, m)))),
        map("two", [other], { buffer: b, index: [v(other)], value: r("exp", load(a, [v(other)])) }),
      ],
      [x, a, b],
    );
    const made = gpujs("webasm").compile(p);
    expect(Either.isRight(made) && made.right.kernels.length).toBe(1);
  });
  it("of whatever sizes share a few WebAssembly memories, of which a page in Chromium has about a hundred", async () => {
    const engine = (globalThis as unknown as { readonly WebAssembly: { Memory: new (d: object) => object } }).WebAssembly; // Node's types have none
    const { Memory } = engine;
    let made = 0;
    class Counted extends Memory {
      constructor(d: object) {
        super(d);
        made++;
      }
    }
    engine.Memory = Counted;
    try {
      using d = await device("webasm");
      using s = await d.alloc([]);
      const sizes = Array.from({ length: 30 }, (_, k) => 1 + k * 997);
      const programs = [];
      for (const n of sizes) {
        const m = axis("m", n);
        const [x, y] = [input("x", "f32", [m]), output("y", "f32", [m])];
        programs.push(await d.compile(plan([map(`add${n}`, [m], into(y, [m], r("add", at(x, m), real(n))))], [x, y])));
      }
      for (const turn of [1, 2])
        for (const [k, p] of programs.entries()) {
          const n = sizes[k] as number;
          const { y } = await p.run(s, { x: new Float32Array(n).fill(turn) }, new Map());
          expect(y?.every((v) => v === turn + n)).toBe(true);
        }
      expect(made).toBeLessThan(9);
      expect(engine.Memory).toBe(Counted);
    } finally {
      engine.Memory = Memory;
    }
  });
  it("read as one assignment a value", () => {
    const [m, k] = [axis("m", 2), axis("k", 3)];
    const [x, y] = [input("x", "f32", [m, k]), output("y", "f32", [m])];
    const nest: Nest = {
      form: "row",
      name: "norm",
      nodes: [],
      rows: [m],
      stages: [
        { stage: "fold", over: [k], monoid: sum, elements: [r("mul", at(x, m, k), at(x, m, k))], bind: ["s"] },
        { stage: "map", axes: [], stores: [into(y, [m], r("sqrt", local("s", "real")))] },
      ],
    };
    const made = gpujs("webasm").compile(plan([nest], [x, y]));
    expect(Either.isRight(made) && made.right.kernels[0]?.source).toMatchInlineSnapshot(`
      "function kernel(a0) {
        let i0 = this.output.x; i0++; i0 = (this.thread.x) | 0;
        let c1 = 0;
        let s2 = c1;
        for (let k3 = 0; k3 < 3; k3++) {
          let i4 = this.output.x; i4++; i4 = (k3) | 0;
          let t5 = a0[i0 * 3 + i4];
          let t6 = t5 * t5;
          let t7 = s2 + t6;
          s2 = t7;
        }
        let t8 = Math.sqrt(s2);
        return t8;
      }"
    `);
  });
});

describe("faults", () => {
  const m = axis("m", 3);
  const [x, n, w, y] = [input("x", "f32", [m]), input("n", "i32", []), state("w", "f32", [m]), output("y", "i32", [m])];
  const p = plan([map("sum", [m], into(y, [m], i("mul", load(n, []), i("add", load(n, []), v(m)))), into(w, [m], at(x, m)))], [x, n, w, y]);
  const spec = [{ path: "w", dtype: "f32" as const, elements: 3 }];

  it("without the package: says how to install it", async () => {
    const made = await createGpujs({ load: () => Promise.reject(new Error("Cannot find package 'gpu.js'")) });
    expect(Either.isLeft(made) && made.left.message).toContain("npm i gpu.js");
  });
  it("wrong inputs, states and values are named", async () => {
    using d = await device("webasm");
    using other = await device("webasm");
    using program = await d.compile(p);
    using s = await d.alloc(spec);
    using wrong = await d.alloc([{ path: "w", dtype: "f32", elements: 4 }]);
    using foreign = await other.alloc(spec);
    const good = { x: [1, 2, 3], n: [2] };
    const messages = [];
    messages.push((await fault(program.run(s, { ...good, x: [1, 2] }, new Map()))).message);
    messages.push((await fault(program.run(s, { n: [2] }, new Map()))).message);
    messages.push((await fault(program.run(s, { ...good, z: [1] }, new Map()))).message);
    messages.push((await fault(program.run(s, { ...good, n: [1.5] }, new Map()))).message);
    messages.push((await fault(program.run(s, { ...good, n: [2 ** 24 + 1] }, new Map()))).message);
    messages.push((await fault(program.run(s, { ...good, n: [5000] }, new Map()))).message);
    messages.push((await fault(program.run(wrong, good, new Map()))).kind);
    messages.push((await fault(program.run(foreign, good, new Map()))).kind);
    messages.push((await fault(s.write("w", [1]))).kind);
    messages.push((await fault(s.read("v"))).kind);
    expect(messages).toMatchInlineSnapshot(`
      [
        ""x": expected f32 over m_0 3, 3 elements in row-major order, got 2",
        "input "x" is missing or is not an array: expected f32 over m_0 3",
        "the program has no input "z": it has "x", "n"",
        ""n": element 0 is 1.5, but its type i32 needs an integer from -2147483648 to 2147483647",
        ""n": element 0 is 16777217, but the gpujs device holds integers exactly only up to 16777216. To go on, use smaller values or the native device",
        ""sum: y": element 0 is 25000000, but the gpujs device holds integers exactly only up to 16777216. To go on, use smaller values or the native device",
        "StateMismatch",
        "ForeignState",
        "InputLength",
        "UnknownState",
      ]
    `);
    expect((await program.run(s, good, new Map())).y).toEqual(Int32Array.from([4, 6, 8]));
  });
  it("what was disposed is not used", async () => {
    const d = await device("cpu");
    const program = await d.compile(p);
    const s = await d.alloc(spec);
    const running = program.run(s, { x: [1, 2, 3], n: [2] }, new Map());
    s[Symbol.dispose]();
    expect((await fault(running)).kind).toBe("Disposed");
    d[Symbol.dispose]();
    expect((await fault(program.run(s, {}, new Map()))).kind).toBe("Disposed");
    expect((await fault(d.compile(p))).kind).toBe("Disposed");
  });
  it("a kernel with more cells than f32 can number is refused", async () => {
    const big = [axis("a", 4096), axis("b", 4096)];
    const out = output("out", "f32", big);
    using d = await device("webasm");
    expect((await fault(d.compile(plan([map("big", big, into(out, big, real(1)))], [out])))).message).toMatch(
      /kernel big has 16777216 cells.*use the native device/s,
    );
  });
});
