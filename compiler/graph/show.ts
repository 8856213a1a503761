// Prints a graph: one line a node, parts before wholes, each loop's body indented under its head.
import { showExtent } from "../../dsl/build.js";
import { argsOf, type Body, type IndexBody, type Loop, type MonoidBody, type Node } from "../../dsl/node.js";
import type { Scalar } from "../../dsl/scalar.js";
import { show as showScalar } from "../../dsl/scalar-show.js";
import { bodyOf, isLoopNode, order, partsInRegion, scopes } from "./walk.js";

const record = (r: Readonly<Record<string, Scalar>>) =>
  Object.entries(r)
    .map(([k, s]) => `${k}: ${showScalar(s)}`)
    .join(", ");
const arrow = (f: { readonly name: string }) => `arrow${f.name ? ` ${f.name}` : ""}`;
const body = (b: Body) => (b.kind === "scalar" ? showScalar(b.body) : `${arrow(b.fn)}${b.field === null ? "" : `.${b.field}`}`);
const index = (b: IndexBody) => (b.kind === "scalar" ? record(b.at) : arrow(b.fn));
const monoid = (m: MonoidBody) =>
  `${JSON.stringify(Object.fromEntries(Object.entries(m.empty).map(([k, v]) => [k, String(v)])))} ${m.combine.kind === "scalar" ? record(m.combine.at) : arrow(m.combine.fn)}`;
const name = (n: Node) => `%${n.id}`;
const shape = (n: Node) =>
  `${n.dtype}[${Object.entries(n.axes)
    .map(([a, e]) => `${a} ${showExtent(e)}`)
    .join(", ")}]`;

function meaning(n: Node): string {
  const args = argsOf(n).map(name).join(", ");
  switch (n.op) {
    case "leaf":
      return `${n.role}${n.name ? ` ${n.name}` : ""}`;
    case "constant":
      return String(n.value);
    case "map":
      return `map(${n.names.map((a, i) => `${a}: ${name(n.args[i] as Node)}`).join(", ")}) ${body(n.body)}`;
    case "view":
      return `view(${args}) { ${index(n.index)} }`;
    case "at":
      return `at(${name(n.args[0])}; ${n.along.map((a, i) => `${a}: ${name(n.args[i + 1] as Node)}`).join(", ")})`;
    case "fold":
      return `fold(${args}) over ${n.over.join(", ")} .${n.field} ${monoid(n.monoid)}`;
    case "scan":
      return `scan(${args}) over ${n.over}${n.exclusive ? " exclusive" : ""}${n.reverse ? " reverse" : ""} .${n.field} ${monoid(n.monoid)}`;
    case "top":
      return `top ${n.k} of ${args} over ${n.over} .${n.field}`;
    case "random":
      return `${n.kind} ${JSON.stringify(n.key)}(${args})`;
    case "cast":
    case "stop":
      return `${n.op}(${args})`;
    case "label":
      return `label(${args}) ${JSON.stringify(n.path ? `${n.path}.${n.name}` : n.name)}`;
    case "grad":
      return `grad(${args})`;
    case "rate":
      return `rate(${args}) ${n.norm} ${n.combine}${n.floor > 0 ? ` floor ${n.floor}` : ""}${n.heuristic ? " heuristic" : ""}`;
    case "bound":
      return `bound(${args}) ${n.what} ${n.norm} ${n.combine}`;
    case "carry":
      return `carry ${n.index} of loop ${n.loop.id}`;
    case "emit":
      return `emit ${name(n.of)} of loop ${n.loop.id}`;
  }
}

export function show(roots: readonly Node[]): string {
  const all = order(roots);
  const scope = scopes(all);
  const emitted = new Map<Loop, Node[]>();
  for (const n of all) {
    if (!isLoopNode(n)) continue;
    const own = emitted.get(n.loop) ?? [];
    emitted.set(n.loop, own);
    if (n.op === "emit") own.push(n.of);
  }
  const lines: string[] = [];
  const printed = new Set<Loop>();
  // A stack of regions being printed, so that nesting costs no recursion.
  const stack: { nodes: readonly Node[]; next: number; depth: number; end: string }[] = [
    { nodes: order(roots, (n) => partsInRegion(n, scope)), next: 0, depth: 0, end: "" },
  ];
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const pad = "  ".repeat(top.depth);
    const n = top.nodes[top.next];
    if (n === undefined) {
      if (top.end) lines.push(`${"  ".repeat(top.depth)}${top.end}`);
      stack.pop();
      continue;
    }
    if (isLoopNode(n) && !printed.has(n.loop)) {
      const l = n.loop;
      printed.add(l);
      const bound = [
        ...l.carry.map((c, i) => `${name(c)} from ${name(l.init[i] as Node)}`),
        ...l.slices.map((c, i) => `${name(c)} in ${name(l.xs[i] as Node)}`),
      ];
      lines.push(`${pad}loop ${l.id} over ${l.axis} ${l.count}${l.reverse ? " reverse" : ""}, counter ${name(l.counter)}: ${bound.join(", ")}`);
      const nodes = bodyOf(l, [...l.next, ...(emitted.get(l) ?? [])], scope).filter((m) => m.op !== "leaf");
      stack.push({ nodes, next: 0, depth: top.depth + 1, end: `next ${l.next.map(name).join(", ")}` });
      continue;
    }
    top.next++;
    lines.push(`${pad}${name(n)} ${shape(n)} = ${meaning(n)}`);
  }
  return lines.join("\n");
}
