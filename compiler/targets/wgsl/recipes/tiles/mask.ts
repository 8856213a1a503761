// Which tiles run. Where a mask compares indices alone, interval arithmetic over the tile's box tells the workgroup, and
// all of it goes on to the next tile. Where it reads data (documents, a prefix), what intervals leave over is looked at
// pair by pair: every invocation tests its own cells, and nobody stages or multiplies anything if no cell is inside. That
// answer is the same for all but not provably so, hence barriers stay outside what it guards.
import { letS, loop, type Stmt, setS, storeS, varS } from "../../../../loop/ir.js";
import { freshName } from "../../../../loop/spans.js";
import { add, sub } from "../../../../loop/terms.js";
import { truth } from "../../../../loop/tiles/bounds.js";
import { apply, type Expr, int, load, local, variable } from "../../../../lower/expr.js";
import { and, no, or, yes } from "../../../../lower/ints.js";
import { readsData } from "./demand.js";
import { barrier, type Group } from "./group.js";

/** Whether the present tile may have a pair inside, the same for all invocations; `no`: none ever has. */
export function mayRun(g: Group): Expr {
  const { shape } = g;
  const last = (first: Expr, size: Expr) => sub(add(first, size), int(1));
  const box = {
    ranges: new Map([
      [shape.row.v, { lo: shape.i0, hi: last(shape.i0, shape.rows) }],
      [shape.over.v, { lo: shape.j0, hi: last(shape.j0, shape.width) }],
    ]),
    load: () => undefined,
  };
  // Conjuncts that read data are for the pairs to tell.
  return conjuncts(shape.nest.mask)
    .map((c) => truth(c, box).may)
    .filter((e) => !readsData(e))
    .reduce(and, yes);
}
function conjuncts(mask: Expr): readonly Expr[] {
  const out: Expr[] = [];
  const todo = [mask];
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (e.kind === "call" && e.prim === "and") todo.push(...e.args);
    else out.push(e);
  }
  return out;
}

/** Looks at every pair: statements, and whether one is inside. null: the mask reads no data. */
export function tested(g: Group): { readonly statements: readonly Stmt[]; readonly run: Expr } | null {
  const { shape } = g;
  const { mask } = shape.nest;
  if (mask === yes || mask === no || !readsData(mask)) return null;
  const [own] = g.sided([mask]) as readonly [Expr];
  const flags = g.shared("inside", "i32", g.size);
  const [mine, run, i] = [freshName("mine"), freshName("run"), freshName("other")];
  const cells = g.rowByRow((r) => {
    const row = freshName("row");
    return [
      letS(row, g.someRow(g.row(r))),
      ...g.rowLets([own], r),
      g.eachLane((c) => {
        const lane = freshName("lane");
        return [
          letS(lane, g.someLane(g.lane(c))),
          ...g.laneLets([own], c),
          // Rows and lanes that do not exist stand for ones that do.
          setS(mine, or(local(mine, "bool"), shape.one(own, variable(row), variable(lane)))),
        ];
      }),
    ];
  });
  return {
    statements: [
      varS(mine, no),
      cells,
      barrier,
      storeS(flags, [g.invocation], apply("select", "int", local(mine, "bool"), int(1), int(0))),
      barrier,
      varS(run, no),
      loop(i, int(0), int(g.size), [setS(run, or(local(run, "bool"), apply("ne", "bool", load(flags, [variable(i)]), int(0))))]),
    ],
    run: local(run, "bool"),
  };
}
