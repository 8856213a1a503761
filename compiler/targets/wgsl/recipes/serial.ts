// A nest as one invocation a unit of work would run it: the loops of a recipe for threads (loop/recipes), whose thread
// loop becomes workgroups of as many invocations as are useful. For forms and sizes that gain nothing by sharing a workgroup.
import { ifS, letS, loop, rebuild, type Stmt, THREADS } from "../../../loop/ir.js";
import { freshName } from "../../../loop/spans.js";
import { add, less, rename } from "../../../loop/terms.js";
import { type Expr, int, variable } from "../../../lower/expr.js";
import type { WgslLimits } from "../limits.js";

const SIZE = 64;

/** `body`: allocations and a thread loop. */
export function invocations(body: readonly Stmt[], limits: WgslLimits): readonly Stmt[] {
  const size = Math.min(SIZE, limits.invocations, limits.workgroupSize[0]);
  // A recipe that divides its work by the number of threads has one workgroup of them.
  const counted = new Map<string, Expr>([[THREADS, int(size)]]);
  const walk = (list: readonly Stmt[]): readonly Stmt[] => list.map((s) => rebuild(s, (e) => rename([e], counted)[0] as Expr, walk));
  return walk(body).flatMap((s) => {
    if (s.s !== "for" || s.bind !== "thread") return [s];
    const [unit, own] = [freshName("unit"), freshName("invocation")];
    const at = add(variable(unit), variable(own));
    const whole = s.to.kind === "num" && s.from.kind === "num" && (s.to.value - s.from.value) % size === 0;
    const each = [letS(s.v, at), ...s.body];
    return [loop(unit, s.from, s.to, [loop(own, int(0), int(size), whole ? each : [ifS(less(at, s.to), each)], "local")], "workgroup", size)];
  });
}
