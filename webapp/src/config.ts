import { z } from "zod";
import { fetchJson } from "./http";

/** Where the parts of the backend are. */
export interface Config {
  /** Base address of the HTTP API, without a slash at its end. */
  httpUrl: string;
  /** The WebSocket's address in the three pieces that the agents client takes. */
  socket: { protocol: "ws" | "wss"; host: string; basePath: string };
  /** Whether the local stack's demo model answers, and no real one. */
  demoModel: boolean;
  /** Where the local stack plays the identity provider; null: the real one is used. */
  idpUrl: string | null;
}

const Answer = z.object({
  http_url: z.string(),
  ws_url: z.string(),
  demo_model: z.boolean().default(false),
  idp_url: z.url({ protocol: /^https?$/ }).nullish(),
});

/** Takes an address such as `wss://ID.execute-api.REGION.amazonaws.com/live` apart. */
function splitSocketUrl(wsUrl: string): Config["socket"] {
  const { protocol, host, pathname } = new URL(wsUrl);
  return { protocol: protocol === "wss:" ? "wss" : "ws", host, basePath: pathname.replace(/^\/+|\/+$/g, "") };
}

/** Asks the page's own backend for the addresses. */
export async function loadConfig(): Promise<Config> {
  const answer = Answer.parse(await fetchJson("/config.json"));
  return {
    httpUrl: answer.http_url.replace(/\/+$/, ""),
    socket: splitSocketUrl(answer.ws_url),
    demoModel: answer.demo_model,
    idpUrl: answer.idp_url ?? null,
  };
}
