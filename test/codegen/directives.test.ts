// Directives change how loops run and never what they compute; verifier and printer of the loop IR.
import { describe, expect, it } from "vitest";
import { applied, type Directive, showDirective } from "../../compiler/loop/directives.js";
import { ifS, type Kernel, letS, loop, type Stmt, setS, storeS, tile, varS } from "../../compiler/loop/ir.js";
import { place } from "../../compiler/loop/place.js";
import { showKernel } from "../../compiler/loop/print.js";
import { verifyKernel } from "../../compiler/loop/verify.js";
import { apply, buffer, int, load, local, real, variable } from "../../compiler/lower/expr.js";
import { interpretKernel, type Memory } from "./interpret.js";

const [M, N, K] = [5, 18, 7];
const axes = (...n: number[]) => n.map((extent, i) => ({ name: `d${i}`, extent }));
const a = buffer("a", "f32", axes(M, K), "input");
const b = buffer("b", "f32", axes(K, N), "input");
const c = buffer("c", "f32", axes(M, N), "output");
const v = variable;
const kernel = (body: readonly Stmt[]): Kernel => ({ name: "k", nodes: [], body });
/** c[i, j] := Σ_k exp(a[i, k])·b[k, j], as written. */
const value = apply("exp", "real", load(a, [v("i"), v("k")]));
const step = setS("s", apply("fma", "real", value, load(b, [v("k"), v("j")]), local("s", "real")));
const product = loop("i", int(0), int(M), [
  loop("j", int(0), int(N), [varS("s", real(0)), loop("k", int(0), int(K), [step]), storeS(c, [v("i"), v("j")], local("s", "real"))]),
]);
function ran(body: readonly Stmt[]): Float64Array {
  const memory: Memory = new Map([
    [a, new Float64Array(M * K).map((_, i) => Math.sin(i))],
    [b, new Float64Array(K * N).map((_, i) => Math.cos(i))],
    [c, new Float64Array(M * N)],
  ]);
  verifyKernel(kernel(body), new Map());
  const placed = place(kernel(body));
  verifyKernel(placed, new Map());
  interpretKernel(placed, memory);
  return memory.get(c) as Float64Array;
}

describe("directives", () => {
  const row = tile("row", "f32", K);
  const cases: Record<string, readonly Directive[]> = {
    split: [{ do: "split", loop: "j", size: 8, blocks: "jb" }],
    reorder: [{ do: "reorder", order: ["j", "i"] }],
    fuse: [{ do: "fuse", loops: ["i", "j"], flat: "u" }],
    bind: [
      { do: "bind", loop: "i", to: "thread" },
      { do: "bind", loop: "j", to: "vector" },
    ],
    "split, reorder, bind": [
      { do: "split", loop: "i", size: 2, blocks: "ib" },
      { do: "split", loop: "j", size: 16, blocks: "jb" },
      { do: "bind", loop: "j", to: "vector" },
    ],
    stage: [{ do: "stage", loop: "i", value, across: ["k"], tile: row, space: "private" }],
  };
  it.each(Object.entries(cases))("%s", (_, directives) => {
    const body = applied([product], directives);
    expect(body).not.toEqual([product]);
    expect(ran(body)).toEqual(ran([product]));
    for (const d of directives) expect(showDirective(d)).toContain(d.do);
  });
  it("use puts an instruction in place of loops of the same meaning", () => {
    const body = [loop("i", int(0), int(1), [])];
    const size = [int(M), int(16), int(K), int(K), int(12 * K), int(1), int(N), int(16), int(N), int(0)];
    const places = [a, b, c].map((buffer) => ({ buffer, index: [int(0), int(0)] }));
    const got = ran(applied(body, [{ do: "use", loop: "i", instruction: "block", places, ints: size }]));
    const want = new Float64Array(M * N);
    for (let i = 0; i < M; i++)
      for (let j = 0; j < 16; j++)
        for (let k = 0; k < K; k++) want[i * N + j] = (want[i * N + j] as number) + Math.sin(i * K + k) * Math.cos(k * N + j);
    got.forEach((x, i) => {
      expect(x).toBeCloseTo(want[i] as number, 12);
    });
  });
  it.each([
    ["a loop that is not there", { do: "split", loop: "z", size: 2, blocks: "zb" }],
    ["loops that are not directly nested", { do: "reorder", order: ["k", "j"] }],
    [
      "a value of a loop that is not staged across",
      { do: "stage", loop: "i", value: load(b, [v("k"), v("j")]), across: ["k"], tile: row, space: "private" },
    ],
  ] as const)("refuse %s", (_, d) => {
    expect(() => applied([product], [d as Directive])).toThrow(/schedule:/);
  });
});

describe("the verifier refuses", () => {
  const t = tile("t", "f32", 4);
  const cases: Record<string, readonly Stmt[]> = {
    "a name that is not defined": [storeS(c, [int(0), v("i")], real(0))],
    "a local that is not defined": [storeS(c, [int(0), int(0)], local("x", "real"))],
    "a name outside its scope": [loop("i", int(0), int(2), []), storeS(c, [int(0), v("i")], real(0))],
    "a variable of another type": [varS("x", real(0)), setS("x", int(1))],
    "a let that is set": [letS("x", real(0)), setS("x", real(1))],
    "a condition that is a number": [ifS(int(1), [])],
    "too few indices": [storeS(c, [int(0)], real(0))],
    "an index that is real": [storeS(c, [int(0), real(1)], real(0))],
    "a store outside": [storeS(c, [int(M), int(0)], real(0))],
    "a tile outside its scope": [loop("i", int(0), int(2), [{ s: "alloc", buffer: t, space: "private" }]), storeS(t, [int(0)], real(0))],
    "a barrier under a divergent condition": [
      loop("i", int(0), int(8), [ifS(apply("lt", "bool", v("i"), int(3)), [{ s: "barrier", scope: "workgroup" }])], "local"),
    ],
  };
  it.each(Object.entries(cases))("%s", (_, body) => {
    expect(() => verifyKernel(kernel(body), new Map())).toThrow(/kernel k:/);
  });
  it("nothing of a barrier that all invocations reach", () => {
    const body = [loop("w", int(0), int(8), [loop("k", int(0), int(4), [{ s: "barrier", scope: "workgroup" }])], "local")];
    expect(() => verifyKernel(kernel(body), new Map())).not.toThrow();
  });
});

it("the printer shows every statement", () => {
  expect(showKernel(place(kernel(applied([product], [{ do: "bind", loop: "j", to: "vector" }]))))).toMatchInlineSnapshot(`
    "kernel k
      for i in 0 .. 5
        vector j in 0 .. 18
          var s = 0
          for k in 0 .. 7
            s := fma(exp(a[i, k]), b[k, j], s)
          c[i, j] := s"
  `);
});
