// Folds, prefixes and selections as loops inside one thread. The tree depends on the fold's length alone (design.md, Bits):
// chains of 256 terms, whose results are combined in order.
import { type Expr, extentVar, maxOf, num, type Type } from "../../lower/expr.js";
import type { Axis, Monoid } from "../../lower/nest.js";
import { limits } from "./limits.js";
import type { Value, Writer } from "./writer.js";

/** The loops of these axes around `body`, outermost first. */
export function loops(w: Writer, axes: readonly Axis[], body: () => void): void {
  const [axis, ...rest] = axes;
  if (!axis) {
    body();
    return;
  }
  const bound = w.write(extentVar(axis.extent)).text;
  w.loop(bound, (index) => {
    w.define(`v:${axis.v}`, { type: "int", text: index });
    loops(w, rest, body);
  });
}

/** An accumulator for each component. An integer one that starts at ±∞ (a minimum, say) is held as a real. */
interface Accumulator {
  readonly monoid: Monoid;
  readonly types: readonly Type[];
  readonly values: readonly Value[];
  readonly empty: readonly Value[];
}
function start(w: Writer, monoid: Monoid): Accumulator {
  const types = monoid.combine.map((e, c) => (e.type === "int" && !Number.isInteger(monoid.empty[c]) ? "real" : e.type));
  const empty = types.map((type, c) => w.write(num(monoid.empty[c] as number, type)));
  return { monoid, types, empty, values: empty.map((v) => w.copy(v)) };
}
function reset(w: Writer, a: Accumulator): void {
  for (const [c, v] of a.values.entries()) w.line(`${v.text} = ${(a.empty[c] as Value).text};`);
}

/** a := a ∘ y. All components are computed before the first is assigned. */
function combine(w: Writer, a: Accumulator, y: readonly Value[]): void {
  w.block(() => {
    a.monoid.names.forEach((name, c) => {
      w.define(`l:x.${name}`, a.values[c] as Value);
      w.define(`l:y.${name}`, w.convert(y[c] as Value, a.types[c] as Type));
    });
    const results = a.monoid.combine.map((e, c) => w.convert(w.write(e), a.types[c] as Type));
    const held = new Set(a.values.map((v) => v.text));
    const safe = results.map((r) => (held.has(r.text) ? w.copy(r) : r));
    for (const [c, r] of safe.entries()) w.line(`${(a.values[c] as Value).text} = ${r.text};`);
  });
}

export function fold(w: Writer, over: readonly Axis[], monoid: Monoid, elements: readonly Expr[]): readonly Value[] {
  const whole = start(w, monoid);
  const next = (into: Accumulator) =>
    combine(
      w,
      into,
      elements.map((e) => w.write(e)),
    );
  if (over.reduce((n, a) => n * maxOf(a.extent), 1) <= limits.foldChunk) {
    loops(w, over, () => next(whole));
    return whole.values;
  }
  const chunk = start(w, monoid);
  const count = w.int("0");
  loops(w, over, () => {
    next(chunk);
    w.line(`${count} = ${count} + 1;`);
    w.nested(`if (${count} === ${limits.foldChunk})`, () => {
      combine(w, whole, chunk.values);
      reset(w, chunk);
      w.line(`${count} = 0;`);
    });
  });
  w.nested(`if (${count} > 0)`, () => combine(w, whole, chunk.values));
  return whole.values;
}

/** What a prefix is over: `position` counts from the end that the scan starts at. */
export interface Prefix {
  readonly over: Axis;
  readonly monoid: Monoid;
  readonly elements: readonly Expr[];
  readonly reverse: boolean;
}
/** Folds `count` elements from position `from` on into a fresh accumulator. */
function run(w: Writer, p: Prefix, from: string, count: string): Accumulator {
  const a = start(w, p.monoid);
  const n = w.convert(w.write(extentVar(p.over.extent)), "int").text;
  w.loop(count, (k) => {
    const at = w.int(`${from} + ${k}`);
    w.define(`v:${p.over.v}`, { type: "int", text: p.reverse ? w.int(`${n} - 1 - ${at}`) : at });
    combine(
      w,
      a,
      p.elements.map((e) => w.write(e)),
    );
  });
  return a;
}

/** One component of the fold over chunk number `chunk`. */
export function chunkTotal(w: Writer, p: Prefix, chunk: Value, component: number): Value {
  const from = w.int(`${chunk.text} * ${limits.foldChunk}`);
  const n = w.write(extentVar(p.over.extent)).text;
  const left = w.int(`${n} - ${from}`);
  const count = w.int(`${left} < ${limits.foldChunk} ? ${left} : ${limits.foldChunk}`);
  return run(w, p, from, count).values[component] as Value;
}

/** The prefix at index `at`. `total` reads a component of a whole chunk's fold, where the axis has more than one. */
export function prefix(w: Writer, p: Prefix, at: Value, exclusive: boolean, total: ((chunk: Value, c: number) => Value) | null): readonly Value[] {
  const n = w.write(extentVar(p.over.extent)).text;
  const position = p.reverse ? w.int(`${n} - 1 - ${at.text}`) : at.text;
  const end = exclusive ? position : w.int(`${position} + 1`);
  if (!total) return run(w, p, w.int("0"), end).values;
  const whole = start(w, p.monoid);
  const chunks = w.int(`${w.dialect.quotient(end, String(limits.foldChunk))}`);
  w.loop(chunks, (k) => {
    const chunk: Value = { type: "int", text: k };
    combine(
      w,
      whole,
      p.monoid.names.map((_, c) => total(chunk, c)),
    );
  });
  const from = w.int(`${chunks} * ${limits.foldChunk}`);
  const rest = w.int(`${end} - ${from}`);
  const last = run(w, p, from, rest);
  w.nested(`if (${rest} > 0)`, () => combine(w, whole, last.values));
  return whole.values;
}

/** The index of the element with `slot` greater ones before it, ties to the lower index; NaN counts as −∞. −1: there are not so many. */
export function selected(w: Writer, over: Axis, element: Expr, slot: Value): Value {
  const last = w.copy({ type: "real", text: w.constant(Number.POSITIVE_INFINITY) }).text;
  const lastAt = w.int("-1");
  const lowest = w.constant(Number.NEGATIVE_INFINITY);
  const n = w.write(extentVar(over.extent)).text;
  w.loop(w.int(`${slot.text} + 1`), () => {
    const best = w.copy({ type: "real", text: lowest }).text;
    const bestAt = w.int("-1");
    w.loop(n, (j) => {
      w.define(`v:${over.v}`, { type: "int", text: j });
      const x = w.convert(w.write(element), "real").text;
      const key = w.real(`${w.dialect.isNumber(x)} ? ${x} : ${lowest}`);
      const after = w.truth(`${key} < ${last} || ${key} === ${last} && ${j} > ${lastAt}`);
      const better = w.truth(`${bestAt} < 0 || ${key} > ${best}`);
      const take = w.truth(`${after} !== 0 && ${better} !== 0`);
      w.line(`${best} = ${take} !== 0 ? ${key} : ${best};`);
      w.line(`${bestAt} = ${take} !== 0 ? ${j} : ${bestAt};`);
    });
    // Once the elements are used up, none comes after the last.
    const end = w.int(`${n} + 0`);
    w.line(`${last} = ${best};`);
    w.line(`${lastAt} = ${bestAt} < 0 ? ${end} : ${bestAt};`);
  });
  const none = w.int("-1");
  return { type: "int", text: w.int(`${lastAt} < ${n} ? ${lastAt} : ${none}`) };
}
