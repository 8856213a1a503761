// Capture of what stands in a graph: the body of a map, the index of a view, the combine of a fold or scan, whether it
// is an arrow or was read before. The place of a message is where the node was written.
import { type Either, right } from "fp-ts/lib/Either.js";
import type { FoldNode, MapNode, ScanNode, ViewNode } from "../../dsl/node.js";
import { placesOf } from "../../dsl/places.js";
import type { Scalar } from "../../dsl/scalar.js";
import { type CaptureOptions, captureIndex, captureMap, captureMonoid } from "./capture.js";
import type { CaptureError } from "./error.js";

export function bodyOf(n: MapNode, options: CaptureOptions = {}): Either<CaptureError, Scalar> {
  if (n.body.kind === "scalar") return right(n.body.body);
  const inputs = Object.fromEntries(n.names.map((name, i) => [name, n.args[i]?.dtype ?? "f32"] as const));
  return captureMap({ ...n.body, inputs, axes: Object.keys(n.axes) }, { place: placesOf(n)[0], ...options });
}
export function indexOf(n: ViewNode, options: CaptureOptions = {}): Either<CaptureError, Readonly<Record<string, Scalar>>> {
  if (n.index.kind === "scalar") return right(n.index.at);
  return captureIndex({ ...n.index, fresh: Object.keys(n.fresh), axes: Object.keys(n.args[0].axes) }, { place: placesOf(n)[0], ...options });
}
export function combineOf(n: FoldNode | ScanNode, options: CaptureOptions = {}): Either<CaptureError, Readonly<Record<string, Scalar>>> {
  const { combine, empty } = n.monoid;
  if (combine.kind === "scalar") return right(combine.at);
  return captureMonoid({ fn: combine.fn, components: Object.keys(empty) }, { place: placesOf(n)[0], ...options });
}
