// result = x[along = I]: a one-hot sum over the index tensors' axes (those that do not run along with x's other axes),
//   dx[…, a, …] = Σ [I = a]·ct,
// which the lowering turns into an indexed add in a fixed order. A constant index needs no sum.
import { map } from "../build.js";
import type { AtNode, Extent, Node } from "../node.js";
import { arg, call, constant, index, type Scalar } from "../scalar.js";
import type { Rule } from "./rule.js";
import { freshAxis, isFloat, rename, scalar, sumOver, zero } from "./terms.js";

export const at: Rule<AtNode> = ([{ node, ct }]) => {
  const [x, ...indices] = node.args;
  // An index tensor may have an axis of the same name as the one it replaces.
  const apart = new Map<string, string>();
  for (const a of node.along)
    if (a in node.axes) apart.set(a, freshAxis(a, node.axes, x.axes, Object.fromEntries([...apart.values()].map((n) => [n, 0]))));
  const inputs: Record<string, Node> = { ct: rename(ct, apart) };
  const hits = indices.map((i, k): Scalar => {
    const here = index(node.along[k] as string);
    if (i.op === "constant") return call("eq", constant(i.value), here);
    inputs[`i${k}`] = rename(i, apart);
    return call("eq", arg(`i${k}`), here);
  });
  const targets = Object.fromEntries(node.along.map((a) => [a, x.axes[a] as Extent]));
  const hot = map(
    inputs,
    scalar(
      call(
        "select",
        hits.reduce((p, q) => call("and", p, q)),
        arg("ct"),
        zero,
      ),
    ),
    "f32",
    targets,
  );
  const own = Object.keys(hot.axes).filter((a) => !(a in x.axes));
  return [isFloat(x) ? sumOver(hot, own) : null, ...indices.map(() => null)];
};
