// The identity of a program: the same however and whenever the same program was built, another for whatever the compiler
// could tell apart.
import { describe, expect, it } from "vitest";
import { ahead } from "../../compiler/capture/ahead.js";
import { parseFunction } from "../../compiler/capture/parse.js";
import { identityOf } from "../../compiler/graph/identity.js";
import * as build from "../../dsl/build.js";
import { type Arrow, type Body, type Leaf, type Node, UpTo } from "../../dsl/node.js";
import { arg, call, constant, type Scalar } from "../../dsl/scalar.js";
import { handle } from "../../dsl/tensor.js";
import { transformer } from "../../models/index.js";

const scalar = (body: Scalar): Body => ({ kind: "scalar", body });
const arrow = (fn: Arrow, captured = {}, field: string | null = null): Body => ({ kind: "arrow", fn, captured, field });
/** A new function object of this text, as another process has. */
const again = (text: string): Arrow => new Function(`return (${text})`)() as Arrow;

/** A program with something of everything; `change` alters one thing. */
function program(change: Partial<typeof standard> = {}) {
  const o = { ...standard, ...change };
  const rows = new UpTo(o.most, o.upTo);
  const x = build.leaf(
    "input",
    "",
    Object.fromEntries([
      ...(o.swapped
        ? [
            ["k", o.size],
            ["row", rows],
          ]
        : [
            ["row", rows],
            ["k", o.size],
          ]),
    ]) as never,
    o.input,
  );
  const w = build.leaf("param", o.path, { k: o.size }, "f32", { from: o.from, to: [], init: o.init, stacked: [] });
  const s = build.leaf("state", "seen", { k: o.size }, "f32");
  const scaled = build.map(
    { [o.name]: x, w },
    arrow(again(o.text.replaceAll("NAME", o.name)), { c: o.captured, f: o.inner === "exp" ? Math.exp : again(o.inner) }),
    "f32",
  );
  const shifted = build.view(scaled, { k: o.size }, { kind: "arrow", fn: again("({ k }, { by }) => ({ k: k + by })"), constants: { by: o.by } }, [
    "k",
  ]);
  const folded = build.fold({ v: shifted }, { empty: { v: o.empty }, combine: { kind: "arrow", fn: again(o.combine) } }, [o.over]).v as Node;
  const scanned = build.scan({ v: shifted }, { empty: { v: 0 }, combine: { kind: "arrow", fn: again("(x, y) => x.v + y.v") } }, "k", {
    reverse: o.reverse,
  }).v as Node;
  const noise = build.random(o.kind, o.key, [], { k: o.size });
  const loop = build.loop({ axis: "turn", count: o.count, reverse: false, init: [w], xs: [] }, ([c], _, i) => [
    build.map({ c: c as Node, i }, scalar(call(o.prim, arg("c"), arg("i"))), "f32"),
  ]);
  const labelled = build.label(build.carry(loop, 0), o.label, "blocks", [x]);
  const total = build.map({ a: labelled, b: noise, s }, scalar(call("add", call("mul", arg("a"), arg("b")), constant(o.constant))), "f32");
  const gradient = build.grad(
    build.fold({ v: total }, { empty: { v: 0 }, combine: { kind: "arrow", fn: again("(x, y) => x.v + y.v") } }, ["k"]).v as Node,
    w,
  );
  return {
    name: "p",
    inputs: { [o.given]: x },
    outputs: { folded, scanned },
    updates: o.moved ? [{ leaf: w, value: gradient }] : [{ leaf: s, value: gradient }],
    compute: o.compute,
  };
}
const standard = {
  most: 8,
  upTo: "row",
  size: 4,
  swapped: false,
  input: "f32" as "f32" | "bf16",
  path: "w",
  from: ["k"] as string[],
  init: { std: 1 } as { std: number } | { fill: number },
  name: "a",
  text: "({ NAME, w, c, f }) => f(NAME * c) + w",
  captured: 2 as number | boolean,
  inner: "exp",
  by: 1,
  empty: 0,
  combine: "(x, y) => x.v + y.v",
  over: "k",
  reverse: false,
  kind: "normal" as "normal" | "uniform",
  key: "noise",
  count: 3,
  prim: "add" as "add" | "mul",
  label: "logits",
  constant: 0,
  given: "x",
  moved: true,
  compute: "f32" as "f32" | "bf16",
};
const changes: { readonly [K in keyof typeof standard]: readonly (typeof standard)[K][] } = {
  most: [9],
  upTo: ["rows"],
  size: [5],
  swapped: [true],
  input: ["bf16"],
  path: ["v"],
  from: [[]],
  init: [{ std: 2 }, { fill: 1 }],
  name: ["b"],
  text: ["({ NAME, w, c, f }) => f(NAME * c) - w", "({ NAME, w, c, f }) => f(NAME*c) + w + 0"],
  captured: [3, true],
  inner: ["(x) => x", "(x) => x + 1"],
  by: [2],
  empty: [-0, 1, -Infinity],
  combine: ["(x, y) => Math.max(x.v, y.v)"],
  over: ["row"],
  reverse: [true],
  kind: ["uniform"],
  key: ["other"],
  count: [4],
  prim: ["mul"],
  label: ["scores"],
  constant: [-0, 1, Number.NaN],
  given: ["y"],
  moved: [false],
  compute: ["bf16"],
};

describe("the identity of a program", () => {
  it("is the same for the same program, built again", () => {
    expect(identityOf(program()).text).toBe(identityOf(program()).text);
  });
  it("tells apart whatever can be changed", () => {
    const texts = new Map([["nothing", identityOf(program()).text]]);
    for (const [what, values] of Object.entries(changes))
      values.forEach((value, i) => void texts.set(`${what} ${i}`, identityOf(program({ [what]: value })).text));
    for (const [a, x] of texts) for (const [b, y] of texts) expect(x === y, `${a} against ${b}`).toBe(a === b);
  });
  it("gives leaves and extents in one order", () => {
    const [a, b] = [program(), program()];
    const [i, j] = [identityOf(a), identityOf(b)];
    expect(i.leaves.map((l) => [l.role, Object.keys(l.axes)])).toEqual(j.leaves.map((l) => [l.role, Object.keys(l.axes)]));
    expect(i.leaves).toContain(a.inputs.x);
    expect(j.leaves.indexOf(b.inputs.x as Leaf)).toBe(i.leaves.indexOf(a.inputs.x as Leaf));
    expect(i.extents).toEqual([(a.inputs.x as Leaf).axes.row]);
  });
  it("does not depend on what was built before, nor on the order", () => {
    const make = (backwards: boolean) => {
      const x = build.leaf("input", "", { i: 3 }, "f32");
      const square = () => build.map({ x }, scalar(call("mul", arg("x"), arg("x"))), "f32");
      const double = () => build.map({ x }, scalar(call("add", arg("x"), arg("x"))), "f32");
      const [s, d] = backwards ? [double(), square()].reverse() : [square(), double()];
      return { name: "p", inputs: { x }, outputs: { s, d } };
    };
    expect(identityOf(make(true)).text).toBe(identityOf(make(false)).text);
  });
  it("of a deep graph takes no stack, and does not grow with layers that repeat", () => {
    let x: Node = build.leaf("input", "", { i: 2 }, "f32");
    const first = x;
    for (let i = 0; i < 20_000; i++) x = build.map({ x }, scalar(call("add", arg("x"), constant(i))), "f32");
    expect(identityOf({ inputs: { first }, outputs: { x } }).text.length).toBeGreaterThan(20_000);
    const decoder = (layer: number) => {
      const m = transformer({ model: 16, layer, head: 2, dim: 8, ff: 32, vocab: 11 });
      const tokens = build.leaf("input", "", { batch: 2, time: 4 }, "i32");
      return identityOf({ tokens, out: m.bound({ tokens: handle(tokens) }) }).text;
    };
    expect(decoder(24).length).toBeLessThanOrEqual(decoder(12).length + 10);
    expect(decoder(24)).not.toBe(decoder(12));
  });
  it("is of the author's text where a bundle brings it, whatever became of the function", () => {
    const x = build.leaf("input", "", { i: 3 }, "f32");
    const given = (fn: Arrow, text: string) => ahead(fn, { file: "a.ts", line: 1, text, syntax: parseFunction(text) });
    const of = (fn: Arrow) => identityOf({ x, y: build.map({ x }, arrow(fn), "f32") }).text;
    const [one, other] = ["({ x }) => x + 1", "({ x }) => x + 2"];
    expect(of(given(again("(a) => a.x"), one))).toBe(of(given(again("(b) => b.x"), one)));
    expect(of(given(again("(a) => a.x"), one))).not.toBe(of(given(again("(a) => a.x"), other)));
  });
  it("tells built-in functions apart that have one name", () => {
    const x = build.leaf("input", "", { i: 3 }, "f32");
    const of = (f: Arrow) => identityOf({ x, y: build.map({ x }, arrow(again("({ x, f }) => f(x)"), { f }), "f32") }).text;
    expect(of(Math.sin)).toBe(of(Math.sin));
    expect(new Set([Math.sin, Math.cos, Math.abs, Math.min, Math.max, Number.isFinite].map(of)).size).toBe(6);
  });
});
