// The expression graph. A tensor handle IS a node: `axes` and `dtype` are what the user's types see, the rest is
// for the compiler. Nodes are immutable and hash-consed on what they mean; where they were written is a side table
// (`places.ts`). This file is the whole vocabulary: every later layer switches on `op`.
//
// Axis order: the insertion order of `axes` is the layout order used for buffers and for arrays at the boundary.
import type { Scalar } from "./scalar.js";

export const dtypes = ["f32", "f64", "bf16", "f16", "i32", "bool"] as const;
export type DType = (typeof dtypes)[number];

/** The extent of an axis whose size is known only when a program runs; buffers are sized `max`. Two axes agree
 *  when they hold the same UpTo object. Using one as a number while building is an error (its value is not known). */
export class UpTo {
  static #next = 0;
  readonly id = UpTo.#next++;
  constructor(
    readonly max: number,
    readonly name: string,
  ) {}
  valueOf(): number {
    throw new TypeError(
      `the extent of an upTo(${this.max}) axis is known only when the program runs: read it in an arrow's sizes (map's third parameter) instead of computing with it here`,
    );
  }
}
export type Extent = number | UpTo;
export type Shape = Readonly<Record<string, Extent>>;

/** An arrow as the user wrote it, with what it captures by name; or its meaning, already read. One output: an arrow
 *  that returns a record makes one node per field (`field`). */
export type Body =
  | {
      readonly kind: "arrow";
      readonly fn: Arrow;
      readonly captured: Readonly<Record<string, number | boolean | Arrow>>;
      readonly field: string | null;
    }
  | { readonly kind: "scalar"; readonly body: Scalar };
// biome-ignore lint: the arrow's real parameter types are checked at the public surface; inside it is only called or read
export type Arrow = (...x: any[]) => any;

/** Index arithmetic: for each axis of x that is read, its index as a function of the result's indices. */
export type IndexBody =
  | { readonly kind: "arrow"; readonly fn: Arrow; readonly constants: Readonly<Record<string, number>> }
  | { readonly kind: "scalar"; readonly at: Readonly<Record<string, Scalar>> };

/** A tuple monoid. `empty` by component; the combine takes two records of components. */
export interface MonoidBody {
  readonly empty: Readonly<Record<string, number>>;
  readonly combine:
    | { readonly kind: "arrow"; readonly fn: Arrow }
    /** Args are named `x.COMPONENT` and `y.COMPONENT`. */
    | { readonly kind: "scalar"; readonly at: Readonly<Record<string, Scalar>> };
}

interface Base {
  readonly id: number;
  readonly axes: Shape;
  readonly dtype: DType;
}

/** Given from outside: per run (input), kept by a session (param, state), or by an enclosing loop (bound). */
export interface Leaf extends Base {
  readonly op: "leaf";
  readonly role: "input" | "param" | "state" | "bound";
  /** "" for inputs until a program names them; the path for params and state. */
  readonly name: string;
  readonly param?: ParamInfo;
}
export interface ParamInfo {
  /** Axes a weight maps from and to (Muon's in and out). A gain has none. */
  readonly from: readonly string[];
  readonly to: readonly string[];
  /** Normal with this standard deviation, or filled with one value. */
  readonly init: { readonly std: number } | { readonly fill: number };
  /** Axes added by `repeat` (a layer axis), outermost first. */
  readonly stacked: readonly string[];
}
export interface Constant extends Base {
  readonly op: "constant";
  readonly value: number | boolean;
}
/** result[i] = body(args aligned by axis name, i, sizes) over the union of the args' axes and `axes`. */
export interface MapNode extends Base {
  readonly op: "map";
  readonly names: readonly string[];
  readonly args: readonly Node[];
  readonly body: Body;
}
/** result[o] = x[index(o)], 0 where that is outside x. Axes of x that `index` does not name pass through. */
export interface ViewNode extends Base {
  readonly op: "view";
  readonly args: readonly [Node];
  readonly fresh: Shape;
  readonly index: IndexBody;
  /** The axes of x that `index` names. */
  readonly reads: readonly string[];
}
/** result = x with each axis in `along` replaced by the i32 tensor args[1 + k]; out of range reads 0. */
export interface AtNode extends Base {
  readonly op: "at";
  readonly args: readonly [Node, ...Node[]];
  readonly along: readonly string[];
}
/** One component (`field`) of the fold over the named axes; nodes that differ in `field` alone are one fold. `args` is
 *  one node per component, in the order of `monoid.empty`'s keys; a component keeps its own axes, less `over`. */
export interface FoldNode extends Base {
  readonly op: "fold";
  readonly args: readonly Node[];
  readonly monoid: MonoidBody;
  readonly over: readonly string[];
  readonly field: string;
}
/** The prefix form along one axis: inclusive, or exclusive (first element is `empty`); `reverse` runs from the end. */
export interface ScanNode extends Base {
  readonly op: "scan";
  readonly args: readonly Node[];
  readonly monoid: MonoidBody;
  readonly over: string;
  readonly exclusive: boolean;
  readonly reverse: boolean;
  readonly field: string;
}
/** The k greatest along `over` in descending order, ties to the lower index. `chosen` keeps the axis and is bool. */
export interface TopNode extends Base {
  readonly op: "top";
  readonly args: readonly [Node];
  readonly over: string;
  readonly slot: string;
  readonly k: number;
  readonly field: "value" | "index" | "chosen";
}
/** Counter-based numbers: a function of (key, the numbers in args, the element's row-major index). args are scalar
 *  i32 nodes that extend the key (layer, step, micro-batch, rank). Definition: `random.ts`. */
export interface RandomNode extends Base {
  readonly op: "random";
  readonly args: readonly Node[];
  readonly kind: "uniform" | "normal";
  readonly key: string;
}
export interface CastNode extends Base {
  readonly op: "cast";
  readonly args: readonly [Node];
}
export interface StopNode extends Base {
  readonly op: "stop";
  readonly args: readonly [Node];
}
/** `inputs` are the tensors that the enclosing model was applied to: where a derivation of rates stops. */
export interface LabelNode extends Base {
  readonly op: "label";
  readonly args: readonly [Node];
  readonly name: string;
  readonly path: string;
  readonly inputs: readonly Node[];
}
/** d loss / d at, expanded by the compiler. `at` is any node below loss. args = [loss, at]. */
export interface GradNode extends Base {
  readonly op: "grad";
  readonly args: readonly [Node, Node];
}
/** How a factor of a rate is derived: the norm and how the paths to one logit combine; the least value (at least 0) that
 *  any norm of a parameter is taken for; whether what has no bound passes as a map of norm 1. */
export interface RateRule {
  readonly norm: "frobenius" | "spectral";
  readonly combine: "max" | "sum";
  readonly floor: number;
  readonly heuristic: boolean;
}
/** The factor f(W) of docs/quack.md for the weight args[0], from the logit expressions args[1..]; expanded by the compiler. Its
 *  axes are those of the weight that separate rates. */
export interface RateNode extends Base, RateRule {
  readonly op: "rate";
  readonly args: readonly [Node, ...Node[]];
}
/** What an argument of a bound node is. Each weight is followed by what is known of it. */
export type BoundRole =
  | "weight"
  /** The greatest norm that the weight's change can have, or the change itself. */
  | "move"
  | "change"
  /** QuacK's factor at the first step and now, and the norm D of a step at rate 1. */
  | "start"
  | "factor"
  | "step"
  /** For all weights: τη, and the greatest norm of the inputs. */
  | "rate"
  | "size"
  /** One of the inputs that the label names, as it is seen outside the loops. */
  | "input";
/** Of the logits args[0] (docs/quack.md, "Certificate and budget"): how far a step can move them (certificate, budget), or the
 *  greatest norm of their model's inputs. `roles` are those of args[1..]. Expanded by the compiler. */
export interface BoundNode extends Base {
  readonly op: "bound";
  readonly args: readonly [Node, ...Node[]];
  readonly what: "certificate" | "budget" | "inputs";
  readonly roles: readonly BoundRole[];
  readonly norm: "frobenius" | "spectral";
  readonly combine: "max" | "sum";
}
/** The loop's final carry number `index`. args = loop.init then loop.xs. */
export interface CarryNode extends Base {
  readonly op: "carry";
  readonly args: readonly Node[];
  readonly loop: Loop;
  readonly index: number;
}
/** The value that body node `of` has in every iteration, stacked on `loop.axis` (first axis). args as for carry. */
export interface EmitNode extends Base {
  readonly op: "emit";
  readonly args: readonly Node[];
  readonly loop: Loop;
  readonly of: Node;
}

export type Node =
  | Leaf
  | Constant
  | MapNode
  | ViewNode
  | AtNode
  | FoldNode
  | ScanNode
  | TopNode
  | RandomNode
  | CastNode
  | StopNode
  | LabelNode
  | GradNode
  | RateNode
  | BoundNode
  | CarryNode
  | EmitNode;
export type Op = Node["op"];

/** `count` iterations (program size does not grow with it). The body is a graph over the placeholders and any outer
 *  nodes (captured as they stand). An iteration i reads carry, slices[k] = xs[k] at loop.axis = i, counter = i
 *  (from count−1 down if `reverse`), and gives `next`, the carry of the following one. */
export interface Loop {
  readonly id: number;
  readonly axis: string;
  readonly count: number;
  readonly reverse: boolean;
  readonly init: readonly Node[];
  readonly xs: readonly Node[];
  readonly carry: readonly Leaf[];
  readonly slices: readonly Leaf[];
  readonly counter: Leaf;
  readonly next: readonly Node[];
}

/** The nodes this one is computed from, a loop's body apart. */
export const argsOf = (n: Node): readonly Node[] => ("args" in n ? n.args : []);

/** Is the parameter a linear map, or a vector of one side, by its declaration? Gains and tables are neither. */
export const isMatrix = (w: Leaf | null): w is Leaf & { readonly param: ParamInfo } =>
  w?.param !== undefined && w.param.from.length + w.param.to.length > 0;
