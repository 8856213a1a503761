// A compiled program without its plan: what a device needs to run it again, in another process. Buffers with their places,
// tables with their values, and where the code is. It is written as JSON with the tables' numbers behind, and refers to the
// leaves and run-time extents of the program it was compiled from by their numbers in its identity (compiler/graph/identity.ts):
// whoever asks for it has built the same program, and gets his own leaves back.

import type { Identity } from "../compiler/graph/identity.js";
import type { Kept } from "../compiler/graph/kept.js";
import { type Buffer, buffer } from "../compiler/lower/expr.js";
import type { Plan } from "../compiler/plan.js";
import { leaf } from "../dsl/build.js";
import { type Extent, type Leaf, UpTo } from "../dsl/node.js";
import { withoutRecording } from "../dsl/places.js";

/** What a plan says beside its steps. */
export type Frame = Pick<Plan, "name" | "extents" | "inputs" | "outputs" | "state" | "offsets" | "arenaBytes">;
/** One executable. */
export interface Image {
  readonly frame: Frame;
  readonly entry: string;
  readonly scratchBytesPerThread: number;
  readonly bufferOrder: readonly Buffer[];
  /** The library's key in the kernel cache. */
  readonly library: string;
}
/** All that compiling a program gives. */
export interface Recalled {
  readonly main: Image;
  readonly extents: readonly UpTo[];
  readonly state: readonly Leaf[];
  /** Values kept beside the weights, and what computes them. */
  readonly kept: { readonly values: readonly Pick<Kept, "leaf" | "weight">[]; readonly refresh: Image } | null;
  /** How many kernels a run calls. */
  readonly kernels: number;
}

// ── as it is written ─────────────────────────────────────────────────────────────────────────────────
/** A number; a run-time extent of the program; or one that the lowering made, of which memory alone is left. */
type ExtentText = number | { readonly of: number } | { readonly max: number; readonly name: string };
interface BufferText extends Pick<Buffer, "name" | "dtype" | "role"> {
  readonly axes: readonly (readonly [string, ExtentText])[];
  /** Where its numbers begin among all tables', and how many there are. */
  readonly data?: readonly [number, number];
}
type Places = Readonly<Record<string, number>>;
interface ImageText extends Pick<Image, "entry" | "scratchBytesPerThread" | "library">, Pick<Frame, "name" | "arenaBytes"> {
  readonly extents: readonly ExtentText[];
  readonly buffers: readonly BufferText[];
  readonly order: readonly number[];
  readonly inputs: Places;
  readonly outputs: Places;
  readonly state: Places;
  readonly offsets: readonly (readonly [number, number])[];
}
/** A leaf of the program, or one that its passes made. */
type LeafText = number | (Pick<Leaf, "name" | "dtype" | "axes"> & { readonly axes: Readonly<Record<string, number>> });
interface Text {
  readonly extents: readonly ExtentText[];
  readonly leaves: readonly LeafText[];
  readonly state: readonly number[];
  readonly kept: readonly { readonly leaf: number; readonly weight: number }[];
  readonly main: ImageText;
  readonly refresh: ImageText | null;
  readonly kernels: number;
}

/** null: the program depends on something that its identity does not name. */
export function encode(r: Recalled, identity: Identity): Uint8Array | null {
  const upTos = new Map(identity.extents.map((e, i) => [e, i]));
  const extent = (e: Extent): ExtentText => {
    if (typeof e === "number") return e;
    const of = upTos.get(e);
    return of === undefined ? { max: e.max, name: e.name } : { of };
  };
  const tables: Float64Array[] = [];
  let numbers = 0;
  const imageText = (i: Image): ImageText => {
    const { name, arenaBytes, inputs, outputs, state, extents, offsets } = i.frame;
    const buffers = [...new Set([...i.bufferOrder, ...[inputs, outputs, state].flatMap((r) => Object.values(r))])];
    const place = new Map(buffers.map((b, at) => [b, at]));
    const places = (r: Readonly<Record<string, Buffer>>): Places =>
      Object.fromEntries(Object.entries(r).map(([k, b]) => [k, place.get(b) as number]));
    const bufferText = ({ name, dtype, role, axes, data }: Buffer): BufferText => {
      const text = { name, dtype, role, axes: axes.map((a) => [a.name, extent(a.extent)] as const) };
      if (!data) return text;
      tables.push(data);
      numbers += data.length;
      return { ...text, data: [numbers - data.length, data.length] };
    };
    return {
      name,
      arenaBytes,
      entry: i.entry,
      scratchBytesPerThread: i.scratchBytesPerThread,
      library: i.library,
      extents: extents.map(extent),
      buffers: buffers.map(bufferText),
      order: i.bufferOrder.map((b) => place.get(b) as number),
      inputs: places(inputs),
      outputs: places(outputs),
      state: places(state),
      offsets: buffers.flatMap((b, at) => (offsets.has(b.id) ? [[at, offsets.get(b.id) as number] as const] : [])),
    };
  };
  const own = new Map(identity.leaves.map((l, i) => [l, i]));
  const leaves = [...new Set([...r.state, ...(r.kept?.values ?? []).flatMap((k) => [k.leaf, k.weight])])];
  const leafText = (l: Leaf): LeafText | null => {
    const number = own.get(l);
    if (number !== undefined) return number;
    const axes = Object.entries(l.axes).flatMap(([a, e]) => (typeof e === "number" ? [[a, e] as const] : []));
    return l.role === "state" && axes.length === Object.keys(l.axes).length ? { name: l.name, dtype: l.dtype, axes: Object.fromEntries(axes) } : null;
  };
  const texts = leaves.flatMap((l) => leafText(l) ?? []);
  if (texts.length < leaves.length || r.extents.some((e) => !upTos.has(e)) || r.main.frame.extents.some((e) => !upTos.has(e))) return null;
  const at = new Map(leaves.map((l, i) => [l, i]));
  const text: Text = {
    extents: r.extents.map(extent),
    leaves: texts,
    state: r.state.map((l) => at.get(l) as number),
    kept: (r.kept?.values ?? []).map((k) => ({ leaf: at.get(k.leaf) as number, weight: at.get(k.weight) as number })),
    main: imageText(r.main),
    refresh: r.kept ? imageText(r.kept.refresh) : null,
    kernels: r.kernels,
  };
  const head = new TextEncoder().encode(JSON.stringify(text));
  const begin = Math.ceil((HEAD + head.length) / 8) * 8;
  const out = new Uint8Array(begin + numbers * 8);
  new DataView(out.buffer).setUint32(0, head.length, true);
  out.set(head, HEAD);
  let to = begin;
  for (const t of tables) {
    out.set(new Uint8Array(t.buffer, t.byteOffset, t.byteLength), to);
    to += t.byteLength;
  }
  return out;
}
/** Bytes of the length of the JSON before it. */
const HEAD = 4;

/** For a program of the same identity as the one it was written for. Throws if the bytes are not what `encode` wrote. */
export function decode(bytes: Uint8Array, identity: Identity): Recalled {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const text: Text = JSON.parse(new TextDecoder().decode(bytes.subarray(HEAD, HEAD + length)));
  const numbers = new Float64Array(bytes.slice(Math.ceil((HEAD + length) / 8) * 8).buffer);
  const there = <T>(x: T | undefined): T => {
    if (x === undefined) throw new Error("a compiled program refers to what it has not");
    return x;
  };
  const extent = (e: ExtentText): Extent => (typeof e === "number" ? e : "of" in e ? there(identity.extents[e.of]) : new UpTo(e.max, e.name));
  const upTo = (e: ExtentText): UpTo => {
    const made = extent(e);
    if (typeof made === "number") throw new Error("a compiled program has a run-time extent that is a number");
    return made;
  };
  const image = (t: ImageText): Image => {
    const buffers = t.buffers.map((b) =>
      buffer(
        b.name,
        b.dtype,
        b.axes.map(([name, e]) => ({ name, extent: extent(e) })),
        b.role,
        b.data && numbers.subarray(b.data[0], b.data[0] + b.data[1]),
      ),
    );
    const of = (at: number): Buffer => there(buffers[at]);
    const places = (p: Places) => Object.fromEntries(Object.entries(p).map(([k, at]) => [k, of(at)]));
    return {
      entry: t.entry,
      scratchBytesPerThread: t.scratchBytesPerThread,
      library: t.library,
      bufferOrder: t.order.map(of),
      frame: {
        name: t.name,
        arenaBytes: t.arenaBytes,
        extents: t.extents.map(upTo),
        inputs: places(t.inputs),
        outputs: places(t.outputs),
        state: places(t.state),
        offsets: new Map(t.offsets.map(([at, offset]) => [of(at).id, offset])),
      },
    };
  };
  const leaves = text.leaves.map((l) =>
    typeof l === "number" ? there(identity.leaves[l]) : withoutRecording(() => leaf("state", l.name, l.axes, l.dtype)),
  );
  return {
    main: image(text.main),
    extents: text.extents.map(upTo),
    state: text.state.map((at) => there(leaves[at])),
    kept: text.refresh && {
      values: text.kept.map((k) => ({ leaf: there(leaves[k.leaf]), weight: there(leaves[k.weight]) })),
      refresh: image(text.refresh),
    },
    kernels: text.kernels,
  };
}
