// The seed of a run of the laws, printed so that a failure can be run again; and how many random programs.
export const seed = Number(process.env.MALLARD_LAWS_SEED ?? Math.floor(Math.random() * 1e6));
export const runs = Math.max(1, Math.round(500 * Number(process.env.MALLARD_LAWS_RUNS ?? 1)));
console.log(`laws: MALLARD_LAWS_SEED=${seed}`);
