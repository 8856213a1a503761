// The GPU buffers that a program's segments lie in: one each, unless a segment is more than a buffer may be. Then it is cut
// where no binding reaches across.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import type { Range, Segment, WgslProgram, WgslStep } from "./program.js";

export type OwnSegment = Exclude<Segment, "state">;
export interface Piece {
  readonly segment: OwnSegment;
  /** Bytes, in the segment. */
  readonly offset: number;
  readonly bytes: number;
}
export interface Segments {
  readonly pieces: readonly Piece[];
  /** The piece, by its index, that a place lies in. */
  at(segment: OwnSegment, offset: number): { readonly piece: number; readonly offset: number };
}

/** Left: how many bytes must lie together, and cannot. */
export function segmentsOf(program: WgslProgram, bufferSize: number): Either<number, Segments> {
  const pieces: Piece[] = [];
  for (const segment of SEGMENTS) {
    const bytes = program.sizes[segment];
    if (bytes === 0) continue;
    if (bytes <= bufferSize) {
      pieces.push({ segment, offset: 0, bytes });
      continue;
    }
    let open: { offset: number; end: number } | undefined;
    for (const whole of together(rangesIn(program, segment))) {
      if (whole.end - whole.offset > bufferSize) return left(whole.end - whole.offset);
      if (open && whole.end - open.offset <= bufferSize) open.end = whole.end;
      else {
        if (open) pieces.push({ segment, offset: open.offset, bytes: open.end - open.offset });
        open = { ...whole };
      }
    }
    if (open) pieces.push({ segment, offset: open.offset, bytes: open.end - open.offset });
  }
  return right({
    pieces,
    at: (segment, offset) => {
      const piece = pieces.findIndex((p) => p.segment === segment && offset >= p.offset && offset < p.offset + p.bytes);
      if (piece < 0) throw new Error(`segment ${segment} has no place ${offset}`); // the compiler's defect
      return { piece, offset: offset - (pieces[piece] as Piece).offset };
    },
  });
}
const SEGMENTS: readonly OwnSegment[] = ["arena", "input", "output", "table"];

interface Stretch {
  readonly offset: number;
  readonly end: number;
}
function rangesIn(program: WgslProgram, segment: OwnSegment): readonly Stretch[] {
  const ranges: Range[] = [...program.places.values()];
  const walk = (steps: readonly WgslStep[]): void => {
    for (const s of steps) {
      if (s.do === "loop") walk(s.body);
      else ranges.push(...s.bindings);
    }
  };
  walk(program.steps);
  return ranges.flatMap((r) => (r.segment === segment && "bytes" in r ? [{ offset: r.offset, end: r.offset + r.bytes }] : []));
}
/** Those that overlap, as one. */
function together(stretches: readonly Stretch[]): readonly Stretch[] {
  const out: { offset: number; end: number }[] = [];
  for (const s of [...stretches].sort((a, b) => a.offset - b.offset)) {
    const last = out.at(-1);
    if (last && s.offset < last.end) last.end = Math.max(last.end, s.end);
    else out.push({ ...s });
  }
  return out;
}
