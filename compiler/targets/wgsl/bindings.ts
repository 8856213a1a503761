// What a kernel binds. Each buffer is a binding of its own as long as there are enough of them. Those that overlap (a result in
// place of an operand) are one, since a shader may not see memory that it writes by two names; where there are more than
// may be bound, neighbours in a segment become one, and the small values of the state, which lie together. Where a buffer
// begins in a shared binding is told at run time, so that kernels that differ by it alone stay one pipeline.
//
// A GPU buffer is read or written in one dispatch, never both: of a segment that the kernel writes to, all is bound for
// writing.
import type { Buffer } from "../../lower/expr.js";
import { Unfit, type WgslLimits } from "./limits.js";
import type { Places } from "./places.js";
import { type Range, SMALL_STATE } from "./program.js";
import { bytesIn } from "./storage.js";

export interface Binding {
  readonly range: Range;
  readonly access: "read" | "read_write";
  readonly buffers: readonly Buffer[];
  /** More than one buffer: each begins at a place of its own. */
  readonly shared: boolean;
}
/** More buffers than may be bound. */
export class TooMany extends Unfit {}

interface Part {
  /** Of one GPU buffer. */
  readonly memory: string;
  readonly range: Range;
  readonly buffers: readonly Buffer[];
}
const small = "small state";

export function bindingsOf(used: readonly Buffer[], written: ReadonlySet<Buffer>, places: Places, limits: WgslLimits): readonly Binding[] {
  let parts: Part[] = used.map((b) => {
    const path = places.paths.get(b);
    if (path !== undefined) return { memory: bytesIn(b) <= SMALL_STATE ? small : `state ${path}`, range: { segment: "state", path }, buffers: [b] };
    const place = places.places.get(b);
    if (!place) throw new Error(`buffer ${b.name} has no place`);
    return { memory: place.segment, range: place, buffers: [b] };
  });
  const writes = (memory: string) => parts.some((p) => p.memory === memory && p.buffers.some((b) => written.has(b)));
  const merge = (i: number, j: number) => {
    const made = union(parts[i] as Part, parts[j] as Part);
    // At the first one's place: the order is that of use.
    parts = parts.flatMap((p, k) => (k === Math.min(i, j) ? [made] : k === i || k === j ? [] : [p]));
  };
  const settle = () => {
    for (let pair = overlapping(parts, writes); pair; pair = overlapping(parts, writes)) merge(...pair);
  };
  settle();
  while (parts.length > limits.storageBuffers) {
    const pair = nearest(parts, limits.bindingSize);
    if (!pair)
      throw new TooMany(
        `${parts.length} buffers that cannot share a binding: ${parts.map((p) => p.buffers[0]?.name).join(", ")}; a shader may bind ${limits.storageBuffers}`,
      );
    merge(...pair);
    settle();
  }
  for (const p of parts) {
    const bytes = sizeOf(p);
    if (bytes > limits.bindingSize)
      throw new Unfit(`buffer ${p.buffers.map((b) => b.name).join(", ")} has ${bytes} bytes: a binding may have ${limits.bindingSize}`);
  }
  return parts.map((p) => ({
    range: p.range,
    access: writes(p.memory) ? "read_write" : "read",
    buffers: p.buffers,
    shared: p.buffers.length > 1,
  }));
}
function sizeOf({ range, buffers }: Part): number {
  return "bytes" in range ? range.bytes : buffers.reduce((n, b) => n + bytesIn(b), 0);
}
function union(p: Part, q: Part): Part {
  const buffers = [...p.buffers, ...q.buffers];
  if (!("bytes" in p.range && "bytes" in q.range)) return { memory: p.memory, range: { segment: "state", path: null }, buffers };
  const offset = Math.min(p.range.offset, q.range.offset);
  const end = Math.max(p.range.offset + p.range.bytes, q.range.offset + q.range.bytes);
  return { memory: p.memory, range: { segment: p.range.segment, offset, bytes: end - offset }, buffers };
}
type Pair = readonly [number, number];
function* pairs(parts: readonly Part[]): Iterable<readonly [number, number, Part, Part]> {
  for (const [i, p] of parts.entries())
    for (let j = 0; j < i; j++) {
      const q = parts[j] as Part;
      if (p.memory === q.memory) yield [i, j, p, q];
    }
}
function overlapping(parts: readonly Part[], writes: (memory: string) => boolean): Pair | undefined {
  for (const [i, j, p, q] of pairs(parts)) {
    if (!writes(p.memory)) continue;
    const [a, b] = [p.range, q.range];
    if ("bytes" in a && "bytes" in b) {
      if (a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes) return [i, j];
      // All small state in one binding overlaps with each of it.
    } else if (a.segment === "state" && b.segment === "state" && p.memory === small && (a.path === null || b.path === null)) return [i, j];
  }
  return undefined;
}
/** The two whose union is the smallest. */
function nearest(parts: readonly Part[], bindingSize: number): Pair | undefined {
  let best: { readonly pair: Pair; readonly bytes: number } | undefined;
  for (const [i, j, p, q] of pairs(parts)) {
    const bytes = p.memory === small ? SMALL_STATE : sizeOf(union(p, q));
    if (bytes <= bindingSize && (!best || bytes < best.bytes)) best = { pair: [i, j], bytes };
  }
  return best?.pair;
}
