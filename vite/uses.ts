// Finds the functions that calls of the language take as formulas over numbers: `map`, `grid`, `view`, `monoid` and the
// few that are made of them, and functions that they capture by name. A formula's body runs as it stands and needs nothing.
// Two more are found without a call: whatever a comment /* @mallard */ stands before, for functions that reach the language
// through a function of the author's; and in the language's own files every closed function at the top of the file.
import type * as Morph from "ts-morph";
import { isClosed } from "../compiler/capture/closed.js";
import { outside } from "../compiler/capture/globals.js";
import type { AnyFunction, ParsedFile } from "../compiler/capture/parse.js";
import type { FunctionSyntax } from "../compiler/capture/syntax.js";
import { bare, type Meaning, meaningOf } from "./names.js";

/** What was read of a function: as `Ahead`, before its file has a name for messages. */
export interface ReadFunction {
  readonly line: number;
  readonly text: string;
  readonly syntax: FunctionSyntax;
}
export interface Use {
  /** The expression in this file that gives the function, or the monoid. */
  readonly start: number;
  readonly end: number;
  /** In `{ f }`, the name that has to be written out. */
  readonly shorthand: string | null;
  /** A monoid is an object with the function as `concat`. */
  readonly what: "function" | "monoid";
  readonly of: ReadFunction | Extract<Meaning, { kind: "imported" }>;
  /** What to do about a name from outside; null: who takes the function is not known, and it is left to it. */
  readonly outside: ((name: string) => string) | null;
}

/** `isLanguage`: does an import of this specifier mean the language? `own`: this file is part of it. */
export function usesIn(parsed: ParsedFile, isLanguage: (specifier: string) => boolean, own: boolean): readonly Use[] {
  const finder = new Finder(parsed, isLanguage);
  finder.calls();
  finder.marked();
  if (own) finder.topLevel();
  return finder.uses;
}

type Outside = (name: string) => string;
class Finder {
  readonly #uses = new Map<number, Use>();
  constructor(
    readonly parsed: ParsedFile,
    readonly isLanguage: (specifier: string) => boolean,
  ) {}
  get uses(): readonly Use[] {
    return [...this.#uses.values()].sort((a, b) => a.start - b.start);
  }

  calls(): void {
    const { Node } = this.parsed.m;
    this.parsed.file.forEachDescendant((n) => {
      const takes = Node.isCallExpression(n) ? takers.get(this.#callee(n.getExpression()) ?? "") : undefined;
      if (takes && Node.isCallExpression(n)) takes(this, n.getArguments());
    });
  }
  /** The language's name for what is called, if it is of the language. */
  #callee(e: Morph.Node): string | undefined {
    const { m } = this.parsed;
    if (m.Node.isIdentifier(e)) {
      const meaning = meaningOf(m, e);
      return meaning?.kind === "imported" && this.isLanguage(meaning.specifier) ? meaning.name : undefined;
    }
    if (!m.Node.isPropertyAccessExpression(e)) return undefined;
    const of = meaningOf(m, e.getExpression());
    return of?.kind === "namespace" && this.isLanguage(of.specifier) ? e.getName() : undefined;
  }

  /** An expression that gives a function. */
  take(e: Morph.Node | undefined, outside: Outside | null): void {
    if (!e) return;
    const { m } = this.parsed;
    const x = bare(m, e);
    if (m.Node.isConditionalExpression(x)) {
      this.take(x.getWhenTrue(), outside);
      this.take(x.getWhenFalse(), outside);
      return;
    }
    const meaning = meaningOf(m, x);
    if (meaning?.kind === "function") this.#add(x, "function", this.#read(meaning.fn), outside);
    if (meaning?.kind === "imported" && !this.isLanguage(meaning.specifier)) this.#add(x, "function", meaning, outside);
  }
  /** The functions among the values of a record. */
  takeFields(e: Morph.Node | undefined, only?: readonly string[], how: Outside = outside.captured): void {
    const { m } = this.parsed;
    const record = e && bare(m, e);
    if (!m.Node.isObjectLiteralExpression(record)) return;
    for (const p of record.getProperties()) {
      if (m.Node.isPropertyAssignment(p) && (!only || only.includes(p.getName()))) this.take(p.getInitializer(), how);
      if (m.Node.isShorthandPropertyAssignment(p) && (!only || only.includes(p.getName()))) this.#takeShorthand(p, how);
    }
  }
  #takeShorthand(p: Morph.ShorthandPropertyAssignment, how: Outside): void {
    const name = p.getNameNode();
    const meaning = meaningOf(this.parsed.m, name);
    const of =
      meaning?.kind === "function"
        ? this.#read(meaning.fn)
        : meaning?.kind === "imported" && !this.isLanguage(meaning.specifier)
          ? meaning
          : undefined;
    if (of) this.#add(name, "function", of, how, p.getName());
  }
  /** fp-ts's own form: { empty, concat }. */
  takeMonoid(e: Morph.Node | undefined): void {
    if (!e) return;
    const { m } = this.parsed;
    const meaning = meaningOf(m, e);
    if (meaning?.kind === "object") this.takeFields(meaning.object, ["concat"], outside.monoid);
    if (meaning?.kind === "imported" && !this.isLanguage(meaning.specifier)) this.#add(bare(m, e), "monoid", meaning, outside.monoid);
  }
  field(e: Morph.Node | undefined, name: string): Morph.Node | undefined {
    const { m } = this.parsed;
    const record = e && bare(m, e);
    const p = m.Node.isObjectLiteralExpression(record) ? record.getProperty(name) : undefined;
    return m.Node.isPropertyAssignment(p) ? p.getInitializer() : undefined;
  }

  marked(): void {
    const { Node } = this.parsed.m;
    if (!isMarked(this.parsed.file.getFullText())) return;
    this.parsed.file.forEachDescendant((n) => {
      if ((Node.isArrowFunction(n) || Node.isFunctionExpression(n)) && isMarked(n.getFullText().slice(0, n.getLeadingTriviaWidth())))
        this.take(n, outside.captured);
    });
  }
  topLevel(): void {
    const { Node } = this.parsed.m;
    this.parsed.file.forEachDescendant((n, traversal) => {
      if (Node.isArrowFunction(n)) {
        const read = this.#read(n);
        if (n.getParameters().length > 0 && isClosed(read.syntax)) this.#add(n, "function", read, null);
      }
      if (Node.isFunctionLikeDeclaration(n) || Node.isFunctionExpression(n)) traversal.skip();
    });
  }

  #add(at: Morph.Node, what: Use["what"], of: Use["of"], how: Outside | null, shorthand: string | null = null): void {
    const start = at.getStart();
    if (!this.#uses.has(start)) this.#uses.set(start, { start, end: at.getEnd(), shorthand, what, of, outside: how });
  }
  #read(fn: AnyFunction): ReadFunction {
    return readFunction(this.parsed, fn);
  }
}

export function readFunction({ file, read }: ParsedFile, fn: AnyFunction): ReadFunction {
  const whole = file.getFullText();
  const from = whole.lastIndexOf("\n", fn.getStart() - 1) + 1;
  const to = whole.indexOf("\n", fn.getEnd());
  return { line: whole.slice(0, from).split("\n").length, text: whole.slice(from, to < 0 ? whole.length : to), syntax: read(fn, from) };
}

type Taker = (f: Finder, args: readonly Morph.Node[]) => void;
/** What each call of the language does with its arguments. */
const takers: ReadonlyMap<string, Taker> = new Map<string, Taker>([
  [
    "map",
    (f, [inputs, arrow]) => {
      f.take(arrow, outside.map);
      f.takeFields(inputs);
    },
  ],
  ["grid", (f, [, arrow]) => f.take(arrow, outside.map)],
  ["view", (f, [, , arrow]) => f.take(arrow, outside.view)],
  ["monoid", (f, [, arrow]) => f.take(arrow, outside.monoid)],
  ["fold", (f, [, m]) => f.takeMonoid(m)],
  ["scan", (f, [, m]) => f.takeMonoid(m)],
  ["pointwise", (f, [, , arrow]) => f.take(arrow, outside.map)],
  [
    "attention",
    (f, [inputs, arrow]) => {
      f.take(arrow, outside.map);
      f.takeFields(inputs);
    },
  ],
  [
    "attend",
    (f, [o]) => {
      f.takeFields(o, ["score", "mask"], outside.map);
      f.takeFields(f.field(o, "with"));
    },
  ],
]);

/** The specifiers by which a file may import something that takes functions: a look at the text, which saves parsing the
 *  many files that import nothing of the kind. */
export function candidates(code: string): readonly string[] {
  const out = new Set<string>();
  for (const [, clause, specifier] of code.matchAll(/\bimport\s+(?!type\b)([^"'`;]*?)\bfrom\s*["']([^"'\n]+)["']/g))
    if (/\*\s*as\b/.test(clause as string) || (clause as string).split(/\W+/).some((word) => takers.has(word))) out.add(specifier as string);
  return [...out];
}
export const isMarked = (code: string): boolean => /\/\*[^*]*@mallard(?![-\w])/.test(code);
