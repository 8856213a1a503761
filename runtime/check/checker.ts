// Checks an expression and its gradients on a device: every output against the f64 oracle, which executes the author's own
// functions, within the bar that the targets are held to; and the gradients themselves against central differences, on the
// oracle, so that a wrong derivative rule is told from wrong kernels.
import { isLeft } from "fp-ts/lib/Either.js";
import { plain } from "../../compiler/graph/plain.js";
import { type Graph, runGraphPasses } from "../../compiler/pipeline.js";
import type { Leaf, Node, UpTo } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { CompileError } from "../backend.js";
import { evaluate } from "../devices/js/oracle.js";
import type { Halves } from "../halves.js";
import { inputLeaves } from "../program.js";
import type { Session, SessionProgram } from "../session.js";
import { judged, TIMES } from "./bar.js";
import { coordinates, drawn, type ExtentsByName, type Range } from "./values.js";

export interface Checked {
  /** An output, or an input whose gradient it is. */
  readonly name: string;
  readonly error: number;
  readonly allowed: number;
  /** null: within the bar. */
  readonly fault: string | null;
}
export interface Comparison {
  readonly checked: readonly Checked[];
  /** Outputs whose reference holds NaN: that they agree says little. */
  readonly undefinedIn: readonly string[];
}
interface Named {
  readonly name: string;
  readonly node: Node;
  readonly gradientOf: string | null;
}
export type Values = ReadonlyMap<Leaf, Float64Array>;

/** Where a tensor is outside the bar, the plain evaluation is made in other roundings too, one by one, while that does not
 *  suffice: by luck, or where terms cancel exactly, one evaluation may have no error at all. */
const ROUNDINGS = 12;
/** Steps of central differences: a kink or a jump within one is seldom within another. */
const STEPS = [1e-5, 1e-6, 1e-4];

export class Checker {
  readonly #named: readonly Named[];
  /** The greatest magnitude of each output's reference so far. */
  readonly #usual = new Map<string, number>();
  private constructor(
    readonly halves: Halves,
    readonly leaves: Readonly<Record<string, Leaf>>,
    readonly program: SessionProgram,
    readonly parameters: Values,
    readonly graph: Graph,
    readonly forward: Graph,
  ) {
    const inputOf = new Map(Object.entries(halves.gradients).map(([input, output]) => [output, input]));
    this.#named = flatten(halves.both.out).map(({ path, node }) => ({ name: path, node, gradientOf: inputOf.get(path) ?? null }));
  }

  /** Compiles the expression and its gradients. Throws what is wrong with it, and what is wrong with the device. */
  static async open(session: Session, halves: Halves, seed = 0): Promise<Checker> {
    const leaves = inputLeaves(halves.both.inputs);
    const found = flatten(halves.both.out);
    const graph = expanded(found.map(({ node }) => node));
    const forward = expanded(found.slice(0, halves.outputs.length).map(({ node }) => node));
    const program = await session.program({
      name: "check",
      inputs: leaves,
      outputs: Object.fromEntries(found.map(({ path, node }) => [path, node])),
    });
    const parameters = new Map<Leaf, Float64Array>();
    await session.initialise(
      program.compiled.state.filter((l) => l.role === "param"),
      seed,
    );
    for (const l of program.compiled.state) parameters.set(l, Float64Array.from(await session.read(l.name)));
    return new Checker(halves, leaves, program, parameters, graph, forward);
  }
  get extents(): readonly UpTo[] {
    return this.program.extents;
  }

  draw(random: () => number, extents: ExtentsByName, whole: number, ranges: Readonly<Record<string, Range>> = {}): Values {
    const values = new Map(this.parameters);
    for (const [name, leaf] of Object.entries(this.leaves)) values.set(leaf, drawn(leaf, random, extents, whole, ranges[name]));
    return values;
  }

  async compare(values: Values, extents: ExtentsByName): Promise<Comparison> {
    const data = Object.fromEntries(Object.entries(this.leaves).map(([name, leaf]) => [name, valuesOf(values, leaf)]));
    const got = await this.program.run(data, extents);
    const exact = this.#evaluate(this.graph.roots, values, extents, this.graph);
    const plainly = this.#evaluate(plain(this.graph.roots), values, extents).map((x) => [x]);
    for (const [k, { name }] of this.#named.entries())
      this.#usual.set(
        name,
        (exact[k] as Float64Array).reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), this.#usual.get(name) ?? 0),
      );
    const judge = ({ name, node, gradientOf }: Named, k: number): Checked => {
      const times = gradientOf === null ? TIMES.output : TIMES.gradient;
      const result = judged(
        node.dtype,
        got[name] ?? [],
        exact[k] as Float64Array,
        plainly[k] as readonly Float64Array[],
        times,
        this.#usual.get(name),
      );
      const where = result.at < 0 ? "" : `at ${coordinates(node.axes, extents, result.at)}: `;
      return { name, error: result.error, allowed: result.allowed, fault: result.fault && where + result.fault };
    };
    const checked = this.#named.map(judge);
    for (let salt = 1; salt <= ROUNDINGS; salt++) {
      const outside = [...checked.keys()].filter((k) => checked[k]?.fault !== null);
      if (outside.length === 0) break;
      const again = plain(
        outside.map((k) => this.graph.roots[k] as Node),
        salt,
      );
      for (const [i, x] of this.#evaluate(again, values, extents).entries()) {
        const k = outside[i] as number;
        plainly[k]?.push(x);
        checked[k] = judge(this.#named[k] as Named, k);
      }
    }
    return { checked, undefinedIn: this.#named.flatMap(({ name }, k) => ((exact[k] as Float64Array).some(Number.isNaN) ? [name] : [])) };
  }

  /** d(Σ output·cotangent) along a random direction, and along single elements, of each input of floats. An input is left
   *  out where it has no elements, or where the loss is no number. */
  differences(values: Values, extents: ExtentsByName, random: () => number, elements: number): readonly Checked[] {
    const all = this.#evaluate(this.graph.roots, values, extents, this.graph);
    const gradients = new Map(this.#named.map(({ name }, k) => [name, all[k] as Float64Array]));
    const env = new Map([...values].map(([leaf, data]) => [leaf, data.slice()]));
    const weights = this.halves.outputs.map((output) => {
      const name = this.halves.cotangents[output];
      return name === undefined ? null : valuesOf(values, this.leaves[name] as Leaf);
    });
    const loss = (): number => {
      const outputs = this.#evaluate(this.forward.roots, env, extents, this.forward);
      return outputs.reduce((total, x, k) => total + x.reduce((s, v, i) => s + v * (weights[k]?.[i] ?? 0), 0), 0);
    };
    const at = loss();
    if (!Number.isFinite(at)) return [];
    return Object.entries(this.halves.gradients).flatMap(([name, output]) => {
      const leaf = this.leaves[name] as Leaf;
      const data = env.get(leaf) as Float64Array;
      const gradient = gradients.get(output) as Float64Array;
      if (data.length === 0) return [];
      const scale = gradient.reduce((m, g) => Math.max(m, Math.abs(g)), 1e-3 * Math.abs(at)) + 1e-3;
      const directions = [
        Float64Array.from(data, () => (random() < 0.5 ? -1 : 1) / Math.sqrt(data.length)),
        ...Array.from({ length: Math.min(elements, data.length) }, () => {
          const one = new Float64Array(data.length);
          one[Math.floor(random() * data.length)] = 1;
          return one;
        }),
      ];
      const found = directions.map((d) => {
        const derived = gradient.reduce((s, g, i) => s + g * (d[i] as number), 0);
        const [slope, error, allowed] = slopeNear(derived, d, data, loss, scale);
        const at = d.indexOf(1);
        const where = at < 0 || data.length === 1 ? "" : ` at ${coordinates(leaf.axes, extents, at)}`;
        const fault = error <= allowed ? null : `the gradient${where} is ${derived}, by differences ${slope}`;
        return { name, error, allowed, fault };
      });
      // One line an input: the worst against what is allowed.
      return [found.reduce((worst, f) => (!(f.error / f.allowed <= worst.error / worst.allowed) ? f : worst))];
    });
  }

  #evaluate(roots: readonly Node[], values: Values, extents: ExtentsByName, graph?: Graph): readonly Float64Array[] {
    const sizes = new Map(this.extents.map((e) => [e, extents[e.name] ?? e.max]));
    return evaluate(roots, values, sizes, graph?.originals);
  }

  [Symbol.dispose](): void {
    this.program[Symbol.dispose]();
  }
}

function expanded(roots: readonly Node[]): Graph {
  const graph = runGraphPasses(roots, { last: "grad" });
  if (isLeft(graph)) throw new CompileError(graph.left);
  return graph.right;
}
const valuesOf = (values: Values, leaf: Leaf): Float64Array => values.get(leaf) ?? new Float64Array(0);

/** The slope of the loss along d that is nearest to the derived one among a few steps: its value, its distance, and what
 *  of that its own error explains. Two steps each: Richardson's value, and their difference as its error. */
function slopeNear(
  derived: number,
  d: Float64Array,
  data: Float64Array,
  loss: () => number,
  scale: number,
): readonly [slope: number, error: number, allowed: number] {
  const was = data.slice();
  const along = (step: number): number => {
    for (let i = 0; i < data.length; i++) data[i] = (was[i] as number) + step * (d[i] as number);
    return loss();
  };
  const quotient = (step: number) => (along(step) - along(-step)) / (2 * step);
  let best: readonly [number, number, number] = [Number.NaN, Number.POSITIVE_INFINITY, 0];
  for (const step of STEPS) {
    const [whole, half] = [quotient(step), quotient(step / 2)];
    const slope = (4 * half - whole) / 3;
    const error = Math.abs(slope - derived);
    const allowed = 1e-6 * scale + Math.min(Math.abs(half - whole), 1e-2 * scale);
    if (error <= allowed || error < best[1]) best = [slope, error, allowed];
    if (error <= allowed) break;
  }
  data.set(was);
  return best;
}
