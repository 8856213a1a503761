// Where the operands of a tile wait: each in a panel of its own, or one after the other in one buffer.
import type { Stmt } from "../../../../loop/ir.js";
import type { Span } from "../../../../loop/spans.js";
import { mul, rename } from "../../../../loop/terms.js";
import { type Buffer, type Expr, int } from "../../../../lower/expr.js";
import { type DotDemand, four, type Operand, type SumDemand } from "./demand.js";
import type { Group } from "./group.js";
import { panelsOf, stageSize, sumKey } from "./layout.js";
import { fill, type Panel, panelOf, type Target } from "./panels.js";
import type { Products } from "./products.js";

interface Staged {
  readonly operand: Operand;
  readonly target: Target;
  readonly from: Expr;
}
export class Operands {
  readonly #panels = new Map<string, Staged>();
  /** The buffer that they take turns in. */
  readonly stage: Buffer | null;

  constructor(
    readonly g: Group,
    products: Products,
  ) {
    const { demand, layout } = g;
    const together = layout.staging === "together";
    this.stage = !together && demand.dots.length + demand.sums.length > 0 ? g.shared("stage", "f32", stageSize(demand, layout)) : null;
    if (!together) return;
    const sizes = panelsOf(demand, layout);
    /** `turned`: neighbours along the lanes. */
    const panel = (key: string, operand: Operand, depth: number, turned: boolean, from: Expr) => {
      const size = sizes.get(key);
      if (!size) return; // read where it lies
      const known = this.#panels.get(key)?.target;
      const rows = operand.side === "rows" ? layout.rows : layout.lanes;
      const buffer = known?.buffer ?? g.shared("panel", "f32", ...(turned ? [size.stride, rows] : [rows, size.stride]));
      const target: Target = {
        buffer,
        index: turned ? (at, inner) => [inner, at] : (at, inner) => [at, inner],
        rows,
        depth: Math.max(depth, known?.depth ?? 0),
      };
      this.#panels.set(key, { operand, target, from });
    };
    for (const d of demand.dots) {
      panel(d.a.key, d.a, four(d.a.length), false, int(0));
      panel(d.b.key, d.b, four(d.b.length), !layout.vectors, int(0));
    }
    for (const { demand: s, columns } of products.sums) if (s.b) panel(sumKey(s, layout), s.b, columns.width, false, mul(g.part, int(columns.width)));
  }
  /** Fills the panels of one side. */
  staged(side: "rows" | "over"): readonly Stmt[] {
    return [...this.#panels.values()].flatMap(({ operand, target, from }) => (operand.side === side ? fill(this.g, operand, target, from) : []));
  }
  #panel(key: string): Panel {
    const p = this.#panels.get(key);
    if (!p) throw new Error(`kernel ${this.g.nest.name}: an operand has no panel`);
    return panelOf(p.target);
  }
  ofLanes(d: DotDemand): Panel {
    return this.#panel(d.b.key);
  }
  ofSum(s: SumDemand): Panel {
    return this.#panel(sumKey(s, this.g.layout));
  }
  /** A dot's operand of the rows: its panel, or where it lies. */
  ofRows(d: DotDemand): Panel {
    const { g } = this;
    if (!(g.layout.inPlace && d.inPlace)) return this.#panel(d.a.key);
    const [k] = d.a.inner as readonly [Span];
    return (at, inner) => rename([g.shape.one(d.a.value, g.someRow(at), undefined)], new Map([[k.v, inner]]))[0] as Expr;
  }
}
