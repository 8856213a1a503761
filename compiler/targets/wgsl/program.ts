// What a plan becomes on WebGPU: distinct compute shaders, and dispatches of them in order. Data only, which a device in
// the same process, in a worker or behind a wire can run alike.
//
// WebGPU refuses a dispatch that binds one GPU buffer both for reading and for writing, even where the ranges are disjoint,
// and one that binds overlapping ranges of which one is written. So the plan's buffers lie in a few segments, one or more
// GPU buffers each; a kernel declares all it binds of a segment `read_write` as soon as it writes any of that segment, and what
// overlaps, or is more than may be bound, is one binding with places inside it.
import type { Buffer, Expr } from "../../lower/expr.js";
import type { Blocks } from "../../lower/nest.js";

/** state: the session's, by path; arena: temporaries of a run; input, output: of a run; table: constants of the program. */
export type Segment = "state" | "arena" | "input" | "output" | "table";

/** Part of a segment. State has places that its owner knows: there a range is one path, or all `small` state, which lies
 *  together (`SMALL_STATE`) and is bound whole. Offsets are bytes, multiples of 256; lengths multiples of 4. */
export type Range =
  | { readonly segment: Exclude<Segment, "state">; readonly offset: number; readonly bytes: number }
  | { readonly segment: "state"; readonly path: string }
  | { readonly segment: "state"; readonly path: null };

/** Bytes up to which a value of the state lies in the one GPU buffer of small values, so that a kernel can bind them at once. */
export const SMALL_STATE = 64 * 1024;

/** Where a 32-bit integer of a dispatch's uniform buffer comes from. */
export type IntSource =
  /** A run-time extent, a loop's counter, a block's start. */
  | { readonly of: "variable"; readonly name: string }
  /** Index of this buffer's first element (32-bit word, for packed types) in the binding it is part of. */
  | { readonly of: "place"; readonly buffer: Buffer; readonly binding: number };

/** A distinct shader. Names in it are numbers, so that kernels equal but for names are one pipeline. */
export interface WgslPipeline {
  /** The first nest's name, for labels. */
  readonly name: string;
  readonly source: string;
  /** @group(0) @binding(i), i by position. */
  readonly access: readonly ("read" | "read_write")[];
  /** A uniform buffer of i32, bound after the storage buffers, with as many members; 0: none is bound. */
  readonly ints: number;
  readonly workgroupSize: readonly [number, number, number];
  /** Device features that the shader enables. */
  readonly features: readonly ("shader-f16" | "subgroups")[];
}

export type WgslStep =
  | {
      readonly do: "dispatch";
      /** Index among the pipelines. */
      readonly pipeline: number;
      /** The nest's. */
      readonly name: string;
      readonly nodes: readonly number[];
      /** One for each of the pipeline's bindings. */
      readonly bindings: readonly Range[];
      /** One for each member of its uniform buffer, in order. */
      readonly ints: readonly IntSource[];
      /** How many workgroups in all, over the variables; 0: nothing is dispatched. The host lays more than 65,535 out in two
       *  dimensions (x as long as it may be); the shader numbers them x + y · (size of x) and leaves out those beyond. */
      readonly workgroups: Expr;
    }
  | {
      readonly do: "loop";
      readonly v: string;
      readonly count: number;
      readonly reverse: boolean;
      readonly blocks?: Blocks;
      readonly body: readonly WgslStep[];
    };

export interface WgslProgram {
  readonly pipelines: readonly WgslPipeline[];
  readonly steps: readonly WgslStep[];
  /** Offset in its segment, bytes a multiple of 256, of every buffer that is not state. */
  readonly places: ReadonlyMap<Buffer, { readonly segment: Exclude<Segment, "state">; readonly offset: number; readonly bytes: number }>;
  /** Bytes of each segment. */
  readonly sizes: Readonly<Record<Exclude<Segment, "state">, number>>;
  /** Readable: one text a nest, by its name. */
  readonly kernels: readonly { readonly name: string; readonly source: string }[];
}
