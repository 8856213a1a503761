// Point-wise nests: an invocation for each index. Neighbouring invocations take neighbours along the axis that most accesses
// walk contiguously.
import { ifS, letS, loop, type Stmt, storeS } from "../../../loop/ir.js";
import { bestVector, count, freshName, fuse, type Span, spanOf, unflatten } from "../../../loop/spans.js";
import { add, less } from "../../../loop/terms.js";
import { int, local, variable } from "../../../lower/expr.js";
import type { Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";

const SIZE = 256;

export function map(nest: Extract<Nest, { form: "map" }>, limits: WgslLimits): readonly Stmt[] {
  const { groups, work } = fuse([nest.axes.map(spanOf)], [false], { terms: [], stores: nest.stores });
  const spans = groups[0] as readonly Span[];
  const along = bestVector(spans, work)?.span;
  const order = along ? [...spans.filter((s) => s !== along), along] : spans;
  const cells = count(order);
  const size = Math.min(SIZE, limits.invocations, limits.workgroupSize[0]);
  const [group, own, cell] = ["cells", "invocation", "cell"].map(freshName) as [string, string, string];
  // Every value before any store: memory updated in place reads its old value.
  const names = work.stores.map(() => freshName("value"));
  const stores = [
    ...unflatten(order, variable(cell)),
    ...work.stores.map((s, i) => letS(names[i] as string, s.value)),
    ...work.stores.map((s, i) => storeS(s.buffer, s.index, local(names[i] as string, s.value.type))),
  ];
  const whole = cells.kind === "num" && cells.value % size === 0;
  const at = letS(cell, add(variable(group), variable(own)));
  const each = [at, ...(whole ? stores : [ifS(less(variable(cell), cells), stores)])];
  return [loop(group, int(0), cells, [loop(own, int(0), int(size), each, "local")], "workgroup", size)];
}
