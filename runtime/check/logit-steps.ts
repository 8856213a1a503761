// The step that an optimizer makes of given gradients, weight by weight, without the weight: w' − w, where w' is large and
// the step small, would lose the step's digits. Along the element-wise way from w' down to w the weight is replaced by 0,
// which leaves −lr·u of w' = w − lr·u. Decoupled decay is left out so: it is a contraction, outside the bounds
// (docs/quack.md). Norms and everything else that a rule computes of the weight stay what they are. Whether w' is that step
// and a multiple of w is checked on the values; where it is not, the step is the difference.
import { order } from "../../compiler/graph/walk.js";
import { withArgs } from "../../dsl/build.js";
import { zeros } from "../../dsl/derivative/terms.js";
import { argsOf, type Leaf, type Node } from "../../dsl/node.js";

/** `next` with the weight replaced by 0 where it is reached through maps and views alone. */
export function stepOf(next: Node, weight: Leaf): Node {
  const elementwise = (n: Node): readonly Node[] => (n.op === "map" || n.op === "view" ? argsOf(n) : []);
  const way = new Set<Node>();
  for (const n of order([next], elementwise)) if (n === weight || elementwise(n).some((a) => way.has(a))) way.add(n);
  const to = new Map<Node, Node>();
  for (const n of order([next], elementwise)) {
    if (!way.has(n)) continue;
    if (n === weight) to.set(n, zeros(weight.axes));
    else
      to.set(
        n,
        withArgs(
          n,
          argsOf(n).map((a) => to.get(a) ?? a),
        ),
      );
  }
  return to.get(next) ?? next;
}

/** next = ρ·weight + step with one ρ for each slice: the step is exact, and what remains is decay. `slice`: of an element. */
export function isStep(next: Float64Array, weight: Float64Array, step: Float64Array, slice: (element: number) => number, tolerance: number): boolean {
  const dot = new Map<number, readonly [product: number, square: number, most: number]>();
  for (const [i, w] of weight.entries()) {
    const [product, square, most] = dot.get(slice(i)) ?? [0, 0, 0];
    const rest = (next[i] as number) - (step[i] as number);
    dot.set(slice(i), [product + rest * w, square + w * w, Math.max(most, Math.abs(w), Math.abs(step[i] as number))]);
  }
  return weight.every((w, i) => {
    const [product, square, most] = dot.get(slice(i)) as readonly [number, number, number];
    const rho = square === 0 ? 1 : product / square;
    return (
      Math.abs((next[i] as number) - (step[i] as number) - rho * w) <= tolerance * most && rho <= 1 + tolerance * (most / Math.sqrt(square || 1))
    );
  });
}
