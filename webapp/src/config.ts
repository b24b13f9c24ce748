import { fetchJson } from "./http";

/** Where the parts of the backend are. */
export interface Config {
  /** Base address of the HTTP API, without a slash at its end. */
  httpUrl: string;
  /** The WebSocket's address in the three pieces that the agents client takes. */
  socket: { protocol: "ws" | "wss"; host: string; basePath: string };
}

/** Takes an address such as `wss://ID.execute-api.REGION.amazonaws.com/live` apart. */
function splitSocketUrl(wsUrl: string): Config["socket"] {
  const { protocol, host, pathname } = new URL(wsUrl);
  return { protocol: protocol === "wss:" ? "wss" : "ws", host, basePath: pathname.replace(/^\/+|\/+$/g, "") };
}

/** Asks the page's own backend for the addresses. */
export async function loadConfig(): Promise<Config> {
  const { http_url, ws_url } = (await fetchJson("/config.json")) as { http_url: string; ws_url: string };
  return { httpUrl: http_url.replace(/\/+$/, ""), socket: splitSocketUrl(ws_url) };
}
