// Cases, and the judgement on them. A case is a few inputs with their values and a few named outputs. Many cases make one
// compiled program, for compiling costs far more than running; where that fails, each is judged alone.
//
// The bar is that of `mallard check` (runtime/check/bar.ts). A handful of elements may have no error by luck: theirs is
// the greatest of several roundings.
import { plain } from "../../compiler/graph/plain.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import type { Leaf, Node, UpTo } from "../../dsl/node.js";
import type { DeviceOptions } from "../../index.js";
import { judged } from "../../runtime/check/bar.js";
import type { HostArray } from "../../runtime/device.js";
import { evaluate } from "../../runtime/devices/js/oracle.js";
import type { Session } from "../../runtime/session.js";
import { right } from "../graph/harness.js";
import { open, type TargetName } from "./targets.js";

export interface Case {
  readonly name: string;
  readonly inputs: ReadonlyMap<Leaf, Float64Array>;
  readonly outputs: Readonly<Record<string, Node>>;
  /** Held to the bar of gradients. */
  readonly gradients: Readonly<Record<string, Node>>;
  readonly extents: ReadonlyMap<UpTo, number>;
  /** Tensors of fewer elements have the plain evaluation sampled in several roundings (plain.ts); 32 unless said. */
  readonly few?: number;
}
export interface Fault {
  readonly case: Case;
  readonly output: string;
  readonly message: string;
}
interface Reference {
  readonly exact: readonly Float64Array[];
  /** By output: one array for each rounding. */
  readonly plain: readonly (readonly Float64Array[])[];
}
const SALTS = [1, 2, 3];
const rootsOf = (c: Case): readonly Node[] => [...Object.values(c.outputs), ...Object.values(c.gradients)];

const references = new WeakMap<Case, Reference>();
/** The oracle's values, and the plain f32 evaluation's. */
export function reference(c: Case): Reference {
  const known = references.get(c);
  if (known) return known;
  const g = right(runGraphPasses(rootsOf(c), { last: "grad", capture: { folder: null } }));
  const exact = evaluate(g.roots, c.inputs, c.extents, g.originals);
  const nearest = evaluate(plain(g.roots), c.inputs, c.extents);
  const few = [...exact.keys()].filter((k) => (exact[k] as Float64Array).length < (c.few ?? 32));
  const others =
    few.length === 0
      ? []
      : SALTS.map((salt) =>
          evaluate(
            plain(
              few.map((k) => g.roots[k] as Node),
              salt,
            ),
            c.inputs,
            c.extents,
          ),
        );
  const made = { exact, plain: nearest.map((x, k) => [x, ...others.flatMap((o) => (few.includes(k) ? [o[few.indexOf(k)] as Float64Array] : []))]) };
  references.set(c, made);
  return made;
}

/** What one target gives for each case: its outputs, then its gradients. */
export const run = async (cases: readonly Case[], target: TargetName, o: DeviceOptions = {}): Promise<readonly (readonly HostArray[])[]> =>
  runIn(await open(target, o), cases);
/** The same in a session that is freed at the end. */
export async function runIn(session: Session, cases: readonly Case[]): Promise<readonly (readonly HostArray[])[]> {
  try {
    const inputs: Record<string, Leaf> = {};
    const data: Record<string, ArrayLike<number>> = {};
    const outputs: Record<string, Node> = {};
    const extents: Record<string, number> = {};
    cases.forEach((c, i) => {
      [...c.inputs].forEach(([leaf, values], k) => {
        if (leaf.role !== "input") return;
        inputs[`c${i}_x${k}`] = leaf;
        data[`c${i}_x${k}`] = values;
      });
      rootsOf(c).forEach((n, k) => {
        outputs[`c${i}_y${k}`] = n;
      });
      for (const [e, n] of c.extents) extents[e.name] = n;
    });
    const program = await session.program({ name: "laws", inputs, outputs });
    await session.hold(cases.flatMap((c) => [...c.inputs.keys()].filter((leaf) => leaf.role !== "input")));
    for (const c of cases) for (const [leaf, values] of c.inputs) if (leaf.role !== "input") await session.write(leaf.name, values);
    const got = await program.run(data, extents);
    return cases.map((c, i) => rootsOf(c).map((_, k) => got[`c${i}_y${k}`] as HostArray));
  } finally {
    session[Symbol.dispose]();
  }
}

export const difference = (...given: Parameters<typeof judged>): string | null => judged(...given).fault;
export function faultsOf(c: Case, all: readonly HostArray[]): readonly Fault[] {
  const { exact, plain: plainly } = reference(c);
  const first = Object.keys(c.outputs).length;
  const names = [...Object.keys(c.outputs), ...Object.keys(c.gradients).map((g) => `gradient of ${g}`)];
  return rootsOf(c).flatMap((n, k) => {
    const message = difference(n.dtype, all[k] as HostArray, exact[k] as Float64Array, plainly[k] as readonly Float64Array[], k < first ? 2 : 3);
    return message ? [{ case: c, output: names[k] as string, message }] : [];
  });
}

/** Every fault of these cases on a target. */
export async function judge(cases: readonly Case[], target: TargetName, o: DeviceOptions = {}): Promise<readonly Fault[]> {
  let got: readonly (readonly HostArray[])[];
  try {
    got = await run(cases, target, o);
  } catch (e) {
    if (cases.length > 1) {
      const out: Fault[] = [];
      for (const c of cases) out.push(...(await judge([c], target, o)));
      // Each compiles alone: then it is their company that fails.
      if (out.length > 0) return out;
    }
    const message = e instanceof Error ? (e.stack ?? e.message) : String(e);
    return [{ case: cases[0] as Case, output: "(compilation or run)", message: message.slice(0, 1500) }];
  }
  return cases.flatMap((c, i) => faultsOf(c, got[i] as readonly HostArray[]));
}
export const show = (faults: readonly Fault[], at = 12): string =>
  [
    ...faults.slice(0, at).map((f) => `${f.case.name} · ${f.output}: ${f.message}`),
    ...(faults.length > at ? [`… and ${faults.length - at} more`] : []),
  ].join("\n");
