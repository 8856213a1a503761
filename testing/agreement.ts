// The properties that `toHaveRightGradient` and `toAgreeOnTargets` check, at sizes and values that fast-check draws: the
// gradients of every output with respect to every input of floats against central differences in f64; and every output and
// gradient on compiled devices against the f64 oracle, within the bar that the targets themselves are held to.
import * as fc from "fast-check";
import {
  ArgumentError,
  type Checked,
  Checker,
  CompileError,
  DeviceError,
  type DeviceName,
  type DeviceOptions,
  type ExtentsByName,
  halvesOf,
  openSession,
  type Range,
  randomNumbers,
  type Session,
} from "../index.js";
import type { Shape } from "./bounded.js";
import { expressionOf, needsSizes, type Variant } from "./expressions.js";

export interface DrawOptions<S extends Shape = Shape> {
  /** Sizes for a variant that is a function of them, or for a formula's axes (4 each unless said). */
  readonly shapes?: fc.Arbitrary<S>;
  /** Draws: 3 unless said; each compiles an expression of its own sizes. */
  readonly runs?: number;
  readonly seed?: number;
  readonly path?: string;
  /** Values of inputs: −1.5 … 1.5 unless said; integers from 0. */
  readonly ranges?: Readonly<Record<string, Range>>;
  /** The greatest integer of inputs without a range: 3 unless said. */
  readonly whole?: number;
}
export interface GradientOptions<S extends Shape = Shape> extends DrawOptions<S> {
  /** Single elements of each input that are tried beside a random direction: 6 unless said. */
  readonly elements?: number;
}
export interface TargetOptions<S extends Shape = Shape> extends DrawOptions<S>, DeviceOptions {
  /** All that this machine has, unless said. */
  readonly devices?: readonly DeviceName[];
}
/** null: it holds. */
export type Fault = { readonly message: string } | null;
interface Draw<S> {
  readonly sizes: S;
  readonly seed: number;
}

/** Finite differences against the derivative. */
export async function rightGradient<S extends Shape>(variant: Variant<S>, o: GradientOptions<S> = {}): Promise<Fault> {
  const session = await opened("js", {});
  try {
    return await smallest(variant, o, "its gradient is not the derivative", async (d) => {
      using checker = await Checker.open(session, halvesOf(expressionOf(variant, d.sizes)), d.seed);
      const random = randomNumbers(d.seed + 1);
      const at = greatest(checker);
      const values = checker.draw(random, at, o.whole ?? 3, o.ranges);
      const found = worst(checker.differences(values, at, random, o.elements ?? 6));
      return found ? `with respect to ${found.name}: ${found.fault}` : null;
    });
  } finally {
    session[Symbol.dispose]();
  }
}

/** Compiled devices against the f64 oracle. */
export async function agreement<S extends Shape>(variant: Variant<S>, o: TargetOptions<S> = {}): Promise<Fault> {
  const { devices, shapes: _, runs: __, seed: ___, path: ____, ranges, whole = 3, ...how } = o;
  const sessions: (readonly [DeviceName, Session])[] = [];
  try {
    for (const name of devices ?? (["native", "gpujs"] as const)) {
      const s = await openSession(name, how);
      if (s._tag === "Right") sessions.push([name, s.right]);
      else if (devices) throw s.left;
    }
    if (sessions.length === 0)
      throw new DeviceError({ kind: "BadOption", option: "devices", value: "none", expected: "a device of this machine: see mallard doctor" });
    return await smallest(variant, o, "a target does not agree with the f64 oracle", async (d) => {
      const halves = halvesOf(expressionOf(variant, d.sizes));
      for (const [device, session] of sessions) {
        using checker = await Checker.open(session, halves, d.seed).catch((e: unknown): never => {
          if (e instanceof CompileError || e instanceof DeviceError) e.message = `${device}: ${e.message}`;
          throw e;
        });
        const at = greatest(checker);
        const values = checker.draw(randomNumbers(d.seed + 1), at, whole, ranges);
        const found = worst((await checker.compare(values, at)).checked);
        if (found) return `${device}, ${found.name}: ${found.fault}`;
      }
      return null;
    });
  } finally {
    for (const [, s] of sessions) s[Symbol.dispose]();
  }
}

async function opened(device: DeviceName, o: DeviceOptions): Promise<Session> {
  const s = await openSession(device, o);
  if (s._tag === "Left") throw s.left;
  return s.right;
}
const greatest = (c: Checker): ExtentsByName => Object.fromEntries(c.extents.map((e) => [e.name, e.max]));
const worst = (all: readonly Checked[]): Checked | undefined =>
  all.filter((c) => c.fault !== null).reduce<Checked | undefined>((w, c) => (!w || c.error / c.allowed > w.error / w.allowed ? c : w), undefined);

/** Draws sizes and seeds; of those for which `fault` gives a text, the smallest that fast-check finds. What is thrown,
 *  an expression that does not compile for example, is thrown. */
async function smallest<S extends Shape>(
  variant: Variant<S>,
  o: DrawOptions<S>,
  what: string,
  fault: (d: Draw<S>) => Promise<string | null>,
): Promise<Fault> {
  const { runs = 3, seed = Math.floor(Math.random() * 2 ** 31) } = o;
  if (needsSizes(variant) && !o.shapes)
    throw new ArgumentError(
      "the variant is a function of sizes, which are not given",
      "{ shapes: shapes({ query: [1, 5], key: [1, 5], dim: [1, 4] }) }",
    );
  const sizes: fc.Arbitrary<S> = o.shapes ?? fc.constant({} as S); // none are needed
  let thrown: { readonly error: unknown } | null = null;
  const found = await fc.check(
    fc.asyncProperty(fc.record({ sizes, seed: fc.nat({ max: 2 ** 20 }) }), async (d) => {
      if (thrown) return true;
      try {
        return (await fault(d)) === null;
      } catch (error) {
        thrown = { error };
        return true;
      }
    }),
    { seed, numRuns: runs, ...(o.path === undefined ? {} : { path: o.path }) },
  );
  if (thrown) throw (thrown as { readonly error: unknown }).error;
  const d = found.counterexample?.[0];
  if (!found.failed || !d) return null;
  const text = Object.entries(d.sizes)
    .map(([a, n]) => `${a} ${n}`)
    .join(", ");
  return {
    message: [
      what,
      `  ${await fault(d)}`,
      ...(text === "" ? [] : [`  sizes ${text}`]),
      `  to run this case again: { seed: ${seed}, path: "${found.counterexamplePath}" }`,
    ].join("\n"),
  };
}
