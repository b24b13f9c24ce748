import { type ApiOptions, callApi } from "../api";
import type { Config } from "../config";
import { RequestError } from "../http";
import { Attempt, Begun, BROWSER, type Method } from "./attempt";

/** One call waits for the sandbox, and then for the provider, at most 29 s. */
const WAIT_MS = 40_000;

/** What a begin has come to: a live attempt, or a sandbox that is starting. */
export type Beginning =
  | { kind: "begun"; attempt: Attempt }
  | { kind: "starting"; generation: number; retryAfter: number };

/** Calls for the sign-ins of one thread. All of them throw a RequestError. */
export class Calls {
  constructor(
    readonly config: Config,
    readonly thread: string,
  ) {}

  /**
   * Begins a sign-in, or finds the live one.
   *
   * @param replace whether another account than before may be used.
   * @param start the generation of the sandbox that is known to be starting.
   */
  async begin(method: Method, replace: boolean, start?: number): Promise<Beginning> {
    const path = start === undefined ? "/oauth/authorize" : `/oauth/authorize?start=${start}`;
    const answer = await this.#call(path, { method: "POST", body: { method, replace }, prefer: "respond-async" });
    const begun = understood(Begun.safeParse(answer));
    if ("status" in begun) return { kind: "starting", generation: begun.generation, retryAfter: begun.retry_after };
    return { kind: "begun", attempt: { ...begun, status: "pending", method } };
  }

  /** The live or last sign-in; null when there never was one. */
  async find(): Promise<Attempt | null> {
    try {
      return understood(Attempt.safeParse(await this.#call("/oauth/attempt", {})));
    } catch (error) {
      if (error instanceof RequestError && error.code === "no_signin") return null;
      throw error;
    }
  }

  /** Calls the live sign-in off. */
  async cancel(): Promise<Attempt> {
    return understood(Attempt.safeParse(await this.#call("/oauth/attempt", { method: "DELETE" })));
  }

  /** Hands on what the browser brought back from the provider. */
  async complete(code: string, state: string): Promise<void> {
    const body = { method: BROWSER, code, state };
    await this.#call("/oauth/callback", { method: "POST", body, prefer: "respond-async" });
  }

  /** Takes the connection back. */
  async disconnect(): Promise<void> {
    await this.#call("", { method: "DELETE" });
  }

  #call(path: string, options: ApiOptions): Promise<unknown> {
    const route = `/api/sandbox/${this.thread}/opencode/provider/openai${path}`;
    return callApi(this.config, this.thread, route, { timeoutMs: WAIT_MS, ...options });
  }
}

function understood<T>(parsed: { data?: T }): T {
  if (parsed.data === undefined) throw new RequestError("The server gave an answer that makes no sense.");
  return parsed.data;
}
