// Makes the built page work without a network: a service worker that keeps every file of the build from the first visit on.
// Its name for them changes with what is in them, so that a new build replaces the old one.
import { createHash } from "node:crypto";
import type { Plugin } from "vite";

export const offline = (): Plugin => ({
  name: "offline",
  apply: "build",
  // The last to be asked: all other files are there.
  generateBundle: {
    order: "post",
    handler(_, bundle) {
      const files = Object.keys(bundle).filter((name) => !name.endsWith(".map"));
      const hash = createHash("sha256");
      for (const name of files) {
        const file = bundle[name];
        if (file) hash.update(name).update(file.type === "chunk" ? file.code : file.source);
      }
      this.emitFile({ type: "asset", fileName: "offline.js", source: serviceWorker(`mallard-${hash.digest("hex").slice(0, 16)}`, ["./", ...files]) });
    },
  },
});

const serviceWorker = (cache: string, files: readonly string[]): string => `// Keeps this build's files, and answers with them.
const CACHE = ${JSON.stringify(cache)};
const FILES = ${JSON.stringify(files)};
addEventListener("install", (e) => e.waitUntil(caches.open(CACHE).then((c) => c.addAll(FILES)).then(() => skipWaiting())));
addEventListener("activate", (e) =>
  e.waitUntil(
    caches.keys()
      .then((all) => Promise.all(all.filter((k) => k.startsWith("mallard-") && k !== CACHE).map((k) => caches.delete(k))))
      .then(() => clients.claim()),
  ),
);
addEventListener("fetch", (e) => {
  if (e.request.method !== "GET" || new URL(e.request.url).origin !== location.origin) return;
  e.respondWith(caches.open(CACHE).then((c) => c.match(e.request, { ignoreSearch: true, ignoreVary: true })).then((kept) => kept ?? fetch(e.request)));
});
`;
