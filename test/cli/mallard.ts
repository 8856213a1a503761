// The command as users start it: the built one, in a process of its own. `built` brings dist/ up to date first, waiting
// for other builds in this checkout.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
export function runNode(args: readonly string[], options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {}): Promise<Ran> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (data: Buffer) => {
      stdout += data.toString();
    });
    child.stderr.on("data", (data: Buffer) => {
      stderr += data.toString();
    });
    child.on("error", fail);
    child.on("close", (code) => done({ code, stdout, stderr }));
  });
}

export async function built(): Promise<void> {
  const script = `import(${JSON.stringify(pathToFileURL(join(root, "scripts/prepare.js")).href)}).then((m) => process.exit(m.prepare() ? 0 : 1))`;
  const { code, stderr } = await runNode(["-e", script]);
  if (code !== 0) throw new Error(`the build failed:\n${stderr}`);
}
export const mallard = (args: readonly string[], options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {}): Promise<Ran> =>
  runNode([join(root, "dist/cli/main.js"), ...args], options);
