// What the simulator is for: a kernel that would race, or part ways at a barrier, is an error there.
import { describe, expect, it } from "vitest";
import { allocS, ifS, letS, loop, type Stmt, storeS, tile } from "../../compiler/loop/ir.js";
import { add, imod, less } from "../../compiler/loop/terms.js";
import { type Expr, int, load, local, real, variable } from "../../compiler/lower/expr.js";
import { axis, output } from "../gpujs/plans.js";
import { simulate } from "./simulate.js";

const barrier: Stmt = { s: "barrier", scope: "workgroup" };
const y = output("y", "f32", [axis("i", 8)]);
const shared = tile("shared", "f32", 4);
const [group, own] = [variable("group"), variable("own")];
/** Two workgroups of four. */
const kernel = (body: readonly Stmt[]) => ({
  name: "kernel",
  nodes: [],
  body: [loop("group", int(0), int(8), [allocS(shared, "workgroup"), loop("own", int(0), int(4), body, "local")], "workgroup", 4)],
});
const run = (body: readonly Stmt[]): readonly number[] => {
  const memory = new Map([[y, new Float64Array(8).fill(Number.NaN)]]);
  simulate(kernel(body), memory);
  return [...(memory.get(y) as Float64Array)];
};
const put = storeS(shared, [own], local("x", "real"));
const x = letS("x", real(3));
const neighbour: Expr = load(shared, [imod(add(own, int(1)), int(4))]);
const result = storeS(y, [add(group, own)], neighbour);

describe("the simulator", () => {
  it("runs what is right", () => {
    expect(run([x, put, barrier, result])).toEqual(new Array(8).fill(3));
  });
  it.each<[string, readonly Stmt[], string]>([
    ["a read beside a write", [x, storeS(shared, [own], real(0)), barrier, put, result], "while another invocation"],
    ["two writes of a place", [storeS(shared, [int(0)], real(1)), barrier], "while another invocation"],
    ["a write over what a neighbour reads", [x, put, barrier, result, put], "while another invocation"],
    ["two workgroups at a place", [ifS(less(own, int(1)), [storeS(y, [int(0)], real(1))])], "another workgroup"],
    ["a barrier that some miss", [ifS(less(own, int(2)), [barrier])], "disagree about a barrier"],
    ["memory that nobody wrote", [x, ifS(less(own, int(2)), [put]), barrier, result], "read before it is written"],
    ["an address beyond the end", [storeS(y, [add(own, int(6))], real(1))], "out of bounds"],
  ])("refuses %s", (_, body, message) => {
    expect(() => run(body)).toThrow(message);
  });
});
