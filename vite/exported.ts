// Finds a function that a file imports, where it is written: through re-exports, to a const or a declaration. What is
// computed, or comes from where there is no file, is not found: whether it is a function at all is then not known.
import { readFile } from "node:fs/promises";
import { type ParsedFile, withFile } from "../compiler/capture/parse.js";
import { type Meaning, meaningOf } from "./names.js";
import { type ReadFunction, readFunction, type Use } from "./uses.js";

export interface Written {
  readonly file: string;
  readonly read: ReadFunction;
}
/** The file that an import leads to; null where there is none. */
export type Resolve = (specifier: string, importer: string) => Promise<string | null>;

type Import = Extract<Meaning, { kind: "imported" }>;

export async function findExported(wanted: Import, importer: string, what: Use["what"], resolve: Resolve): Promise<Written | undefined> {
  const todo: { readonly of: Import; readonly from: string }[] = [{ of: wanted, from: importer }];
  const seen = new Set<string>();
  for (let next = todo.shift(); next; next = todo.shift()) {
    const file = await resolve(next.of.specifier, next.from);
    if (file === null || seen.has(`${file} ${next.of.name}`)) continue;
    seen.add(`${file} ${next.of.name}`);
    const text = await readFile(file, "utf8").catch(() => null);
    if (text === null || !/\.[cm]?[jt]sx?$/.test(file)) continue;
    const { name } = next.of;
    const found = withFile(file, text, (parsed) => exportsOf(parsed, name, what));
    if (!Array.isArray(found)) return { file, read: found };
    todo.push(...found.map((of: Import) => ({ of, from: file })));
  }
  return undefined;
}

/** The function, or where to look further. */
function exportsOf(parsed: ParsedFile, name: string, what: Use["what"]): ReadFunction | Import[] {
  const { file, m } = parsed;
  const { Node } = m;
  const further: Import[] = [];
  const take = (meaning: Meaning | undefined): ReadFunction | undefined => {
    if (meaning?.kind === "imported") further.push(meaning);
    if (meaning?.kind === "function" && what === "function") return readFunction(parsed, meaning.fn);
    if (meaning?.kind !== "object" || what !== "monoid") return undefined;
    const concat = meaning.object.getProperty("concat");
    const value = Node.isPropertyAssignment(concat) ? concat.getInitializer() : undefined;
    const fn = value && meaningOf(m, value);
    return fn?.kind === "function" ? readFunction(parsed, fn.fn) : undefined;
  };
  for (const s of file.getStatements()) {
    let meaning: Meaning | undefined;
    if (Node.isVariableStatement(s) && s.isExported()) {
      const d = s.getDeclarations().find((x) => x.getName() === name);
      if (d && s.getDeclarationKind() === m.VariableDeclarationKind.Const) meaning = meaningOf(m, d.getNameNode());
    } else if (Node.isFunctionDeclaration(s) && (s.isDefaultExport() ? name === "default" : s.isExported() && s.getName() === name))
      meaning = { kind: "function", fn: s };
    else if (Node.isExportAssignment(s) && !s.isExportEquals() && name === "default") meaning = meaningOf(m, s.getExpression());
    else if (Node.isExportDeclaration(s) && !s.isTypeOnly()) {
      const specifier = s.getModuleSpecifierValue();
      const named = s.getNamedExports().find((e) => (e.getAliasNode()?.getText() ?? e.getName()) === name);
      if (named) meaning = specifier === undefined ? meaningOf(m, named.getNameNode()) : { kind: "imported", specifier, name: named.getName() };
      else if (specifier !== undefined && s.isNamespaceExport() && !s.getNamespaceExport() && name !== "default")
        further.push({ kind: "imported", specifier, name });
    }
    const read = take(meaning);
    if (read) return read;
  }
  return further;
}
