// Which axes of a parameter separate rates, and how: those that lead, under whatever names and cuts, to axes that the
// logits keep. A factor of a path knows the index along each of its parameter's axes by the indices of the tensor that the
// path sees (`origin`); here that is turned round, from the parameter's indices to those of what a bound is computed for.
//
//   renamed    origin[head] = [h]                    [h] = [head]
//   split      origin[head] = [group]·2 + [member]   [group] = ⌊[head]/2⌋, [member] = [head] mod 2
//   merged     origin[group] = ⌊[head]/2⌋, origin[member] = [head] mod 2      [head] = [group]·2 + [member]
//   picked     origin[layer] = 3                     only index 3 is bound
//
// An axis part of which is summed over separates nothing: a rate holds for slices that are whole.
import { broadcast, lift, ordered, zero } from "../../dsl/derivative/terms.js";
import type { Node, Shape } from "../../dsl/node.js";
import { arg, call, constant, index, type Scalar, terms } from "../../dsl/scalar.js";
import { joinedIndex, partIndices, viewBy } from "../../dsl/view.js";
import { maxOver } from "./norms.js";
import type { Factor } from "./path.js";

export interface Separation {
  /** The index along an axis of the factor's tensor, by the parameter's. */
  readonly at: ReadonlyMap<string, Scalar>;
  /** The parameter's axes that separate rates here. */
  readonly axes: readonly string[];
  /** Those of them of which one index was taken. */
  readonly picked: ReadonlyMap<string, number>;
}

export function separation(f: Factor): Separation {
  const at = new Map<string, Scalar>();
  const axes: string[] = [];
  const picked = new Map<string, number>();
  const digits = new Map<string, (Digit & { readonly own: string })[]>();
  const size = (a: string): number | null => {
    const e = f.tensor.axes[a];
    return typeof e === "number" ? e : null;
  };
  for (const [own, t] of f.origin) {
    const extent = f.weight?.axes[own];
    if (t.kind === "const") {
      picked.set(own, Number(t.value));
      axes.push(own);
      continue;
    }
    const parts = mixedRadix(t, size);
    if (parts?.every(([a]) => !f.sums.has(a)) && parts.reduce((p, [, e]) => p * e, 1) === extent) {
      for (const [a, s] of Object.entries(partIndices(parts, index(own)))) at.set(a, s);
      axes.push(own);
      continue;
    }
    const digit = digitOf(t);
    if (digit && !f.sums.has(digit.of)) digits.set(digit.of, [...(digits.get(digit.of) ?? []), { ...digit, own }]);
  }
  for (const [a, parts] of digits) {
    const sorted = parts.sort((x, y) => y.stride - x.stride);
    const sizes = sorted.map(({ own }) => [own, Number(f.weight?.axes[own])] as const);
    const fits = sorted.every((d, i) => d.stride === sizes.slice(i + 1).reduce((p, [, e]) => p * e, 1) && (i === 0 || d.modulo === sizes[i]?.[1]));
    if (!fits || sizes.reduce((p, [, e]) => p * e, 1) !== size(a)) continue;
    at.set(a, joinedIndex(sizes));
    axes.push(...sizes.map(([own]) => own));
  }
  return { at, axes, picked };
}

type Parts = readonly (readonly [string, number])[];
/** An index made of whole axes, slowest first: a sum of indices times strides, each stride the product of the sizes after it;
 *  or what a division or a remainder leaves of one. Null for any other. */
function mixedRadix(t: Scalar, size: (a: string) => number | null): Parts | null {
  if (t.kind === "call" && t.prim === "floor" && t.args[0]?.kind === "call" && t.args[0].prim === "div") return cut(t.args[0], size)?.[0] ?? null;
  if (t.kind === "call" && t.prim === "mod") return cut(t, size)?.[1] ?? null;
  const strides = new Map<string, number>();
  const open: (readonly [Scalar, number])[] = [[t, 1]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [s, by] = next;
    if (s.kind === "index" && !strides.has(s.axis)) strides.set(s.axis, by);
    else if (s.kind === "call" && s.prim === "add") open.push([s.args[0] as Scalar, by], [s.args[1] as Scalar, by]);
    else if (s.kind === "call" && s.prim === "mul" && s.args[1]?.kind === "const") open.push([s.args[0] as Scalar, by * Number(s.args[1].value)]);
    else return null;
  }
  const sorted = [...strides].sort((a, b) => b[1] - a[1]);
  const out: [string, number][] = [];
  for (const [a] of sorted) {
    const e = size(a);
    if (e === null) return null;
    out.push([a, e]);
  }
  const fits = sorted.every(([, stride], i) => stride === out.slice(i + 1).reduce((p, [, e]) => p * e, 1));
  return fits ? out : null;
}
/** x / k and x mod k, where k is the product of x's last sizes. */
function cut(t: Scalar & { readonly kind: "call" }, size: (a: string) => number | null): readonly [Parts, Parts] | null {
  const [x, k] = t.args as readonly [Scalar, Scalar];
  const whole = mixedRadix(x, size);
  if (!whole || k.kind !== "const") return null;
  for (let n = 0; n <= whole.length; n++)
    if (whole.slice(n).reduce((p, [, e]) => p * e, 1) === Number(k.value)) return [whole.slice(0, n), whole.slice(n)];
  return null;
}
interface Digit {
  readonly of: string;
  readonly stride: number;
  readonly modulo: number | null;
}
/** ⌊[of] / stride⌋ mod modulo. */
function digitOf(t: Scalar): Digit | null {
  if (t.kind === "index") return { of: t.axis, stride: 1, modulo: null };
  if (t.kind !== "call") return null;
  const [a, b] = t.args as readonly [Scalar, Scalar | undefined];
  if (t.prim === "mod" && b?.kind === "const") {
    const inner = digitOf(a);
    return inner && inner.modulo === null ? { ...inner, modulo: Number(b.value) } : null;
  }
  if (t.prim === "floor" && a.kind === "call" && a.prim === "div" && a.args[0]?.kind === "index" && a.args[1]?.kind === "const")
    return { of: a.args[0].axis, stride: Number(a.args[1].value), modulo: null };
  return null;
}

/** A bound that holds for the indices of the factor's tensor, for those of the parameter: the greatest over what they leave open. */
export function placed(bound: Node, s: Separation, axes: Shape): Node {
  const kept = s.axes.filter((a) => a in axes);
  const reads = Object.keys(bound.axes).filter((a) => s.at.has(a) && uses(s, a).every((own) => own in axes));
  let out = maxOver(
    bound,
    Object.keys(bound.axes).filter((a) => !reads.includes(a)),
  );
  if (reads.length > 0) {
    const used = new Set(reads.flatMap((a) => uses(s, a)));
    out = viewBy(
      out,
      Object.fromEntries(Object.entries(axes).filter(([a]) => used.has(a))),
      Object.fromEntries(reads.map((a) => [a, s.at.get(a) as Scalar])),
    );
  }
  for (const [axis, layer] of s.picked)
    if (kept.includes(axis))
      out = lift({ out }, call("select", call("eq", index(axis), constant(layer)), arg("out"), zero), {
        [axis]: axes[axis] as number,
      });
  return ordered(broadcast(out, axes), axes);
}
const uses = (s: Separation, a: string): readonly string[] => terms([s.at.get(a) as Scalar]).flatMap((t) => (t.kind === "index" ? [t.axis] : []));
/** Equal where two factors place their bounds alike. */
export const keyOf = (s: Separation): string => JSON.stringify([[...s.at].map(([a, t]) => [a, t.id]).sort(), [...s.picked].sort()]);
