// What the change of the attention logits is measured on: the labelled scores of every layer, the inputs that each
// layer's attention had, and the same scores computed from given inputs (frozen), so that only the weights differ.

import { order, rebuild } from "../../compiler/graph/walk.js";
import { emit, label, leaf as makeLeaf, reloop, without } from "../../dsl/build.js";
import { find } from "../../dsl/label.js";
import type { LabelNode, Leaf, Loop, Node } from "../../dsl/node.js";
import { handle, nodeOf } from "../../dsl/tensor.js";

export interface ProbeNodes {
  readonly scores: readonly Node[];
  /** The inputs of the attentions, one a score. */
  readonly inputs: readonly Node[];
  /** Stand for these inputs. */
  readonly frozen: readonly Leaf[];
  readonly frozenScores: readonly Node[];
}

/** Every value labelled `name` below `of` that stands in a model with one input. */
export function probeNodes(of: Node, name: string): ProbeNodes {
  const found = find(handle(of), name).map(({ value }) => nodeOf(value, "find"));
  const each = found.map((value, i) => {
    const labelled = value.op === "emit" ? value.of : value;
    if (labelled.op !== "label") throw new Error(`probe: the value labelled "${name}" lies in a loop inside a loop`);
    const [x] = labelled.inputs as readonly [Node, ...Node[]];
    if (value.op !== "emit") {
      const frozen = makeLeaf("input", `frozen${i}`, x.axes, "f32");
      return { score: value, input: x, frozen, frozenScore: instead(labelled, x, frozen) };
    }
    const l = value.loop;
    const frozen = makeLeaf("input", `frozen${i}`, { [l.axis]: l.count, ...x.axes }, "f32");
    const slice = makeLeaf("bound", `frozen${i}`, without(frozen.axes, [l.axis]), "f32");
    const score = instead(labelled, x, slice);
    const kept = carried(l, score);
    const only = <T>(list: readonly T[]): readonly T[] => list.filter((_, i) => kept.has(i));
    const again = reloop(
      { ...l, carry: only(l.carry), slices: [...l.slices, slice] },
      { init: only(l.init), xs: [...l.xs, frozen], next: only(l.next) },
    );
    return { score: value, input: emit(l, x), frozen, frozenScore: emit(again, score) };
  });
  return {
    scores: each.map((e) => e.score),
    inputs: each.map((e) => e.input),
    frozen: each.map((e) => e.frozen),
    frozenScores: each.map((e) => e.frozenScore),
  };
}

/** Which of the loop's state a value in it needs, in this round or an earlier one. With the inputs given that is mostly
 *  none: the residual stream, and the tokens it began with, must not be asked for. */
function carried(l: Loop, value: Node): ReadonlySet<number> {
  const kept = new Set<number>();
  for (let reached: readonly Node[] = [value]; reached.length > 0; ) {
    const below = new Set(order(reached));
    const more = l.carry.flatMap((c, i) => (below.has(c) && !kept.has(i) ? [i] : []));
    for (const i of more) kept.add(i);
    reached = more.map((i) => l.next[i] as Node);
  }
  return kept;
}

/** The labelled value with x replaced. */
function instead(n: LabelNode, x: Node, by: Node): Node {
  const bare = label(n.args[0], n.name, n.path, []); // the inputs are no operands, but what is rebuilt would meet them
  return rebuild(
    [bare],
    (m) => m,
    (m) => (m === x ? by : undefined),
  ).roots[0] as Node;
}
