// From a plan, through the C target, to numbers.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import { apply, buffer, load, real, variable } from "../../compiler/lower/expr.js";
import { UpTo } from "../../dsl/node.js";
import { createNative } from "../../runtime/devices/native/index.js";
import { needs } from "../require.js";

const cacheDir = mkdtempSync(join(tmpdir(), "mallard-native-"));
afterAll(() => rmSync(cacheDir, { recursive: true, force: true }));

describe.skipIf(!(await needs("compiler")))("a plan", () => {
  it.each([1, 2, 3])("of two kernels and a loop runs on %d threads", async (threads) => {
    const made = await createNative({ cacheDir, threads });
    if (E.isLeft(made)) throw made.left;
    using d = made.right;
    const rows = new UpTo(9, "rows");
    const axes = [
      { name: "row", extent: rows },
      { name: "col", extent: 37 },
    ];
    const x = buffer("x", "f32", axes, "input");
    const m = buffer("m", "f32", axes, "temp");
    const w = buffer("w", "f32", [{ name: "col", extent: 37 }], "state");
    const y = buffer("y", "f32", axes, "output");
    const [r, c, k] = [variable("r"), variable("c"), variable("k")];
    const [r2, c2] = [variable("r2"), variable("c2")];
    const program = await d.compile({
      name: "two",
      buffers: [x, m, w, y],
      inputs: { x },
      outputs: { y },
      state: { w },
      extents: [rows],
      offsets: new Map([[m.id, 0]]),
      arenaBytes: 9 * 37 * 4,
      steps: [
        {
          step: "nest",
          nest: {
            form: "map",
            name: "double",
            nodes: [],
            axes: [
              { v: "r", extent: rows },
              { v: "c", extent: 37 },
            ],
            stores: [{ buffer: m, index: [r, c], value: apply("mul", "real", load(x, [r, c]), real(2)) }],
          },
        },
        {
          step: "loop",
          v: "k",
          count: 3,
          reverse: false,
          body: [
            {
              step: "nest",
              nest: {
                form: "map",
                name: "bump",
                nodes: [],
                axes: [{ v: "k0", extent: 37 }],
                stores: [
                  {
                    buffer: w,
                    index: [variable("k0")],
                    value: apply("add", "real", load(w, [variable("k0")]), apply("toReal", "real", k)),
                  },
                ],
              },
            },
          ],
        },
        {
          step: "nest",
          nest: {
            form: "map",
            name: "add",
            nodes: [],
            axes: [
              { v: "r2", extent: rows },
              { v: "c2", extent: 37 },
            ],
            stores: [{ buffer: y, index: [r2, c2], value: apply("add", "real", load(m, [r2, c2]), load(w, [c2])) }],
          },
        },
      ],
    });
    using state = await d.alloc([{ path: "w", dtype: "f32", elements: 37 }]);
    for (const [i, n] of [9, 4, 0, 1].entries()) {
      const data = Float32Array.from({ length: n * 37 }, (_, at) => at);
      const out = await program.run(state, { x: data }, new Map([[rows.id, n]]));
      expect(out).toEqual({ y: data.map((v) => v * 2 + 3 * (i + 1)) });
    }
    expect(program.kernels.map((kernel) => kernel.name)).toEqual(["double", "bump", "add"]);
  });
});
