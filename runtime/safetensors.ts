// Checkpoints in the safetensors format: eight bytes with the header's length, a JSON header (name → dtype, shape, byte
// range; `__metadata__` with texts), then the values, little-endian. Strict both ways: a file is refused unless its
// ranges cover the data exactly, without gap or overlap, and every range fits its shape. Files are read by tensor, each
// into memory of its own, and written atomically.
import { open } from "node:fs/promises";
import * as E from "fp-ts/lib/Either.js";
import type { DType } from "../dsl/node.js";
import type { HostArray } from "./device.js";
import { FileError, writeAtomic } from "./files.js";
import { BYTES, fromStorage, storage, toStorage } from "./host.js";

export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Row-major. bf16 and f16 travel as Float32Array. */
  readonly data: HostArray;
}
export interface Checkpoint {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

export type SafetensorsFault =
  | { readonly kind: "Truncated"; readonly needed: number; readonly size: number }
  | { readonly kind: "Header"; readonly reason: string }
  | { readonly kind: "Tensor"; readonly tensor: string; readonly reason: string }
  /** The ranges leave a gap, overlap, or end before the file does. */
  | { readonly kind: "Ranges"; readonly reason: string }
  | { readonly kind: "UnsupportedDType"; readonly tensor: string; readonly dtype: string };
export class SafetensorsError extends Error {
  override readonly name = "SafetensorsError";
  constructor(
    readonly path: string,
    readonly fault: SafetensorsFault,
  ) {
    super(`${path} is not a safetensors file that can be read: ${describe(fault)}`);
  }
}
function describe(f: SafetensorsFault): string {
  switch (f.kind) {
    case "Truncated":
      return `it has ${f.size} bytes and needs ${f.needed}. It was cut off: copy or download it again`;
    case "Header":
      return `its header ${f.reason}`;
    case "Tensor":
      return `tensor "${f.tensor}" ${f.reason}`;
    case "Ranges":
      return f.reason;
    case "UnsupportedDType":
      return `tensor "${f.tensor}" has dtype ${f.dtype}; convert it to one of ${Object.keys(FROM_NAME).join(", ")}`;
  }
}

const NAMES: Record<DType, string> = { f32: "F32", f64: "F64", bf16: "BF16", f16: "F16", i32: "I32", bool: "BOOL" };
const FROM_NAME: Readonly<Record<string, DType>> = { F32: "f32", F64: "f64", BF16: "bf16", F16: "f16", I32: "i32", BOOL: "bool" };
/** The format's own limit. */
const MAX_HEADER = 100_000_000;

interface Entry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

const isRecord = (x: unknown): x is Readonly<Record<string, unknown>> => typeof x === "object" && x !== null && !Array.isArray(x);
const isSize = (x: unknown): x is number => typeof x === "number" && Number.isSafeInteger(x) && x >= 0;

/** Reads the header; `dataSize` is how many bytes follow it. */
export function parseHeader(
  text: string,
  dataSize: number,
): E.Either<SafetensorsFault, { readonly entries: readonly Entry[]; readonly metadata: ReadonlyMap<string, string> }> {
  const header = (reason: string) => E.left<SafetensorsFault>({ kind: "Header", reason });
  if (!text.startsWith("{")) return header("does not begin with {");
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (e) {
    return header(`is not JSON: ${e instanceof Error ? e.message : String(e)}`);
  }
  if (!isRecord(root)) return header("is not an object");
  const metadata = new Map<string, string>();
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(root)) {
    const bad = (reason: string) => E.left<SafetensorsFault>({ kind: "Tensor", tensor: name, reason });
    if (!isRecord(value)) return name === "__metadata__" ? header("has a __metadata__ that is not an object") : bad("is not described by an object");
    if (name === "__metadata__") {
      for (const [k, v] of Object.entries(value)) {
        if (typeof v !== "string") return header(`has metadata "${k}" that is not text`);
        metadata.set(k, v);
      }
      continue;
    }
    const { dtype: spelled, shape, data_offsets: range } = value;
    if (typeof spelled !== "string") return bad("has no dtype");
    const dtype = Object.hasOwn(FROM_NAME, spelled) ? FROM_NAME[spelled] : undefined;
    if (dtype === undefined) return E.left({ kind: "UnsupportedDType", tensor: name, dtype: spelled });
    if (!Array.isArray(shape) || !shape.every(isSize)) return bad("has a shape that is not a list of sizes");
    if (!Array.isArray(range) || range.length !== 2 || !range.every(isSize)) return bad("has data_offsets that are not two offsets");
    const [start, end] = range as [number, number]; // checked just above
    const bytes = shape.reduce((n: number, s: number) => n * s, BYTES[dtype]);
    if (!Number.isSafeInteger(bytes) || end - start !== bytes)
      return bad(`needs ${bytes} bytes for ${spelled} [${shape.join(", ")}], and its range ${start} to ${end} has ${end - start}`);
    entries.push({ name, dtype, shape, start, end });
  }
  let at = 0;
  for (const e of [...entries].sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (e.start !== at)
      return E.left({
        kind: "Ranges",
        reason: `tensor "${e.name}" begins at byte ${e.start} where ${at} was expected (${e.start < at ? "overlap" : "gap"})`,
      });
    at = e.end;
  }
  if (at > dataSize) return E.left({ kind: "Truncated", needed: at + 8 + Buffer.byteLength(text), size: dataSize + 8 + Buffer.byteLength(text) });
  if (at < dataSize) return E.left({ kind: "Ranges", reason: `${dataSize - at} bytes at the end belong to no tensor` });
  return E.right({ entries, metadata });
}

export async function readSafetensors(path: string): Promise<E.Either<SafetensorsError | FileError, Checkpoint>> {
  const bad = (fault: SafetensorsFault) => E.left(new SafetensorsError(path, fault));
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const fill = async (into: Uint8Array, from: number): Promise<boolean> => {
        let done = 0;
        while (done < into.length) {
          // Reads of more than 2 GiB are not possible in one call.
          const { bytesRead } = await file.read(into, done, Math.min(into.length - done, 2 ** 30), from + done);
          if (bytesRead === 0) return false;
          done += bytesRead;
        }
        return true;
      };
      const truncated = (needed: number) => bad({ kind: "Truncated", needed, size });
      const prefix = new Uint8Array(8);
      if (size < 8 || !(await fill(prefix, 0))) return truncated(8);
      const length = new DataView(prefix.buffer).getBigUint64(0, true);
      if (length > MAX_HEADER) return bad({ kind: "Header", reason: `claims ${length} bytes, more than the ${MAX_HEADER} that the format allows` });
      const n = Number(length);
      if (size < 8 + n) return truncated(8 + n);
      const head = new Uint8Array(n);
      if (!(await fill(head, 8))) return truncated(8 + n);
      let text: string;
      try {
        text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(head);
      } catch {
        return bad({ kind: "Header", reason: "is not UTF-8 text" });
      }
      const header = parseHeader(text, size - 8 - n);
      if (E.isLeft(header)) return bad(header.left);
      const tensors = new Map<string, Tensor>();
      for (const { name, dtype, shape, start, end } of header.right.entries) {
        const data = storage(dtype, (end - start) / BYTES[dtype]);
        if (!(await fill(new Uint8Array(data.buffer), 8 + n + start))) return truncated(8 + n + end);
        if (dtype === "bool" && data.some((x) => x > 1))
          return bad({ kind: "Tensor", tensor: name, reason: "is BOOL and has a byte other than 0 and 1" });
        tensors.set(name, { dtype, shape, data: fromStorage(dtype, data) });
      }
      return E.right({ tensors, metadata: header.right.metadata });
    } finally {
      await file.close();
    }
  } catch (e) {
    return E.left(new FileError("read", path, e));
  }
}

/** Tensors are laid out by falling element size, so that each is aligned, and then by name: equal checkpoints are equal files. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<E.Either<SafetensorsError | FileError, void>> {
  const bad = (tensor: string, reason: string) => E.left(new SafetensorsError(path, { kind: "Tensor", tensor, reason }));
  const order = [...tensors].sort(([a, x], [b, y]) => BYTES[y.dtype] - BYTES[x.dtype] || (a < b ? -1 : a > b ? 1 : 0));
  const header: [string, unknown][] = [];
  if (metadata.size > 0) header.push(["__metadata__", Object.fromEntries(metadata)]);
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, t] of order) {
    if (name === "__metadata__") return bad(name, "has the name that the format reserves for metadata");
    const elements = t.shape.reduce((n, s) => n * s, 1);
    if (!t.shape.every(isSize) || elements !== t.data.length) return bad(name, `has shape [${t.shape.join(", ")}] and ${t.data.length} values`);
    const bits = toStorage(name, t.dtype, t.data);
    if (E.isLeft(bits)) return bad(name, bits.left.message);
    const bytes = new Uint8Array(bits.right.buffer, bits.right.byteOffset, bits.right.byteLength);
    header.push([name, { dtype: NAMES[t.dtype], shape: t.shape, data_offsets: [at, at + bytes.length] }]);
    parts.push(bytes);
    at += bytes.length;
  }
  // fromEntries defines properties, so a tensor may have any name, "__proto__" too.
  const text = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, " ");
  text.copy(padded);
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(padded.length), true);
  return writeAtomic(path, [prefix, padded, ...parts]);
}
