// What stands beside exported WGSL and its launcher: an example for Node and for a page, and a README.
import type { Plan } from "../../plan.js";
import { type About, type Argument, describe, importing, quoted, randomArray } from "../export.js";
import { guaranteed } from "./limits.js";

/** An import that runs when it is reached; of the text that is made. */
const later = (from: string): string => `import("${from}")`;

/** For Node and a page alike. */
export function exampleText(plan: Plan, about: About, all: readonly Argument[]): string {
  const given = all.filter((a) => a.kind !== "output");
  const sizes = plan.extents.length > 0 ? `, { ${plan.extents.map((e) => `${quoted(e.name)}: ${e.max}`).join(", ")} }` : "";
  return `// ${about.title} on random data: node example.js, or example.html from a server on this machine.
${importing("{ open }", `./${about.name}.js`)}

/** The browser's; in Node the package's (npm install), by Vulkan, Metal or Direct3D 12. */
let gpu = globalThis.navigator?.gpu ?? (await import(/* @vite-ignore */ "webgpu")).create([]);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error("no GPU was found");
const device = await adapter.requestDevice();

export async function example(say) {
  const program = await open(device);
  const arrays = {
${given.map((a) => `    ${quoted(a.name)}: ${randomArray(a.buffer)},`).join("\n")}
  };
  await program.run(arrays${sizes});
  const before = performance.now();
  const results = await program.run(arrays${sizes});
  say(\`\${(performance.now() - before).toFixed(1)} ms a run\`);
  for (const [name, data] of Object.entries(results)) say(\`\${name} \${data.length} \${data.slice(0, 4).join(" ")}\`);
  program.close();
}
if (!globalThis.document) {
  await example(console.log);
  device.destroy();
  gpu = null; // Node ends when nobody can reach it
}
`;
}
export const pageText = (about: About): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${about.title.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</title>
<pre></pre>
<script type="module">
  const out = document.querySelector("pre");
  const say = (line) => out.append(line + "\\n");
  ${later("./example.js")}.then(({ example }) => example(say)).catch((e) => say(String(e)));
</script>
</html>
`;

/** A row of the table of kernels. */
export interface KernelRow {
  readonly file: string;
  readonly workgroup: readonly number[];
  readonly binds: string;
  readonly ints: number;
}
/** `memory`: bytes of each GPU buffer. */
export function readmeText(
  plan: Plan,
  about: About,
  all: readonly Argument[],
  kernels: readonly KernelRow[],
  memory: ReadonlyMap<string, number>,
): string {
  return `# ${about.title} in WGSL

Compiled by Mallard ${about.version} for the limits that every WebGPU adapter has: no feature is enabled, no more than
${guaranteed.storageBuffers} storage buffers are bound, ${guaranteed.invocations} invocations and ${guaranteed.workgroupMemory / 1024} KiB of workgroup memory are used at most. Nothing here needs Mallard.

\`\`\`sh
npm install          # the package webgpu, for Node
node example.js      # random data: time of a run and the first numbers of each result
npx serve            # or any server on this machine: example.html is the same in a browser
\`\`\`

| file | what it is |
|---|---|
| \`${about.name}.js\` | \`open(device)\` compiles the kernels; \`run(arrays${plan.extents.length > 0 ? ", extents" : ""})\` gives a promise of the results; \`close()\` frees its memory |
| \`*.wgsl\` | ${kernels.length} kernels, each with what it computes and where that was written |
| \`support.js\` | buffers, pipelines and copies; its one interface is a \`GPUDevice\` |
| \`example.js\`, \`example.html\` | an example, for Node and for a page |

## Arrays

Row-major in the order of the axes; any array of numbers.${plan.extents.length > 0 ? ` Run-time sizes: ${plan.extents.map((e) => `\`${e.name}\` (up to ${e.max})`).join(", ")}.` : ""}

| name | | |
|---|---|---|
${all.map((a) => `| \`${a.name}\` | ${a.kind === "state" ? "given with each run" : a.kind} | ${describe(a.buffer)} |`).join("\n")}

## Kernels

For hosts in other languages: the entry point is \`main\`, storage buffers are \`@group(0) @binding(0)\` and up, and a uniform
buffer of 32-bit integers comes last where there is one. Workgroups are numbered along x, and x + y · (workgroups along x)
where there are more than ${guaranteed.dispatch}; \`${about.name}.js\` has the dispatches in order with the bytes that each binds, the
integers and the number of workgroups. GPU buffers: ${[...memory].map(([name, bytes]) => `${name} (${bytes} bytes)`).join(", ")}.

| file | workgroup | binds | integers |
|---|---|---|---|
${kernels.map((k) => `| \`${k.file}\` | ${k.workgroup.join(" × ")} | ${k.binds} | ${k.ints} |`).join("\n")}
`;
}
