// Tables of text for people: columns as wide as their widest cell, numbers to the right.

export interface Column<Row> {
  readonly head: string;
  readonly cell: (row: Row) => string;
  /** Words are aligned to the left, numbers to the right. */
  readonly words?: boolean;
}

export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = [columns.map((c) => c.head), ...rows.map((r) => columns.map((c) => c.cell(r)))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => (line[i] as string).length)));
  const pad = (text: string, i: number) => (columns[i]?.words ? text.padEnd(widths[i] as number) : text.padStart(widths[i] as number));
  return cells.map((line) => line.map(pad).join("  ").trimEnd()).join("\n");
}
