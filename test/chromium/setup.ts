// One Chromium for a whole run of the tests. A test process that wants a page connects here (page.ts); the first one starts
// the browser and builds the page's script. Each connection has a page of its own, whose WebSocket is joined to the test's: what
// one sends, the other gets. The page closes with the connection.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { build, type Rolldown } from "vite";
import type { TestProject } from "vitest/node";
import { type WebSocket, WebSocketServer } from "ws";
import { BROWSER } from "../require.js";

declare module "vitest" {
  export interface ProvidedContext {
    /** Where a page is to be had; null: there is no browser. */
    readonly pages: string | null;
  }
}

const HTML = '<!doctype html><meta charset="utf-8"><title>Mallard\'s tests</title><script type="module" src="/page.js"></script>';
/** A test's end, and its page's as soon as that has connected. */
interface Pair {
  readonly test: WebSocket;
  page?: WebSocket;
  /** What the test sent before there was a page. */
  readonly early: Buffer[];
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (!BROWSER) {
    project.provide("pages", null);
    return undefined;
  }
  const pairs = new Map<string, Pair>();
  let script: Promise<string> | undefined;
  let browser: Promise<Browser> | undefined;
  const server = createServer(async (request, response) => {
    const path = (request.url ?? "/").split("?")[0];
    if (path === "/") return void response.writeHead(200, { "content-type": "text/html" }).end(HTML);
    if (path === "/page.js") {
      try {
        script ??= bundled();
        return void response.writeHead(200, { "content-type": "text/javascript" }).end(await script);
      } catch (e) {
        console.error(e);
        return void response.writeHead(500).end();
      }
    }
    response.writeHead(204).end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`; // it listens on a port
  project.provide("pages", `ws://${host}/test`);

  const opened = async (id: string, pair: Pair): Promise<void> => {
    script ??= bundled();
    await script;
    browser ??= import("./browser.js").then(({ launch }) => launch({ webgpu: true }));
    const page = await (await browser).newPage();
    const say = (text: string) => pair.test.close(1011, Buffer.from(text).subarray(0, 120));
    page.on("crash", () => say("the page crashed"));
    page.on("pageerror", (e) => say(`in the page: ${e.message}`));
    page.on("console", (m) => m.type() === "error" && console.error(`in the page: ${m.text()}`));
    pair.test.on("close", () => void page.close().catch(() => {}));
    if (pair.test.readyState !== pair.test.OPEN) return page.close();
    await page.goto(`http://${host}/?id=${id}`);
  };
  const sockets = new WebSocketServer({ server, maxPayload: 2 ** 30 });
  let last = 0;
  sockets.on("connection", (socket, request) => {
    const url = new URL(request.url ?? "/", `http://${host}`);
    if (url.pathname === "/test") {
      const id = String(++last);
      const pair: Pair = { test: socket, early: [] };
      pairs.set(id, pair);
      socket.on("message", (data: Buffer) => (pair.page ? pair.page.send(data) : pair.early.push(data)));
      socket.on("close", () => pairs.delete(id));
      opened(id, pair).catch((e: Error) => socket.close(1011, Buffer.from(e.message).subarray(0, 120)));
      return;
    }
    const pair = pairs.get(url.searchParams.get("id") ?? "");
    if (!pair) return socket.close();
    pair.page = socket;
    for (const data of pair.early.splice(0)) socket.send(data);
    socket.on("message", (data: Buffer) => pair.test.send(data));
    socket.on("close", () => pair.test.close(1011, "the page is gone"));
  });
  return async () => {
    for (const s of sockets.clients) s.terminate();
    await (await browser?.catch(() => undefined))?.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
}

async function bundled(): Promise<string> {
  const built = await build({
    root: fileURLToPath(new URL("../..", import.meta.url)),
    configFile: false,
    logLevel: "warn",
    build: {
      write: false,
      minify: false,
      target: "es2022",
      rolldownOptions: { input: fileURLToPath(new URL("page.ts", import.meta.url)), output: { codeSplitting: false } },
    },
  });
  const chunks = [built].flat().flatMap((b) => ("output" in b ? b.output : []));
  const entry = chunks.filter((f): f is Rolldown.OutputChunk => f.type === "chunk");
  if (entry.length !== 1) throw new Error(`the page's script is ${entry.length} files`);
  return (entry[0] as Rolldown.OutputChunk).code;
}
