// The page as Vite serves and builds it. In a project of your own the package's name leads to the package, and `plugins: [mallard()]`
// is all there is to say; here it leads to this checkout.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { mallard } from "../../vite/index.js";
import { offline } from "./offline.js";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
export default defineConfig({
  root: at("examples/browser"),
  base: "./",
  plugins: [mallard(), offline()],
  worker: { format: "es", plugins: () => [mallard()] },
  resolve: {
    alias: [
      { find: /^@mallard-lang\/mallard$/, replacement: at("index.ts") },
      { find: /^@mallard-lang\/mallard\/models$/, replacement: at("models/index.ts") },
      { find: /^@mallard-lang\/mallard\/trainer$/, replacement: at("trainer.ts") },
    ],
  },
  build: { target: "es2023", emptyOutDir: true, chunkSizeWarningLimit: 1500 },
});
