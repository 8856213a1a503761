// How names of buffers, variables and locals are written: readable, or numbered so that kernels equal but for names are
// equal text.
export type Naming = (name: string) => string;

/** Names as they are, but for the numbers that made them unique in the process: a kernel's text depends on the kernel alone.
 *  `taken`: what the language, and what a kernel's text has around it, already means. */
export function readableBut(taken: Iterable<string>): Naming {
  const seen = new Map<string, string>();
  const used = new Set(taken);
  return (name) => {
    const known = seen.get(name);
    if (known) return known;
    const stem = name
      .replace(/(_\d+)+$/, "")
      .replace(/[^A-Za-z0-9_]/g, "_")
      .replace(/^(?=\d|$)/, "_");
    let text = stem;
    for (let n = 2; used.has(text); n++) text = `${stem}_${n}`;
    used.add(text);
    seen.set(name, text);
    return text;
  };
}
export function numbered(): Naming {
  const seen = new Map<string, string>();
  return (name) => {
    if (!seen.has(name)) seen.set(name, `x${seen.size}`);
    return seen.get(name) as string;
  };
}
