// The boundary between a user's arrays and a device's memory, the same for every device: lengths are checked against
// the axes' run-time sizes, values against the dtype, and 16-bit floats are converted (round to nearest, ties to even).
import * as E from "fp-ts/lib/Either.js";
import type { Buffer } from "../compiler/lower/expr.js";
import { strides } from "../compiler/lower/expr.js";
import type { DType, Extent, UpTo } from "../dsl/node.js";
import type { HostArray, StateSpec } from "./device.js";
import { DeviceError } from "./errors.js";

/** For where a promise rejects with what is Left. */
export const orThrow = <A>(e: E.Either<Error, A>): A => {
  if (E.isLeft(e)) throw e.left;
  return e.right;
};

/** As it lies in a device's memory. bf16 and f16 are their bits, bool is one byte, 0 or 1. */
export type StorageArray = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array;
export const BYTES: Record<DType, number> = { f32: 4, f64: 8, bf16: 2, f16: 2, i32: 4, bool: 1 };

const MAKE: Record<DType, (elements: number) => StorageArray> = {
  f32: (n) => new Float32Array(n),
  f64: (n) => new Float64Array(n),
  bf16: (n) => new Uint16Array(n),
  f16: (n) => new Uint16Array(n),
  i32: (n) => new Int32Array(n),
  bool: (n) => new Uint8Array(n),
};
export const storage = (dtype: DType, elements: number): StorageArray => MAKE[dtype](elements);

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The upper half of the f32, rounded; a NaN stays one (rounding its payload up could make it infinite). */
export function toBf16(x: number): number {
  float[0] = x;
  const bits = word[0]!;
  if (Number.isNaN(x)) return ((bits >>> 16) | 0x40) & 0xffff;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}
export function fromBf16(bits: number): number {
  word[0] = bits << 16;
  return float[0]!;
}

/** Rounds the f64 value itself to f16's grid: going through f32 first would round twice. */
export function toF16(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(x);
  if (Number.isNaN(a)) return 0x7e00;
  if (a >= 65520) return sign | 0x7c00; // half a unit above the greatest finite value, 65504
  // The unit of the last place: 2^-24 below 2^-14 (denormals), else 2^(exponent − 10). Division by it is exact.
  let exponent = -14;
  if (a >= 2 ** -14) {
    exponent = Math.floor(Math.log2(a));
    if (2 ** exponent > a) exponent--;
    else if (2 ** (exponent + 1) <= a) exponent++;
  }
  const units = a / 2 ** (exponent - 10);
  const down = Math.floor(units);
  const rest = units - down;
  const rounded = down + (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? 1 : 0);
  // A carry out of the mantissa moves into the exponent's bits, which is the next binade: the encoding is monotonic.
  return sign | (a < 2 ** -14 ? rounded : ((exponent + 14) << 10) + rounded);
}
export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const mantissa = bits & 0x3ff;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** Converts values to a dtype's storage. An array that is already of that kind is returned as it is, not copied. */
export function toStorage(name: string, dtype: DType, data: ArrayLike<number>): E.Either<DeviceError, StorageArray> {
  const bad = (at: number) => E.left(new DeviceError({ kind: "InputValue", name, at, value: data[at], dtype }));
  const n = data.length;
  switch (dtype) {
    case "f32":
    case "f64": {
      if (dtype === "f32" ? data instanceof Float32Array : data instanceof Float64Array) return E.right(data as StorageArray);
      const out = dtype === "f32" ? new Float32Array(n) : new Float64Array(n);
      for (let i = 0; i < n; i++) {
        const x = data[i];
        if (typeof x !== "number") return bad(i);
        out[i] = x;
      }
      return E.right(out);
    }
    case "bf16":
    case "f16": {
      const convert = dtype === "bf16" ? (x: number) => toBf16(nearestOdd(x)) : toF16;
      const out = new Uint16Array(n);
      for (let i = 0; i < n; i++) {
        const x = data[i];
        if (typeof x !== "number") return bad(i);
        out[i] = convert(x);
      }
      return E.right(out);
    }
    case "i32": {
      if (data instanceof Int32Array) return E.right(data);
      const out = new Int32Array(n);
      for (let i = 0; i < n; i++) {
        const x = data[i]!;
        if ((x | 0) !== x) return bad(i); // also refuses what is no number: only an i32 equals its own x | 0
        out[i] = x;
      }
      return E.right(out);
    }
    case "bool": {
      const out = new Uint8Array(n);
      for (let i = 0; i < n; i++) {
        const x: unknown = data[i];
        if (x !== 0 && x !== 1 && typeof x !== "boolean") return bad(i);
        out[i] = Number(x);
      }
      return E.right(out);
    }
  }
}

/** An f32 from which rounding to a shorter format gives what rounding x itself would: inexact results are made odd. */
function nearestOdd(x: number): number {
  const y = Math.fround(x);
  if (y === x || !Number.isFinite(y)) return y;
  float[0] = y;
  if (word[0]! & 1) return y;
  // y is even and not x: the odd neighbour on x's side of y (bits order magnitudes, and y = 0 has its neighbour ±2^-149).
  if (y === 0) return x > 0 ? 2 ** -149 : -(2 ** -149);
  word[0] = word[0]! + (Math.abs(x) > Math.abs(y) ? 1 : -1);
  return float[0]!;
}

/** What the user gets: 16-bit floats as Float32Array, everything else as it is stored. */
export function fromStorage(dtype: DType, data: StorageArray): HostArray {
  if (dtype === "bf16") return Float32Array.from(data, fromBf16);
  if (dtype === "f16") return Float32Array.from(data, fromF16);
  return data as HostArray; // Uint16Array is the storage of the two above alone
}

/** Where an array of run-time sizes lies in a buffer of maximal sizes. Strides in elements. */
export interface Layout {
  readonly counts: readonly number[];
  readonly strides: readonly number[];
  readonly elements: number;
}
export const sizeOf = (e: Extent, extents: ReadonlyMap<number, number>): number => (typeof e === "number" ? e : (extents.get(e.id) ?? e.max));
export function layoutOf(buffer: Buffer, extents: ReadonlyMap<number, number>): Layout {
  const counts = buffer.axes.map((a) => sizeOf(a.extent, extents));
  return { counts, strides: strides(buffer), elements: counts.reduce((n, c) => n * c, 1) };
}
/** "f32 over batch 16, time 128": for messages. */
export const describeAxes = (buffer: Buffer, extents: ReadonlyMap<number, number>): string =>
  `${buffer.dtype} ${buffer.axes.length === 0 ? "scalar" : `over ${buffer.axes.map((a) => `${a.name} ${sizeOf(a.extent, extents)}`).join(", ")}`}`;

/** Checks a run's extents against the plan's, in the plan's order. */
function checkExtents(declared: readonly UpTo[], given: ReadonlyMap<number, number>): E.Either<DeviceError, readonly number[]> {
  const out: number[] = [];
  for (const axis of declared) {
    const got = given.get(axis.id);
    if (got === undefined || !Number.isInteger(got) || got < 0 || got > axis.max)
      return E.left(new DeviceError({ kind: "Extent", axis: axis.name, max: axis.max, got }));
    out.push(got);
  }
  return E.right(out);
}

export interface Staged {
  readonly name: string;
  readonly buffer: Buffer;
  readonly data: StorageArray;
  readonly layout: Layout;
}
/** Checks and converts a run's inputs: each one there, none unknown, lengths by the run-time sizes. Data that needs no
 *  conversion is the caller's own array. */
function stageInputs(
  declared: Readonly<Record<string, Buffer>>,
  given: Readonly<Record<string, ArrayLike<number>>>,
  extents: ReadonlyMap<number, number>,
): E.Either<DeviceError, readonly Staged[]> {
  for (const name of Object.keys(given))
    if (!Object.hasOwn(declared, name)) return E.left(new DeviceError({ kind: "UnknownInput", name, known: Object.keys(declared) }));
  const out: Staged[] = [];
  for (const [name, buffer] of Object.entries(declared)) {
    const values: ArrayLike<number> | undefined = Object.hasOwn(given, name) ? given[name] : undefined;
    const expected = describeAxes(buffer, extents);
    if (values === undefined || values === null || typeof values.length !== "number")
      return E.left(new DeviceError({ kind: "MissingInput", name, expected }));
    const layout = layoutOf(buffer, extents);
    if (values.length !== layout.elements)
      return E.left(new DeviceError({ kind: "InputLength", name, expected, elements: layout.elements, got: values.length }));
    const data = toStorage(name, buffer.dtype, values);
    if (E.isLeft(data)) return data;
    out.push({ name, buffer, data: data.right, layout });
  }
  return E.right(out);
}

/** What a run is given, checked and converted. */
export interface CheckedRun {
  /** Of its run-time extents, in the plan's order. */
  readonly sizes: readonly number[];
  /** The same by the extent's id. */
  readonly extents: ReadonlyMap<number, number>;
  readonly staged: readonly Staged[];
}
export function checkRun(
  plan: { readonly extents: readonly UpTo[]; readonly inputs: Readonly<Record<string, Buffer>> },
  inputs: Readonly<Record<string, ArrayLike<number>>>,
  extents: ReadonlyMap<number, number>,
): E.Either<DeviceError, CheckedRun> {
  const sizes = checkExtents(plan.extents, extents);
  if (E.isLeft(sizes)) return sizes;
  const now = new Map(plan.extents.map((axis, i) => [axis.id, sizes.right[i] as number]));
  const staged = stageInputs(plan.inputs, inputs, now);
  return E.isLeft(staged) ? staged : E.right({ sizes: sizes.right, extents: now, staged: staged.right });
}
/** The same inputs in arrays that the caller does not have: it may change its own as soon as a run has been asked for. */
export const withOwnData = (staged: readonly Staged[], inputs: Readonly<Record<string, ArrayLike<number>>>): readonly Staged[] =>
  staged.map((s) => (s.data === inputs[s.name] ? { ...s, data: s.data.slice() } : s));

/** Is a state's memory what a program's buffer of that path is? `elements`: of the buffer, as the device holds it. */
export function checkState(b: Buffer, elements: number, { path, ...spec }: StateSpec): E.Either<DeviceError, void> {
  if (spec.dtype === b.dtype && spec.elements === elements) return E.right(undefined);
  const expected = `${describeAxes(b, new Map())} (${elements} elements)`;
  return E.left(new DeviceError({ kind: "StateMismatch", path, expected, got: `${spec.elements} elements of ${spec.dtype}` }));
}
/** What is written to a state, in its storage. */
export function stateData({ path, dtype, elements }: StateSpec, data: ArrayLike<number>): E.Either<DeviceError, StorageArray> {
  return data.length === elements
    ? toStorage(path, dtype, data)
    : E.left(new DeviceError({ kind: "InputLength", name: path, expected: dtype, elements, got: data.length }));
}
