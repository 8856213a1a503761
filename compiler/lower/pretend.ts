// What a kernel of tiles would look like before it is known what has memory: everything that might have some is read from
// memory that does not exist. Only whether the kernel can be written down is of interest.
import { kindOf } from "../../dsl/derivative/monoid.js";
import type { FoldNode, Leaf, Node } from "../../dsl/node.js";
import type { CarryHome, Home, Memory } from "./access.js";
import { buffer } from "./expr.js";
import type { Axis } from "./nest.js";
import type { Quadratics } from "./quadratics.js";
import type { Regions } from "./regions.js";
import { isFormula, type Naming, NoTile, TileBuilder, type TileShape } from "./tiles.js";

/** Memory for whatever has any, before that is decided: to see what a kernel would look like. */
export function pretended(r: Regions, q: Quadratics): Memory {
  const fake = new Map<Node, Home>();
  const home = (n: Node): Home => {
    let h = fake.get(n);
    if (!h) {
      h = {
        buffer: buffer(
          "x",
          n.dtype,
          Object.entries(n.axes).map(([name, extent]) => ({ name, extent })),
          "temp",
        ),
        lead: [],
      };
      fake.set(n, h);
    }
    return h;
  };
  const inlined = (n: Node) =>
    isFormula(n) ||
    n.op === "constant" ||
    n.op === "leaf" ||
    (n.op === "emit" && n.of.op === "leaf") || // what a loop only passes on is read where it comes from
    q.sides.has(n) ||
    q.joined.has(n);
  class Homes extends Map<Node, Home> {
    override get(n: Node): Home | undefined {
      return inlined(n) ? undefined : home(n);
    }
  }
  class Leaves extends Map<Leaf, ReturnType<typeof home>["buffer"]> {
    override get(n: Leaf) {
      return home(n).buffer;
    }
  }
  class Carries extends Map<Leaf, CarryHome> {
    override get(n: Leaf): CarryHome {
      const b = buffer("c", n.dtype, [{ name: "slot", extent: 2 }, ...Object.entries(n.axes).map(([name, extent]) => ({ name, extent }))], "temp");
      return { buffer: b, slots: 2 };
    }
  }
  return { homes: new Homes(), leaves: new Leaves(), carries: new Carries(), owner: r.owner, bounds: new Map() };
}
/** The fault that keeps these folds from being one kernel. */
export function buildable(folds: readonly (readonly FoldNode[])[], shape: TileShape, memory: Memory): string | undefined {
  return faultOf(() => void built(folds, shape, memory));
}
/** Can their kernel finish a value, from its results and what each row has besides? */
export function finishes(value: Node, folds: readonly (readonly FoldNode[])[], shape: TileShape, memory: Memory): boolean {
  let alone = true;
  const fault = faultOf(() => {
    const b = built(folds, shape, memory);
    const { dots } = b;
    const before = dots.length;
    b.access.value(value, b.resultAt(value.axes).at);
    alone = dots.length === before;
  });
  return fault === undefined && alone;
}
function built(folds: readonly (readonly FoldNode[])[], shape: TileShape, memory: Memory): TileBuilder {
  let fresh = 0;
  const naming: Naming = {
    axis: (name, extent): Axis => ({ v: `${name}_${fresh++}`, extent }),
    local: (n) => `x${n.id}_${fresh++}`,
    monoid: (n, components) => ({ names: components, empty: [], combine: [], kind: kindOf(n.monoid) }),
  };
  const b = new TileBuilder(shape, memory, naming);
  for (const fields of folds) b.add(fields, Object.keys((fields[0] as FoldNode).monoid.empty));
  return b;
}
function faultOf(f: () => void): string | undefined {
  try {
    f();
    return undefined;
  } catch (error) {
    if (error instanceof NoTile) return error.message;
    throw error;
  }
}
