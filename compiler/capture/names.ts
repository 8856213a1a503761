// Names in messages about functions, where they stand as the author writes them, without quotes.
export { closest } from "../../dsl/nearest.js";

export const listed = (names: Iterable<string>) => [...names].join(", ") || "none";
export const meant = (name: string | undefined) => (name === undefined ? "" : `did you mean ${name}? `);
