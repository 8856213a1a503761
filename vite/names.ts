// Which function, or which import, a name of a file stands for, by JavaScript's scopes. A name whose value can change, or
// that is computed, stands for nothing here: then nothing is claimed about it.
import type * as Morph from "ts-morph";
import type { AnyFunction } from "../compiler/capture/parse.js";

export type Morphs = typeof Morph;
export type Meaning =
  | { readonly kind: "function"; readonly fn: AnyFunction }
  | { readonly kind: "object"; readonly object: Morph.ObjectLiteralExpression }
  | { readonly kind: "imported"; readonly specifier: string; readonly name: string }
  | { readonly kind: "namespace"; readonly specifier: string };

/** What types, parentheses and `!` add to an expression is taken off. */
export function bare(m: Morphs, e: Morph.Node): Morph.Node {
  const { Node } = m;
  let x = e;
  while (
    Node.isParenthesizedExpression(x) ||
    Node.isAsExpression(x) ||
    Node.isSatisfiesExpression(x) ||
    Node.isNonNullExpression(x) ||
    Node.isTypeAssertion(x)
  )
    x = x.getExpression();
  return x;
}

/** What an expression is, as far as its text says. */
export function meaningOf(m: Morphs, e: Morph.Node, seen: ReadonlySet<Morph.Node> = new Set()): Meaning | undefined {
  const { Node } = m;
  const x = bare(m, e);
  if (Node.isArrowFunction(x) || Node.isFunctionExpression(x)) return { kind: "function", fn: x };
  if (Node.isObjectLiteralExpression(x)) return { kind: "object", object: x };
  if (!Node.isIdentifier(x)) return undefined;
  const found = declarationOf(m, x);
  if (!found || seen.has(found)) return undefined;
  if (Node.isFunctionDeclaration(found)) return isAssigned(m, found) ? undefined : { kind: "function", fn: found };
  if (Node.isFunctionExpression(found)) return { kind: "function", fn: found };
  if (Node.isVariableDeclaration(found)) {
    const value = found.getInitializer();
    const fixed = found.getVariableStatement()?.getDeclarationKind() === m.VariableDeclarationKind.Const;
    return fixed && value && Node.isIdentifier(found.getNameNode()) ? meaningOf(m, value, new Set([...seen, found])) : undefined;
  }
  if (!Node.isImportDeclaration(found)) return undefined;
  return imported(found, x.getText());
}

function imported(d: Morph.ImportDeclaration, local: string): Meaning | undefined {
  const specifier = d.getModuleSpecifierValue();
  if (d.isTypeOnly()) return undefined;
  if (d.getNamespaceImport()?.getText() === local) return { kind: "namespace", specifier };
  if (d.getDefaultImport()?.getText() === local) return { kind: "imported", specifier, name: "default" };
  const named = d.getNamedImports().find((i) => (i.getAliasNode()?.getText() ?? i.getName()) === local);
  return named && !named.isTypeOnly() ? { kind: "imported", specifier, name: named.getName() } : undefined;
}

/** The innermost declaration of a name around the place where it stands; a parameter is one too. */
function declarationOf(m: Morphs, id: Morph.Identifier): Morph.Node | undefined {
  const { Node } = m;
  const name = id.getText();
  for (let p: Morph.Node | undefined = id.getParent(); p; p = p.getParent()) {
    // A function's own statements stand in its block, which comes before it on the way out.
    const found = Node.isParametered(p)
      ? (p.getParameters().find((q) => binds(m, q.getNameNode(), name)) ?? (Node.isFunctionExpression(p) && p.getName() === name ? p : undefined))
      : Node.isStatemented(p)
        ? amongStatements(m, p, name)
        : Node.isForStatement(p) || Node.isForOfStatement(p) || Node.isForInStatement(p)
          ? amongList(m, p.getInitializer(), name)
          : Node.isCatchClause(p)
            ? only(m, p.getVariableDeclaration(), name)
            : undefined;
    if (found) return found;
  }
  return undefined;
}
function amongStatements(m: Morphs, of: Morph.StatementedNode, name: string): Morph.Node | undefined {
  const { Node } = m;
  for (const s of of.getStatements()) {
    if (Node.isVariableStatement(s)) {
      const found = s.getDeclarations().find((d) => binds(m, d.getNameNode(), name));
      if (found) return found;
    } else if ((Node.isFunctionDeclaration(s) || Node.isClassDeclaration(s) || Node.isEnumDeclaration(s)) && s.getName() === name) return s;
    else if (Node.isImportDeclaration(s) && imported(s, name)) return s;
  }
  return undefined;
}
const amongList = (m: Morphs, list: Morph.Node | undefined, name: string): Morph.Node | undefined =>
  m.Node.isVariableDeclarationList(list) ? list.getDeclarations().find((d) => binds(m, d.getNameNode(), name)) : undefined;
const only = (m: Morphs, d: Morph.VariableDeclaration | undefined, name: string): Morph.Node | undefined =>
  d && binds(m, d.getNameNode(), name) ? d : undefined;

/** Does a binding name or pattern bind this name? */
function binds(m: Morphs, node: Morph.Node, name: string): boolean {
  if (m.Node.isIdentifier(node)) return node.getText() === name;
  if (!m.Node.isObjectBindingPattern(node) && !m.Node.isArrayBindingPattern(node)) return false;
  return node.getElements().some((e) => m.Node.isBindingElement(e) && binds(m, e.getNameNode(), name));
}

/** A function's declaration binds a variable, which something may assign to. */
function isAssigned(m: Morphs, f: Morph.FunctionDeclaration): boolean {
  const name = f.getName();
  return f
    .getSourceFile()
    .getDescendantsOfKind(m.SyntaxKind.BinaryExpression)
    .some((b) => /^[^=!<>]*=$/.test(b.getOperatorToken().getText()) && b.getLeft().getText() === name);
}
