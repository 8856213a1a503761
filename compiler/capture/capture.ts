// Capture: what a closed arrow function means, as scalar expressions. For each of the places where the language takes a
// function: `map`, an index arrow of `view`, and the combine of a monoid.
//
//   text of the function → syntax (parse.ts with ts-morph; kept by cache.ts) → values (read.ts) → simplified scalars
//
// The function's own text decides, because it is what the oracle executes; the file where the caller wrote it serves
// messages (locate.ts). A function of a bundle has its syntax with it (ahead.ts), read from the author's file when the bundle
// was built. Nothing of a function is guessed: what cannot be read exactly is refused.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import type { Arrow, DType } from "../../dsl/node.js";
import type { Place } from "../../dsl/places.js";
import { arg, index, type Scalar, size } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { aheadOf } from "./ahead.js";
import { type CaptureError, frameAt, functionText, positionOf } from "./error.js";
import { outside } from "./globals.js";
import { type Reading, Refusal, readFunction } from "./read.js";
import { defaultCacheFolder, locate, syntaxOf } from "./source.js";
import type { FunctionSyntax } from "./syntax.js";
import { textOf } from "./text.js";
import { captured, logical, numeric, type RecordValue, record, type ScalarValue, type Value } from "./values.js";

export interface CaptureOptions {
  /** The author's call: messages show the line there. */
  readonly place?: Place | undefined;
  /** Where syntax is kept; null for nowhere. The user's cache folder by default. */
  readonly folder?: string | null;
  /** False: the terms as they were read. */
  readonly simplified?: boolean;
}

/** A map's arrow: (inputs, indices, sizes) => value, called as dsl/arrows.ts says: one input named "" is passed by itself,
 *  and without inputs the arrow is (indices, sizes) => value. */
export interface MapRequest {
  readonly fn: Arrow;
  readonly captured: Readonly<Record<string, number | boolean | Arrow>>;
  /** The field to take of an object result; null for a number or a boolean. */
  readonly field: string | null;
  /** The dtype of each tensor among the inputs, by the name that its `arg` has. A map of one tensor without a name has
   *  one input "", which the arrow's first parameter stands for by itself. With neither inputs nor captured values
   *  (`grid`) the arrow's parameters are the indices and the sizes alone. dsl/arrows.ts, Note [Calling convention]. */
  readonly inputs: Readonly<Record<string, DType>>;
  /** Of the result. */
  readonly axes: readonly string[];
}
/** A view's arrow: (indices of the fresh axes, sizes and constants) => index along each axis that is read. */
export interface IndexRequest {
  readonly fn: Arrow;
  readonly constants: Readonly<Record<string, number>>;
  /** Of the result: those that the view makes. */
  readonly fresh: readonly string[];
  /** Of the tensor that is viewed. */
  readonly axes: readonly string[];
}
/** A monoid's combine: (x, y) => components. Its arguments become `x.COMPONENT` and `y.COMPONENT`. */
export interface MonoidRequest {
  readonly fn: Arrow;
  readonly components: readonly string[];
}
type Scalars = Readonly<Record<string, Scalar>>;

export function captureMap(request: MapRequest, options: CaptureOptions = {}): Either<CaptureError, Scalar> {
  const { fn, field, axes } = request;
  const tensors = Object.entries(request.inputs).map(([name, dtype]) => [name, dtype === "bool" ? logical(arg(name)) : numeric(arg(name))] as const);
  const others = Object.entries(request.captured).map(([name, v]) => [name, captured(v)] as const);
  const [only] = tensors;
  const first = only?.[0] === "" ? only[1] : record("inputs", [...tensors, ...others]);
  const indices = axes.map((a) => [a, numeric(index(a))] as const);
  const sizes = axes.map((a) => [a, numeric(size(a))] as const);
  const where = [record("indices", indices), record("sizes", sizes)];
  return perform(
    {
      fn,
      given: tensors.length + others.length > 0 ? [first, ...where] : where,
      outside: outside.map,
      take: (value, refuse) => finish(scalarIn(field === null ? value : fieldIn(value, field, refuse), "the function", refuse).term, options),
    },
    options,
  );
}

/** By axis of the viewed tensor, its index. */
export function captureIndex(request: IndexRequest, options: CaptureOptions = {}): Either<CaptureError, Scalars> {
  const { fn, fresh, axes, constants } = request;
  const sizes = [...new Set([...axes, ...fresh])].map((a) => [a, numeric(size(a))] as const);
  return perform(
    {
      fn,
      given: [
        record(
          "indices",
          fresh.map((a) => [a, numeric(index(a))] as const),
        ),
        record("sizes and constants", [...sizes, ...Object.entries(constants).map(([name, v]) => [name, captured(v)] as const)]),
      ],
      outside: outside.view,
      take: (value, refuse) => {
        if (value.kind !== "record") throw refuse("an index arrow returns an object of indices", "write ({ … }) => ({ axis: index })");
        for (const axis of value.fields.keys()) {
          if (!axes.includes(axis)) throw refuse(`there is no axis ${axis} to read`, `the tensor has the axes: ${axes.join(", ") || "none"}`, axis);
        }
        return numbersIn(value, refuse, options);
      },
    },
    options,
  );
}

/** By component, what combining gives. */
export function captureMonoid(request: MonoidRequest, options: CaptureOptions = {}): Either<CaptureError, Scalars> {
  const { fn, components } = request;
  const side = (s: "x" | "y"): RecordValue => {
    const fields = components.map((c) => [c, numeric(arg(`${s}.${c}`))] as const);
    return record("components", fields, fields.length === 1 ? (fields[0]?.[1] ?? null) : null);
  };
  return perform(
    {
      fn,
      given: [side("x"), side("y")],
      outside: outside.monoid,
      take: (value, refuse) => {
        const [first] = components;
        const taken =
          components.length === 1 && first !== undefined && (value.kind === "scalar" || (value.kind === "record" && value.bare))
            ? record("an object", [[first, value]])
            : value;
        if (taken.kind !== "record") throw refuse("a combine returns an object with each component", `return { ${components.join(", ")} }`);
        const given = [...taken.fields.keys()];
        const wrong = given.find((g) => !components.includes(g)) ?? components.find((c) => !given.includes(c));
        if (wrong !== undefined) {
          const lacks = components.includes(wrong);
          throw refuse(lacks ? `the combine gives no ${wrong}` : `${wrong} is no component`, `return exactly: ${components.join(", ")}`, wrong);
        }
        return numbersIn(taken, refuse, options);
      },
    },
    options,
  );
}

// ── results ──────────────────────────────────────────────────────────────────────────────────────────
/** Blames the result; its field of that name, if given and there. */
type Refuse = (message: string, hint: string, field?: string) => Refusal;

const finish = (term: Scalar, options: CaptureOptions): Scalar => (options.simplified === false ? term : simplify(term));

function fieldIn(value: Value, field: string, refuse: Refuse): Value {
  if (value.kind !== "record") throw refuse(`the function gives no object with a field ${field}`, `return { ${field}: … }`);
  const taken = value.fields.get(field);
  if (taken === undefined) throw refuse(`the function's result has no field ${field}`, `it has: ${[...value.fields.keys()].join(", ") || "none"}`);
  return taken;
}
function scalarIn(value: Value, what: string, refuse: Refuse): ScalarValue {
  if (value.kind === "scalar") return value;
  if (value.kind === "record" && value.bare) return value.bare;
  if (value.kind === "record")
    throw refuse(`${what} gives an object where a number or a boolean is taken`, "return one value, or take one of its fields");
  throw refuse(`${what} gives a function`, "call it with its arguments");
}
function numbersIn(value: RecordValue, refuse: Refuse, options: CaptureOptions): Scalars {
  const out: Record<string, Scalar> = {};
  for (const [name, v] of value.fields) {
    const scalar = scalarIn(v, name, (message, hint) => refuse(message, hint, name));
    if (scalar.type !== "number") throw refuse(`${name} must be a number; this is a boolean`, "write condition ? 1 : 0", name);
    out[name] = finish(scalar.term, options);
  }
  return out;
}

// ── running and reporting ────────────────────────────────────────────────────────────────────────────
interface Task<T> {
  readonly fn: Arrow;
  readonly given: readonly Value[];
  readonly outside: Reading["outside"];
  /** What is wanted of the result; `refuse` blames the function as a whole. */
  readonly take: (value: Value, refuse: Refuse) => T;
}

const native = /\{\s*\[native code\]\s*\}\s*$/;

function perform<T>(task: Task<T>, options: CaptureOptions): Either<CaptureError, T> {
  const folder = options.folder === undefined ? defaultCacheFolder() : options.folder;
  const stored = (fn: Arrow): FunctionSyntax => {
    const read = aheadOf(fn);
    if (read) return read.syntax;
    if (native.test(textOf(fn)))
      throw new Refusal(fn, 0, "this function has no source: it is bound, or part of the platform", "write an arrow function that calls it");
    return syntaxOf(fn, folder);
  };
  const first = attempt(task, stored);
  if (!(first instanceof Refusal)) return right(first.result);
  return left(report(task, first, stored, options.place));
}

function attempt<T>(task: Task<T>, syntaxOf: Reading["syntaxOf"]): { readonly result: T } | Refusal {
  try {
    const value = readFunction(task.fn, task.given, { syntaxOf, outside: task.outside });
    return { result: task.take(value, (message, hint, field) => new Refusal(task.fn, resultAt(task.fn, syntaxOf, field), message, hint)) };
  } catch (e) {
    if (e instanceof Refusal) return e;
    throw e;
  }
}
/** Where the function gives its result: the last return. */
function resultAt(fn: Arrow, syntaxOf: Reading["syntaxOf"], field: string | undefined): number {
  if (captured(fn).kind === "builtin") return 0;
  const syntax = syntaxOf(fn);
  const last = syntax.body.at(-1);
  if (last?.kind !== "return" || !last.value) return syntax.at;
  const own = last.value.kind === "object" ? last.value.fields.find((f) => f.name === field) : undefined;
  return (own ?? last.value).at;
}

/** In the file that wrote the function, if it is found there; else in its own text. */
function report<T>(task: Task<T>, refusal: Refusal, stored: Reading["syntaxOf"], place: Place | undefined): CaptureError {
  const read = aheadOf(refusal.fn);
  if (read) return located(refusal, read.file, read.text, refusal.hint, read.line);
  const text = textOf(refusal.fn);
  const own = syntaxIfAny(refusal.fn, stored);
  if (place && own) {
    const found = locate(own, place);
    // The same reading with the file's syntax ends at the same refusal, whose offset counts in the file.
    const again = found && attempt(task, (fn) => (fn === refusal.fn ? found.syntax : stored(fn)));
    if (found && again instanceof Refusal && again.fn === refusal.fn) return located(again, found.file, found.text, again.hint);
  }
  const called = place ? `; called at ${place.file}:${place.line}:${place.column}` : "";
  return located(refusal, functionText, text, `${refusal.hint}\n(positions count in the function's own text${called})`);
}
/** A function that has no text, or no parser to read it with, is refused for that. */
function syntaxIfAny(fn: Arrow, stored: Reading["syntaxOf"]): FunctionSyntax | undefined {
  try {
    return stored(fn);
  } catch (e) {
    if (e instanceof Refusal) return undefined;
    throw e;
  }
}
const located = (r: Refusal, file: string, text: string, hint: string, first = 1): CaptureError => ({
  kind: "capture",
  message: r.message,
  file,
  ...positionOf(text, r.at, first),
  frame: frameAt(text, r.at, first),
  hint,
});
